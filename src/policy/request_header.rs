//! Which request headers go up. Decided and copied in one pass over the caller's; afterwards the
//! user of this adds its own (`Host`, `Authorization`, `client-request-id`), so that nothing a
//! request nominates or carries can take those away.
//!
//! Body framing is left as one well-spelt `Content-Length` or nothing: `Transfer-Encoding` is gone
//! and the client connection frames what it sends.

use std::borrow::Cow;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::header::{Fate, Length, NameSet, Names, editable, edited, length, names, nominated};
use super::{Refusal, letters_digits_and};
use crate::code::Code;
use crate::config::{HeaderEdits, dashed};
use crate::fields::Fields;
use crate::rewrite::accept_encoding_for_upstream;

static NAMES: Names<46> = names! {
    "connection" => Remove,
    "te" => Remove,
    // Framing, of which one spelling goes up.
    "content-length" => Pass,
    // What the upstream is asked for by the one who reads its answers here.
    "accept-encoding" => Pass,
    // What HTTP/2 may cut in pieces, should it go up.
    "cookie" => RemoveUnlessKept,
    // RFC 9110 section 7.6.1 and what RFC 2616 counted as hop-by-hop.
    "http2-settings" => Remove,
    "keep-alive" => Remove,
    "proxy-authorization" => Remove,
    "proxy-connection" => Remove,
    "trailer" => Remove,
    "transfer-encoding" => Remove,
    "upgrade" => Remove,
    // Answered here, or set here.
    "authorization" => Remove,
    "expect" => Remove,
    "host" => Remove,
    "x-api-key" => Remove,
    "cookie2" => RemoveUnlessKept,
    "forwarded" => RemoveUnlessKept,
    "origin" => RemoveUnlessKept,
    "referer" => RemoveUnlessKept,
    "sec-ch-ua" => RemoveUnlessKept,
    "sec-ch-ua-mobile" => RemoveUnlessKept,
    "sec-ch-ua-platform" => RemoveUnlessKept,
    "sec-fetch-dest" => RemoveUnlessKept,
    "sec-fetch-mode" => RemoveUnlessKept,
    "sec-fetch-site" => RemoveUnlessKept,
    "sec-fetch-user" => RemoveUnlessKept,
    "sec-gpc" => RemoveUnlessKept,
    "via" => RemoveUnlessKept,
    "x-forwarded-for" => RemoveUnlessKept,
    "x-forwarded-host" => RemoveUnlessKept,
    "x-forwarded-port" => RemoveUnlessKept,
    "x-forwarded-prefix" => RemoveUnlessKept,
    "x-forwarded-proto" => RemoveUnlessKept,
    "x-forwarded-server" => RemoveUnlessKept,
    "x-ms-authorization-auxiliary" => RemoveUnlessKept,
    // What front ends add: the caller's address, and the target before they changed it, by which some
    // servers find their way.
    "x-original-url" => RemoveUnlessKept,
    "x-real-ip" => RemoveUnlessKept,
    "x-rewrite-url" => RemoveUnlessKept,
    "callerobjectid" => RefuseUnlessKept,
    "mscrm.bypasscustompluginexecution" => RefuseUnlessKept,
    "mscrm.suppresscallbackregistrationexpanderjob" => RefuseUnlessKept,
    "mscrmcallerid" => RefuseUnlessKept,
    "x-http-method" => RefuseUnlessKept,
    "x-http-method-override" => RefuseUnlessKept,
    "x-method-override" => RefuseUnlessKept,
};

const CONNECTION_AT: usize = 0;
const TE_AT: usize = 1;
const CONTENT_LENGTH_AT: usize = 2;
const ACCEPT_ENCODING_AT: usize = 3;
const COOKIE_AT: usize = 4;
/// What the user of this adds: `Host`, a length.
const OURS: usize = 2;

static ACCEPT_ENCODING: HeaderName = header::ACCEPT_ENCODING;
static CONTENT_LENGTH: HeaderName = header::CONTENT_LENGTH;
static COOKIE: HeaderName = header::COOKIE;
static TE: HeaderName = header::TE;

/// What a header name means for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// In the table.
    Known(usize),
    /// Of a family of names that is open.
    Family(Fate),
    /// Not made of letters, digits, `-` and `.`: some servers read `_` and others as `-`.
    Odd,
    /// Nothing.
    Plain,
}

/// The request header rules of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRules {
    removed: NameSet,
    refused: NameSet,
    kept: Vec<HeaderName>,
    edits: HeaderEdits,
}

