//! Any bytes as the answer of an upstream: head and body are the same wherever the bytes are cut, no
//! more comes out than went in, the bytes behind an answer are left alone, and what is read is what
//! the strict reader of the tests finds in them.
#![no_main]

#[allow(dead_code, reason = "it reads requests as well")]
#[path = "../../tests/suite/hostile/grammar_model.rs"]
mod grammar_model;

use bytes::BytesMut;
use grammar_model::End;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, Method, Response};
use libfuzzer_sys::fuzz_target;
use tokenferry::policy::response_header::settle;
use tokenferry::rewrite::without_digests;
use tokenferry::upstream::answer_head::Heads;
use tokenferry::upstream::framing::Framing;
use tokenferry::upstream::inflow::Inflow;

/// What speaks of the bytes of a body, beside digests.
const SPEAK_OF_BYTES: [HeaderName; 3] = [ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH];

/// What came of an answer.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    head: Option<(u16, HeaderMap)>,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Whether the body came to its end.
    whole: bool,
    /// Whether it was refused.
    refused: bool,
    left: Vec<u8>,
}

fn read(method: &Method, heads: &mut Heads, rewrites: bool, pieces: &[&[u8]]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut input = BytesMut::new();
    let mut body: Option<Inflow> = None;
    for piece in pieces {
        input.extend_from_slice(piece);
        let step = |input: &mut BytesMut, outcome: &mut Outcome| {
            if body.is_none() {
                let Some((response, known)) = heads.read(input, rewrites)? else {
                    return Ok(());
                };
                let (mut parts, ()) = Response::into_parts(response);
                let (status, version) = (parts.status, parts.version);
                let framing = match known {
                    Some(known) => known.course.of_answer(method, status).0,
                    None => {
                        let framing = Framing::of_answer(method, status, version, &parts.headers)?;
                        settle(&mut parts.headers);
                        framing
                    }
                };
                body = Some(Inflow::new(framing));
                outcome.head = Some((status.as_u16(), parts.headers));
            }
            let Some(body) = &mut body else {
                return Ok(());
            };
            while let Some(frame) = body.next(input)? {
                match frame.into_data() {
                    Ok(data) => outcome.data.extend_from_slice(&data),
                    Err(frame) => outcome.trailers = frame.into_trailers().ok(),
                }
            }
            Ok::<(), tokenferry::upstream::Breakage>(())
        };
        if { step }(&mut input, &mut outcome).is_err() {
            outcome.refused = true;
            return outcome;
        }
    }
    outcome.whole = body.is_some_and(|mut body| body.end().is_ok());
    outcome.left = input.to_vec();
    outcome
}

/// What was read beside what a strict reader finds in all of the text.
fn compare(read: &Outcome, method: &Method, text: &[u8]) {
    // Interim answers are not skipped here.
    let Some((status @ 200.., _)) = read.head else {
        return;
    };
    let found = grammar_model::answer(text, method.as_str()).expect("what is read is an answer");
    let coded = |value: &&[u8]| !value.eq_ignore_ascii_case(b"chunked");
    let codings = found.values("transfer-encoding");
    let is_listed = found
        .values("content-length")
        .iter()
        .any(|value| value.contains(&b','));
    // Other codings are refused later, and the same length twice is one (RFC 9112 section 6.3).
    if codings.len() > 1 || codings.iter().any(coded) || is_listed {
        return;
    }
    // It has bounds that the strict reader does without: 4 KiB for a line, 64 trailers.
    if read.refused && (text.len() > 4096 || text.split(|byte| *byte == b'\n').count() > 64) {
        return;
    }
    assert_eq!(status, found.status());
    let is_whole = read.whole && !read.refused;
    assert_eq!(is_whole, found.end == End::Whole);
    if is_whole {
        assert_eq!(text.len() - read.left.len(), found.length);
    }
    // What is broken may be refused before it ends, or with its last line.
    if is_whole || (!read.refused && found.end == End::Partial) {
        assert_eq!(read.data, found.body);
    }
}

fuzz_target!(|input: (bool, &[u8], Vec<u8>)| {
    let (head, text, cuts) = input;
    let method = if head { Method::HEAD } else { Method::GET };
    // The second time the head is one that came before.
    let heads = &mut Heads::default();
    let whole = read(&method, heads, false, &[text]);
    compare(&whole, &method, text);
    let mut pieces = Vec::new();
    let mut rest = text;
    for cut in cuts {
        let (piece, behind) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    let cut = read(&method, heads, false, &pieces);
    assert!(cut.data.len() + cut.left.len() <= text.len());
    // What is refused may be refused before its last bytes have come.
    assert_eq!(cut.refused, whole.refused);
    if !whole.refused {
        assert_eq!(cut, whole);
        hold_amended(read(&method, heads, true, &[text]), whole);
    }
});

/// Where links are going to be rewritten, a head that came before may lack what speaks of the bytes of
/// its body. Nothing else is another.
fn hold_amended(mut amended: Outcome, mut whole: Outcome) {
    if amended.head != whole.head {
        for (_, fields) in [&mut amended.head, &mut whole.head].into_iter().flatten() {
            for name in &SPEAK_OF_BYTES {
                fields.remove(name);
            }
            without_digests(fields);
        }
    }
    assert_eq!(amended, whole);
}
