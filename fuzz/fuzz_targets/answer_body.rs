//! Any bytes as the body of an answer, of each kind and coding that links are looked for in: cuts
//! change nothing, a coding changes nothing, without a link every byte comes out but for lengths that
//! parts of a batch no longer have, what came out has no link any more, and JSON in a part of a batch
//! becomes what it becomes alone.
#![no_main]

mod links;

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use links::links;
use tokenferry::rewrite::{Asked, DecodeError, Representation, plan};

const KINDS: [&str; 3] = [
    "application/json",
    "multipart/mixed; boundary=b",
    "application/json",
];
const MULTIPART: usize = 1;
/// What is read from a socket, and what a decoder puts out, at a time: more than an input has.
const PIECE: usize = 32 * 1024;
const CODINGS: [&str; 3] = ["identity", "gzip", "deflate"];

/// What comes out, and how many links were in it.
fn output(
    kind: usize,
    coding: &'static str,
    body: &[u8],
    size: usize,
) -> Result<(Vec<u8>, u64), DecodeError> {
    let asked = Asked {
        method: &Method::POST,
        file: false,
        batch: kind > 0,
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(KINDS[kind]));
    headers.insert("content-encoding", HeaderValue::from_static(coding));
    let representation = Representation::of(&headers);
    let rewriter = plan(
        &asked,
        StatusCode::OK,
        &mut headers,
        representation,
        links(),
    );
    let mut rewriter = rewriter.expect("a kind that is rewritten");
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

fn plain(kind: usize, body: &[u8]) -> (Vec<u8>, u64) {
    output(kind, "identity", body, usize::MAX).expect("there is nothing to decode")
}

/// The body in this coding, made in one of the ways in which servers make it.
fn coded(coding: &str, way: u8, body: &[u8]) -> Vec<u8> {
    let level = Compression::new(u32::from(way % 10));
    let half = body.len() / 2;
    let gzip = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder.write_all(text).and_then(|()| encoder.finish())
    };
    let made = match coding {
        "gzip" if way >= 128 => {
            gzip(&body[..half]).and_then(|first| Ok([first, gzip(&body[half..])?].concat()))
        }
        "gzip" => gzip(body),
        "deflate" if way >= 128 => {
            let mut encoder = DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
        _ => Ok(body.to_vec()),
    };
    made.expect("a vector takes every byte")
}

/// Batches with one part that holds JSON, alone and in a change set: what stands in front of it and
/// behind it.
fn around() -> [(Vec<u8>, &'static [u8]); 2] {
    let part = "Content-Type: application/http\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    let set = format!("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n{part}");
    [
        (format!("--b\r\n{part}").into(), b"\r\n--b--\r\n"),
        (set.into(), b"\r\n--c--\r\n--b--\r\n"),
    ]
}

/// Whether a line of the body may be a delimiter of these batches.
fn has_delimiter(body: &[u8]) -> bool {
    let begins = |line: &[u8]| line.starts_with(b"--b") || line.starts_with(b"--c");
    body.split(|byte| *byte == b'\n').any(begins)
}

/// Behind so many empty lines that the first piece ends in its middle, a body becomes what it becomes
/// alone.
fn hold_across_pieces(kind: usize, coding: &'static str, body: &[u8]) {
    let (alone, links) = plain(kind, body);
    let front = b"\r\n".repeat((PIECE - body.len() / 2) / 2);
    // Stored: a decoder's steps are shorter where it is given little.
    let coded = coded(coding, 0, &[&front, body].concat());
    let (out, again) = output(kind, coding, &coded, PIECE).expect("it is well coded");
    assert!(out.strip_prefix(&front[..]) == Some(&alone[..]) && again == links);
}

fn hold(kind: usize, coding: &'static str, way: u8, body: &[u8]) {
    let (out, links) = plain(kind, body);
    let lower = body.to_ascii_lowercase();
    let has = |word: &[u8]| memchr::memmem::find(&lower, word).is_some();
    if links == 0 && (kind != MULTIPART || !has(b"content-length")) {
        assert_eq!(out, body);
    }
    let size = usize::from(way) + 1;
    let again = output(kind, coding, &coded(coding, way, body), size);
    assert_eq!(again.expect("it is well coded"), (out.clone(), links));
    // A rooted reference in a part is prefixed as often as it is read.
    if kind != MULTIPART || !has(b"location") {
        assert_eq!(plain(kind, &out), (out, 0));
    }
    if has_delimiter(body) {
        return;
    }
    let (alone, links) = plain(0, &[body, b"\r\n"].concat());
    let alone = alone
        .strip_suffix(b"\r\n")
        .expect("it is no part of a link");
    for (front, behind) in around() {
        let inside = plain(MULTIPART, &[&front, body, behind].concat());
        assert_eq!(inside, ([&front, alone, behind].concat(), links));
    }
}

fuzz_target!(|input: (u8, u8, u8, &[u8])| {
    let (size, kind, coding, body) = input;
    let kind = usize::from(kind) % KINDS.len();
    let coding = CODINGS[usize::from(coding) % CODINGS.len()];
    hold(kind, coding, size, body);
    // It takes longer than all the rest.
    if size % 8 == 7 && body.len() < PIECE {
        hold_across_pieces(kind, coding, body);
    }
    let whole = output(kind, coding, body, usize::MAX);
    let cut = output(kind, coding, body, usize::from(size) + 1);
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => assert_eq!(cut, whole),
        (whole, cut) => assert!(whole.is_err() && cut.is_err()),
    }
});