impl RequestRules {
    /// The rules of a route from its `keep_headers` and `request_headers`. The first cannot keep, and
    /// the second cannot change, what [`is_fixed`] names.
    pub fn new(keep_headers: &[HeaderName], edits: &HeaderEdits) -> Self {
        let mut rules = Self {
            removed: NAMES.with(Fate::Remove),
            refused: NAMES.with(Fate::RefuseUnlessKept),
            kept: Vec::new(),
            edits: editable(edits, |name| is_fixed(name) && dashed(name) != "x-api-key"),
        };
        let mut optional = NAMES.with(Fate::RemoveUnlessKept);
        for name in keep_headers.iter().filter(|name| !is_fixed(name)) {
            rules.kept.push(name.clone());
            if let Some(at) = NAMES.position(name.as_str()) {
                optional = optional.without(at);
                rules.refused = rules.refused.without(at);
            }
        }
        rules.removed = rules.removed.or(optional);
        rules
    }

    /// The headers that go up, after the route's edits. `reads` says that the answer may be rewritten:
    /// then the caller's `Accept-Encoding`, where there is one, asks for what can be undone here.
    ///
    /// # Errors
    /// 403 for a header that would have to be kept by the route, 400 for a name that servers read
    /// in different ways.
    pub fn apply<'a>(&'a self, caller: &'a HeaderMap, reads: bool) -> Result<Fields<'a>, Refusal> {
        let mut fields = Fields::with_capacity(caller.len() + self.edits.set.len() + OURS);
        let found = self.pass(caller, &mut fields)?;
        if found.has(CONNECTION_AT) {
            for name in nominated(caller, |name| self.removes(name)) {
                if meant(&name) {
                    return Err(refused(name.as_str()));
                }
                fields.remove(&name);
            }
        }
        if found.has(TE_AT) && wants_trailers(caller) {
            let trailers = HeaderValue::from_static("trailers");
            fields.insert(&TE, Cow::Owned(trailers));
        }
        if reads
            && found.has(ACCEPT_ENCODING_AT)
            && let Some(coding) = accept_encoding_for_upstream(fields.get_all(&ACCEPT_ENCODING))
        {
            fields.replace(&ACCEPT_ENCODING, coding);
        }
        if found.has(CONTENT_LENGTH_AT) {
            match length(fields.get_all(&CONTENT_LENGTH)) {
                Length::Fine => {}
                Length::Is(length) => fields.insert(&CONTENT_LENGTH, Cow::Owned(length.into())),
                Length::Unknown => fields.remove(&CONTENT_LENGTH),
            }
        }
        if found.has(COOKIE_AT) && !self.removed.has(COOKIE_AT) {
            join_cookies(&mut fields);
        }
        // Removals first, so that a name may be replaced as a whole.
        for name in &self.edits.remove {
            fields.remove(name);
        }
        for (name, value) in &self.edits.set {
            fields.insert(name, Cow::Borrowed(value));
        }
        Ok(fields)
    }

    /// Takes away from request trailers whatever would not pass as a header.
    pub fn trailers(&self, trailers: &mut HeaderMap) {
        let passes = |name: &HeaderName| match meaning(name.as_str()) {
            Meaning::Plain => true,
            Meaning::Known(at) => NAMES.fate(at) == Fate::Pass && at != CONTENT_LENGTH_AT,
            Meaning::Family(_) | Meaning::Odd => false,
        };
        let doomed: Vec<HeaderName> = trailers
            .keys()
            .filter(|name| !passes(name))
            .cloned()
            .collect();
        for name in doomed.iter().chain(edited(&self.edits)) {
            trailers.remove(name);
        }
    }

    /// Whether an operation inside a batch must not carry a header of this name, in any case.
    ///
    /// Beside what is refused on a request these are credentials, and what says where a request was
    /// sent or who sent it: nothing can be taken out of a batch that goes up as it is.
    pub fn refuses(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        if self.kept.iter().any(|kept| *kept == name.as_str()) {
            return false;
        }
        match meaning(&name) {
            Meaning::Known(at) => {
                let name = name.as_str();
                NAMES.fate(at) == Fate::RefuseUnlessKept
                    || CREDENTIALS.contains(&name)
                    || OF_FRONT_ENDS.contains(&name)
                    || name.starts_with(FORWARDED)
            }
            Meaning::Family(fate) => fate == Fate::RefuseUnlessKept || name.starts_with(FORWARDED),
            Meaning::Odd => true,
            Meaning::Plain => false,
        }
    }

