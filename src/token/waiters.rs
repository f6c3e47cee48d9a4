//! How many requests wait for a token. None that finds one touches this.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The requests that wait for one token.
#[derive(Debug, Default)]
pub(super) struct Waiters(AtomicUsize);

/// One of them.
pub(super) struct Waiting<'a>(&'a Waiters);

impl Waiters {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Counts one until the answer is dropped.
    pub(super) fn one_more(&self) -> Waiting<'_> {
        self.0.fetch_add(1, Relaxed);
        Waiting(self)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
