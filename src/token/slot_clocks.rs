//! Clocks and small values for the tests of a slot.

use std::time::{Duration, Instant, SystemTime};

use super::lifetime::Lifetime;
use super::slot::{HeldToken, Slot};
use crate::clock::Now;
use crate::credential::ClaimsRequest;

/// Seconds.
pub(super) const S: fn(u64) -> Duration = Duration::from_secs;

/// Both clocks of a test, moved by hand.
#[derive(Clone, Copy)]
pub(super) struct Clocks(pub(super) Now);

impl Clocks {
    /// Reads the clocks.
    pub(super) fn start() -> Self {
        Self(Now {
            mono: Instant::now(),
            wall: SystemTime::now(),
        })
    }

    /// This long after the start, on both.
    pub(super) fn at(self, seconds: f64) -> Now {
        self.apart(seconds, seconds)
    }

    /// This long after the start on the monotonic clock, and on the wall clock.
    pub(super) fn apart(self, mono: f64, wall: f64) -> Now {
        let wall_of = |seconds: f64| {
            let by = Duration::from_secs_f64(seconds.abs());
            if seconds < 0.0 {
                self.0.wall - by
            } else {
                self.0.wall + by
            }
        };
        Now {
            mono: self.0.mono + Duration::from_secs_f64(mono),
            wall: wall_of(wall),
        }
    }
}

/// Without `refresh_in`.
pub(super) fn life(expires_in: u64) -> Lifetime {
    Lifetime {
        expires_in: S(expires_in),
        refresh_in: None,
    }
}

/// A slot that got a token at the start.
pub(super) fn holding(clocks: Clocks, life: Lifetime, random: f64) -> (Slot, HeldToken) {
    let mut slot = Slot::new();
    slot.started(clocks.at(0.0)).unwrap();
    let held = slot.succeeded(life, false, random).unwrap();
    (slot, held)
}

/// A demand that differs by this text.
pub(super) fn claims(text: &str) -> ClaimsRequest {
    ClaimsRequest::parse(format!("{{\"{text}\":1}}").as_bytes()).unwrap()
}
