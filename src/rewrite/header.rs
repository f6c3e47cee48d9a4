//! Links in headers. Five headers of Graph, Dataverse and Azure hold a URL that a client goes to
//! next, on any status: 201 and 204 name the new row, 202 an operation, 410 a fresh delta URL.

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::address::{Found, Links, Way};
use super::preauthenticated::is_preauthenticated;
use super::spelling::{Follows, Spelling};

/// The headers, lower-case.
pub const NAMES: [&str; 5] = [
    "location",
    "content-location",
    "odata-entityid",
    "operation-location",
    "azure-asyncoperation",
];

/// Which references of a header are turned here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// Also one to the root of the upstream's host: it is the `Location` of a redirect.
    pub(super) relative: bool,
    /// Those to the route's own upstream only.
    pub(super) own: bool,
}

/// Rewrites the links in an answer's headers; returns how many there were. `file`: it answers a request for a file, and is read on another host without a token
/// then. So is the monitor of a copy, which 202 names; only where a route goes to that host would
/// the token go along, and there it is left alone as well.
pub fn rewrite(headers: &mut HeaderMap, status: StatusCode, file: bool, links: &Links) -> u64 {
    const FIELDS: [HeaderName; 5] = [
        LOCATION,
        CONTENT_LOCATION,
        HeaderName::from_static(NAMES[2]),
        HeaderName::from_static(NAMES[3]),
        HeaderName::from_static(NAMES[4]),
    ];
    let mut count = 0;
    for name in FIELDS {
        let reach = Reach {
            relative: name == LOCATION && status.is_redirection(),
            own: name == LOCATION && (file || status == StatusCode::ACCEPTED),
        };
        count += rewrite_field(headers, name, reach, links);
    }
    count
}

/// The same for a redirect that another host than the upstream answers: it may lead to the upstream,
/// and a rooted reference is that host's.
pub fn rewrite_foreign(headers: &mut HeaderMap, links: &Links) -> u64 {
    let reach = Reach {
        relative: false,
        own: true,
    };
    rewrite_field(headers, LOCATION, reach, links)
}

fn rewrite_field(headers: &mut HeaderMap, name: HeaderName, reach: Reach, links: &Links) -> u64 {
    let mut count = 0;
    if !headers.contains_key(&name) {
        return count;
    }
    if let http::header::Entry::Occupied(mut entry) = headers.entry(name) {
        for value in entry.iter_mut() {
            if let Some(rewritten) = value_of(value, reach, links) {
                *value = rewritten;
                count += 1;
            }
        }
    }
    count
}

fn value_of(value: &HeaderValue, reach: Reach, links: &Links) -> Option<HeaderValue> {
    let text = rewrite_value(value.as_bytes(), reach, links)?;
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
}

/// The value of one of the headers, rewritten. What is pre-authenticated leads to the upstream, and
/// is made to where it would be read as a reference to this proxy.
pub(super) fn rewrite_value(value: &[u8], reach: Reach, links: &Links) -> Option<Vec<u8>> {
    if !reach.relative || !is_rooted(value) {
        return rewrite_url(value, reach, links);
    }
    if !is_preauthenticated(value, 0, Spelling::Plain)
        && let Some(rest) = local(value, links)
    {
        let mut text = links.local_prefix().concat().into_bytes();
        text.extend_from_slice(rest);
        if !text.starts_with(b"/") {
            text.insert(0, b'/');
        }
        // Two slashes would name another host, which a caller would follow (RFC 3986 section 4.2).
        if is_rooted(&text) {
            return (text != value).then_some(text);
        }
    }
    // The way of this route does not lead there: another one may, or else the upstream's own.
    let origin = links.upstream().origin.to_string();
    let url = [origin.as_bytes(), value].concat();
    Some(rewrite_url(&url, reach, links).unwrap_or(url))
}

fn rewrite_url(value: &[u8], reach: Reach, links: &Links) -> Option<Vec<u8>> {
    match links.find(Way::ToCaller, value, Spelling::Plain) {
        Found::Yes { route, .. } if reach.own && !links.is_own(route) => None,
        Found::Yes { .. } if is_preauthenticated(value, 0, Spelling::Plain) => None,
        Found::Yes { len, route } => {
            let mut text = links.text(Way::ToCaller, route).concat().into_bytes();
            text.extend_from_slice(&value[len..]);
            Some(text)
        }
        Found::Cut | Found::No => None,
    }
}

/// Whether it is a reference to the root of the host.
fn is_rooted(value: &[u8]) -> bool {
    value.starts_with(b"/") && !value.starts_with(b"//") && !value.starts_with(b"/\\")
}

/// What of a root-relative reference is below the upstream's own prefix.
fn local<'a>(value: &'a [u8], links: &Links) -> Option<&'a [u8]> {
    match Spelling::Plain.follows(value, 0, links.upstream().prefix.as_str()) {
        Follows::Yes(end) => Some(&value[end..]),
        Follows::Cut | Follows::No => None,
    }
}
