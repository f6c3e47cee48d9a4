//! The second credential: used when the first is refused as invalid or expired, until the first has
//! changed or its hour has come.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Credential;
use super::stamp::Stamp;

/// The first is tried again at the latest this long after it was refused.
const FIRST_WITHIN: Duration = Duration::from_secs(3600);
/// From then on a renewal tries it. Renewals come up to a tenth earlier than they are asked for, by
/// jitter: the last one within the hour comes after 3240 s at the soonest, and finds it due.
const FIRST_AGAIN: Duration = Duration::from_secs(3000);

/// A credential that stands by, and whose turn it is.
pub(super) struct Fallback {
    /// The credential that stands by.
    pub(super) second: Box<Credential>,
    refused: Mutex<Option<Refused>>,
}

/// When, and with what in its files, the first was refused.
#[derive(Clone)]
struct Refused {
    at: Instant,
    stamp: Stamp,
}

impl Fallback {
    pub(super) fn new(second: Credential) -> Self {
        Self {
            second: Box::new(second),
            refused: Mutex::new(None),
        }
    }

    /// Whether the second has been answering.
    pub(super) fn is_active(&self) -> bool {
        self.lock().is_some()
    }

    /// Whether the first is to be asked.
    pub(super) fn first_is_due(&self, stamp: &Stamp, now: Instant) -> bool {
        self.lock().as_ref().is_none_or(|refused| {
            refused.stamp != *stamp || now.saturating_duration_since(refused.at) >= FIRST_AGAIN
        })
    }

    /// The second gave a token: when it is to be renewed at the latest, whatever its life, so that
    /// the first is tried again within the hour.
    pub(super) fn renew_within(&self, now: Instant) -> Duration {
        self.lock().as_ref().map_or(FIRST_WITHIN, |refused| {
            FIRST_WITHIN.saturating_sub(now.saturating_duration_since(refused.at))
        })
    }

    /// The first was refused. Returns whether this is news.
    pub(super) fn first_refused(&self, stamp: Stamp, now: Instant) -> bool {
        self.lock().replace(Refused { at: now, stamp }).is_none()
    }

    /// The first gave a token. Returns whether this is news.
    pub(super) fn first_accepted(&self) -> bool {
        self.lock().take().is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Refused>> {
        // Nothing panics while it is held, and an `Option` is never half written.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
