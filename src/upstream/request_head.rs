//! The heads of requests (RFC 9112 sections 3 and 5), and trailers, as they are written.

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, HeaderName, Method};

use super::lead::{Lead, put};
use crate::fields::Fields;
use crate::route::path::UpstreamTarget;

/// The header that callers send an id in, and in which it goes up.
pub static CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";
const SPACE: &[u8] = b" ";
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
    pub(super) fn write(&self, framing: Option<(&str, &str)>, out: &mut Lead) {
        let (method, target) = (self.method.as_str(), self.target.as_str());
        let line = out.extend(method.len() + SPACE.len() + target.len() + VERSION.len());
        let line = put(put(line, method.as_bytes()), SPACE);
        put(put(line, target.as_bytes()), VERSION);
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
        out.append(END);
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

/// Writes trailers and the empty line behind them.
pub(super) fn write_trailers(trailers: &HeaderMap, out: &mut Lead) {
    for (name, value) in trailers {
        write_field(name.as_str(), value.as_bytes(), out);
    }
    out.append(END);
}

/// Writes a field. Values go as they are: `HeaderValue` holds no line ends.
fn write_field(name: &str, value: &[u8], out: &mut Lead) {
    let line = out.extend(name.len() + COLON.len() + value.len() + END.len());
    let line = put(put(line, name.as_bytes()), COLON);
    put(put(line, value), END);
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
        let mut out = Lead::default();
        head.write(framing, &mut out);
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            "PATCH /v1.0/users('x')?$top=1%2F2 HTTP/1.1\r\ncontent-length: 12\r\n\
             host: graph.microsoft.com\r\nprefer: a\r\nprefer: b\r\n\
             client-request-id: i\r\nauthorization: Bearer t\r\n\r\n"
        );
        let map = head.to_map();
        assert_eq!((map.len(), &map["authorization"]), (5, &values[3]));
        assert_eq!(map["client-request-id"], "i");
    }
}
