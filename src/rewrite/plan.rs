//! Whether the body of an answer is rewritten. Files are not: their bytes, length and digests belong
//! to somebody. What is rewritten loses the headers that spoke of the bytes; `ETag` stays, because
//! it names a version of the resource and clients send it back in `If-Match`.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http::{Method, StatusCode};

use super::address::{Links, Way};
use super::body::{Reader, Rewriter};
use super::decode::Decoder;
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
    /// Whether the answer is the bytes of a file, whatever its headers say: a part of something, or
    /// what [`names_file`] has. Such a request goes up with the caller's own `Accept-Encoding`.
    pub file: bool,
    /// Whether it was a `$batch`.
    pub batch: bool,
}

/// Whether a path, with or without the route's prefix, without the query, ends in `/$value` or
/// `/content`.
pub fn names_file(path: &str) -> bool {
    let path = path.trim_end_matches('/').as_bytes();
    let names: [&[u8]; 3] = [b"$value", b"%24value", b"content"];
    let is_last = |name: &[u8]| {
        let at = path.len().checked_sub(name.len());
        at.is_some_and(|at| {
            path[at..].eq_ignore_ascii_case(name) && matches!(path[..at], [] | [.., b'/'])
        })
    };
    names.into_iter().any(is_last)
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
    let coding = representation.undone(status).filter(|_| !asked.file)?;
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
    representation.amend(headers);
    if *asked.method == Method::HEAD {
        return None;
    }
    Some(Rewriter::new(Decoder::new(coding), reader))
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
