//! One truth for `/status.json` and the status page: the report of the app joined with the metrics'
//! sums, at one moment.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::ready::Readiness;
use super::report::{Configuration, Report, Route, Token};
use crate::clock::Now;
use crate::metrics::{Metrics, RouteTotals};
use crate::timestamp::Timestamp;
use crate::token::{LastError, TokenState};

/// Everything that the status page shows. Times are UTC; spans are whole seconds.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot {
    pub(super) version: &'static str,
    pub(super) now: String,
    pub(super) ready: bool,
    pub(super) draining: bool,
    pub(super) configuration: Configuration,
    pub(super) routes: Vec<RouteStatus>,
    pub(super) tokens: Vec<TokenStatus>,
    /// Requests that were answered here, by code; those that occurred.
    pub(super) refused: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct RouteStatus {
    #[serde(flatten)]
    pub(super) route: Route,
    pub(super) token: TokenState,
    pub(super) requests: u64,
    pub(super) in_flight: u64,
    /// Answers with 400 to 499.
    pub(super) client_errors: u64,
    /// Answers with 500 and above.
    pub(super) server_errors: u64,
    /// Times that the upstream asked for quiet.
    pub(super) throttled: u64,
    pub(super) mean_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct TokenStatus {
    pub(super) credential: String,
    pub(super) fallback: Option<String>,
    pub(super) fallback_reason: Option<String>,
    pub(super) scope: String,
    pub(super) state: TokenState,
    pub(super) expires_at: Option<String>,
    /// Negative once it has expired.
    pub(super) expires_in_seconds: Option<i64>,
    pub(super) renewed_at: Option<String>,
    pub(super) renewed_seconds_ago: Option<i64>,
    pub(super) next_attempt_in_seconds: i64,
    /// The last call that failed, until one succeeds.
    pub(super) failure: Option<FailureStatus>,
    /// The last call that failed, once one has succeeded: apart, so that nobody takes it for present.
    pub(super) past_failure: Option<PastFailureStatus>,
    pub(super) credential_expires_at: Option<String>,
    pub(super) credential_expires_in_seconds: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(super) struct FailureStatus {
    pub(super) at: String,
    pub(super) seconds_ago: i64,
    pub(super) message: String,
}

#[derive(Debug, Serialize)]
pub(super) struct PastFailureStatus {
    #[serde(flatten)]
    pub(super) failure: FailureStatus,
    pub(super) over_at: String,
    pub(super) over_seconds_ago: i64,
}

impl Snapshot {
    pub(super) fn take(
        report: &Report,
        metrics: &Metrics,
        readiness: &Readiness,
        now: Now,
    ) -> Self {
        let totals = metrics.route_totals();
        let nothing = RouteTotals::default();
        let routes = report.routes.iter().map(|route| {
            let totals = totals.get(&route.name).unwrap_or(&nothing);
            RouteStatus::of(report, route, totals)
        });
        let refusals = metrics.refusal_totals().into_iter();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now: written(now.wall),
            ready: readiness.is_ready(now),
            draining: readiness.is_draining(),
            configuration: report.configuration.clone(),
            routes: routes.collect(),
            tokens: report
                .tokens
                .iter()
                .map(|token| TokenStatus::of(token, now))
                .collect(),
            refused: refusals
                .filter(|(_, count)| *count > 0)
                .map(|(code, count)| (code.as_str(), count))
                .collect(),
        }
    }
}

impl RouteStatus {
    fn of(report: &Report, route: &Route, totals: &RouteTotals) -> Self {
        Self {
            route: route.clone(),
            token: report.token_of(route),
            requests: totals.ended,
            in_flight: totals.in_flight,
            client_errors: totals.answered(400, 500),
            server_errors: totals.answered(500, 1000),
            throttled: totals.throttled,
            mean_seconds: totals.durations.mean().as_ref().map(Duration::as_secs_f64),
        }
    }
}

impl TokenStatus {
    fn of(token: &Token, now: Now) -> Self {
        let from_now = |moment: SystemTime| seconds_until(now.wall, moment);
        let ago = |moment: SystemTime| seconds_until(moment, now.wall);
        let told = |failure: &LastError| FailureStatus {
            at: written(failure.at),
            seconds_ago: ago(failure.at),
            message: failure.words.clone(),
        };
        let status = &token.status;
        let failure = status.last_error.as_ref();
        Self {
            credential: status.credential.to_string(),
            fallback: status.fallback.as_ref().map(ToString::to_string),
            fallback_reason: token.fallback_reason.clone(),
            scope: status.scope.to_string(),
            state: status.state,
            expires_at: status.expires.map(written),
            expires_in_seconds: status.expires.map(from_now),
            renewed_at: status.last_renewal.map(written),
            renewed_seconds_ago: status.last_renewal.map(ago),
            next_attempt_in_seconds: whole_seconds(status.next_call_in),
            failure: failure.filter(|it| it.over.is_none()).map(told),
            past_failure: failure.and_then(|failure| {
                let over = failure.over?;
                Some(PastFailureStatus {
                    failure: told(failure),
                    over_at: written(over),
                    over_seconds_ago: ago(over),
                })
            }),
            credential_expires_at: token.credential_expires.map(written),
            credential_expires_in_seconds: token.credential_expires.map(from_now),
        }
    }
}

fn written(moment: SystemTime) -> String {
    Timestamp::of(moment).to_string()
}

/// Whole seconds from one moment to the other; negative when the other came first.
fn seconds_until(from: SystemTime, to: SystemTime) -> i64 {
    match to.duration_since(from) {
        Ok(span) => whole_seconds(span),
        Err(before) => -whole_seconds(before.duration()),
    }
}

fn whole_seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}
