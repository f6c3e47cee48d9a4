//! The collector: reads every cell and source, and makes the families of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::Store;
use super::family::{self, Family};
use super::label::{ConnectionState, RefreshOutcome, RetryReason};
use super::route::RouteTotals;
use super::token::{LookUps, RefreshTotals, TokenLabels, TokenNumbers};
use crate::code::Code;

/// Our side of the registry.
pub(super) struct Scrape {
    store: Arc<Store>,
    descriptions: Vec<Desc>,
}

impl Scrape {
    pub(super) fn of(store: Arc<Store>) -> prometheus::Result<Self> {
        let describe = |family: &Family| family.describe();
        Ok(Self {
            store,
            descriptions: family::ALL.iter().map(describe).collect::<Result<_, _>>()?,
        })
    }
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let reading = self.store.reading();
        let look_ups = self.store.tokens.sums(LookUps::add);
        let mut families = routes(&self.store.route_totals());
        let refreshes = self.store.refreshes.totals();
        families.extend(tokens(&look_ups, &refreshes, &reading.tokens));
        let expiries = named(&reading.credentials);
        families.push(family::CREDENTIAL_EXPIRY.values(expiries, |at| unix_seconds(*at)));
        let fallbacks = named(&reading.fallbacks);
        families.push(family::FALLBACK.counts(fallbacks, |active| u64::from(*active)));
        let codes = Code::ALL.iter().map(|code| [code.as_str()]);
        let refusals = codes.zip(self.store.refusal_totals());
        families.push(family::REFUSED.counts(refusals, |count| count));
        families.extend(self.store.program.families(reading.log_dropped));
        families
    }
}

/// What goes by one label.
fn named<T>(all: &BTreeMap<String, T>) -> impl Iterator<Item = ([&str; 1], &T)> + Clone {
    all.iter().map(|(name, of_it)| ([name.as_str()], of_it))
}

/// What goes by the labels of a token.
fn of_tokens<T>(all: &BTreeMap<TokenLabels, T>) -> impl Iterator<Item = ([&str; 2], &T)> + Clone {
    all.iter().map(|(labels, of_it)| {
        let TokenLabels { credential, scope } = labels;
        ([credential.as_str(), scope.as_str()], of_it)
    })
}

fn routes(routes: &BTreeMap<String, RouteTotals>) -> Vec<MetricFamily> {
    use family::*;
    let all = named(routes);
    // What has an upstream: all but the requests that matched no route.
    let matched = all.clone().filter(|(route, _)| *route != [""]);
    let retries = matched.clone().flat_map(|([route], sums)| {
        let each = RetryReason::ALL.iter().zip(sums.retries);
        each.map(move |(reason, count)| ([route, reason.as_str()], count))
    });
    let connections = matched.clone().flat_map(|([route], sums)| {
        let each = ConnectionState::ALL.iter().zip(sums.connections);
        each.map(move |(state, count)| ([route, state.as_str()], count))
    });
    vec![
        requests(routes),
        REQUEST_DURATION.histograms(all.clone(), |sums| &sums.durations),
        IN_FLIGHT.counts(all.clone(), |sums| sums.in_flight),
        REQUEST_BYTES.counts(all.clone(), |sums| sums.request_bytes),
        RESPONSE_BYTES.counts(all, |sums| sums.response_bytes),
        UPSTREAM_RESPONSE.histograms(matched.clone(), |sums| &sums.heads),
        THROTTLED.counts(matched.clone(), |sums| sums.throttled),
        LINKS.counts(matched, |sums| sums.links),
        RETRIES.counts(retries, |count| count),
        CONNECTIONS.counts(connections, |count| count),
    ]
}

fn requests(routes: &BTreeMap<String, RouteTotals>) -> MetricFamily {
    let family = &family::REQUESTS;
    let samples = routes.iter().flat_map(|(route, sums)| {
        sums.answers().map(move |(method, status, count)| {
            family.sample(&[route, method.as_str(), &status.to_string()], count as f64)
        })
    });
    family.with(samples.collect())
}

fn tokens(
    look_ups: &BTreeMap<TokenLabels, LookUps>,
    calls: &BTreeMap<TokenLabels, RefreshTotals>,
    numbers: &[TokenNumbers],
) -> Vec<MetricFamily> {
    use family::*;
    // Look-ups and calls go on counting over a reload. The rest is told of tokens that are there: one that no
    // route needs any more is not a token that is missing.
    let mut kept: BTreeMap<TokenLabels, TokenNumbers> = BTreeMap::new();
    for numbers in numbers {
        let labels = TokenLabels::new(&numbers.credential, &numbers.scope);
        kept.entry(labels).or_default().merge(numbers);
    }
    let (look_ups, calls, kept) = (of_tokens(look_ups), of_tokens(calls), of_tokens(&kept));
    let ended = calls.clone().flat_map(|([credential, scope], sums)| {
        let each = RefreshOutcome::ALL.iter();
        each.map(move |outcome| ([credential, scope, outcome.as_str()], sums.ended(*outcome)))
    });
    vec![
        TOKEN_HITS.counts(look_ups.clone(), |sums| sums.hits),
        TOKEN_MISSES.counts(look_ups, |sums| sums.misses),
        TOKEN_REFRESHES.counts(ended, |count| count),
        TOKEN_REFRESH_DURATION.histograms(calls, |sums| &sums.durations),
        TOKEN_EXPIRY.values(kept.clone(), |it| it.expires.map_or(0.0, unix_seconds)),
        TOKEN_WAITERS.counts(kept, |it| it.waiters),
    ]
}

fn unix_seconds(moment: SystemTime) -> f64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_no_route_needs_any_more_is_not_shown_as_missing() {
        let look_ups = ["gone", "kept"].map(|name| {
            let sums = LookUps { hits: 1, misses: 0 };
            (TokenLabels::new(name, "scope"), sums)
        });
        let kept = TokenNumbers {
            credential: "kept".into(),
            scope: "scope".into(),
            ..TokenNumbers::default()
        };
        let calls = ["gone", "kept"].map(|name| {
            let labels = TokenLabels::new(name, "scope");
            (labels, RefreshTotals::default())
        });
        let families = tokens(&look_ups.into(), &calls.into(), &[kept]);
        let samples = |name: &str| {
            let family = families.iter().find(|family| family.name() == name);
            family.map(|family| family.get_metric().len())
        };
        assert_eq!(samples(family::TOKEN_EXPIRY.name), Some(1));
        assert_eq!(samples(family::TOKEN_HITS.name), Some(2));
        assert_eq!(samples(family::TOKEN_REFRESH_DURATION.name), Some(2));
    }
}
