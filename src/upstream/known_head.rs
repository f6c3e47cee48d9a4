//! A head of an answer that came before, and what it meant: one that is like it need not be parsed.

use std::ops::Range;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use memchr::memchr;

use super::answer_head::Head;
use super::framing::Course;
use crate::policy::response_header::{Settled, Unread, is_settled_by_value, plain_length, settle};
use crate::rewrite::Representation;

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

/// A head that came before, and what it meant. Not to be shown: a cookie or the address of a download,
/// which needs no token, may stand in it.
pub(super) struct KnownHead {
    /// All of it.
    text: Bytes,
    status: StatusCode,
    status_line: usize,
    lines: Vec<Line>,
    /// The lines of which another value has been seen, in their order. What stands between their
    /// values is compared as a whole.
    varying: Vec<usize>,
    /// The values of those, in the head that is being read.
    new: Vec<Range<usize>>,
    /// Its fields, in the order of its lines; empty where a value varies, but that a length is one.
    fields: HeaderMap,
    /// What heads like it are made from, once one came.
    template: Option<Template>,
}

/// What is the same in all heads that are like a known one.
struct Template {
    /// Their fields: as they came, or settled where there is an `outcome`.
    whole: Fields,
    /// The same without what no longer holds once links in the body are rewritten, and what is known
    /// of these; where the body is of a kind for that.
    amended: Option<(Fields, Settled)>,
    /// Which of the values that vary is the body's length, where the outcome goes by that.
    length: Option<usize>,
    outcome: Option<Outcome>,
}

/// Fields, in some of which a value is missing.
struct Fields {
    map: HeaderMap,
    /// Where in it the values belong that vary, in the order of their lines; none for one that is
    /// taken away.
    places: Vec<Option<usize>>,
}

/// What comes of a head, where that does not go by a value that varies, but for the length.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Where its body ends.
    pub course: Course,
    /// What is known of its fields, which are settled.
    pub settled: Settled,
}

impl Outcome {
    /// The same for a head that says another length.
    fn with_length(self, length: u64) -> Self {
        Self {
            course: self.course.with_length(length),
            settled: self.settled.with_length(length),
        }
    }
}

/// A line of a [`KnownHead`].
struct Line {
    /// Where in the head its value begins, behind the colon.
    value: usize,
    /// Where it ends, behind its line end.
    end: usize,
}

impl std::fmt::Debug for KnownHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownHead").finish_non_exhaustive()
    }
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
            let line = &text[at..at + line_end(&text[at..])?];
            let spelling = &line[..memchr(b':', line)?];
            if !spelling.eq_ignore_ascii_case(name.as_str().as_bytes()) {
                return None;
            }
            let value_at = at + spelling.len() + 1;
            at += line.len();
            let value = value(&text, value_at..at)?;
            let usual = USUAL_VALUES.iter().find(|usual| **usual == value);
            let name = USUAL_NAMES
                .iter()
                .find(|usual| *usual == name)
                .unwrap_or(name);
            fields.append(name.clone(), usual.cloned().unwrap_or(value));
            lines.push(Line {
                value: value_at,
                end: at,
            });
        }
        // A map need not keep the order, by its documentation; it does.
        let in_order = fields.keys().eq(headers.keys()) && text[at..] == *b"\r\n";
        in_order.then_some(Self {
            status: response.status(),
            text,
            status_line,
            lines,
            varying: Vec::new(),
            new: Vec::new(),
            template: None,
            fields,
        })
    }

    /// The length of the head that `input` begins with, if that is there and like this one.
    pub(super) fn matches(&mut self, input: &[u8]) -> Option<usize> {
        match self.compare(input) {
            None if self.learn(input)? => self.compare(input),
            known => known,
        }
    }

    /// Compares a head with what is known to be always the same.
    fn compare(&mut self, input: &[u8]) -> Option<usize> {
        let (mut at, mut same) = (0, 0);
        self.new.clear();
        for &line in &self.varying {
            let line = &self.lines[line];
            let run = &self.text[same..line.value];
            let value = input[at..].strip_prefix(run)?;
            at += run.len();
            let end = at + line_end(value)?;
            self.new.push(at..end);
            (at, same) = (end, line.end);
        }
        let run = &self.text[same..];
        input[at..].starts_with(run).then_some(at + run.len())
    }

    /// Finds the lines in which a head differs that has the same names; whether there are more of
    /// them than were known.
    fn learn(&mut self, input: &[u8]) -> Option<bool> {
        let mut rest = input.strip_prefix(&self.text[..self.status_line])?;
        let mut varying = Vec::new();
        let mut begin = self.status_line;
        for (number, line) in self.lines.iter().enumerate() {
            let name = &self.text[begin..line.value];
            let (read, left) = rest.split_at(line_end(rest)?);
            let value = read.strip_prefix(name)?;
            if value != &self.text[line.value..line.end] || self.varying.contains(&number) {
                varying.push(number);
            }
            (rest, begin) = (left, line.end);
        }
        if !rest.starts_with(b"\r\n") || varying.len() == self.varying.len() {
            return Some(false);
        }
        self.varying = varying;
        for (number, (name, kept)) in self.fields.iter_mut().enumerate() {
            if self.varying.contains(&number) {
                // Any length stands for all of them.
                let empty = if *name == CONTENT_LENGTH { "1" } else { "" };
                *kept = HeaderValue::from_static(empty);
            }
        }
        self.template = None;
        Some(true)
    }

    /// Reads the head that was found to be like this one just now. It is settled, and without what is
    /// `unread`, where it is known what comes of it; and amended where links in its body are going to
    /// be rewritten, as `rewrites` says of bodies of such a kind. None where its length is not plainly
    /// one.
    pub(super) fn read(&mut self, text: &Bytes, unread: Unread, rewrites: bool) -> Option<Head> {
        let status = self.status;
        let template = self
            .template
            .get_or_insert_with(|| Template::of(&self.fields, &self.varying, status, unread));
        let mut outcome = template.outcome;
        let mut empty = false;
        if let Some(at) = template.length {
            let length = plain_length(trimmed(&text[self.new[at].clone()])?)?;
            outcome = outcome.map(|known| known.with_length(length));
            empty = length == 0;
        }
        let amended = template.amended.as_ref().filter(|_| rewrites && !empty);
        let fields = match (amended, &mut outcome) {
            (Some((fields, settled)), Some(outcome)) => {
                outcome.settled = *settled;
                fields
            }
            _ => &template.whole,
        };
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields.filled(text, &self.new)?;
        Some((response, outcome))
    }
}

