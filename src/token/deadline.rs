//! A moment by both clocks.

use std::time::{Duration, Instant, SystemTime};

use crate::clock::Now;

/// A moment that has come when either clock says so: the monotonic clock stops in a suspended
/// machine, the wall clock can be set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    pub(super) mono: Instant,
    pub(super) wall: SystemTime,
}

impl Deadline {
    /// `after` from `now`, which is at most days: both clocks can hold it.
    pub(super) fn after(now: Now, after: Duration) -> Self {
        Self {
            mono: now.mono + after,
            wall: now.wall + after,
        }
    }

    /// The later one, on each clock.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            mono: self.mono.max(other.mono),
            wall: self.wall.max(other.wall),
        }
    }

    pub(super) fn has_come(&self, now: Now) -> bool {
        now.mono >= self.mono || now.wall >= self.wall
    }

    /// What is left until the first of the two.
    pub(super) fn left(&self, now: Now) -> Duration {
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        self.mono.saturating_duration_since(now.mono).min(wall)
    }
}
