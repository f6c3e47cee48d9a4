//! Why a request has no token, in terms of what its caller is told.

use std::sync::Arc;
use std::time::Duration;

use crate::code::Code;
use crate::credential::CredentialError;

/// What a caller is told to wait when a token call is under way and its end is not known.
const SOON: Duration = Duration::from_secs(5);

/// Why a request has no token. Cheap to clone: ten thousand waiters share one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// The call did not end while the request could wait.
    #[error(
        "no token came within {waited:?} (timeouts.token_wait), and the call for it goes on; if this lasts, check the network and firewalls in between"
    )]
    Late {
        /// How long the request waited.
        waited: Duration,
    },
    /// A person must change something.
    #[error("no token: {}", cause.words())]
    Rejected {
        /// What was refused.
        cause: Arc<CredentialError>,
    },
    /// The route is gone from the configuration, and its token with it.
    #[error("the route's token is not renewed any more; send the request again")]
    Retired,
    /// No token for now.
    #[error("no token for now: {}", cause.words())]
    Unavailable {
        /// What happened.
        cause: Arc<CredentialError>,
        /// When the next call is due.
        retry_after: Duration,
    },
}

impl TokenError {
    pub(super) fn of(cause: Arc<CredentialError>, next_call_in: Duration) -> Self {
        if cause.needs_a_person() {
            return Self::Rejected { cause };
        }
        Self::Unavailable {
            cause,
            retry_after: next_call_in.max(Duration::from_secs(1)),
        }
    }

    /// The code of the proxy's answer.
    pub fn code(&self) -> Code {
        match self {
            Self::Rejected { .. } => Code::TokenRejected,
            Self::Late { .. } | Self::Retired | Self::Unavailable { .. } => Code::TokenUnavailable,
        }
    }

    /// `Retry-After` of the answer; at least 1 s. `None` when waiting does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected { .. } => None,
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::Late { .. } => Some(SOON),
            Self::Retired => Some(Duration::from_secs(1)),
        }
    }

    /// What the caller is told: no secret, no file name, no words of a server.
    pub fn caller_words(&self) -> String {
        match self {
            Self::Rejected { cause } | Self::Unavailable { cause, .. } => cause.caller_words(),
            Self::Late { .. } | Self::Retired => self.to_string(),
        }
    }
}

/// Why an upstream's refusal of a token did not lead to another one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RenewError {
    /// No other token could be had.
    #[error(transparent)]
    Failed(#[from] TokenError),
    /// A renewal was forced too recently.
    #[error("the upstream refused a token that was renewed a moment ago")]
    Paused {
        /// Until a renewal may be forced again.
        left: Duration,
    },
    /// The very same token came again.
    #[error("the upstream refused the token, and the same token came again")]
    Same,
}
