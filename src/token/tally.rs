//! Counts of one token's calls, for the metrics: plain atomics that one task writes and the scrape
//! reads. Nothing on the request path of a cached token touches them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::credential::CredentialError;

/// How a token call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer that is neither token nor refusal.
    Malformed,
    /// The credential, scope or tenant was refused.
    Rejected,
    /// A token.
    Success,
    /// Asked too often.
    Throttled,
    /// An outage.
    Unavailable,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Malformed,
        Self::Rejected,
        Self::Success,
        Self::Throttled,
        Self::Unavailable,
    ];

    /// The `outcome` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Rejected => "rejected",
            Self::Success => "success",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<&CredentialError> for Outcome {
    fn from(error: &CredentialError) -> Self {
        match error {
            CredentialError::Malformed { .. } => Self::Malformed,
            CredentialError::Rejected(_) => Self::Rejected,
            CredentialError::Throttled { .. } => Self::Throttled,
            CredentialError::Unavailable(_) => Self::Unavailable,
        }
    }
}

/// Upper bounds of the duration buckets in seconds, without the infinite one. A token call takes
/// 0.05 s to 2 s on a good day and is given up after 30 s.
pub const BUCKETS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The counts of one token.
#[derive(Debug, Default)]
pub struct Tally {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    buckets: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
    /// Seconds since 1970; zero while there is no token.
    expiry: AtomicU64,
    waiters: AtomicUsize,
}

/// A reading of the durations of all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durations {
    /// Calls per bucket, not cumulative; the last is beyond the last bound.
    pub counts: [u64; BUCKETS.len() + 1],
    /// The sum of all durations.
    pub sum: Duration,
}

impl Tally {
    /// Calls that ended so.
    pub fn refreshes(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// How long calls took.
    pub fn durations(&self) -> Durations {
        Durations {
            counts: std::array::from_fn(|at| self.buckets[at].load(Relaxed)),
            sum: Duration::from_micros(self.micros.load(Relaxed)),
        }
    }

    /// When the token that is held expires, in seconds since 1970.
    pub fn expiry(&self) -> Option<u64> {
        Some(self.expiry.load(Relaxed)).filter(|seconds| *seconds != 0)
    }

    /// Requests that wait for this token now.
    pub fn waiters(&self) -> usize {
        self.waiters.load(Relaxed)
    }

    pub(super) fn count(&self, outcome: Outcome, took: Duration) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
    }

    pub(super) fn expires(&self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.expiry.store(since.as_secs(), Relaxed);
    }

    /// Counts a waiter until the answer is dropped.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.waiters.fetch_add(1, Relaxed);
        Waiting(self)
    }
}

/// One waiter.
pub(super) struct Waiting<'a>(&'a Tally);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let tally = Tally::default();
        tally.count(Outcome::Success, Duration::from_millis(5));
        tally.count(Outcome::Success, Duration::from_millis(6));
        tally.count(Outcome::Unavailable, Duration::from_secs(31));
        let durations = tally.durations();
        assert_eq!((durations.counts[0], durations.counts[1]), (1, 1));
        assert_eq!(durations.counts[BUCKETS.len()], 1);
        assert_eq!(durations.sum, Duration::from_millis(31_011));
        assert_eq!(tally.refreshes(Outcome::Success), 2);
        assert_eq!(tally.refreshes(Outcome::Unavailable), 1);
    }

    #[test]
    fn each_outcome_counts_under_its_own_label() {
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }
}
