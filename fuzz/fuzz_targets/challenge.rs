//! Any bytes as the lines of a challenge: claims come out of a bearer challenge that asks for them
//! and of nothing else, what stands on other lines changes nothing, and claims that were written
//! into a challenge are the ones that are read.
#![no_main]

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tokenferry::credential::ClaimsRequest;
use tokenferry::token::challenge::read;

fn lines<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> HeaderMap {
    let values = lines
        .into_iter()
        .filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (WWW_AUTHENTICATE, value)).collect()
}

/// Whether a line holds this word; escapes inside quotes are not undone here.
fn holds(line: &[u8], word: &str) -> bool {
    line.contains(&b'\\')
        || line
            .windows(word.len())
            .any(|at| at.eq_ignore_ascii_case(word.as_bytes()))
}

/// A quoted string of any bytes that a header may hold.
fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in bytes.iter().filter(|byte| **byte >= 32 && **byte != 127) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
    out
}

fuzz_target!(|input: (&[u8], &[u8])| {
    let (line, other) = input;
    let found = read(&lines([line]));
    if found.is_some() {
        for word in ["bearer", "insufficient_claims", "claims"] {
            assert!(holds(line, word), "claims without {word}");
        }
    }
    let around = [
        &b"Negotiate"[..],
        b"Basic realm=\"a, b\"",
        line,
        b"Bearer error=invalid_token",
    ];
    assert_eq!(read(&lines(around)), found);

    let Some(claims) = ClaimsRequest::parse(other) else {
        return;
    };
    for text in [
        BASE64_STANDARD.encode(other),
        BASE64_URL_SAFE_NO_PAD.encode(other),
    ] {
        let mut written = b"Basic realm=".to_vec();
        written.extend(quoted(line));
        written.extend(b", Bearer realm=");
        written.extend(quoted(line));
        written.extend(format!(", error=\"insufficient_claims\", claims=\"{text}\"").bytes());
        assert_eq!(read(&lines([&written[..]])).as_ref(), Some(&claims));
    }
});
