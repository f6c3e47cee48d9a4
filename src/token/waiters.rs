//! Numbers of one token for the metrics, and how a call counts that failed. Nothing on the request path of a cached token
//! touches them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::credential::CredentialError;
use crate::metrics::RefreshOutcome;

/// The outcome under which a failed call is counted.
pub(super) fn outcome(error: &CredentialError) -> RefreshOutcome {
    match error {
        CredentialError::Both { second, .. } => outcome(second),
        CredentialError::Malformed { .. } => RefreshOutcome::Malformed,
        CredentialError::Rejected(_) => RefreshOutcome::Rejected,
        CredentialError::Throttled { .. } => RefreshOutcome::Throttled,
        CredentialError::Unavailable(_) => RefreshOutcome::Unavailable,
    }
}

/// The numbers of one token.
#[derive(Debug, Default)]
pub struct Tally {
    /// Seconds since 1970; zero while there is no token.
    expiry: AtomicU64,
    waiters: AtomicUsize,
}

impl Tally {
    /// When the token that is held expires, in seconds since 1970.
    pub fn expiry(&self) -> Option<u64> {
        Some(self.expiry.load(Relaxed)).filter(|seconds| *seconds != 0)
    }

    /// Requests that wait for this token now.
    pub fn waiters(&self) -> usize {
        self.waiters.load(Relaxed)
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
