//! Heads as they were written: what a request looked like before any library tidied it up, and
//! answers that no library would write.

use http::request::Parts;

use super::answer::Answer;
use super::journal::{BodyEnd, Received, Seen};
use super::wire::Link;
use crate::clock::Now;

/// The authority that a request asks for: `:authority`, the absolute target, or `Host`.
pub(super) fn authority(parts: &Parts) -> String {
    let from_target = parts.uri.authority().map(|authority| authority.as_str());
    let from_host = || parts.headers.get("host")?.to_str().ok();
    from_target
        .or_else(from_host)
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// The journal's entry for a request whose head has been read.
pub(super) fn seen(link: &Link, parts: &Parts, authority: &str, first: bool) -> Seen {
    let written = as_written(&link.take_captured());
    let (target, headers) = written.unwrap_or_else(|| as_parsed(parts));
    Seen {
        number: 0,
        at: Now::read(),
        connection: link.id,
        first,
        version: parts.version,
        method: parts.method.to_string(),
        host: authority.to_owned(),
        target,
        headers,
        body: Received::default(),
        status: None,
        answer: BodyEnd::Open,
    }
}

type Head = (Vec<u8>, Vec<(String, Vec<u8>)>);

/// An HTTP/1 head, byte for byte.
fn as_written(bytes: &[u8]) -> Option<Head> {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => return None,
    }
    let headers = request.headers.iter();
    let headers = headers
        .map(|field| (field.name.to_owned(), field.value.to_vec()))
        .collect();
    Some((request.path?.as_bytes().to_vec(), headers))
}

/// A head as hyper gives it.
fn as_parsed(parts: &Parts) -> Head {
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let fields = parts.headers.iter();
    let headers = fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    (target.as_bytes().to_vec(), headers.collect())
}

/// An answer whose end is the end of the connection.
pub(super) fn close_delimited(answer: &Answer) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\nconnection: close\r\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(answer.bytes());
    bytes
}
