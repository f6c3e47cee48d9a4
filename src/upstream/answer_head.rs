//! Reads the heads of answers (RFC 9112 sections 4 and 5). Pure.
//!
//! The answers of one upstream are much alike: of some fifteen lines only the date and the ids are
//! new. So the last heads are remembered, and a head whose lines have the names of a remembered one,
//! in its order, is compared with it instead of being parsed: a line that is the same byte for byte
//! means the same. Whatever differs in more than values goes through `httparse`.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use memchr::memmem;

use super::Breakage;
use super::inflow::is_strict;
use super::known_head::KnownHead;
pub use super::known_head::Outcome;
use crate::policy::response_header::Unread;

/// Answers' heads: as large as what callers may send.
const LARGEST: usize = 64 * 1024;
/// What may come before the body: as much of interim answers as of the final head. Without a bound
/// they would take the core for as long as an answer may take.
const MOST: usize = 2 * LARGEST;
/// Fields of an answer; Graph sends about fifteen, and hyper takes as many from callers.
const MOST_FIELDS: usize = 100;
/// Heads that are remembered: what one service says to reads, writes, deletions and too many
/// requests differs in its names.
const REMEMBERED: usize = 8;

/// How a record of TLS begins (RFC 8446 section 5.1): an alert, which is what TLS answers to what is
/// none.
const TLS_ALERT: u8 = 21;

const MALFORMED: Breakage = Breakage::Malformed("a head that is not one of HTTP/1.1");

/// A head as it came; or settled already, with what is known to come of it.
pub type Head = (Response<()>, Option<Outcome>);

/// The heads that an upstream sent last.
#[derive(Debug)]
pub struct Heads {
    end: memmem::Finder<'static>,
    /// The likeliest first.
    known: Vec<KnownHead>,
    /// What is missing in those that are settled when they are read.
    unread: Unread,
}

impl Default for Heads {
    fn default() -> Self {
        Self::new(Unread::default())
    }
}

impl Heads {
    /// None yet. A head that is known may come without what is `unread`.
    pub fn new(unread: Unread) -> Self {
        Self {
            end: memmem::Finder::new(b"\r\n\r\n"),
            known: Vec::new(),
            unread,
        }
    }

    /// Takes the head of an answer out of `input`, once all of it is there; with what comes of it,
    /// where that is known already. One that is known may be amended where its links are rewritten,
    /// as [`RequestHead::rewrites`](super::RequestHead::rewrites) says.
    ///
    /// # Errors
    /// When it is larger than 64 KiB or no head of HTTP/1.1 (RFC 9112 section 4). Line ends other than
    /// CRLF are not accepted.
    pub fn read(&mut self, input: &mut BytesMut, rewrites: bool) -> Result<Option<Head>, Breakage> {
        // To compare nothing is slow: see `Lead`.
        if input.is_empty() {
            return Ok(None);
        }
        let window = &input[..input.len().min(LARGEST)];
        // What will never be a head is not waited for. An empty line in front is none either.
        if !b"HTTP/1.".starts_with(&window[..window.len().min(7)]) {
            return Err(match window[0] {
                TLS_ALERT => Breakage::Malformed("an alert of TLS (is it https://?)"),
                _ => MALFORMED,
            });
        }
        for at in 0..self.known.len() {
            if let Some(length) = self.known[at].matches(window) {
                let text = input.split_to(length).freeze();
                // To change something with itself copies it three times.
                if at > 0 {
                    self.known.swap(0, at);
                }
                return match self.known[0].read(&text, self.unread, rewrites) {
                    None => Ok(Some((parse(&text)?, None))),
                    head => Ok(head),
                };
            }
        }
        let Some(end) = self.end.find(window) else {
            return match window.len() < LARGEST {
                true => Ok(None),
                false => Err(Breakage::Malformed("a head of more than 64 KiB")),
            };
        };
        let text = input.split_to(end + 4).freeze();
        let response = parse(&text)?;
        if let Some(known) = KnownHead::of(&text, &response) {
            self.known.truncate(REMEMBERED - 1);
            self.known.push(known);
        }
        Ok(Some((response, None)))
    }
}

/// Goes on as long as no more came than the heads of one answer may be.
pub(super) fn within_reason(came: usize) -> Result<(), Breakage> {
    let endless = Breakage::Malformed("interim answers and no end of them");
    (came <= MOST).then_some(()).ok_or(endless)
}

