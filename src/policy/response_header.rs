//! Which response headers come down. Done in one pass over the names, in place: what belongs to the
//! connection or the origin of the upstream goes, two headers against browsers are added, all else
//! stays as the upstream sent it. A challenge in `WWW-Authenticate` must be read before this.

use http::header::{
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};

use super::header::{Fate, Length, NameSet, Names, editable, edited, length, names, nominated};
use crate::config::HeaderEdits;

static NAMES: Names<32> = names! {
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

static CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// The response header rules of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseRules {
    removed: NameSet,
    links: NameSet,
    kept: Vec<HeaderName>,
    edits: HeaderEdits,
}

impl ResponseRules {
    /// The rules of a route from its `keep_headers` and `response_headers`. Hop-by-hop headers and
    /// framing can neither be kept nor changed.
    pub fn new(keep_headers: &[HeaderName], edits: &HeaderEdits) -> Self {
        let mut rules = Self {
            removed: NAMES
                .with(Fate::Remove)
                .or(NAMES.with(Fate::RemoveUnlessKept)),
            links: NAMES.with(Fate::Pass).without(CONTENT_LENGTH_AT),
            kept: keep_headers.to_vec(),
            edits: editable(edits, is_framing),
        };
        for name in keep_headers {
            match NAMES.position(name.as_str()) {
                Some(at) if NAMES.fate(at) != Fate::Remove => {
                    rules.removed = rules.removed.without(at);
                }
                _ => {}
            }
        }
        rules
    }

    /// Takes away what must not come down, adds what keeps browsers apart, applies the edits.
    /// Returns whether the upstream sent links in headers.
    pub fn apply(&self, headers: &mut HeaderMap) -> bool {
        let (found, mut doomed) = self.survey(headers);
        if found.has(CONNECTION_AT) {
            doomed.extend(nominated(headers, |name| {
                NAMES.position(name).is_some_and(|at| self.removed.has(at))
            }));
        }
        if found.has(TRANSFER_ENCODING_AT) {
            // It overrides a length (RFC 9112 section 6.3), and that must not come down alone.
            headers.remove(CONTENT_LENGTH);
        }
        NAMES.remove(found.common(self.removed), headers);
        for name in &doomed {
            headers.remove(name);
        }
        guard(headers);
        sandbox(headers);
        if found.has(CONTENT_LENGTH_AT) {
            match length(headers.get_all(CONTENT_LENGTH).iter()) {
                Length::Fine => None,
                Length::Is(length) => headers.insert(CONTENT_LENGTH, length.into()),
                Length::Unknown => headers.remove(CONTENT_LENGTH),
            };
        }
        for name in &self.edits.remove {
            headers.remove(name);
        }
        for (name, value) in &self.edits.set {
            headers.insert(name, value.clone());
        }
        found.common(self.links) != NameSet::default()
    }

    /// Takes away from response trailers whatever would not pass as a header.
    pub fn trailers(&self, trailers: &mut HeaderMap) {
        let (found, doomed) = self.survey(trailers);
        NAMES.remove(found.common(self.removed), trailers);
        for name in doomed.iter().chain(edited(&self.edits)) {
            trailers.remove(name);
        }
        trailers.remove(CONTENT_LENGTH);
    }

    fn survey(&self, headers: &HeaderMap) -> (NameSet, Vec<HeaderName>) {
        let mut found = NameSet::default();
        let mut doomed = Vec::new();
        for name in headers.keys() {
            let text = name.as_str();
            if let Some(at) = NAMES.position(text) {
                found = found.and(at);
            } else if text.starts_with("access-control-") && !self.kept.contains(name) {
                doomed.push(name.clone());
            }
        }
        (found, doomed)
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
