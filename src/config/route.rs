//! Checked routes: where requests go, what the token is for, and what may pass.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::UpstreamTimeouts;
use super::value::{BaseUrl, HostPattern, Name, PathPrefix, Scope};

/// A route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    /// Its name; a metric label.
    pub name: Name,
    /// Path prefix, removed before forwarding; the root when only a host is given.
    pub path: PathPrefix,
    /// Host, when the route is bound to one.
    pub host: Option<HostPattern>,
    /// Where requests go.
    pub upstream: BaseUrl,
    /// What the token is for.
    pub scope: Scope,
    /// Index into [`Config::credentials`](super::Config::credentials).
    pub credential: usize,
    /// What may pass, all else is answered 403 `notAllowed`; `None` means everything.
    pub allow: Option<Vec<AllowSpec>>,
    /// Names of callers that may use the route, others are answered 401 `callerUnknown`; empty means
    /// anybody.
    pub callers: Vec<Name>,
    /// Which links are rewritten.
    pub rewrite_links: RewriteLinks,
    /// Further JSON names that hold links.
    pub link_keys: Vec<String>,
    /// Changes to the request's headers.
    pub request_headers: HeaderEdits,
    /// Changes to the response's headers.
    pub response_headers: HeaderEdits,
    /// Headers whose default strip or refusal is lifted, lower-case.
    pub keep_headers: Vec<http::HeaderName>,
    /// Concurrent requests to the upstream, of all callers; one more waits up to 30 s for its place and
    /// is answered 503 `overloaded` then. `None` means no limit.
    pub max_concurrency: Option<NonZeroUsize>,
    /// What a 429 of the upstream does to later requests.
    pub throttle: Throttle,
    /// Opt-in retries; `None` means none.
    pub retry: Option<RetrySpec>,
    /// What is done about `$batch`.
    pub batch: BatchRule,
    /// Bytes of a batch that are read for checking; a larger one is answered 413 `bodyTooLarge`.
    pub max_batch_bytes: u64,
    /// Hosts whose pre-authenticated downloads are followed.
    pub follow_downloads: Vec<HostPattern>,
    /// Time limits towards the upstream.
    pub timeouts: UpstreamTimeouts,
    /// Bytes of a request body, more are answered 413 `bodyTooLarge`; `None` means no limit.
    pub max_body_bytes: Option<u64>,
    /// The protocol towards the upstream.
    pub upstream_http: UpstreamHttp,
}

impl RouteSpec {
    /// What it matches, for people: the host, where one is given, and the path.
    pub fn matches(&self) -> String {
        let host = self
            .host
            .as_ref()
            .map_or(String::new(), ToString::to_string);
        let path = match self.path.as_str() {
            "" => "/",
            path => path,
        };
        format!("{host}{path}")
    }
}

/// JSON names of pre-authenticated addresses, which need no token, because they let in whoever has
/// them. Such a link is never rewritten.
pub const PREAUTHENTICATED_KEYS: [&str; 4] = [
    "uploadUrl",
    "downloadUrl",
    "@microsoft.graph.downloadUrl",
    "@content.downloadUrl",
];

/// One line of `allow`: methods and a path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowSpec {
    /// Upper-case methods.
    pub methods: Vec<http::Method>,
    /// The pattern's segments.
    pub pattern: Vec<PatternSegment>,
}

impl AllowSpec {
    /// Whether the pattern begins with the segments of this path, spelt out.
    pub(super) fn begins_with(&self, path: &str) -> bool {
        let mut pattern = self.pattern.iter();
        path.trim_start_matches('/').split('/').all(|segment| {
            matches!(pattern.next(), Some(PatternSegment::Literal(text)) if text == segment)
        })
    }

    /// A segment that other programs take for a parameter or one with a parameter in it, `{id}`, `:id`
    /// or `users({id})`; here it is a text like any other.
    pub(super) fn parameter(&self) -> Option<&str> {
        let mut texts = self.pattern.iter().filter_map(|segment| match segment {
            PatternSegment::Literal(text) | PatternSegment::Keyed(text) => Some(text.as_str()),
            PatternSegment::AnyNumber | PatternSegment::AnyOne => None,
        });
        let named = |text: &&str| {
            let brace = text.find('{');
            let braces = brace.is_some_and(|open| text[open..].contains('}'));
            braces || text.strip_prefix(':').is_some_and(|name| !name.is_empty())
        };
        texts.find(named)
    }
}

/// One segment of an `allow` pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternSegment {
    /// `**`: zero or more segments.
    AnyNumber,
    /// `*`: one segment without an encoded slash.
    AnyOne,
    /// `NAME(*)`: one with this name, case counts, and in brackets a key or arguments of whatever kind,
    /// without an encoded slash.
    Keyed(String),
    /// This text, case counts.
    Literal(String),
}

/// Which links of a response are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteLinks {
    /// Every JSON string value that begins with the upstream's origin.
    All,
    /// None.
    Off,
    /// The next, delta and context links.
    On,
}

/// Headers to set and to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Set to these values, after removal.
    pub set: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Removed.
    pub remove: Vec<http::HeaderName>,
}

/// What a 429 of the upstream does to later requests of the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Until the time that it asked for is over, later requests wait up to this long and are answered
    /// 429 `throttled` here then; with zero at once.
    Hold(Duration),
    /// Nothing.
    Pass,
}

/// No retry begins later than this after the request came: SDKs give up after 100 s.
pub const LATEST_RETRY: Duration = Duration::from_secs(90);

/// Opt-in retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySpec {
    /// Attempts in all, the first included: 2 to 10, default 3.
    pub attempts: u32,
    /// Statuses that are retried, default 429, 503 and 504.
    pub statuses: Vec<u16>,
    /// The longest pause, default 30 s: where `Retry-After` asks for more, the answer is passed on.
    pub max_wait: Duration,
}

/// What is done about `$batch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchRule {
    /// The operations inside are read, and each is held to `allow`; what cannot be read is refused.
    Check,
    /// It passes unread, whatever is inside.
    Pass,
    /// It is answered 403 `notAllowed`.
    Refuse,
}

/// The protocol towards an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamHttp {
    /// What ALPN settles.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}
