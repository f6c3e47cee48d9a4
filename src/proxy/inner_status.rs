//! Notes the statuses inside the answer to a batch, whose own status is 200: how many operations were
//! throttled (429), and whether any was refused its token (401). Works on the bytes as they pass, in
//! constant memory; what cannot be read says nothing.
//!
//! JSON: members `status` of the objects in the list that the document's object holds. Multipart:
//! status lines behind an empty line.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memchr;

use crate::rewrite::decode::Coding;

/// How deep the objects stand: in a list in an object.
const DEPTH: usize = 3;
const NAME: &[u8] = b"status";

/// What a status line of a multipart answer begins with. A reason may follow the status.
const LINE: &[u8] = b"HTTP/1.1 ";
/// Its length to the end of the status.
const STATUS: usize = LINE.len() + 3;

/// The reader of one answer.
#[derive(Debug)]
pub(super) struct InnerStatuses {
    kind: Kind,
    refused: bool,
}

#[derive(Debug)]
enum Kind {
    Json(Members),
    Multipart(Lines),
}

impl InnerStatuses {
    /// A reader of the answer with these headers; `None` when its bytes are coded.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        if Coding::of(headers) != Some(Coding::Identity) {
            return None;
        }
        let media = headers
            .get(CONTENT_TYPE)
            .map_or(&b""[..], |kind| kind.as_bytes());
        let front = media.get(..b"multipart/".len());
        let multipart = front.is_some_and(|front| front.eq_ignore_ascii_case(b"multipart/"));
        Some(Self {
            kind: if multipart {
                Kind::Multipart(Lines::default())
            } else {
                Kind::Json(Members::default())
            },
            refused: false,
        })
    }

    /// Reads on; returns how many 429s ended in these bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) -> u64 {
        let mut throttled = 0;
        let note = |status| {
            throttled += u64::from(status == 429);
            self.refused |= status == 401;
        };
        match &mut self.kind {
            Kind::Json(members) => bytes
                .iter()
                .filter_map(|byte| members.step(*byte))
                .for_each(note),
            Kind::Multipart(lines) => lines.read(bytes, note),
        }
        throttled
    }

    /// Whether an operation so far was refused its token.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }
}

/// The lines of a multipart answer.
#[derive(Debug, Default)]
struct Lines {
    /// How much of the current line was read, as far as that matters.
    length: usize,
    /// Whether it may be the status line.
    fits: bool,
    /// The status, as far as it was read.
    status: u32,
}

impl Lines {
    /// Notes the statuses that end in these bytes.
    fn read(&mut self, mut bytes: &[u8], mut note: impl FnMut(u32)) {
        loop {
            if self.length > 0 && !self.fits {
                // Nothing is of interest before the next line.
                match memchr(b'\n', bytes) {
                    Some(end) => bytes = &bytes[end..],
                    None => return,
                }
            }
            let Some((byte, rest)) = bytes.split_first() else {
                return;
            };
            if let Some(status) = self.step(*byte) {
                note(status);
            }
            bytes = rest;
        }
    }

    fn step(&mut self, byte: u8) -> Option<u32> {
        let complete = self.fits && self.length == STATUS;
        let ended = complete.then_some(self.status);
        match byte {
            b'\n' => {
                let fits = self.length == 0;
                *self = Self {
                    fits,
                    ..Self::default()
                };
                return ended;
            }
            b'\r' => return None,
            _ => {}
        }
        match LINE.get(self.length) {
            Some(wanted) => self.fits &= *wanted == byte,
            None => self.fits &= byte.is_ascii_digit() && !complete,
        }
        if self.fits && self.length >= LINE.len() {
            self.status = self.status * 10 + u32::from(byte - b'0');
        }
        self.length += 1;
        ended.filter(|_| byte == b' ')
    }
}

/// The members of a JSON answer.
#[derive(Debug, Default)]
struct Members {
    depth: usize,
    /// Whether what encloses the current place is as it is in a batch.
    fits: [bool; DEPTH],
    in_string: bool,
    escaped: bool,
    /// How much of the current string is the name; more than all of it when it is another.
    matched: usize,
    /// The number after the name, while it is read.
    number: Option<u32>,
}

