//! Reads an answer that is not a success: by status first, then the OAuth `error`, then the AADSTS
//! code; never by the wording, which Microsoft does not promise. Only names, numbers and ids are
//! kept, so that no text of a server reaches a log or a caller.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::aadsts::{self, Blamed, Class};
use super::endpoint::Reply;
use super::error::{CredentialError, Flaw, Outage, Peer, Rejection};
use super::members;
use crate::guid;
use crate::retry_after;

/// A refusal, reduced to what may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who refused.
    pub from: Peer,
    /// HTTP status.
    pub status: u16,
    /// OAuth `error`, when it has the shape of one.
    pub error: Option<String>,
    /// The first AADSTS code that is known here and says why, else the first.
    pub code: Option<u32>,
    /// For Microsoft's support.
    pub trace_id: Option<String>,
    /// For Microsoft's support.
    pub correlation_id: Option<String>,
    /// How long the server wants quiet.
    pub retry_after: Option<Duration>,
    /// Seconds that this machine's clock is ahead of the server's, when that is what is wrong.
    pub clock_ahead: Option<i64>,
    /// What to do when there is no code.
    pub hint: &'static str,
    /// Whether the proof was another issuer's token.
    pub federated: bool,
}

/// Sorts the answer of an Entra token endpoint; `federated` where the proof was another issuer's token.
pub(super) fn of_entra(reply: &Reply, federated: bool) -> CredentialError {
    let refusal = Refusal {
        federated,
        ..read(reply, entra_hint)
    };
    let code_class = refusal.entry().map(|entry| entry.class);
    let transient = matches!(
        refusal.error.as_deref(),
        Some("temporarily_unavailable" | "server_error" | "request_timeout")
    ) || code_class == Some(Class::Transient);
    let refusal = Box::new(refusal);
    match (reply.status, code_class) {
        (429, _) => CredentialError::Throttled(refusal),
        (408 | 500.., _) => Outage::Answer(refusal).into(),
        (400..=499, _) if transient => Outage::Answer(refusal).into(),
        (400..=499, Some(Class::Throttled)) => CredentialError::Throttled(refusal),
        (400..=499, _) => Rejection::Answer(refusal).into(),
        _ => CredentialError::Malformed {
            from: reply.from.clone(),
            flaw: Flaw::Status(reply.status),
        },
    }
}

/// Reads whatever the document says, as far as it came.
pub(super) fn read(reply: &Reply, hint: fn(u16, Option<&str>) -> &'static str) -> Refusal {
    let document = members::of(&reply.body);
    let error = document["error"].as_str().filter(|e| is_name(e));
    let code = code(&document);
    let description = document["error_description"].as_str().unwrap_or_default();
    Refusal {
        from: reply.from.clone(),
        status: reply.status,
        error: error.map(str::to_owned),
        code,
        trace_id: id(document["trace_id"].as_str())
            .or_else(|| id(behind("Trace ID: ", description)))
            .or_else(|| id(reply.headers.get("x-ms-request-id")?.to_str().ok())),
        // A gateway's page has none, but the id that was sent is asked back in the head.
        correlation_id: id(document["correlation_id"].as_str())
            .or_else(|| id(behind("Correlation ID: ", description)))
            .or_else(|| id(reply.headers.get("client-request-id")?.to_str().ok())),
        retry_after: retry_after::read(&reply.headers, || reply.received)
            .map(|quiet| quiet.min(DAY)),
        clock_ahead: (code == Some(ASSERTION_EXPIRED))
            .then(|| clock_ahead(reply))
            .flatten(),
        hint: hint(reply.status, error),
        federated: false,
    }
}

/// "Client assertion is not within its valid time range".
const ASSERTION_EXPIRED: u32 = 700_024;

/// Quiet that is believed: far above the hour that anybody obeys.
const DAY: Duration = Duration::from_secs(86_400);

/// `error_codes`, else the numbers behind `AADSTS` anywhere in `error_description`, which some
/// gateways put words before; of several the first that is known here and says why.
fn code(document: &Value) -> Option<u32> {
    let mut codes: Vec<u32> = document["error_codes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|code| match code {
            Value::Number(number) => number.as_u64()?.try_into().ok(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        })
        .collect();
    if codes.is_empty() {
        let description = document["error_description"].as_str().unwrap_or_default();
        codes.extend(described(description));
    }
    let known = codes
        .iter()
        .filter(|code| aadsts::look_up(**code).is_some());
    // Of equals it is the first.
    let telling = known.min_by_key(|code| **code == NOT_ACCEPTED);
    telling.or(codes.first()).copied()
}

/// "Error validating credentials", which some answers put in front of the code that says why.
const NOT_ACCEPTED: u32 = 70002;

/// The numbers behind `AADSTS`.
fn described(text: &str) -> impl Iterator<Item = u32> {
    text.split("AADSTS").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    })
}

