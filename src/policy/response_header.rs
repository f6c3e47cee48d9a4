//! Which response headers come down. Done in place, in two steps: [`settle`] is the same for every
//! route, takes away what belongs to the upstream's connection and adds two headers against browsers;
//! [`ResponseRules`] take away what belongs to the upstream's origin, unless a route keeps it. All else
//! stays as the upstream sent it. A challenge in `WWW-Authenticate` must be read between the two.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};

pub use super::header::plain_length;
use super::header::{Fate, Length, NameSet, Names, editable, edited, length, names, nominated};
use crate::config::HeaderEdits;
use crate::rewrite::Representation;

static NAMES: Names<33> = names! {
    "connection" => Remove,
    // Framing, of which one spelling comes down.
    "content-length" => Pass,
    // RFC 9110 section 7.6.1. `Trailer` stays, so that trailers arrive.
    "keep-alive" => Remove,
    "proxy-authenticate" => Remove,
    "proxy-authentication-info" => Remove,
    "proxy-connection" => Remove,
    "te" => Remove,
    "transfer-encoding" => Remove,
    // Asked for in every answer, and hardly ever there.
    "retry-after" => Pass,
    "upgrade" => Remove,
    // Spoken for another origin than the one the caller asked.
    "access-control-allow-credentials" => RemoveUnlessKept,
    "access-control-allow-headers" => RemoveUnlessKept,
    "access-control-allow-methods" => RemoveUnlessKept,
    "access-control-allow-origin" => RemoveUnlessKept,
    "access-control-expose-headers" => RemoveUnlessKept,
    "access-control-max-age" => RemoveUnlessKept,
    "alt-svc" => RemoveUnlessKept,
    "clear-site-data" => RemoveUnlessKept,
    // By these a browser tells the upstream of failed requests to this origin, addresses and all.
    "nel" => RemoveUnlessKept,
    "report-to" => RemoveUnlessKept,
    "public-key-pins" => RemoveUnlessKept,
    "public-key-pins-report-only" => RemoveUnlessKept,
    "service-worker-allowed" => RemoveUnlessKept,
    "set-cookie" => RemoveUnlessKept,
    "set-cookie2" => RemoveUnlessKept,
    "strict-transport-security" => RemoveUnlessKept,
    "www-authenticate" => RemoveUnlessKept,
    // Set anew below.
    "cross-origin-resource-policy" => Remove,
    // Links, which the caller of this may turn.
    "location" => Pass,
    "content-location" => Pass,
    "odata-entityid" => Pass,
    "operation-location" => Pass,
    "azure-asyncoperation" => Pass,
};

const CONNECTION_AT: usize = 0;
const CONTENT_LENGTH_AT: usize = 1;
const TRANSFER_ENCODING_AT: usize = 7;
const RETRY_AFTER_AT: usize = 8;

static CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// What a route's rules need to know of a head that was settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The names of the table that it came with.
    found: NameSet,
    /// Whether it came with others that begin as those of the CORS protocol do.
    cross_origin: bool,
    /// What it says of its body, where that is known already.
    representation: Option<Representation>,
}

impl Settled {
    /// The same with what all heads like this one say of their bodies.
    pub fn with(self, representation: Representation) -> Self {
        Self {
            representation: Some(representation),
            ..self
        }
    }

    /// Whether there may be a `Retry-After`: one came, and `Connection` may have named it.
    pub fn may_ask_for_time(self) -> bool {
        self.found.has(RETRY_AFTER_AT)
    }

    /// The same for a head that says another length.
    pub fn with_length(self, length: u64) -> Self {
        Self {
            representation: self.representation.map(|known| known.with_length(length)),
            ..self
        }
    }
}

/// What a route takes away of all answers, and nobody reads before: it may be gone earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread(NameSet);

impl Unread {
    /// Takes it away from a settled head; returns what that route's rules still need to know.
    pub fn strip(self, headers: &mut HeaderMap, settled: Settled) -> Settled {
        NAMES.remove(settled.found.common(self.0), headers);
        Settled {
            found: settled.found.less(self.0),
            ..settled
        }
    }
}

/// Takes away what no answer may carry on, and adds what all have: the same for each route. By the
/// names alone, but for those that [`is_settled_by_value`] has.
pub fn settle(headers: &mut HeaderMap) -> Settled {
    let (settled, doomed) = survey(headers);
    if settled.found.has(CONNECTION_AT) {
        for name in nominated(headers, is_always_removed) {
            headers.remove(name);
        }
    }
    if settled.found.has(TRANSFER_ENCODING_AT) {
        // It overrides a length (RFC 9112 section 6.3), and that must not come down alone.
        headers.remove(CONTENT_LENGTH);
    }
    NAMES.remove(doomed, headers);
    guard(headers);
    sandbox(headers);
    if settled.found.has(CONTENT_LENGTH_AT) {
        match length(headers.get_all(CONTENT_LENGTH).iter()) {
            Length::Fine => None,
            Length::Is(length) => headers.insert(CONTENT_LENGTH, length.into()),
            Length::Unknown => headers.remove(CONTENT_LENGTH),
        };
    }
    settled
}

/// Whether [`settle`] goes by the value of a field, or puts another in its place. All other fields it
/// keeps as they are, or takes away, whatever they say; to some it adds one.
pub fn is_settled_by_value(name: &HeaderName) -> bool {
    [
        CONNECTION,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        X_CONTENT_TYPE_OPTIONS,
    ]
    .contains(name)
        || *name == CROSS_ORIGIN_RESOURCE_POLICY
}

