//! Every way in which a request is answered here, and the one table from it to the wire.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::challenge::TokenRefused;
use super::download::MOST_HOPS;
use crate::caller::{CallerError, keys};
use crate::code::Code;
use crate::config::HostName;
use crate::policy::response_header::guard;
use crate::policy::{Refusal, target};
use crate::retry_after::rounded_up;
use crate::timestamp::Timestamp;
use crate::token::TokenError;
use crate::upstream::{BodyFault, Breakage, ConnectError, UpstreamError};

/// The message of a 414.
pub const LINE_TOO_LONG: &str =
    "the request line is longer than limits.request_line; long queries fit into a $batch";
/// The message of a 431.
pub const HEAD_TOO_LARGE: &str = "the request has more header fields than limits.headers, or more bytes of them than limits.header_block; send fewer, or raise the limit";
/// When somebody who met a bound may ask again: other exchanges have ended by then.
pub const SOON: Duration = Duration::from_secs(1);
/// What a caller has to know where the upstream may have read the request.
const DOUBT: &str =
    "the request may or may not have been acted on, so look before a write is sent again";
const BROKEN_BODY: &str = "the request body broke off or is malformed; send it whole";

static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why a request is answered by the proxy and not by its upstream.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The caller's body failed.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// The caller has not shown who it is.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The host that a download lies on gave no answer.
    #[error("the download leads to {host}")]
    Download {
        /// The host.
        host: HostName,
        /// What came of it.
        source: UpstreamError,
    },
    /// A bound is reached.
    #[error("{0}")]
    Overloaded(&'static str),
    /// The request is not one that passes.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The upstream asked for quiet, and the route holds it.
    #[error("the upstream asked for quiet for another {} s", whole_seconds(*left))]
    Throttled {
        /// What is left of it.
        left: Duration,
    },
    /// No token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The upstream does not take the token.
    #[error(transparent)]
    TokenRefused(#[from] TokenRefused),
    /// A download was redirected again and again.
    #[error(
        "the download leads from redirect to redirect, more than {MOST_HOPS} times; ask the upstream for another address"
    )]
    Unfollowed,
    /// The upstream gave no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl From<Refusal> for ProxyError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What goes to the caller.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The code, with its status.
    pub code: Code,
    /// The error type of RFC 9209 section 2.3: the code's, or what came of the next hop.
    pub proxy_error: &'static str,
    /// What happened, to what, and what to do about it. Holds no secret.
    pub message: Cow<'static, str>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

impl ProxyError {
    /// The one table. Exhaustive on purpose: a new failure has no answer until one is chosen.
    pub fn answer(&self) -> Answer {
        let (code, message, retry_after) = match self {
            Self::Body(fault) => match fault {
                BodyFault::Broken => (Code::BadRequest, BROKEN_BODY.into(), None),
                BodyFault::Stalled => (
                    Code::RequestTimeout,
                    "the request body paused for longer than timeouts.request_body_idle; send it without pauses".into(),
                    None,
                ),
                BodyFault::TooLarge => (
                    Code::BodyTooLarge,
                    "the request body is larger than the route's max_body_bytes; send less, or raise the limit".into(),
                    None,
                ),
            },
            Self::Caller(error) if error.is_ours() => (
                Code::TokenUnavailable,
                error.to_string().into(),
                Some(keys::AGAIN),
            ),
            Self::Caller(error) => (Code::CallerUnknown, error.to_string().into(), None),
            Self::Overloaded(message) => (Code::Overloaded, (*message).into(), Some(SOON)),
            Self::Refused(refusal) => (refusal.code, refusal.message.clone(), None),
            Self::Throttled { left } => (
                Code::Throttled,
                "the upstream asked for quiet and the route keeps it (`throttle: hold`); ask again when Retry-After has passed".into(),
                Some(*left),
            ),
            Self::Token(error) => (error.code(), error.caller_words().into(), error.retry_after()),
            Self::TokenRefused(error) => (
                Code::TokenRefused,
                error.to_string().into(),
                error.retry_after(),
            ),
            Self::Unfollowed => (Code::UpstreamUnreachable, self.to_string().into(), None),
            Self::Download { host, source } => of_upstream(source, host.as_str()),
            Self::Upstream(error) => of_upstream(error, "the upstream"),
        };
        let failure = match self {
            Self::Upstream(error) | Self::Download { source: error, .. } => error.proxy_error(),
            _ => None,
        };
        Answer {
            code,
            proxy_error: failure.unwrap_or(code.proxy_error()),
            message,
            retry_after,
        }
    }
}

