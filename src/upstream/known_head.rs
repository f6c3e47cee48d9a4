//! A head of an answer that came before, and what it meant: one that is like it need not be parsed.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use memchr::memchr;

/// Larger heads are not remembered: they are no service's usual ones.
const LARGEST: usize = 4 * 1024;

/// What Microsoft's services name their fields beside the standard ones. What is from here is shared
/// without counting who holds it.
static USUAL_NAMES: [HeaderName; 12] = [
    HeaderName::from_static("client-request-id"),
    HeaderName::from_static("odata-entityid"),
    HeaderName::from_static("odata-version"),
    HeaderName::from_static("preference-applied"),
    HeaderName::from_static("req_id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-ms-ags-diagnostic"),
    HeaderName::from_static("x-ms-ratelimit-burst-remaining-xrm-requests"),
    HeaderName::from_static("x-ms-ratelimit-time-remaining-xrm-requests"),
    HeaderName::from_static("x-ms-resource-unit"),
    HeaderName::from_static("x-ms-service-request-id"),
    HeaderName::from_static("x-source"),
];

/// What they say again and again.
static USUAL_VALUES: [HeaderValue; 12] = [
    HeaderValue::from_static("-1"),
    HeaderValue::from_static("4.0"),
    HeaderValue::from_static("Accept-Encoding"),
    HeaderValue::from_static(
        "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
    ),
    HeaderValue::from_static("application/json"),
    HeaderValue::from_static("application/json; charset=utf-8"),
    HeaderValue::from_static("application/json; odata.metadata=minimal"),
    HeaderValue::from_static("chunked"),
    HeaderValue::from_static("gzip"),
    HeaderValue::from_static("max-age=31536000"),
    HeaderValue::from_static("no-cache"),
    HeaderValue::from_static("nosniff"),
];

/// A head that came before, and what it meant.
#[derive(Debug)]
pub(super) struct KnownHead {
    /// All of it.
    text: Bytes,
    status: StatusCode,
    status_line: usize,
    lines: Vec<Line>,
    /// Its fields, in the order of its lines; empty where a value varies.
    fields: HeaderMap,
}

/// A line of a [`KnownHead`].
#[derive(Debug)]
struct Line {
    /// Where it is, with its line end.
    place: Range<usize>,
    /// Where in it the name and its colon end.
    after_colon: usize,
    /// Whether another value has been seen.
    varies: bool,
    /// What stands behind the colon in the head that is being read, unless the line is the same.
    new: Option<Range<usize>>,
}

impl KnownHead {
    /// Of a head that was parsed; none when it says a name twice, or is of a kind that is rare.
    pub(super) fn of(text: &Bytes, response: &Response<()>) -> Option<Self> {
        let headers = response.headers();
        let usual = response.version() == Version::HTTP_11 && response.extensions().is_empty();
        if !usual || text.len() > LARGEST || headers.len() != headers.keys_len() {
            return None;
        }
        // Its own memory: what an answer came in is used again for the next.
        let text = Bytes::copy_from_slice(text);
        let status_line = line_end(&text)?;
        let (mut lines, mut at) = (Vec::with_capacity(headers.len()), status_line);
        let mut fields = HeaderMap::with_capacity(headers.len());
        for name in headers.keys() {
            let place = at..at + line_end(&text[at..])?;
            let line = &text[place.clone()];
            let spelling = &line[..memchr(b':', line)?];
            if !spelling.eq_ignore_ascii_case(name.as_str().as_bytes()) {
                return None;
            }
            let after_colon = spelling.len() + 1;
            let value = value(&text, &line[after_colon..])?;
            let usual = USUAL_VALUES.iter().find(|usual| **usual == value);
            let name = USUAL_NAMES
                .iter()
                .find(|usual| *usual == name)
                .unwrap_or(name);
            fields.append(name.clone(), usual.cloned().unwrap_or(value));
            at = place.end;
            lines.push(Line {
                place,
                after_colon,
                varies: false,
                new: None,
            });
        }
        // A map need not keep the order, by its documentation; it does.
        let in_order = fields.keys().eq(headers.keys()) && text[at..] == *b"\r\n";
        in_order.then_some(Self {
            status: response.status(),
            text,
            status_line,
            lines,
            fields,
        })
    }

    /// The length of the head that `input` begins with, if that is there and like this one.
    pub(super) fn matches(&mut self, input: &[u8]) -> Option<usize> {
        if !input.starts_with(&self.text[..self.status_line]) {
            return None;
        }
        let mut at = self.status_line;
        for line in &mut self.lines {
            let (known, rest) = (&self.text[line.place.clone()], &input[at..]);
            let length = if !line.varies && rest.starts_with(known) {
                line.new = None;
                known.len()
            } else if rest.starts_with(&known[..line.after_colon]) {
                let length = line_end(rest)?;
                line.new = Some(at + line.after_colon..at + length);
                length
            } else {
                return None;
            };
            at += length;
        }
        input[at..].starts_with(b"\r\n").then_some(at + 2)
    }

    /// Reads the head that was found to be like this one just now.
    pub(super) fn read(&mut self, text: &Bytes) -> Option<Response<()>> {
        let mut fields = self.fields.clone();
        let mut more_vary = false;
        for (line, field) in self.lines.iter().zip(fields.values_mut()) {
            if let Some(new) = line.new.clone() {
                *field = value(text, &text[new])?;
                more_vary |= !line.varies;
            }
        }
        if more_vary {
            self.note_varying();
        }
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        *response.headers_mut() = fields;
        Some(response)
    }

    fn note_varying(&mut self) {
        for (line, kept) in self.lines.iter_mut().zip(self.fields.values_mut()) {
            if line.new.is_some() {
                line.varies = true;
                *kept = HeaderValue::from_static("");
            }
        }
    }
}

/// The length of the first line, with its end.
fn line_end(text: &[u8]) -> Option<usize> {
    memchr(b'\n', text).map(|at| at + 1)
}

/// What stands behind a colon in `text`, to the end of the line (RFC 9112 section 5.1).
fn value(text: &Bytes, line: &[u8]) -> Option<HeaderValue> {
    let mut value = line.strip_suffix(b"\r\n")?;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    HeaderValue::from_maybe_shared(text.slice_ref(value)).ok()
}
