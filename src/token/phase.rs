//! What those who wait for a token see of its calls.

use std::sync::Arc;

use super::slot::Concern;
use crate::credential::CredentialError;

/// What those who wait for a call see of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase {
    /// The number of the last call that has ended. One that is made again at once does not count.
    pub(super) ended: u64,
    /// The number of the last that brought a token.
    pub(super) brought: u64,
    /// Why the last ordinary call failed, unless the credential has changed since.
    pub(super) failure: Option<Failure>,
    /// Why the last call with claims failed. One endpoint demanded them: whoever only wants a token
    /// is not concerned.
    pub(super) claims_failure: Option<Failure>,
    /// No call will be made any more.
    pub(super) retired: bool,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// Which call.
    pub(super) number: u64,
    pub(super) concern: Concern,
    pub(super) cause: Arc<CredentialError>,
}

impl Phase {
    /// That of an entry without calls of its own, which knows why this one's failed.
    pub(super) fn successor(&self, is_failing: bool) -> Self {
        let known = |failure: &Failure| Failure {
            number: 0,
            ..failure.clone()
        };
        let failure = self.failure.as_ref().filter(|_| is_failing);
        Self {
            failure: failure.map(known),
            claims_failure: self.claims_failure.as_ref().map(known),
            ..Self::default()
        }
    }

    /// A call brought a token.
    pub(super) fn brought(&mut self, number: u64) {
        self.ended = number;
        self.brought = number;
        self.failure = None;
        self.claims_failure = None;
    }

    /// A call failed.
    pub(super) fn failed(&mut self, failure: Failure) {
        let place = match failure.concern {
            Concern::All => &mut self.failure,
            Concern::Claims => &mut self.claims_failure,
            Concern::Nobody => return,
        };
        self.ended = failure.number;
        *place = Some(failure);
    }

    /// Why a call failed that ended after this one.
    pub(super) fn failure_since(&self, ended: u64) -> Option<&Failure> {
        [&self.failure, &self.claims_failure]
            .into_iter()
            .flatten()
            .find(|failure| failure.number > ended)
    }
}
