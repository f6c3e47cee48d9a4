//! Links in headers. Five headers of Graph, Dataverse and Azure hold a URL that a client goes to
//! next, on any status: 201 and 204 name the new row, 202 an operation, 410 a fresh delta URL.

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::address::{Found, Links, Way};
use super::spelling::{Follows, Spelling};
use crate::config::RewriteLinks;

/// The headers, lower-case.
pub const NAMES: [&str; 5] = [
    "location",
    "content-location",
    "odata-entityid",
    "operation-location",
    "azure-asyncoperation",
];

/// Rewrites the links in an answer's headers, unless the route leaves links alone; returns how many
/// there were.
pub fn rewrite(headers: &mut HeaderMap, status: StatusCode, links: &Links) -> u64 {
    const FIELDS: [HeaderName; 5] = [
        LOCATION,
        CONTENT_LOCATION,
        HeaderName::from_static(NAMES[2]),
        HeaderName::from_static(NAMES[3]),
        HeaderName::from_static(NAMES[4]),
    ];
    let mut count = 0;
    if links.rewrite() == RewriteLinks::Off {
        return count;
    }
    for name in FIELDS {
        let relative = name == LOCATION && status.is_redirection();
        if !headers.contains_key(&name) {
            continue;
        }
        let http::header::Entry::Occupied(mut entry) = headers.entry(name) else {
            continue;
        };
        for value in entry.iter_mut() {
            if let Some(rewritten) = value_of(value, relative, links) {
                *value = rewritten;
                count += 1;
            }
        }
    }
    count
}

fn value_of(value: &HeaderValue, relative: bool, links: &Links) -> Option<HeaderValue> {
    let text = rewrite_value(value.as_bytes(), relative, links)?;
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
}

/// The value of one of the headers, rewritten. `relative`: it is the `Location` of a redirect, where
/// a reference to the upstream's root becomes one to the route's.
pub(super) fn rewrite_value(value: &[u8], relative: bool, links: &Links) -> Option<Vec<u8>> {
    let (pieces, rest): (&[&str], _) = match links.find(Way::ToCaller, value, Spelling::Plain) {
        Found::Yes { len, route } => (&links.text(Way::ToCaller, route), &value[len..]),
        Found::Cut | Found::No if relative => (&links.local_prefix(), local(value, links)?),
        Found::Cut | Found::No => return None,
    };
    let mut text = pieces.concat().into_bytes();
    if text.is_empty() {
        return None;
    }
    text.extend_from_slice(rest);
    Some(text)
}

/// What of a root-relative reference is below the upstream's own prefix.
fn local<'a>(value: &'a [u8], links: &Links) -> Option<&'a [u8]> {
    if !value.starts_with(b"/") || value.starts_with(b"//") || value.starts_with(b"/\\") {
        return None;
    }
    match Spelling::Plain.follows(value, 0, links.upstream().prefix.as_str()) {
        Follows::Yes(end) => Some(&value[end..]),
        Follows::Cut | Follows::No => None,
    }
}