impl Members {
    /// The status that this byte ends.
    fn step(&mut self, byte: u8) -> Option<u32> {
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            if self.in_string {
                let next = !self.escaped && NAME.get(self.matched) == Some(&byte);
                self.matched = if next {
                    self.matched + 1
                } else {
                    NAME.len() + 1
                };
                self.escaped = !self.escaped && byte == b'\\';
            }
            return None;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.matched = 0;
            }
            b':' if self.is_inside() && self.matched == NAME.len() => self.number = Some(0),
            b'0'..=b'9' => {
                let digit = u32::from(byte - b'0');
                self.number = self
                    .number
                    .map(|number| number.saturating_mul(10).saturating_add(digit));
            }
            b'{' | b'[' => self.enter(byte),
            b',' => return self.number.take(),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.number.take();
            }
            _ => {}
        }
        None
    }

    fn enter(&mut self, bracket: u8) {
        self.number = None;
        if let Some(fits) = self.fits.get_mut(self.depth) {
            *fits = bracket == [b'{', b'[', b'{'][self.depth];
        }
        self.depth += 1;
    }

    fn is_inside(&self) -> bool {
        self.depth == DEPTH && self.fits.iter().all(|fits| *fits)
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_ENCODING;

    use super::*;

    fn reader(kind: &str) -> InnerStatuses {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        InnerStatuses::of(&headers).unwrap()
    }

    /// How many were throttled, and whether one was refused.
    fn noted(kind: &str, text: &str) -> (u64, bool) {
        let mut whole = reader(kind);
        let count = whole.read(text.as_bytes());
        let mut split = reader(kind);
        let sum: u64 = text.bytes().map(|byte| split.read(&[byte])).sum();
        assert_eq!((count, whole.refused), (sum, split.refused), "{text}");
        (count, whole.is_refused())
    }

    fn count(text: &str) -> u64 {
        let (count, refused) = noted("application/json", text);
        // A refusal is found wherever a 429 would be.
        let other = noted("application/json", &text.replace("429", "401"));
        assert_eq!((refused, other), (false, (0, count > 0)), "{text}");
        count
    }

    #[test]
    fn coded_bytes_are_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(InnerStatuses::of(&headers).is_none());
        headers.insert(CONTENT_ENCODING, "Identity".parse().unwrap());
        assert!(InnerStatuses::of(&headers).is_some());
    }

    #[test]
    fn the_statuses_of_a_multipart_answer_are_its_status_lines() {
        let part = "--b\nContent-Type: application/http\n\n";
        for line in [
            "HTTP/1.1 401 Unauthorized\n",
            "HTTP/1.1 401\n",
            "HTTP/1.1 401 ",
        ] {
            let text = format!("{part}HTTP/1.1 200 OK\n\n{{}}\n{part}{line}");
            for text in [text.replace('\n', "\r\n"), text] {
                assert_eq!(noted("Multipart/Mixed; boundary=b", &text), (0, true));
                assert_eq!(noted("application/json", &text), (0, false));
                let busy = text.replace("401", "429").repeat(3);
                assert_eq!(noted("multipart/mixed", &busy), (3, false), "{busy}");
            }
        }
        for line in [
            "HTTP/1.1 4010\n",
            "HTTP/1.1 40",
            "HTTP/1.1 40 1\n",
            "HTTP/1.1 4 29\n",
            "HTTP/1.1 4290 \n",
            "HTTP/1.1 \n401\n",
            "HTTP/1.1 42\n\n9 \n",
            "HTTP/1.1 500 Internal Server Error\n",
            " HTTP/1.1 401\n",
            "x\nHTTP/1.1 401\n",
            "{\"a\":\"HTTP/1.1 401 \"}",
        ] {
            let text = format!("{part}{line}");
            assert_eq!(noted("multipart/mixed", &text), (0, false), "{line}");
        }
    }

    #[test]
    fn statuses_of_operations_are_counted() {
        assert_eq!(
            count(
                r#"{"responses":[{"id":"1","status":429,"body":{}},{"status":200},{"body":{"a":[1]},"status" : 429 }]}"#
            ),
            2
        );
        assert_eq!(
            count(r#"{"@odata.context":"x","responses":[{"status":429}]}"#),
            1
        );
    }

    #[test]
    fn what_only_looks_like_one_is_not() {
        for text in [
            r#"{"status":429}"#,
            r#"{"responses":[{"body":{"status":429}}]}"#,
            r#"{"responses":[{"id":"status","x":429}]}"#,
            r#"{"responses":[{"text":"\"status\":429,","status":4290}]}"#,
            r#"{"responses":[["status",429]]}"#,
            r#"{"responses":{"a":{"status":429}}}"#,
            r#"[{"a":{"status":429}}]"#,
            "}}}]]]{[{\"status\":429",
            "",
        ] {
            assert_eq!(count(text), 0, "{text}");
        }
    }
}