impl Fields {
    /// These, with the values that stand in `text` at these places.
    fn filled(&self, text: &Bytes, new: &[Range<usize>]) -> Option<HeaderMap> {
        let mut map = self.map.clone();
        let mut values = map.values_mut();
        let mut passed = 0;
        for (&place, new) in self.places.iter().zip(new) {
            // What is taken away has to be a value as well.
            let value = value(text, new.clone())?;
            if let Some(at) = place {
                *values.nth(at - passed)? = value;
                passed = at + 1;
            }
        }
        Some(map)
    }

    /// What is left of the fields that came, with the numbers of those that vary. To take away changes
    /// the order, and the values that vary are put in one after the other. None where a name is there
    /// twice now: one value would be missing.
    fn left_of(came: &HeaderMap, left: &HeaderMap, varying: &[usize]) -> Option<Self> {
        let mut map = HeaderMap::with_capacity(left.len());
        for name in came.keys().chain(left.keys()) {
            if let Some(value) = left.get(name) {
                map.insert(name.clone(), value.clone());
            }
        }
        let place = |line: &usize| {
            let name = came.keys().nth(*line);
            map.keys().position(|own| Some(own) == name)
        };
        let places = varying.iter().map(place).collect();
        (map.len() == left.len()).then_some(Self { map, places })
    }
}

impl Template {
    /// Of the fields of heads with this status, in the order of their lines, and the numbers of those
    /// that vary.
    fn of(came: &HeaderMap, varying: &[usize], status: StatusCode, unread: Unread) -> Self {
        Self::settled(came, varying, status, unread).unwrap_or_else(|| Self {
            whole: Fields {
                map: came.clone(),
                places: varying.iter().copied().map(Some).collect(),
            },
            amended: None,
            length: None,
            outcome: None,
        })
    }

    fn settled(
        came: &HeaderMap,
        varying: &[usize],
        status: StatusCode,
        unread: Unread,
    ) -> Option<Self> {
        let names: Vec<&HeaderName> = came.keys().collect();
        // A length that varies is read in each head: only that there is one matters.
        let is_length = |line: usize| *names[line] == CONTENT_LENGTH;
        let matters = |name| Course::is_said_by(name) || is_settled_by_value(name);
        let mut others = varying.iter().filter(|&&line| !is_length(line));
        if others.any(|&line| matters(names[line])) {
            return None;
        }
        let course = Course::of(came)?;
        let mut left = came.clone();
        let settled = settle(&mut left);
        let mut settled = unread.strip(&mut left, settled);
        let whole = Fields::left_of(came, &left, varying)?;
        let length = varying.iter().position(|&line| is_length(line));
        let length = length.filter(|&at| whole.places[at].is_some());
        let speaks = |&line: &usize| Representation::is_said_by(names[line]);
        let mut amended = None;
        if !varying.iter().any(speaks) {
            let representation = Representation::of(&left);
            settled = settled.with(representation);
            // Other answers are read before they go down, if they do.
            if status.is_success() && representation.is_rewritten(status) {
                let settled = settled.with(representation.amend(&mut left));
                amended = Fields::left_of(came, &left, varying).map(|fields| (fields, settled));
            }
        }
        Some(Self {
            whole,
            amended,
            length,
            outcome: Some(Outcome { course, settled }),
        })
    }
}

/// The length of the first line, with its end.
fn line_end(text: &[u8]) -> Option<usize> {
    memchr(b'\n', text).map(|at| at + 1)
}

/// The value that stands in `text` between a colon and a line end (RFC 9112 section 5.1).
fn value(text: &Bytes, place: Range<usize>) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(text.slice_ref(trimmed(&text[place])?)).ok()
}

/// What stands between a colon and a line end, without the spaces around it.
fn trimmed(line: &[u8]) -> Option<&[u8]> {
    let mut value = line.strip_suffix(b"\r\n")?;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    Some(value)
}