/// What is known of the names of a head, and which of them no route keeps.
fn survey(headers: &HeaderMap) -> (Settled, NameSet) {
    let (mut settled, mut doomed) = (Settled::default(), NameSet::default());
    for name in headers.keys() {
        if let Some(at) = NAMES.position(name.as_str()) {
            settled.found = settled.found.and(at);
            if NAMES.fate(at) == Fate::Remove {
                doomed = doomed.and(at);
            }
        } else {
            settled.cross_origin |= is_cross_origin(name);
        }
    }
    (settled, doomed)
}

fn is_always_removed(name: &str) -> bool {
    let at = NAMES.position(name);
    at.is_some_and(|at| NAMES.fate(at) == Fate::Remove)
}

fn is_cross_origin(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

/// The response header rules of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseRules {
    /// Beside what no route keeps.
    removed: NameSet,
    links: NameSet,
    kept: Vec<HeaderName>,
    edits: HeaderEdits,
}

impl ResponseRules {
    /// The rules of a route from its `keep_headers` and `response_headers`. Hop-by-hop headers and
    /// framing can neither be kept nor changed.
    pub fn new(keep_headers: &[HeaderName], edits: &HeaderEdits) -> Self {
        let kept = keep_headers
            .iter()
            .filter_map(|name| NAMES.position(name.as_str()));
        Self {
            removed: kept.fold(NAMES.with(Fate::RemoveUnlessKept), NameSet::without),
            links: NAMES
                .with(Fate::Pass)
                .without(CONTENT_LENGTH_AT)
                .without(RETRY_AFTER_AT),
            kept: keep_headers.to_vec(),
            edits: editable(edits, is_framing),
        }
    }

    /// What they take away whatever it says, but for challenges, which are read.
    pub fn unread(&self) -> Unread {
        let read = NAMES.position(WWW_AUTHENTICATE.as_str());
        Unread(read.map_or(self.removed, |at| self.removed.without(at)))
    }

    /// Takes away from a settled head what belongs to the upstream's origin, and applies the edits.
    /// Returns whether the upstream sent links in headers.
    pub fn apply(&self, headers: &mut HeaderMap, settled: Settled) -> bool {
        self.strip(headers, settled);
        for name in &self.edits.remove {
            headers.remove(name);
        }
        for (name, value) in &self.edits.set {
            headers.insert(name, value.clone());
        }
        settled.found.common(self.links) != NameSet::default()
    }

    /// Whether [`Self::apply`] changes anything at the route's wish.
    pub fn edits(&self) -> bool {
        !(self.edits.remove.is_empty() && self.edits.set.is_empty())
    }

    /// What a head says of its body once [`Self::apply`] is done with it.
    pub fn representation(&self, headers: &HeaderMap, settled: Settled) -> Representation {
        let known = settled.representation.filter(|_| !self.edits());
        known.unwrap_or_else(|| Representation::of(headers))
    }

    /// Takes away from response trailers whatever would not pass as a header.
    pub fn trailers(&self, trailers: &mut HeaderMap) {
        let (settled, doomed) = survey(trailers);
        NAMES.remove(doomed, trailers);
        self.strip(trailers, settled);
        for name in edited(&self.edits) {
            trailers.remove(name);
        }
        trailers.remove(CONTENT_LENGTH);
    }

    fn strip(&self, headers: &mut HeaderMap, settled: Settled) {
        NAMES.remove(settled.found.common(self.removed), headers);
        if settled.cross_origin {
            let doomed = |name: &&HeaderName| is_cross_origin(name) && !self.kept.contains(name);
            let doomed: Vec<HeaderName> = headers.keys().filter(doomed).cloned().collect();
            for name in doomed {
                headers.remove(name);
            }
        }
    }
}

/// What every answer carries, so that a browser takes it for what it says it is and shows it to no
/// other site.
pub fn guard(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        &CROSS_ORIGIN_RESOURCE_POLICY,
        HeaderValue::from_static("same-origin"),
    );
}

/// A document that a browser would run is a file or an attachment that anybody may have sent. Opened
/// here, it would call with the app's permissions: to the browser it is of no origin instead (CSP
/// level 2, `sandbox`). Further policies are added to it.
fn sandbox(headers: &mut HeaderMap) {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    if kinds.any(|kind| names_document(kind.as_bytes())) {
        headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
}

/// Whether a `Content-Type` may make a document of an answer. To browsers several types count, with
/// commas between them or each on a line of its own, and nothing that follows a name.
fn names_document(mut kinds: &[u8]) -> bool {
    loop {
        let comma = memchr::memchr(b',', kinds);
        let kind = kinds[..comma.unwrap_or(kinds.len())].trim_ascii_start();
        let end = kind.iter().position(|b| b" \t;(".contains(b));
        if is_document(&kind[..end.unwrap_or(kind.len())]) {
            return true;
        }
        match comma {
            Some(at) => kinds = &kinds[at + 1..],
            None => return false,
        }
    }
}

/// XML of whatever kind may be a page, or hold one; to browsers a style sheet is XML as well.
fn is_document(kind: &[u8]) -> bool {
    kind.eq_ignore_ascii_case(b"text/html")
        || kind.len() >= b"xml".len()
            && kind[kind.len() - b"xml".len()..].eq_ignore_ascii_case(b"xml")
        || kind.eq_ignore_ascii_case(b"text/xsl")
        || kind.eq_ignore_ascii_case(b"multipart/x-mixed-replace")
}

/// Headers of the connection, or of the body's framing.
fn is_framing(name: &HeaderName) -> bool {
    name == CONTENT_LENGTH
        || name == http::header::TRAILER
        || NAMES.position(name.as_str()).is_some_and(|at| {
            NAMES.fate(at) == Fate::Remove && name != CROSS_ORIGIN_RESOURCE_POLICY
        })
}