/// What is told of an upstream, which is `who`.
fn of_upstream(error: &UpstreamError, who: &str) -> (Code, Cow<'static, str>, Option<Duration>) {
    let (code, words) = match error {
        UpstreamError::CallerBody => return (Code::BadRequest, BROKEN_BODY.into(), None),
        UpstreamError::Connect(connect) => {
            let code = of_connect(connect);
            let after = (code == Code::Overloaded).then_some(SOON);
            return (code, connect.to_string().into(), after);
        }
        UpstreamError::Broken(Breakage::Malformed(flaw)) => (
            Code::UpstreamUnreachable,
            format!("{who} sent {flaw}; {DOUBT}"),
        ),
        UpstreamError::Broken(breakage) => (
            Code::UpstreamUnreachable,
            match breakage.alert_remedy() {
                Some(remedy) => {
                    format!("{who} refused the connection by its TLS; {remedy}; {DOUBT}")
                }
                None => format!(
                    "{who} closed the connection or answered something that is not HTTP before it answered; {DOUBT}"
                ),
            },
        ),
        UpstreamError::Refused(_) => (
            Code::UpstreamUnreachable,
            format!(
                "{who} refused the request and did not act on it (HTTP/2, REFUSED_STREAM); send it again"
            ),
        ),
        UpstreamError::Reset(_) => (
            Code::UpstreamUnreachable,
            format!(
                "{who} reset the request's HTTP/2 stream before it answered, or what it sent there is not HTTP or a head of more than 64 KiB; {DOUBT}"
            ),
        ),
        UpstreamError::HeadTimeout => (
            Code::UpstreamTimeout,
            format!("{who} did not answer within timeouts.response_head; {DOUBT}"),
        ),
        UpstreamError::Coding => (
            Code::UpstreamUnreachable,
            format!(
                "{who} answered in a transfer coding that was not asked for; check what stands between it and this proxy"
            ),
        ),
        UpstreamError::Upgrade => (
            Code::UpstreamUnreachable,
            format!(
                "{who} switched protocols although nobody asked it to; that answer is not passed on"
            ),
        ),
    };
    (code, words.into(), None)
}

fn of_connect(error: &ConnectError) -> Code {
    match error {
        ConnectError::Descriptors { .. } => Code::Overloaded,
        ConnectError::Fault => Code::InternalError,
        ConnectError::Timeout { .. } => Code::UpstreamTimeout,
        ConnectError::Broken { .. }
        | ConnectError::Dns { .. }
        | ConnectError::Protocol { .. }
        | ConnectError::Proxy { .. }
        | ConnectError::Refused { .. }
        | ConnectError::Tls { .. } => Code::UpstreamUnreachable,
    }
}

impl Answer {
    /// Status, headers and body in the OData error form, with `Proxy-Status` (RFC 9209).
    pub fn render(
        &self,
        request_id: HeaderValue,
        at: SystemTime,
    ) -> (StatusCode, HeaderMap, String) {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        headers.insert(
            http::header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        );
        guard(&mut headers);
        let status = format!("tokenferry; error={}", self.proxy_error);
        if let Ok(status) = HeaderValue::try_from(status) {
            headers.insert(&PROXY_STATUS, status);
        }
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if self.code == Code::MethodNotSupported {
            headers.insert(ALLOW, HeaderValue::from_static(target::METHODS));
        }
        let id = request_id.to_str().unwrap_or_default();
        let date = Timestamp::of(at);
        let body = self.code.document(&self.message, id, date.as_str());
        headers.insert(HeaderName::from_static("request-id"), request_id);
        (self.code.status(), headers, body)
    }
}

/// Whole seconds, rounded up and at least one: several SDKs read nothing else.
pub fn whole_seconds(after: Duration) -> u64 {
    rounded_up(after).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_rounded_up_and_one_at_least() {
        for (after, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(after)), seconds);
        }
    }
}
