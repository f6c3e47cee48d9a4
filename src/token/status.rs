//! One reading of a token's state, which is what the status page, the probes and the gauges show; and
//! how a call counts that failed.

use std::time::{Duration, SystemTime};

use crate::config::{Name, Scope};
use crate::credential::CredentialError;
use crate::metrics::RefreshOutcome;

/// Whether a token can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// There is one that can be used, but the last renewal failed.
    Failing,
    /// The first attempt has not ended yet.
    Pending,
    /// There is none: Entra refuses the credential, a person must change something.
    Rejected,
    /// There is none for now.
    Unavailable,
    /// All is well.
    Valid,
}

impl TokenState {
    /// Whether requests get it.
    pub fn is_served(self) -> bool {
        match self {
            Self::Failing | Self::Valid => true,
            Self::Pending | Self::Rejected | Self::Unavailable => false,
        }
    }

    /// The state for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Failing => "valid, renewal fails",
            Self::Pending => "being fetched",
            Self::Rejected => "credential rejected",
            Self::Unavailable => "unavailable",
            Self::Valid => "valid",
        }
    }
}

/// The last call that failed.
#[derive(Clone, Debug)]
pub struct LastError {
    /// When it ended.
    pub at: SystemTime,
    /// How it ended.
    pub outcome: RefreshOutcome,
    /// What happened and what to do about it.
    pub words: String,
    /// When a later call brought a token, if one has.
    pub over: Option<SystemTime>,
}

impl LastError {
    pub(super) fn new(error: &CredentialError, at: SystemTime) -> Self {
        Self {
            at,
            outcome: outcome(error),
            words: error.words(),
            over: None,
        }
    }

    /// A call brought a token. Returns whether this had still been the state of things.
    pub(super) fn end(&mut self, at: SystemTime) -> bool {
        let was_present = self.over.is_none();
        self.over.get_or_insert(at);
        was_present
    }
}

/// One reading of a token's state. Holds no token.
#[derive(Clone, Debug)]
pub struct TokenStatus {
    /// The name of the credential it is asked for with.
    pub credential: Name,
    /// The fallback, if it got the token that is served.
    pub fallback: Option<Name>,
    /// What the token is for.
    pub scope: Scope,
    /// Its state.
    pub state: TokenState,
    /// When the token that is held expires.
    pub expires: Option<SystemTime>,
    /// When the last token came.
    pub last_renewal: Option<SystemTime>,
    /// The last call that failed, with claims or without; also once it is over.
    pub last_error: Option<LastError>,
    /// When the next call is due; zero while one is in flight.
    pub next_call_in: Duration,
    /// Requests that wait.
    pub waiters: usize,
}

/// The outcome under which a failed call is counted.
pub(super) fn outcome(error: &CredentialError) -> RefreshOutcome {
    match error {
        CredentialError::Both { second, .. } => outcome(second),
        CredentialError::Malformed { .. } => RefreshOutcome::Malformed,
        CredentialError::Rejected(_) => RefreshOutcome::Rejected,
        CredentialError::Throttled { .. } => RefreshOutcome::Throttled,
        CredentialError::Unavailable(_) => RefreshOutcome::Unavailable,
    }
}
