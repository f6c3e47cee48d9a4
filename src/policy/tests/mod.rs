//! Laws and hard cases of the policy, too long to sit beside the code.

mod allow;
mod browser;
mod path;
mod request_header;
mod request_header_laws;
mod response_header;
mod target;
mod url;

use http::{HeaderMap, HeaderName, HeaderValue};

fn name(text: &str) -> HeaderName {
    HeaderName::from_bytes(text.as_bytes()).unwrap()
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (field, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        map.append(name(field), value);
    }
    map
}

/// One decoding of the whole text; a `%` without two hex digits stays.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3);
        let value = digits
            .filter(|_| bytes[at] == b'%')
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    out
}
