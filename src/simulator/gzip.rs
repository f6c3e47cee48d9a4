//! Compression of JSON answers, for clients that accept it, as the real services do.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};

use super::answer::{Answer, Content};

/// Shorter answers are sent as they are.
const WORTH_IT: usize = 1024;
/// The longest a compressed request body may become.
const UNPACKED: u64 = 16 * 1024 * 1024;

/// The answer, compressed when it is JSON, long enough and welcome.
pub(super) fn compressed(mut answer: Answer, request: &HeaderMap) -> Answer {
    let media_type = answer
        .headers
        .get(CONTENT_TYPE)
        .map(|value| value.as_bytes());
    let suits = is_welcome(request)
        && media_type.is_some_and(|media_type| media_type.starts_with(b"application/json"))
        && answer.bytes().len() >= WORTH_IT
        && !answer.headers.contains_key(CONTENT_ENCODING);
    if !suits {
        return answer;
    }
    let Some(packed) = packed(answer.bytes()) else {
        return answer;
    };
    answer.content = Content::Bytes(packed);
    answer.with(CONTENT_ENCODING, "gzip")
}

/// Whether the client accepts it.
pub(super) fn is_welcome(request: &HeaderMap) -> bool {
    let accepted = request.get(ACCEPT_ENCODING);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("gzip"))
}

/// The bytes in a gzip wrapper.
pub(super) fn packed(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// The bytes out of their gzip wrapper; `None` when it is none, or too much comes out.
pub(super) fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let read = GzDecoder::new(bytes)
        .take(UNPACKED)
        .read_to_end(&mut out)
        .ok()?;
    (read as u64 != UNPACKED).then_some(out)
}
