//! Writes the heads of requests (RFC 9112 sections 3 and 5), and trailers. Pure.

use http::HeaderMap;
use http::request::Parts;

/// What ends a request line.
const VERSION: &[u8] = b" HTTP/1.1\r\n";

/// Writes the head of a request. Values go as they are: `HeaderValue` holds no line ends.
pub(super) fn write(request: &Parts, out: &mut Vec<u8>) {
    let target = request.uri.path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(VERSION);
    write_fields(&request.headers, out);
}

/// How many bytes [`write()`] writes.
pub(super) fn length(request: &Parts) -> usize {
    let target = request.uri.path_and_query();
    let target = target.map_or(1, |target| target.as_str().len());
    request.method.as_str().len() + 1 + target + VERSION.len() + fields_length(&request.headers)
}

/// How many bytes [`write_fields`] writes.
pub(super) fn fields_length(fields: &HeaderMap) -> usize {
    // A colon, a space and a line end for each.
    let lines = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    lines.sum::<usize>() + 2
}

/// Writes fields and the empty line behind them: the end of a head, or trailers.
pub(super) fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_request_is_written_as_it_was_decided() {
        let request = Request::builder()
            .method("PATCH")
            .uri("/v1.0/users('x')?$top=1%2F2")
            .header("host", "graph.microsoft.com")
            .header("prefer", "a")
            .header("prefer", "b")
            .body(());
        let (parts, ()) = request.unwrap().into_parts();
        let mut out = Vec::new();
        write(&parts, &mut out);
        assert_eq!(out.len(), length(&parts));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "PATCH /v1.0/users('x')?$top=1%2F2 HTTP/1.1\r\n\
             host: graph.microsoft.com\r\nprefer: a\r\nprefer: b\r\n\r\n"
        );
    }
}
