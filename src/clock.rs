//! One reading of both clocks.
//!
//! The monotonic clock stops while a machine is suspended and the wall clock may be set by hand, so
//! whatever expires is judged by both. Everything that decides takes a [`Now`] as an argument; only
//! the thin shells read the clocks.

use std::time::{Instant, SystemTime};

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock: durations and deadlines.
    pub mono: Instant,
    /// The wall clock: dates in logs, and the check against suspension.
    pub wall: SystemTime,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self {
            mono: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}