/// Reads a whole head.
fn parse(text: &Bytes) -> Result<Response<()>, Breakage> {
    let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut head, text, &mut room);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        return Err(Breakage::Malformed("a head of more than 100 fields"));
    }
    // Less than all of it: an empty line that ends in a bare LF came before.
    if parsed != Ok(Status::Complete(text.len())) || !is_strict(text) {
        return Err(MALFORMED);
    }
    let mut fields = HeaderMap::with_capacity(head.headers.len());
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| MALFORMED)?;
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
    *response.headers_mut() = fields;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::super::framing::Framing;
    use super::*;
    use crate::policy::response_header::settle;

    type Read = Result<Option<Response<()>>, Breakage>;
    /// Status, version, fields, a reason of its own.
    type Said<'a> = (u16, Version, Vec<(&'a str, &'a [u8])>, Option<&'a [u8]>);

    fn read(heads: &mut Heads, text: &str) -> Read {
        let read = heads.read(&mut BytesMut::from(text), false)?;
        Ok(read.map(|(mut response, known)| {
            known.is_none().then(|| settle(response.headers_mut()));
            response
        }))
    }

    fn head(text: &str) -> Read {
        read(&mut Heads::default(), text)
    }

    /// What a head says, to compare.
    fn said(read: &Read) -> Option<Said<'_>> {
        let response = read.as_ref().ok()?.as_ref()?;
        let fields = response.headers().iter();
        let reason = response.extensions().get::<ReasonPhrase>();
        Some((
            response.status().as_u16(),
            response.version(),
            fields
                .map(|(name, value)| (name.as_str(), value.as_bytes()))
                .collect(),
            reason.map(ReasonPhrase::as_bytes),
        ))
    }

    #[test]
    fn an_answer_is_read_and_what_follows_left() {
        let mut input = BytesMut::from(
            "HTTP/1.1 201 Created\r\nETag: W/\"1\"\r\nset-cookie: a\r\nSet-Cookie:b \r\n\r\n{}",
        );
        let (response, _) = Heads::default().read(&mut input, false).unwrap().unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(response.headers()["etag"], "W/\"1\"");
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a", "b"]);
        assert_eq!(&input[..], b"{}");
        assert!(response.extensions().get::<ReasonPhrase>().is_none());
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
            "HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n",
            "HTTP/1.1 200 OK\na: b\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
        ] {
            assert!(head(text).is_err(), "{:?}", text.get(..60).unwrap_or(text));
        }
    }

    #[test]
    fn what_is_wrong_with_a_head_is_told() {
        let many = "a: b\r\n".repeat(MOST_FIELDS + 1);
        let wide = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(LARGEST));
        let (fields, size) = (
            format!("more than {MOST_FIELDS} fields"),
            format!("more than {} KiB", LARGEST / 1024),
        );
        for (text, words) in [
            (&*format!("HTTP/1.1 200 OK\r\n{many}\r\n"), &*fields),
            (&wide, &size),
            ("HTTP/1.1 200 OK\r\na : b\r\n\r\n", "not one of HTTP/1.1"),
            ("\u{15}\u{3}\u{3}\0\u{2}\u{2}F", "is it https://?"),
            ("\u{15}", "is it https://?"),
        ] {
            let flaw = head(text).unwrap_err().to_string();
            assert!(flaw.contains(words), "{flaw}");
        }
    }

    #[test]
    fn a_head_that_is_like_one_before_is_read_as_if_it_were_the_first() {
        let heads = &mut Heads::default();
        for text in [
            "HTTP/1.1 200 OK\r\nDate: Mon\r\nrequest-id: 1\r\nVary: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Mon\r\nrequest-id: 2\r\nVary: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Tue\r\nrequest-id: 1\r\nVary: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Tue\r\nrequest-id:\t \r\nVary: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Tue\r\nrequest-id: 3\r\nVary: a\r\nVary: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Tue\r\nrequest-id: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Tue\r\nREQUEST-ID: 3\r\nVary: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nrequest-id: 3\r\nDate: Tue\r\nVary: a\r\n\r\n",
            "HTTP/1.1 200 Fine\r\nDate: Tue\r\nrequest-id: 3\r\nVary: a\r\n\r\n",
            "HTTP/1.0 200 OK\r\nDate: Tue\r\nrequest-id: 3\r\nVary: a\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nDate: Tue\r\nrequest-id: 3\r\nVary: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Wed\r\nrequest-id: 4\r\nVary: c\r\n\r\n",
        ] {
            for _ in 0..3 {
                let (alike, first) = (read(heads, text), head(text));
                assert!(said(&first).is_some(), "{text:?}");
                assert_eq!(said(&alike), said(&first), "{text:?}");
            }
        }
        assert!(heads.known.len() > 3);
        for text in [
            "HTTP/1.1 200 OK\r\nDate: Wed\r\nrequest-id: a\0b\r\nVary: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Wed\r\nrequest-id: a\rb\r\nVary: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Wed\r\nrequest-id: a\nVary: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Wed\r\nrequest-id: a\r\nVary: c\r\n d\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Wed\r\nrequest-id : a\r\nVary: c\r\n\r\n",
        ] {
            assert!(read(heads, text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_more_heads_are_remembered_than_a_service_has_use_for() {
        let heads = &mut Heads::default();
        for number in 0..100 {
            let text = format!("HTTP/1.1 200 OK\r\nx-{number}: 1\r\n\r\n");
            assert!(said(&read(heads, &text)).is_some());
        }
        assert_eq!(heads.known.len(), REMEMBERED);

        let heads = &mut Heads::default();
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(4096));
        assert!(said(&read(heads, &long)).is_some());
        assert!(heads.known.is_empty());
    }

    #[test]
    fn where_an_answer_ends_is_known_from_the_second_on_unless_more_than_its_length_varies() {
        let heads = &mut Heads::default();
        let mut known = |text: &str| {
            let read = heads
                .read(&mut BytesMut::from(text), false)
                .unwrap()
                .unwrap();
            read.1
                .map(|known| known.course.of_answer(&Method::GET, StatusCode::OK))
        };
        let chunked =
            |tag| format!("HTTP/1.1 200 OK\r\nETag: {tag}\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(known(&chunked(1)), None);
        assert_eq!(known(&chunked(2)), Some((Framing::Chunked, true)));
        let long = |length| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(known(&long(5)), None);
        assert_eq!(known(&long(5)), Some((Framing::Length(5), true)));
        assert_eq!(known(&long(7)), Some((Framing::Length(7), true)));
        assert_eq!(known(&long(5)), Some((Framing::Length(5), true)));
        for option in ["keep-alive", "close", "keep-alive"] {
            let text = format!(
                "HTTP/1.1 200 OK\r\nConnection: {option}\r\n{}",
                &long(5)[17..]
            );
            assert_eq!(known(&text), None, "{option}");
        }
    }

    #[test]
    fn what_is_remembered_is_not_shown() {
        let heads = &mut Heads::default();
        let text = "HTTP/1.1 302 Found\r\nLocation: https://a/?tempauth=x\r\n\r\n";
        assert!(said(&read(heads, text)).is_some());
        assert!(!heads.known.is_empty() && !format!("{heads:?}").contains("tempauth"));
    }

    /// Heads of a few names and values, some of them wrong.
    fn heads() -> impl Strategy<Value = Vec<String>> {
        let name = prop::sample::select(vec!["Date", "date", "ETag", "request-id", "x y", ""]);
        let value =
            prop::sample::select(vec!["", " ", " 1", " 22\t", "\u{b}3", " a\rb", " \u{e9}"]);
        let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\n "]);
        let line = (name, value, end).prop_map(|(name, value, end)| format!("{name}:{value}{end}"));
        let status =
            prop::sample::select(vec!["1.1 200 OK", "1.1 201 OK", "1.0 200 OK", "1.1 200"]);
        let head = (status, prop::collection::vec(line, 0..4))
            .prop_map(|(status, lines)| format!("HTTP/{status}\r\n{}\r\n", lines.concat()));
        prop::collection::vec(head, 1..12)
    }

    proptest! {
        #[test]
        fn what_came_before_changes_nothing(texts in heads()) {
            let heads = &mut Heads::default();
            for text in &texts {
                let (alike, first) = (read(heads, text), head(text));
                prop_assert_eq!(said(&alike), said(&first), "{:?}", text);
            }
        }
    }
}
