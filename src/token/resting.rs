//! The fallback of a pair that is left alone, because its server wants quiet.

use std::sync::Arc;
use std::time::Duration;

use super::backoff;
use super::deadline::Deadline;
use crate::clock::Now;
use crate::credential::{CredentialError, FIRST_NEXT};

/// A fallback that is left alone.
#[derive(Debug)]
pub(super) struct Resting {
    until: Deadline,
    /// What it failed with.
    pub(super) error: Arc<CredentialError>,
}

impl Resting {
    /// That of a pair which failed with this error, if it has one; perhaps it is `known`, and was not
    /// asked.
    pub(super) fn of(error: &CredentialError, known: Option<Self>, now: Now) -> Option<Self> {
        let (second, asked) = error.resting()?;
        let asked = backoff::asked_for(Some(asked))?;
        Some(known.unwrap_or_else(|| Self {
            until: Deadline::after(now, asked),
            error: second.clone(),
        }))
    }

    /// Itself, unless its time is over.
    pub(super) fn still(self, now: Now) -> Option<Self> {
        (!self.until.has_come(now)).then_some(self)
    }

    /// When the pair is asked again: the first, or both once the fallback's time is over.
    pub(super) fn pause(&self, now: Now) -> Duration {
        self.until.left(now).min(FIRST_NEXT)
    }
}
