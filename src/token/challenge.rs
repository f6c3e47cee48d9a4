//! Finds the claims that an upstream demands in `WWW-Authenticate` (RFC 9110 section 11.6.1, as
//! Microsoft's services really write it: unquoted URLs, base64 with its padding, several challenges
//! in one line or several lines). Pure and linear in the length of the headers.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{HeaderMap, WWW_AUTHENTICATE};

use crate::credential::{ClaimsRequest, MAX_CLAIMS};

/// The claims of the first bearer challenge with `error="insufficient_claims"` that has some.
pub fn read(headers: &HeaderMap) -> Option<ClaimsRequest> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .find_map(|line| read_line(line.as_bytes()))
}

/// The parameters that matter of one challenge.
#[derive(Default)]
struct Challenge {
    bearer: bool,
    insufficient: bool,
    claims: Option<Vec<u8>>,
}

impl Challenge {
    fn of(scheme: &[u8]) -> Self {
        Self {
            bearer: scheme.eq_ignore_ascii_case(b"bearer"),
            ..Self::default()
        }
    }

    fn add(&mut self, name: &[u8], value: Vec<u8>) {
        if name.eq_ignore_ascii_case(b"error") {
            self.insufficient = value.eq_ignore_ascii_case(b"insufficient_claims");
        } else if name.eq_ignore_ascii_case(b"claims") {
            self.claims = Some(value);
        }
    }

    fn claims(self) -> Option<ClaimsRequest> {
        let text = self.claims.filter(|_| self.bearer && self.insufficient)?;
        decode(text)
    }
}

fn read_line(mut rest: &[u8]) -> Option<ClaimsRequest> {
    let mut challenge = Challenge::default();
    loop {
        rest = skip(rest, |b| is_space(b) || b == b',');
        if rest.is_empty() {
            return challenge.claims();
        }
        let (word, after) = split(rest, |b| is_space(b) || matches!(b, b',' | b'=' | b'"'));
        let after = skip(after, is_space);
        if let Some(value) = after.strip_prefix(b"=") {
            let (value, after) = read_value(skip(value, is_space));
            challenge.add(word, value);
            rest = after;
        } else {
            // A word without a value begins the next challenge, or is a stray quote to step over.
            if let Some(found) = std::mem::replace(&mut challenge, Challenge::of(word)).claims() {
                return Some(found);
            }
            rest = after.strip_prefix(b"\"").unwrap_or(after);
        }
    }
}

/// A quoted string with its escapes undone, or everything up to a comma or space.
fn read_value(rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let (value, rest) = split(rest, |b| is_space(b) || b == b',');
        return (value.to_vec(), rest);
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (value, &quoted[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, escaped)| *escaped)),
            byte => value.push(*byte),
        }
    }
    // The quote was never closed: what there is of the value cannot be relied on.
    (Vec::new(), &[])
}

/// Either base64 alphabet, padded or not.
fn decode(mut text: Vec<u8>) -> Option<ClaimsRequest> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    if text.len() > MAX_CLAIMS.div_ceil(3) * 4 {
        return None;
    }
    for byte in &mut text {
        match byte {
            b'-' => *byte = b'+',
            b'_' => *byte = b'/',
            _ => {}
        }
    }
    ClaimsRequest::parse(&LENIENT.decode(text).ok()?)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn skip(bytes: &[u8], unwanted: impl Fn(u8) -> bool) -> &[u8] {
    let at = bytes.iter().position(|b| !unwanted(*b));
    &bytes[at.unwrap_or(bytes.len())..]
}

fn split(bytes: &[u8], end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|b| end(*b));
    bytes.split_at(at.unwrap_or(bytes.len()))
}
