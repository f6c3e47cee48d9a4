//! The requests inside a multipart batch, as HTTP/1.1 messages that end with their part.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::context::Root;
use super::reference::{CONTENT_ID, References, id};
use super::{BatchContext, Fault, MOST_HEADERS, Operation, header, method};

/// Reads requests one after the other.
pub(super) struct Reader<'a> {
    context: &'a BatchContext<'a>,
    root: &'a Root<'a>,
    pub(super) references: References<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(context: &'a BatchContext<'a>, root: &'a Root<'a>) -> Self {
        Self {
            context,
            root,
            references: References::default(),
        }
    }

    /// Reads a request; `of_part` is the `Content-ID` of its part.
    pub(super) fn message(
        &mut self,
        text: &'a [u8],
        of_part: Option<&'a str>,
    ) -> Result<Operation, Fault> {
        let (head, body) = Lines::split(text)?;
        let mut lines = head.0.splitn(2, "\r\n");
        let line = lines.next().unwrap_or_default();
        let headers = self.headers(Lines(lines.next().unwrap_or_default()), body)?;
        let words: Vec<_> = line.split(' ').collect();
        let [name, target, "HTTP/1.1"] = words[..] else {
            return Err(Fault::unreadable(
                "it does not begin with METHOD target HTTP/1.1",
            ));
        };
        let method = method(name)?;
        let (path, end) = self.path(target)?;
        let operation = Operation {
            method,
            path,
            headers,
        };
        let id = id(of_part.map(Cow::Borrowed), &operation.headers)?;
        let rest = Cow::Borrowed(&target[end..]);
        self.references.operation(id, &operation, rest)?;
        Ok(operation)
    }

    /// What a target stands for, and where the reference ends that it may begin with.
    fn path(&self, target: &str) -> Result<(String, usize), Fault> {
        match self.references.resolve(target)? {
            Some(found) => Ok(found),
            None if target.starts_with('$') => Err(Fault::unreadable(
                "its target refers to no earlier Content-ID",
            )),
            None => Ok((self.context.of_line(self.root, target)?, 0)),
        }
    }

    fn headers(&self, lines: Lines<'_>, body: &[u8]) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines.fields()? {
            let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value))
            else {
                return Err(Fault::unreadable("a header of it is not a name and a text"));
            };
            let twice = headers.contains_key(&name)
                && (name == HOST || name == CONTENT_LENGTH || name == CONTENT_ID);
            if twice {
                return Err(Fault::unreadable("it has two lengths, hosts or ids"));
            }
            header(self.context, &name, &value)?;
            let text = value.to_str().unwrap_or_default();
            if name == CONTENT_LENGTH && !is_length(text, body) {
                return Err(Fault::unreadable(
                    "its Content-Length is not that of its body",
                ));
            }
            if headers.len() == MOST_HEADERS {
                return Err(Fault::unreadable("it has more than 100 headers"));
            }
            headers.append(name, value);
        }
        Ok(headers)
    }
}

/// Whether this is the body's length, give or take empty lines at its end.
fn is_length(text: &str, body: &[u8]) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let length = text.parse().ok().filter(|_| digits);
    let rest = length.and_then(|length: usize| body.get(length..));
    rest.is_some_and(|rest| rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')))
}

/// Lines of a head: ASCII, each ended by CRLF, no CR or LF otherwise.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    /// Splits a head from what follows the empty line after it. The line end that belongs to the
    /// delimiter may be all that is left of the empty line.
    pub(super) fn split(text: &'a [u8]) -> Result<(Self, &'a [u8]), Fault> {
        let (head, content) = match memchr::memmem::find(text, b"\r\n\r\n") {
            Some(at) => (&text[..at], &text[at + 4..]),
            None => (text.strip_suffix(b"\r\n").unwrap_or(text), &[][..]),
        };
        let head = std::str::from_utf8(head).ok().filter(|head| {
            let lone = head.replace("\r\n", "").contains(['\r', '\n', '\0']);
            head.is_ascii() && !lone
        });
        match head {
            Some(head) => Ok((Self(head), content)),
            None => Err(Fault::unreadable(
                "its head is not of ascii lines that end in CRLF",
            )),
        }
    }

    /// Names and values. A continued line (RFC 9112 section 5.2) is no field.
    pub(super) fn fields(self) -> Result<Vec<(&'a str, &'a str)>, Fault> {
        let lines = self.0.split("\r\n").filter(|_| !self.0.is_empty());
        let field = |line: &'a str| {
            let (name, value) = line.split_once(':')?;
            let token = !name.is_empty() && !name.contains([' ', '\t']);
            token.then(|| (name, value.trim_matches([' ', '\t'])))
        };
        let fields: Option<_> = lines.map(field).collect();
        fields.ok_or(Fault::unreadable("a line of its head is not Name: value"))
    }
}
