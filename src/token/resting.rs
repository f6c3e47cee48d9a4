//! The fallback of a pair that is left alone, because its server wants quiet.

use std::sync::Arc;
use std::time::Duration;

use super::backoff;
use super::deadline::Deadline;
use crate::clock::Now;
use crate::credential::CredentialError;

/// A fallback that is left alone.
#[derive(Debug)]
pub(super) struct Resting {
    pub(super) until: Deadline,
    /// What it failed with.
    pub(super) error: Arc<CredentialError>,
}

impl Resting {
    /// That of a pair which failed with this error and keeps this quiet.
    pub(super) fn of(error: &CredentialError, quiet: Option<Duration>, now: Now) -> Option<Self> {
        let (second, _) = error.resting()?;
        Some(Self {
            until: Deadline::after(now, backoff::asked_for(quiet)?),
            error: second.clone(),
        })
    }
}
