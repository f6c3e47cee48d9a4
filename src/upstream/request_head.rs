//! The heads of requests (RFC 9112 sections 3 and 5), and trailers, as they are written.

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, HeaderName, Method};

use crate::fields::Fields;
use crate::route::path::UpstreamTarget;

static CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

/// What ends a request line.
const VERSION: &[u8] = b" HTTP/1.1\r\n";

/// The head of a request, but for the framing of its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub target: &'a UpstreamTarget<'a>,
    /// The fields, `Host` among them.
    pub fields: &'a Fields<'a>,
    /// What goes up as `client-request-id`.
    pub id: Option<&'a [u8]>,
    /// What goes up as `Authorization`.
    pub authorization: Option<&'a HeaderValue>,
    /// Whether it is certain that links in the body of its answer are rewritten, if the answer comes with
    /// such a body: its head may then come without what no longer holds.
    pub rewrites: bool,
}

impl RequestHead<'_> {
    /// Writes it, and the field that tells how the body is framed.
    pub(super) fn write(&self, framing: Option<(&str, &str)>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target.as_str().as_bytes());
        out.extend_from_slice(VERSION);
        if let Some((name, value)) = framing {
            write_field(name, value.as_bytes(), out);
        }
        for (name, value) in self.fields.iter() {
            write_field(name.as_str(), value.as_bytes(), out);
        }
        if let Some(id) = self.id {
            write_field(CLIENT_REQUEST_ID.as_str(), id, out);
        }
        if let Some(value) = self.authorization {
            write_field(AUTHORIZATION.as_str(), value.as_bytes(), out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// How many bytes [`write`](Self::write) writes.
    pub(super) fn length(&self, framing: Option<(&str, &str)>) -> usize {
        let framing = framing.map_or(0, |(name, value)| line(name, value.len()));
        let fields = self.fields.iter();
        let fields = fields.map(|(name, value)| line(name.as_str(), value.len()));
        let id = self.id;
        let id = id.map_or(0, |it| line(CLIENT_REQUEST_ID.as_str(), it.len()));
        let authorization = self.authorization;
        let authorization = authorization.map_or(0, |it| line(AUTHORIZATION.as_str(), it.len()));
        let (method, target) = (self.method.as_str().len(), self.target.as_str().len());
        let first = method + 1 + target + VERSION.len();
        first + framing + fields.sum::<usize>() + id + authorization + 2
    }

    /// All fields, as a map.
    pub(super) fn to_map(self) -> HeaderMap {
        let mut map = HeaderMap::from(self.fields);
        if let Some(Ok(id)) = self.id.map(HeaderValue::from_bytes) {
            map.insert(&CLIENT_REQUEST_ID, id);
        }
        if let Some(value) = self.authorization {
            map.insert(AUTHORIZATION, value.clone());
        }
        map
    }
}

/// How many bytes [`write_trailers`] writes.
pub(super) fn trailers_length(trailers: &HeaderMap) -> usize {
    let lines = trailers.iter();
    let lines = lines.map(|(name, value)| line(name.as_str(), value.len()));
    lines.sum::<usize>() + 2
}

/// Writes trailers and the empty line behind them.
pub(super) fn write_trailers(trailers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in trailers {
        write_field(name.as_str(), value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// How long the line of a field is: with a colon, a space and a line end.
fn line(name: &str, value: usize) -> usize {
    name.len() + value + 4
}

/// Writes a field. Values go as they are: `HeaderValue` holds no line ends.
fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http::uri::PathAndQuery;

    use super::*;

    #[test]
    fn a_request_is_written_as_it_was_decided() {
        let names = ["host", "prefer"].map(HeaderName::from_static);
        let values = ["graph.microsoft.com", "a", "b", "Bearer t"].map(HeaderValue::from_static);
        let mut fields = Fields::default();
        fields.append(&names[0], &values[0]);
        fields.append(&names[1], &values[1]);
        fields.append(&names[1], &values[2]);
        let head = RequestHead {
            method: &Method::PATCH,
            target: &PathAndQuery::from_static("/v1.0/users('x')?$top=1%2F2").into(),
            fields: &fields,
            id: Some(b"i"),
            authorization: Some(&values[3]),
            rewrites: false,
        };
        let framing = Some(("content-length", "12"));
        let mut out = Vec::new();
        head.write(framing, &mut out);
        assert_eq!(out.len(), head.length(framing));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "PATCH /v1.0/users('x')?$top=1%2F2 HTTP/1.1\r\ncontent-length: 12\r\n\
             host: graph.microsoft.com\r\nprefer: a\r\nprefer: b\r\n\
             client-request-id: i\r\nauthorization: Bearer t\r\n\r\n"
        );
        let map = head.to_map();
        assert_eq!((map.len(), &map["authorization"]), (5, &values[3]));
        assert_eq!(map["client-request-id"], "i");
    }
}
