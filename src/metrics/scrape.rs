//! The collector: reads every cell and source, and makes the families of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily};

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
        families.push(credentials(&reading.credentials));
        families.push(fallbacks(&reading.fallbacks));
        families.push(refusals(&self.store));
        families.extend(self.store.program.families(reading.log_dropped));
        families
    }
}

fn routes(routes: &BTreeMap<String, RouteTotals>) -> Vec<MetricFamily> {
    // What has an upstream: all but the requests that matched no route.
    let matched = || routes.iter().filter(|(route, _)| !route.is_empty());
    let all = |family: &Family, sample: &dyn Fn(&str, &RouteTotals) -> Metric| {
        family.with(
            routes
                .iter()
                .map(|(route, sums)| sample(route, sums))
                .collect(),
        )
    };
    let each = |family: &Family, sample: &dyn Fn(&str, &RouteTotals) -> Metric| {
        family.with(matched().map(|(route, sums)| sample(route, sums)).collect())
    };
    use family::*;
    vec![
        requests(routes),
        all(&REQUEST_DURATION, &|r, t| {
            REQUEST_DURATION.histogram(&[r], &t.durations)
        }),
        all(&IN_FLIGHT, &|r, t| IN_FLIGHT.count(&[r], t.in_flight)),
        all(&REQUEST_BYTES, &|r, t| {
            REQUEST_BYTES.count(&[r], t.request_bytes)
        }),
        all(&RESPONSE_BYTES, &|r, t| {
            RESPONSE_BYTES.count(&[r], t.response_bytes)
        }),
        each(&UPSTREAM_RESPONSE, &|r, t| {
            UPSTREAM_RESPONSE.histogram(&[r], &t.heads)
        }),
        each(&THROTTLED, &|r, t| THROTTLED.count(&[r], t.throttled)),
        each(&LINKS, &|r, t| LINKS.count(&[r], t.links)),
        RETRIES.with(
            matched()
                .flat_map(|(route, sums)| retries(route, sums))
                .collect(),
        ),
        CONNECTIONS.with(
            matched()
                .flat_map(|(route, sums)| connections(route, sums))
                .collect(),
        ),
    ]
}

fn requests(routes: &BTreeMap<String, RouteTotals>) -> MetricFamily {
    let family = &family::REQUESTS;
    let samples = routes.iter().flat_map(|(route, sums)| {
        sums.answers().map(move |(method, status, count)| {
            family.count(&[route, method.as_str(), &status.to_string()], count)
        })
    });
    family.with(samples.collect())
}

fn retries(route: &str, sums: &RouteTotals) -> Vec<Metric> {
    let each = RetryReason::ALL.iter().zip(sums.retries);
    each.map(|(reason, count)| family::RETRIES.count(&[route, reason.as_str()], count))
        .collect()
}

fn connections(route: &str, sums: &RouteTotals) -> Vec<Metric> {
    let each = ConnectionState::ALL.iter().zip(sums.connections);
    each.map(|(state, count)| family::CONNECTIONS.count(&[route, state.as_str()], count))
        .collect()
}

fn tokens(
    look_ups: &BTreeMap<TokenLabels, LookUps>,
    calls: &BTreeMap<TokenLabels, RefreshTotals>,
    numbers: &[TokenNumbers],
) -> Vec<MetricFamily> {
    // Look-ups and calls go on counting over a reload. The rest is told of tokens that are there: one that no
    // route needs any more is not a token that is missing.
    let mut kept: BTreeMap<TokenLabels, TokenNumbers> = BTreeMap::new();
    for numbers in numbers {
        let labels = TokenLabels::new(&numbers.credential, &numbers.scope);
        kept.entry(labels).or_default().merge(numbers);
    }
    let looked_up = |family: &Family, count: &dyn Fn(&LookUps) -> u64| {
        let sample = |(labels, sums): (&TokenLabels, &LookUps)| {
            family.count(&[&labels.credential, &labels.scope], count(sums))
        };
        family.with(look_ups.iter().map(sample).collect())
    };
    let durations = |(labels, sums): (&TokenLabels, &RefreshTotals)| {
        let labels = [labels.credential.as_str(), &labels.scope];
        TOKEN_REFRESH_DURATION.histogram(&labels, &sums.durations)
    };
    let each = |family: &Family, sample: &dyn Fn(&[&str], &TokenNumbers) -> Metric| {
        let of_one = |(labels, token): (&TokenLabels, &TokenNumbers)| {
            sample(&[&labels.credential, &labels.scope], token)
        };
        family.with(kept.iter().map(of_one).collect())
    };
    use family::*;
    vec![
        looked_up(&TOKEN_HITS, &|sums| sums.hits),
        looked_up(&TOKEN_MISSES, &|sums| sums.misses),
        TOKEN_REFRESH_DURATION.with(calls.iter().map(durations).collect()),
        each(&TOKEN_EXPIRY, &|l, t| {
            TOKEN_EXPIRY.sample(l, t.expires.map_or(0.0, unix_seconds))
        }),
        each(&TOKEN_WAITERS, &|l, t| TOKEN_WAITERS.count(l, t.waiters)),
        TOKEN_REFRESHES.with(calls.iter().flat_map(|(l, t)| refreshes(l, t)).collect()),
    ]
}

fn refreshes(labels: &TokenLabels, sums: &RefreshTotals) -> Vec<Metric> {
    let sample = |outcome: &RefreshOutcome| {
        let labels = [&labels.credential, &labels.scope, outcome.as_str()];
        family::TOKEN_REFRESHES.count(&labels, sums.ended(*outcome))
    };
    RefreshOutcome::ALL.iter().map(sample).collect()
}

fn credentials(expiries: &BTreeMap<String, SystemTime>) -> MetricFamily {
    let family = &family::CREDENTIAL_EXPIRY;
    let sample =
        |(name, expires): (&String, &SystemTime)| family.sample(&[name], unix_seconds(*expires));
    family.with(expiries.iter().map(sample).collect())
}

fn fallbacks(active: &BTreeMap<String, bool>) -> MetricFamily {
    let family = &family::FALLBACK;
    let sample = |(name, active): (&String, &bool)| family.count(&[name], u64::from(*active));
    family.with(active.iter().map(sample).collect())
}

fn refusals(store: &Store) -> MetricFamily {
    let family = &family::REFUSED;
    let totals = store.refusal_totals();
    let sample = |(code, count): (&Code, u64)| family.count(&[code.as_str()], count);
    family.with(Code::ALL.iter().zip(totals).map(sample).collect())
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
