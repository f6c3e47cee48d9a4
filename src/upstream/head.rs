//! Heads of HTTP/1.1 messages: written for requests, read of answers (RFC 9112 sections 2 to 5).
//! Pure.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use memchr::memmem;

use super::Breakage;

/// Answers' heads: as large as what callers may send.
const LARGEST: usize = 64 * 1024;
/// Fields of an answer; Graph sends about fifteen, and hyper takes as many from callers.
const MOST_FIELDS: usize = 100;

/// What ends a request line.
const VERSION: &[u8] = b" HTTP/1.1\r\n";

const MALFORMED: Breakage = Breakage::Malformed("a head that is not one of HTTP/1.1");

/// Writes the head of a request. Values go as they are: `HeaderValue` holds no line ends.
pub fn write(request: &Parts, out: &mut Vec<u8>) {
    let target = request.uri.path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(VERSION);
    write_fields(&request.headers, out);
}

/// How many bytes [`write()`] writes.
pub fn length(request: &Parts) -> usize {
    let target = request.uri.path_and_query();
    let target = target.map_or(1, |target| target.as_str().len());
    request.method.as_str().len() + 1 + target + VERSION.len() + fields_length(&request.headers)
}

/// How many bytes [`write_fields`] writes.
pub fn fields_length(fields: &HeaderMap) -> usize {
    // A colon, a space and a line end for each.
    let lines = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    lines.sum::<usize>() + 2
}

/// Writes fields and the empty line behind them: the end of a head, or trailers.
pub fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The names of the fields of the last answer, in their order. The next one of the same upstream has
/// nearly the same, and comparing costs less than parsing does.
#[derive(Debug, Default)]
pub struct Names(Vec<(Box<[u8]>, HeaderName)>);

impl Names {
    /// The name that is spelt like this, of the field at this index.
    fn parse(&mut self, at: usize, spelling: &[u8]) -> Result<HeaderName, Breakage> {
        match self.0.get(at) {
            Some((known, name)) if **known == *spelling => return Ok(name.clone()),
            _ => {}
        }
        let name = HeaderName::from_bytes(spelling).map_err(|_| MALFORMED)?;
        let known = (Box::from(spelling), name.clone());
        match self.0.get_mut(at) {
            Some(place) => *place = known,
            None => self.0.push(known),
        }
        Ok(name)
    }
}

/// Takes the head of an answer out of `input`, once all of it is there. The fields are put into
/// `fields`, which is empty; their values share the memory of `input`.
///
/// # Errors
/// When it is too large or not a head. Line ends other than CRLF are not accepted.
pub fn read(
    input: &mut BytesMut,
    fields: &mut HeaderMap,
    names: &mut Names,
) -> Result<Option<Response<()>>, Breakage> {
    let window = &input[..input.len().min(LARGEST)];
    // What will never be a head is not waited for. An empty line in front is none either.
    if !b"HTTP/1.".starts_with(&window[..window.len().min(7)]) {
        return Err(MALFORMED);
    }
    let Some(end) = memmem::find(window, b"\r\n\r\n") else {
        return match window.len() < LARGEST {
            true => Ok(None),
            false => Err(Breakage::Malformed("a head of more than 64 KiB")),
        };
    };
    let text = input.split_to(end + 4).freeze();
    let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut head, &text, &mut room);
    // Less than all of it: an empty line that ends in a bare LF came before.
    if parsed != Ok(Status::Complete(text.len())) {
        return Err(MALFORMED);
    }
    fields.reserve(head.headers.len());
    for (at, field) in head.headers.iter().enumerate() {
        let name = names.parse(at, field.name.as_bytes())?;
        let value = HeaderValue::from_maybe_shared(text.slice_ref(field.value));
        fields.append(name, value.map_err(|_| MALFORMED)?);
    }
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(head.code.unwrap_or_default()).map_err(|_| MALFORMED)?;
    *response.version_mut() = match head.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let reason = head.reason.unwrap_or_default();
    if response.status().canonical_reason() != Some(reason)
        && let Ok(reason) = ReasonPhrase::try_from(text.slice_ref(reason.as_bytes()))
    {
        response.extensions_mut().insert(reason);
    }
    *response.headers_mut() = std::mem::take(fields);
    Ok(Some(response))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(text: &str) -> Result<Option<Response<()>>, Breakage> {
        let mut input = BytesMut::from(text);
        read(&mut input, &mut HeaderMap::new(), &mut Names::default())
    }

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

    #[test]
    fn an_answer_is_read_and_what_follows_left() {
        let mut input = BytesMut::from(
            "HTTP/1.1 201 Created\r\nETag: W/\"1\"\r\nset-cookie: a\r\nSet-Cookie:b \r\n\r\n{}",
        );
        let names = &mut Names::default();
        let response = read(&mut input, &mut HeaderMap::new(), names);
        let response = response.unwrap().unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(response.headers()["etag"], "W/\"1\"");
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a", "b"]);
        assert_eq!(&input[..], b"{}");
        assert!(response.extensions().get::<ReasonPhrase>().is_none());
    }

    #[test]
    fn names_are_those_of_this_answer_whatever_the_last_one_had() {
        let names = &mut Names::default();
        for (text, expected) in [
            ("a: 1\r\nx-b: 2\r\nETag: 3\r\n", ["a", "x-b", "etag"]),
            ("a: 1\r\nX-B: 2\r\nETag: 3\r\n", ["a", "x-b", "etag"]),
            ("x-b: 1\r\na: 2\r\nage: 3\r\n", ["x-b", "a", "age"]),
        ] {
            let mut input = BytesMut::from(&*format!("HTTP/1.1 200 OK\r\n{text}\r\n"));
            let response = read(&mut input, &mut HeaderMap::new(), names);
            let headers = response.unwrap().unwrap().into_parts().0.headers;
            let values = expected.map(|name| headers[name].to_str().unwrap().to_owned());
            assert_eq!((headers.len(), values.concat().as_str()), (3, "123"));
        }
    }

    #[test]
    fn a_reason_of_the_upstreams_own_is_kept() {
        let response = head("HTTP/1.0 200 Fine\r\n\r\n").unwrap().unwrap();
        assert_eq!(response.version(), Version::HTTP_10);
        let reason = response.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(reason.as_bytes(), b"Fine");
    }

    #[test]
    fn a_head_is_waited_for_only_as_long_as_it_may_become_one() {
        let whole = "HTTP/1.1 200 OK\r\na: b\r\n\r\n";
        for cut in 0..whole.len() {
            assert!(matches!(head(&whole[..cut]), Ok(None)), "{cut}");
        }
        assert!(head("HTTP/2").is_err());
        assert!(head("\r\nHTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(head("SSH-2.0-OpenSSH").is_err());
    }

    #[test]
    fn what_is_not_a_head_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(LARGEST));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "a: b\r\n".repeat(MOST_FIELDS + 1)
        );
        for text in [
            &*long,
            &*many,
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\n\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
        ] {
            assert!(head(text).is_err(), "{:?}", text.get(..60).unwrap_or(text));
        }
    }
}
