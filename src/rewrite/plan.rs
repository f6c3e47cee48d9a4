//! Whether the body of an answer is rewritten. Files are not: their bytes, length and digests belong
//! to somebody. What is rewritten loses the headers that spoke of the bytes; `ETag` stays, because
//! it names a version of the resource and clients send it back in `If-Match`.

use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
    HeaderName,
};
use http::{Method, StatusCode};

use super::address::{Links, Way};
use super::body::{Reader, Rewriter};
use super::decode::{Coding, Decoder};
use super::multipart::{self, Multipart};
use super::scan::Scanner;
use super::text::Text;

/// What speaks of the bytes of a body, and holds for no others (RFC 9530, RFC 1864).
pub static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// What was asked for, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, with or without the route's prefix, without the query.
    pub path: &'a str,
    /// Whether the request had a `Range`.
    pub range: bool,
    /// Whether it was a `$batch`.
    pub batch: bool,
}

impl Asked<'_> {
    /// Whether the answer is the bytes of a file, whatever its headers say: a part of something, or
    /// a path that ends in `/$value` or `/content`. Such a request goes up with the caller's own
    /// `Accept-Encoding`.
    pub fn is_file(&self) -> bool {
        let path = self.path.trim_end_matches('/').as_bytes();
        let last = &path[memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1)..];
        let names: [&[u8]; 3] = [b"$value", b"%24value", b"content"];
        self.range || names.iter().any(|name| last.eq_ignore_ascii_case(name))
    }
}

/// Decides whether an answer's body is rewritten, and if so takes away the headers that will no
/// longer be true. An answer to HEAD loses them too, but has no body.
pub fn plan(
    asked: &Asked<'_>,
    status: StatusCode,
    headers: &mut HeaderMap,
    links: Links,
) -> Option<Rewriter> {
    if is_file(asked, status, headers) {
        return None;
    }
    let reader = reader_of(headers, asked.batch, links)?;
    let coding = Coding::of(headers)?;
    amend(headers, coding);
    if *asked.method == Method::HEAD {
        return None;
    }
    Some(Rewriter::new(Decoder::new(coding), reader))
}

fn is_file(asked: &Asked<'_>, status: StatusCode, headers: &HeaderMap) -> bool {
    let bodiless = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let attachment = headers.get(CONTENT_DISPOSITION).is_some_and(|value| {
        let kind = value.as_bytes().split(|byte| *byte == b';').next();
        kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"attachment"))
    });
    let empty = headers
        .get(CONTENT_LENGTH)
        .is_some_and(|value| value == "0");
    bodiless || empty || attachment || asked.is_file() || status == StatusCode::PARTIAL_CONTENT
}

/// What can be looked for in a body of this kind.
fn reader_of(headers: &HeaderMap, batch: bool, links: Links) -> Option<Reader> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    if is_json(kind) {
        let text = if batch {
            Text::BatchAnswer
        } else {
            Text::Answer
        };
        return Some(Reader::Json(Scanner::of(links, text)));
    }
    let boundary = batch.then(|| multipart::boundary(kind)).flatten()?;
    let multipart = Multipart::new(links, Way::ToCaller, &boundary);
    Some(Reader::Multipart(Box::new(multipart)))
}

/// Whether this media type is JSON in UTF-8 (RFC 9110 section 8.3.1, RFC 6839 section 3.1).
pub fn is_json(kind: &str) -> bool {
    let kind = kind.as_bytes();
    let end = memchr::memchr(b';', kind).unwrap_or(kind.len());
    let (essence, parameters) = kind.split_at(end);
    let essence = essence.trim_ascii();
    let is = |known: &[u8]| essence.eq_ignore_ascii_case(known);
    let suffixed = || {
        let suffix = essence.len().saturating_sub(b"+json".len());
        essence[suffix..].eq_ignore_ascii_case(b"+json")
    };
    let json =
        is(b"application/json") || is(b"text/json") || is(b"application/x-ndjson") || suffixed();
    // Of what is not UTF-8 or like it, UTF-16 is the one that occurs.
    let wide = |dash: usize| {
        let name = parameters.get(dash.saturating_sub(3)..dash + 3);
        name.is_some_and(|name| name.eq_ignore_ascii_case(b"utf-16"))
    };
    json && !memchr::memchr_iter(b'-', parameters).any(wide)
}

/// Takes the digests away; they may come as trailers as well (RFC 9530 section 2).
pub fn without_digests(fields: &mut HeaderMap) {
    for name in &DIGESTS {
        fields.remove(name);
    }
}

/// Takes away what no longer holds for the bytes that go down.
fn amend(headers: &mut HeaderMap, coding: Coding) {
    headers.remove(CONTENT_LENGTH);
    // There is hardly ever one, and to look through the names costs less than to look each up.
    let (mut ranges, mut digests) = (false, false);
    for name in headers.keys() {
        ranges |= *name == ACCEPT_RANGES;
        digests |= DIGESTS.contains(name);
    }
    // A `Range` is answered with parts of the upstream's own bytes, which do not fit to these.
    if ranges {
        headers.remove(ACCEPT_RANGES);
    }
    if digests {
        without_digests(headers);
    }
    if coding != Coding::Identity {
        headers.remove(CONTENT_ENCODING);
    }
}
