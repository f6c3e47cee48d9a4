//! What the log is told of calls.

use super::status::LastError;
use crate::config::{Name, Scope};
use crate::metrics::RefreshOutcome;

/// A call brought a token.
pub(super) fn renewed(credential: &Name, scope: &Scope, was_failing: bool) {
    if was_failing {
        tracing::info!(%credential, %scope, "token renewed, after failures");
    } else {
        tracing::debug!(%credential, %scope, "token renewed");
    }
}

/// A call failed; `cached` when a token is served meanwhile. It is told once per change of state: an
/// outage of hours is not a log of thousands of lines. What a person has to mend is no hiccup.
pub(super) fn failed(
    credential: &Name,
    scope: &Scope,
    last: &LastError,
    cached: bool,
    is_news: bool,
) {
    let (outcome, reason) = (last.outcome.as_str(), &last.words);
    match (is_news, last.outcome) {
        (true, RefreshOutcome::Rejected) => {
            tracing::error!(%credential, %scope, outcome, cached, reason, "no new token");
        }
        (true, _) => {
            tracing::warn!(%credential, %scope, outcome, cached, reason, "no new token");
        }
        (false, _) => {
            tracing::debug!(%credential, %scope, outcome, cached, reason, "still no new token");
        }
    }
}
