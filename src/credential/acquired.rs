//! What became of asking for a token, where that may have been two exchanges: each is told, so that
//! each can be counted.

use std::time::Duration;

use super::answer::AccessToken;
use super::error::CredentialError;

/// What became of asking for a token.
#[derive(Debug)]
pub struct Acquired {
    /// The token, or why there is none. Of two failures, the second's.
    pub outcome: Result<AccessToken, CredentialError>,
    /// The first credential, when its fallback was asked after it.
    pub first: Option<FirstFailure>,
}

/// Why a fallback was asked.
#[derive(Debug)]
pub struct FirstFailure {
    /// Why the first gave no token.
    pub error: CredentialError,
    /// How long that took.
    pub took: Duration,
}

impl Acquired {
    /// Whether everybody who was asked answered. Files of those were read; nothing is known of others'.
    pub fn is_answered(&self) -> bool {
        let first = self.first.as_ref().map(|first| &first.error);
        let mut failed = self.outcome.as_ref().err().into_iter().chain(first);
        failed.all(CredentialError::is_of_endpoint)
    }
}

impl From<Result<AccessToken, CredentialError>> for Acquired {
    fn from(outcome: Result<AccessToken, CredentialError>) -> Self {
        Self {
            outcome,
            first: None,
        }
    }
}
