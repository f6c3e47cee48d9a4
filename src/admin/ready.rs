//! Readiness: latches that components release once, and draining, which ends it for good.
//!
//! A reload resets nothing and an outage of Entra takes nothing back: all replicas share Entra, and
//! a replica without a fresh token still serves cached ones and useful errors.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::clock::Now;

/// How long readiness waits for what others must answer: the first attempts at tokens, and at the
/// cluster's keys. They answer within seconds or not at all; a pod that waits longer is taken for
/// broken.
const OTHERS_AWAITED: Duration = Duration::from_secs(15);

/// What must have happened once before the first request is welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latch {
    /// The configuration is loaded.
    Configuration,
    /// The listener is open.
    Listener,
    /// The first attempt for every token has ended, one way or the other.
    Tokens,
    /// The first attempt at the keys that service accounts are proved with has ended, if there are
    /// such callers: until then they would be turned away.
    Keys,
}

impl Latch {
    const ALL: [Self; 4] = [
        Self::Configuration,
        Self::Listener,
        Self::Tokens,
        Self::Keys,
    ];

    /// The latch as the body of `/readyz` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Listener => "listener",
            Self::Tokens => "tokens",
            Self::Keys => "keys",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The latches of this process.
#[derive(Debug)]
pub struct Readiness {
    started: Instant,
    released: AtomicU8,
    draining: AtomicBool,
}

impl Readiness {
    /// Nothing has happened yet.
    pub fn new(started: Now) -> Self {
        Self {
            started: started.mono,
            released: AtomicU8::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// This has happened. Again is the same as once.
    pub fn release(&self, latch: Latch) {
        self.released.fetch_or(latch.bit(), Ordering::Release);
    }

    /// Draining begins: not ready from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether draining has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether requests are welcome.
    pub fn is_ready(&self, now: Now) -> bool {
        !self.is_draining() && self.waiting_for(now).next().is_none()
    }

    /// The latches that hold readiness back.
    pub fn waiting_for(&self, now: Now) -> impl Iterator<Item = Latch> {
        let mut released = self.released.load(Ordering::Acquire);
        if now.mono.saturating_duration_since(self.started) >= OTHERS_AWAITED {
            released |= Latch::Tokens.bit() | Latch::Keys.bit();
        }
        let held = move |latch: &Latch| released & latch.bit() == 0;
        Latch::ALL.into_iter().filter(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(start: Now, seconds: u64) -> Now {
        Now {
            mono: start.mono + Duration::from_secs(seconds),
            ..start
        }
    }

    #[test]
    fn every_latch_must_be_released_in_any_order() {
        let start = Now::read();
        let ready = Readiness::new(start);
        for latch in [Latch::Tokens, Latch::Keys, Latch::Configuration] {
            ready.release(latch);
            assert!(!ready.is_ready(start));
        }
        assert_eq!(
            ready.waiting_for(start).collect::<Vec<_>>(),
            [Latch::Listener]
        );
        ready.release(Latch::Listener);
        ready.release(Latch::Listener);
        assert!(ready.is_ready(start));
    }

    #[test]
    fn tokens_and_keys_are_awaited_for_fifteen_seconds_and_nothing_else_is() {
        let start = Now::read();
        let ready = Readiness::new(start);
        ready.release(Latch::Listener);
        assert!(!ready.is_ready(later(start, 15)));
        ready.release(Latch::Configuration);
        assert!(!ready.is_ready(later(start, 14)));
        assert!(ready.is_ready(later(start, 15)));
    }

    #[test]
    fn draining_ends_readiness_for_good() {
        let start = Now::read();
        let ready = Readiness::new(start);
        Latch::ALL.iter().for_each(|latch| ready.release(*latch));
        assert!(ready.is_ready(start));
        ready.drain();
        Latch::ALL.iter().for_each(|latch| ready.release(*latch));
        assert!(!ready.is_ready(start));
        assert!(!ready.is_ready(later(start, 3600)));
    }
}