    /// Copies what passes; returns what the table knows of the names.
    fn pass<'a>(&self, caller: &'a HeaderMap, fields: &mut Fields<'a>) -> Result<NameSet, Refusal> {
        let mut found = NameSet::default();
        for (name, value) in caller {
            let passes = match meaning(name.as_str()) {
                Meaning::Plain => true,
                Meaning::Known(at) => {
                    found = found.and(at);
                    !self.removed.has(at)
                }
                _ if self.kept.contains(name) => true,
                Meaning::Family(Fate::RefuseUnlessKept) => return Err(refused(name.as_str())),
                Meaning::Family(_) => false,
                Meaning::Odd => return Err(odd(name)),
            };
            if passes {
                fields.append(name, value);
            }
        }
        match found.common(self.refused).first() {
            Some(at) => Err(refused(NAMES.name(at).as_str())),
            None => Ok(found),
        }
    }

    /// Whether the table removes a name already.
    fn removes(&self, name: &str) -> bool {
        NAMES.position(name).is_some_and(|at| self.removed.has(at))
    }
}

const CREDENTIALS: [&str; 5] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "x-ms-authorization-auxiliary",
];

/// What front ends add, by which servers find their way or know the caller.
const OF_FRONT_ENDS: [&str; 4] = ["forwarded", "x-original-url", "x-real-ip", "x-rewrite-url"];

/// What their other names begin with.
const FORWARDED: &str = "x-forwarded-";

/// Whether a route can neither keep nor (but for `X-Api-Key`) set a header: hop-by-hop, framing,
/// `Host`, `Authorization`, `Expect`, callers' keys, in any spelling that a server may read so.
pub fn is_fixed(name: &HeaderName) -> bool {
    let dashed = dashed(name);
    dashed == "content-length"
        || dashed.starts_with("proxy-")
        || NAMES
            .position(&dashed)
            .is_some_and(|at| NAMES.fate(at) == Fate::Remove)
}

/// Whether a name is among these that servers read in different ways, one of them perhaps as framing.
pub fn is_ambiguous(caller: &HeaderMap) -> bool {
    caller
        .keys()
        .any(|name| meaning(name.as_str()) == Meaning::Odd)
}

fn meaning(name: &str) -> Meaning {
    if let Some(at) = NAMES.position(name) {
        return Meaning::Known(at);
    }
    let family = match name.bytes().next() {
        Some(b'm') if name.starts_with("mscrm.bypass") => Some(Fate::RefuseUnlessKept),
        Some(b'p') if name.starts_with("proxy-") => Some(Fate::Remove),
        Some(b's') if name.starts_with("sec-") => Some(Fate::RemoveUnlessKept),
        Some(b'x') if name.starts_with(FORWARDED) => Some(Fate::RemoveUnlessKept),
        _ => None,
    };
    match family {
        Some(fate) => Meaning::Family(fate),
        None if regular(name) => Meaning::Plain,
        None => Meaning::Odd,
    }
}

/// Letters, digits, `-`; and `.`, which Dataverse's own names have.
static REGULAR: [bool; 256] = letters_digits_and(b"-.");

fn regular(name: &str) -> bool {
    name.bytes()
        .fold(true, |so_far, byte| so_far & REGULAR[usize::from(byte)])
}

/// Whether the silent loss of a header changes what a request means.
fn meant(name: &HeaderName) -> bool {
    match meaning(name.as_str()) {
        Meaning::Known(at) => NAMES.fate(at) == Fate::RefuseUnlessKept,
        Meaning::Family(fate) => fate == Fate::RefuseUnlessKept,
        Meaning::Odd | Meaning::Plain => false,
    }
}

/// Puts cookies into one field, as all but HTTP/2 have them (RFC 9113 section 8.2.3).
fn join_cookies(fields: &mut Fields<'_>) {
    let pieces = fields.get_all(&COOKIE).map(HeaderValue::as_bytes);
    let pieces: Vec<&[u8]> = pieces.collect();
    if pieces.len() > 1
        && let Ok(all) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        fields.insert(&COOKIE, Cow::Owned(all));
    }
}

/// Whether the caller takes trailers (RFC 9110 section 10.1.4).
fn wants_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(&TE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

fn refused(name: &str) -> Refusal {
    Refusal::new(
        Code::NotAllowed,
        format!(
            "the header \"{name}\" changes what a request means and is not let through; list it under keep_headers of the route, or leave it out"
        ),
    )
}

fn odd(name: &HeaderName) -> Refusal {
    let shown: String = name.as_str().chars().take(64).collect();
    let remedy = match is_fixed(name) {
        true => "leave it out",
        false => "rename it, or list it under keep_headers of the route",
    };
    Refusal::new(
        Code::BadRequest,
        format!(
            "the header name \"{shown}\" holds a character other than letters, digits, \"-\" and \".\"; servers read it in different ways; {remedy}"
        ),
    )
}
