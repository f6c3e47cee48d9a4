//! Any path: the decision is that of a reader who really decodes, no URL parser sees another path in
//! one that passes, and a star of `allow` stands for one segment however often it is decoded.
#![no_main]

use std::sync::LazyLock;

use http::Method;
use libfuzzer_sys::fuzz_target;
use tokenferry::config::{AllowSpec, PatternSegment};
use tokenferry::policy::allow::Allow;
use tokenferry::policy::path::{PathFault, check};

/// `GET /*`
static ONE_SEGMENT: LazyLock<Allow> = LazyLock::new(|| {
    let spec = AllowSpec {
        methods: vec![Method::GET],
        pattern: vec![PatternSegment::AnyOne],
    };
    Allow::new(Some(&[spec]), &[])
});

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

/// Whether there is a fault of this kind at any of the levels that are looked through; `None` when
/// bytes outside ASCII come out, of which some are overlong spellings.
fn is_at_fault(path: &str, fault: PathFault) -> Option<bool> {
    let dots = |segment: &[u8]| segment == b"." || segment == b"..";
    let mut level = path.as_bytes().to_vec();
    let mut found = false;
    for _ in 0..=3 {
        found |= match fault {
            PathFault::Backslash => level.contains(&b'\\'),
            PathFault::Control => level.iter().any(u8::is_ascii_control),
            PathFault::DotSegment => level.split(|b| *b == b'/').any(dots),
            PathFault::NonAscii => !path.is_ascii(),
            PathFault::Relative => !path.starts_with('/'),
            PathFault::Triplet => path.split('%').skip(1).any(|rest| {
                let digits = rest.as_bytes().get(..2);
                !digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
            }),
        };
        level = decode(&level);
    }
    (found || level.is_ascii()).then_some(found)
}

const FAULTS: [PathFault; 6] = [
    PathFault::Backslash,
    PathFault::Control,
    PathFault::DotSegment,
    PathFault::NonAscii,
    PathFault::Relative,
    PathFault::Triplet,
];

fuzz_target!(|path: &str| {
    if let Err(fault) = check(path) {
        assert_ne!(is_at_fault(path, fault), Some(false), "{fault:?}");
        return;
    }
    for fault in FAULTS {
        assert_ne!(is_at_fault(path, fault), Some(true), "{fault:?}");
    }
    if ONE_SEGMENT.permits(&Method::GET, path) {
        let mut whole = path.as_bytes().to_vec();
        while decode(&whole) != whole {
            whole = decode(&whole);
        }
        assert_eq!(
            whole.iter().filter(|b| matches!(b, b'/' | b'\\')).count(),
            1
        );
    }
    // Neither arrives in a path: hyper refuses a space, and cuts at the others.
    if !path.contains([' ', '?', '#'])
        && let Ok(url) = url::Url::parse(&format!("http://localhost{path}"))
    {
        assert_eq!(decode(url.path().as_bytes()), decode(path.as_bytes()));
    }
});
