//! The second credential: used when the first is refused as invalid or expired, until the first has
//! changed or its hour has come.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Credential;
use super::stamp::Stamp;

/// The first is tried again at least once an hour. Tokens of the second are renewed within 3600 s,
/// up to a tenth earlier by jitter; this is shorter than that, so that such a renewal finds the
/// first due.
const FIRST_AGAIN: Duration = Duration::from_secs(3000);
/// A token of the second is renewed within this time, whatever its life.
pub(super) const RENEW_WITHIN: Duration = Duration::from_secs(3600);

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
