//! Whether the body of an answer is rewritten. Files are not: their bytes, length and digests belong
//! to somebody. What is rewritten loses the headers that spoke of the bytes; `ETag` stays, because
//! it names a version of the resource and clients send it back in `If-Match`.

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName,
};
use http::{Method, StatusCode};

use super::address::{Links, Way};
use super::body::{Reader, Rewriter};
use super::decode::{Coding, Decoder};
use super::multipart::{self, Multipart};
use super::representation::Representation;
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
        let names: [&[u8]; 3] = [b"$value", b"%24value", b"content"];
        let is_last = |name: &[u8]| {
            let at = path.len().checked_sub(name.len());
            at.is_some_and(|at| {
                path[at..].eq_ignore_ascii_case(name) && matches!(path[..at], [] | [.., b'/'])
            })
        };
        self.range || names.into_iter().any(is_last)
    }
}

/// Decides whether an answer's body is rewritten, and if so takes away the headers that will no
/// longer be true. An answer to HEAD loses them too, but has no body. `representation` is of these
/// headers.
pub fn plan(
    asked: &Asked<'_>,
    status: StatusCode,
    headers: &mut HeaderMap,
    representation: Representation,
    links: Links,
) -> Option<Rewriter> {
    if is_file(asked, status, representation) {
        return None;
    }
    let reader = if representation.json {
        let text = if asked.batch {
            Text::BatchAnswer
        } else {
            Text::Answer
        };
        Reader::Json(Scanner::of(links, text))
    } else {
        multipart(headers, asked.batch, links)?
    };
    let coding = representation.coding?;
    amend(headers, representation, coding);
    if *asked.method == Method::HEAD {
        return None;
    }
    Some(Rewriter::new(Decoder::new(coding), reader))
}

fn is_file(asked: &Asked<'_>, status: StatusCode, representation: Representation) -> bool {
    let bodiless = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let part = status == StatusCode::PARTIAL_CONTENT;
    bodiless || part || representation.empty || representation.file || asked.is_file()
}

/// What is looked for in the answer to a multipart batch.
fn multipart(headers: &HeaderMap, batch: bool, links: Links) -> Option<Reader> {
    let kind = headers.get(CONTENT_TYPE).filter(|_| batch)?.to_str().ok()?;
    let boundary = multipart::boundary(kind)?;
    let multipart = Multipart::new(links, Way::ToCaller, &boundary);
    Some(Reader::Multipart(Box::new(multipart)))
}

/// Takes the digests away; they may come as trailers as well (RFC 9530 section 2).
pub fn without_digests(fields: &mut HeaderMap) {
    for name in &DIGESTS {
        fields.remove(name);
    }
}

/// Takes away what no longer holds for the bytes that go down.
fn amend(headers: &mut HeaderMap, representation: Representation, coding: Coding) {
    headers.remove(CONTENT_LENGTH);
    // A `Range` is answered with parts of the upstream's own bytes, which do not fit to these.
    if representation.ranges {
        headers.remove(ACCEPT_RANGES);
    }
    if representation.digests {
        without_digests(headers);
    }
    if coding != Coding::Identity {
        headers.remove(CONTENT_ENCODING);
    }
}
