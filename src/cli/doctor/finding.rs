//! What the doctor found: one sentence each, with what it means for the route.

use std::fmt;

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Good to know.
    Note,
    /// The route works; something about it should not stay so.
    Warning,
    /// The route does not work.
    Problem,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Subject {
    /// How the app proves itself.
    Credential,
    /// The application roles in the token.
    Roles,
    /// The token.
    Token,
    /// What the token is for.
    Upstream,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// How much it matters.
    pub(super) severity: Severity,
    /// What it is about.
    pub(super) subject: Subject,
    /// What it is, and what to do about it.
    pub(super) message: String,
}

impl Finding {
    pub(super) fn note(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, subject, message)
    }

    pub(super) fn warning(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, subject, message)
    }

    pub(super) fn problem(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(Severity::Problem, subject, message)
    }

    fn new(severity: Severity, subject: Subject, message: impl Into<String>) -> Self {
        Self {
            severity,
            subject,
            message: message.into(),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}
