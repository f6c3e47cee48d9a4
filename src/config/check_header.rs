//! Rules of header edits: what frames a message, names its host or carries the token is not the
//! file's to change.

use std::collections::HashSet;

use http::HeaderName;

use super::HeaderEdits;
use super::file::RawHeaderEdits;
use super::read::{Field, Item, Table};
use super::report::{Report, Span, is_word, quoted, quoted_key};

/// Hop-by-hop and framing fields (RFC 9110 section 7.6.1, RFC 9112 section 6), the host, and what is
/// answered here.
const FRAMING: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What the names of requests' fields begin with that are for proxies alone.
const FOR_PROXIES: &str = "proxy-";
const NEVER_GOES_UP: &str = "it is meant for a proxy, and never goes up";

const OF_CONNECTION: &str = "it belongs to the connection, not to the message";
const AGAINST_PAGES: &str = "it keeps web pages of others from reading the answer";

/// Whose headers are changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

/// The edits of one direction.
pub(super) fn edits(
    field: &Field<RawHeaderEdits>,
    direction: Direction,
    report: &mut Report,
) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    let Some(raw) = field.value() else {
        return edits;
    };
    if let Some(set) = raw.set.value() {
        edits.set = values(set, direction, report);
    }
    for item in raw.remove.items() {
        if let Some(name) = editable(&item.value, item.span, direction, report) {
            edits.remove.push(name);
        }
    }
    edits
}

fn values(
    set: &Table<http::HeaderValue>,
    direction: Direction,
    report: &mut Report,
) -> Vec<(HeaderName, http::HeaderValue)> {
    let mut values: Vec<(HeaderName, http::HeaderValue)> = Vec::new();
    let mut seen = HashSet::new();
    for (key, value) in &set.0 {
        let Ok(name) = key.text.parse::<HeaderName>() else {
            // What is no word either has been told when it was read.
            if is_word(&key.text) {
                let message = format!("{} is not a header name", quoted_key(&key.text));
                report.problem(key.span, message, "letters, digits and hyphens");
            }
            continue;
        };
        let Some(name) = editable(&name, key.span, direction, report) else {
            continue;
        };
        if !seen.insert(name.clone()) {
            let message = format!("{} is set twice", quoted_key(&key.text));
            report.problem(key.span, message, "names of headers compare without case");
        } else if let Some(item) = value {
            values.push((name, marked(item)));
        }
    }
    values
}

/// A value that came from a variable may be a key: it is never printed.
fn marked(item: &Item<http::HeaderValue>) -> http::HeaderValue {
    let mut value = item.value.clone();
    value.set_sensitive(!item.is_written());
    value
}

/// The name, unless it is not the file's to change.
fn editable(
    name: &HeaderName,
    span: Span,
    direction: Direction,
    report: &mut Report,
) -> Option<HeaderName> {
    let reason = match dashed(name).as_str() {
        "authorization" if direction == Direction::Request => {
            "it carries the token; that is what the route is for"
        }
        "x-content-type-options" | "cross-origin-resource-policy"
            if direction == Direction::Response =>
        {
            AGAINST_PAGES
        }
        "client-request-id" if direction == Direction::Request => {
            "it is the caller's own, or made here for each request"
        }
        text if direction == Direction::Request && text.starts_with(FOR_PROXIES) => NEVER_GOES_UP,
        text if FRAMING.contains(&text) => OF_CONNECTION,
        _ => return Some(name.clone()),
    };
    report.problem(
        span,
        format!("{} cannot be changed", quoted(name.as_str())),
        reason,
    );
    None
}

/// The name as some servers read it.
pub fn dashed(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

/// The headers whose default strip or refusal is lifted.
pub(super) fn kept(items: &[Item<HeaderName>], report: &mut Report) -> Vec<HeaderName> {
    let mut kept = Vec::new();
    for item in items {
        let reason = match dashed(&item.value).as_str() {
            "authorization" => "the route's own token takes its place",
            "x-api-key" => {
                "callers prove themselves here with it; for a key of the upstream's own, use request_headers"
            }
            "x-content-type-options" | "cross-origin-resource-policy" => AGAINST_PAGES,
            text if text.starts_with(FOR_PROXIES) => NEVER_GOES_UP,
            text if FRAMING.contains(&text) => OF_CONNECTION,
            _ => {
                kept.push(item.value.clone());
                continue;
            }
        };
        report.problem(
            item.span,
            format!("{} cannot be kept", quoted(item.value.as_str())),
            reason,
        );
    }
    kept
}