/// The word behind this name in a text; Entra puts its ids there as well.
fn behind<'t>(name: &str, text: &'t str) -> Option<&'t str> {
    let (_, rest) = text.split_once(name)?;
    rest.split_ascii_whitespace().next()
}

/// Whether this is a name and not prose: `[a-z0-9_]`, at most 64 characters.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// What may be shown as an id, or nothing.
fn id(text: Option<&str>) -> Option<String> {
    text.filter(|text| guid::is_id(text.as_bytes()))
        .map(str::to_owned)
}

/// Seconds that this machine is ahead of the server, when it is enough to matter.
fn clock_ahead(reply: &Reply) -> Option<i64> {
    let there = retry_after::date(&reply.headers)?;
    let ahead = match reply.received.duration_since(there) {
        Ok(ahead) => i64::try_from(ahead.as_secs()).ok()?,
        Err(behind) => -i64::try_from(behind.duration().as_secs()).ok()?,
    };
    // `Date` has whole seconds and the answer was under way: less than this is agreement.
    (ahead.abs() > 5).then_some(ahead)
}

fn entra_hint(status: u16, error: Option<&str>) -> &'static str {
    match (error, status) {
        (Some("invalid_client"), _) => "check client_id and the credential",
        (Some("unauthorized_client"), _) => {
            "check client_id and tenant_id, and that the app may use client credentials"
        }
        (Some("invalid_scope" | "invalid_resource"), _) => "check the route's scope",
        (Some("invalid_tenant"), _) => "check tenant_id, and `cloud` or `authority`",
        (Some("interaction_required"), _) => {
            "a policy wants a signed-in user, which an app is not; change the policy"
        }
        (_, 429) => "nothing needs to be changed, it is asked again after a pause",
        (_, 408 | 500..) => "nothing needs to be changed, it is asked again",
        (None, _) => "this is no answer of Entra; check `authority` and proxies in between",
        (Some(_), _) => "look the error up with the trace id",
    }
}

impl Refusal {
    fn entry(&self) -> Option<&'static aadsts::Entry> {
        match self.federated {
            true => aadsts::look_up_federated(self.code?),
            false => aadsts::look_up(self.code?),
        }
    }

    /// One without a document.
    #[cfg(test)]
    pub(crate) fn bare(status: u16) -> Self {
        let reply = Reply {
            from: Peer::new("login.test"),
            status,
            headers: http::HeaderMap::new(),
            body: zeroize::Zeroizing::default(),
            received: std::time::UNIX_EPOCH,
        };
        read(&reply, entra_hint)
    }

    /// Whether a change that has been made may still be on its way.
    pub(super) fn is_slow(&self) -> bool {
        self.entry().is_some_and(|entry| entry.class == Class::Slow)
    }

    /// Whether it is a code that says so, and not a busy server: Entra has counted the calls, and
    /// goes on counting.
    pub(super) fn is_of_a_loop(&self) -> bool {
        let throttles = |entry: &aadsts::Entry| entry.class == Class::Throttled;
        self.entry().is_some_and(throttles)
    }

    /// RFC 6749 section 5.2: `invalid_client` is failed authentication, `unauthorized_client` an app
    /// that may not do this. The platform's identity endpoint knows neither word. Of assertions Entra
    /// also says `invalid_request` or `invalid_grant`, and of services `invalid_client`, and what it
    /// means by the code.
    pub(super) fn refuses_credential(&self) -> bool {
        let word = matches!(
            self.error.as_deref(),
            Some("invalid_client" | "unauthorized_client")
        );
        match self.entry().map(|entry| entry.blamed) {
            Some(Blamed::Credential) => true,
            Some(Blamed::Request) => false,
            Some(Blamed::Else) | None => word,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.entry()) {
            (Some(code), Some(entry)) => {
                write!(f, "AADSTS{code}: {}; {}", entry.meaning, entry.remedy)?;
            }
            (Some(code), None) => write!(
                f,
                "AADSTS{code}; look it up at https://login.microsoftonline.com/error?code={code}"
            )?,
            (None, _) => write!(f, "{} answered {}; {}", self.from, self.status, self.hint)?,
        }
        if let Some(ahead) = self.clock_ahead {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            let seconds = ahead.abs();
            write!(
                f,
                "; this machine's clock is {seconds} s {side} the server's"
            )?;
        }
        let mut open = " (";
        let status = self.code.map(|_| format!("status {}", self.status));
        for (label, value) in [
            ("", self.error.as_ref()),
            ("", status.as_ref()),
            ("trace id ", self.trace_id.as_ref()),
            ("correlation id ", self.correlation_id.as_ref()),
        ] {
            if let Some(value) = value {
                write!(f, "{open}{label}{value}")?;
                open = ", ";
            }
        }
        if open == ", " {
            f.write_str(")")
        } else {
            Ok(())
        }
    }
}
