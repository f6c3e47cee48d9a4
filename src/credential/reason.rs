//! Why the first of a pair gave no token, in words that outlast the error.

use std::fmt;

use super::error::CredentialError;

/// Why the first of a pair gave no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    words: String,
    caller_words: String,
}

impl Reason {
    /// That of this error.
    pub fn of(error: &CredentialError) -> Self {
        Self {
            words: error.words(),
            caller_words: error.caller_words(),
        }
    }

    /// That it was not asked, because it was refused until a moment ago.
    pub(super) fn accepted() -> Self {
        let words = "the credential works again and is asked next";
        Self {
            words: words.to_owned(),
            caller_words: words.to_owned(),
        }
    }

    /// For the log and the status page. May name files.
    pub(super) fn words(&self) -> &str {
        &self.words
    }
}

/// For callers.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.caller_words)
    }
}
