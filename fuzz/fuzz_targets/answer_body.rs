//! Any bytes as the body of an answer, of each kind and coding that links are looked for in: cuts
//! change nothing, and without a link every byte comes out, but for lengths that parts of a batch no
//! longer have.
#![no_main]

mod links;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use links::links;
use tokenferry::rewrite::{Asked, DecodeError, plan};

const KINDS: [&str; 3] = [
    "application/json",
    "multipart/mixed; boundary=b",
    "application/json",
];
const CODINGS: [&str; 4] = ["identity", "gzip", "deflate", "br"];

/// What comes out, and how many links were in it.
fn output(
    kind: usize,
    coding: &'static str,
    body: &[u8],
    size: usize,
) -> Result<(Vec<u8>, u64), DecodeError> {
    let asked = Asked {
        method: &Method::POST,
        path: "/v1.0/$batch",
        range: false,
        batch: kind > 0,
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(KINDS[kind]));
    headers.insert("content-encoding", HeaderValue::from_static(coding));
    let mut rewriter =
        plan(&asked, StatusCode::OK, &mut headers, links()).expect("a kind that is rewritten");
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        rewriter.push(Bytes::copy_from_slice(chunk));
        while let Some(piece) = rewriter.next()? {
            assert!(!piece.is_empty());
            out.extend_from_slice(&piece);
        }
    }
    out.extend_from_slice(&rewriter.finish()?.unwrap_or_default());
    Ok((out, rewriter.links()))
}

fuzz_target!(|input: (u8, u8, u8, &[u8])| {
    let (size, kind, coding, body) = input;
    let kind = usize::from(kind) % KINDS.len();
    let coding = CODINGS[usize::from(coding) % CODINGS.len()];
    let whole = output(kind, coding, body, usize::MAX);
    let cut = output(kind, coding, body, usize::from(size) + 1);
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => {
            assert_eq!(cut, whole);
            let (out, links) = whole;
            let same = links == 0 && coding == "identity";
            let lower = body.to_ascii_lowercase();
            if same && (kind != 1 || memchr::memmem::find(&lower, b"content-length").is_none()) {
                assert_eq!(out, body);
            }
        }
        (whole, cut) => assert!(whole.is_err() && cut.is_err()),
    }
});
