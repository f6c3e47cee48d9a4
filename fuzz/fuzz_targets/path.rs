//! Any path: the decision is that of a reader who really decodes, and no URL parser sees another
//! path in one that passes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenferry::policy::path::check;

/// One decoding of the whole text; a `%` without two hex digits stays.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3);
        let value = digits
            .filter(|two| bytes[at] == b'%' && two.iter().all(u8::is_ascii_hexdigit))
            .and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    out
}

fuzz_target!(|path: &str| {
    if check(path).is_err() {
        return;
    }
    assert!(path.starts_with('/') && path.is_ascii());
    let mut level = path.as_bytes().to_vec();
    for _ in 0..=3 {
        assert!(!level.iter().any(|b| b.is_ascii_control() || *b == b'\\'));
        let dots = |segment: &[u8]| segment == b"." || segment == b"..";
        assert!(!level.split(|b| *b == b'/').any(dots));
        level = decode(&level);
    }
    // Neither arrives in a path: hyper refuses a space, and cuts at the others.
    if !path.contains([' ', '?', '#'])
        && let Ok(url) = url::Url::parse(&format!("http://localhost{path}"))
    {
        assert_eq!(decode(url.path().as_bytes()), decode(path.as_bytes()));
    }
});
