//! The path decision against a slow reader that really decodes, level by level.

use proptest::prelude::*;

use super::decode;
use crate::policy::path::{LEVELS, PathFault, check};

/// The rule of paths, one condition after the other.
fn passes(path: &str) -> bool {
    let raw_fault = path.bytes().enumerate().any(|(at, byte)| {
        let triplet = path.as_bytes().get(at + 1..at + 3);
        let bad = !triplet.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit));
        byte >= 0x80 || (byte == b'%' && bad)
    });
    let mut level = path.as_bytes().to_vec();
    let mut fault = raw_fault;
    for _ in 0..=LEVELS {
        fault |= level.iter().any(|b| b.is_ascii_control() || *b == b'\\');
        fault |= level
            .split(|b| matches!(b, b'/' | b'\\'))
            .any(|segment| segment == b"." || segment == b"..");
        level = decode(&level);
    }
    !fault
}

#[test]
fn what_has_meaning_upstream_passes() {
    for path in [
        "/",
        "//",
        "//evil.example/x",
        "/v1.0/users('a%27b')/messages",
        "/drive/root:/a/b.txt:/content",
        "/a%2Fb",
        "/a%252Fb",
        "/%253c",
        "/a!b;c=d,e@f$g&h+i",
        "/.well-known/x",
        "/...",
        "/..a/b..",
        "/a.",
        "/%20",
        "/100%25",
        "/100%2525",
        "/%25zz",
        "/%e4%b8%ad",
        "/%ff%fe",
        "/\"{}|^`<>",
        "/%2525252e",
        "/%c0a",
        "/%e0%a0%ae",
        "/x%c0%aey",
    ] {
        assert_eq!(check(path), Ok(()), "{path}");
    }
}

#[test]
fn dot_segments_are_seen_through_three_levels() {
    for path in [
        "/.",
        "/..",
        "/../",
        "/a/..",
        "/a/./b",
        "/a/../b",
        "/%2e",
        "/%2E%2e/x",
        "/.%2e",
        "/%2e.",
        "/a/%2e%2e/b",
        "/a/%252e%252e/b",
        "/a/%25252e%25252E",
        "/.%25252e",
        "/a%2f..",
        "/a%2f..%2fb",
        "/a%252f..%252fb",
        "/..%2f",
        "/%2e%2e%2fx",
        "/%2e%252e%25252fx",
        "/%252e/x",
        "/a%2F%2E%2E",
        "/%25%32%65",
        "/%2%35%32e",
        "/%%32%65",
        // Overlong spellings of the dot and the slash.
        "/%c0%ae",
        "/%c0%ae%c0%ae/x",
        "/%e0%80%ae.",
        "/%f0%80%80%ae",
        "/a%c0%af..",
        "/%25c0%25ae",
    ] {
        assert!(
            matches!(check(path), Err(PathFault::DotSegment | PathFault::Triplet)),
            "{path}"
        );
    }
}

#[test]
fn other_faults_are_told_apart() {
    for (path, fault) in [
        ("/a\\b", PathFault::Backslash),
        ("/a%5cb", PathFault::Backslash),
        ("/a%255Cb", PathFault::Backslash),
        ("/a%25255cb", PathFault::Backslash),
        ("/a%c1%9cb", PathFault::Backslash),
        ("/%00", PathFault::Control),
        ("/a%0d%0ab", PathFault::Control),
        ("/%2500", PathFault::Control),
        ("/%252500", PathFault::Control),
        ("/%7f", PathFault::Control),
        ("/%c0%80", PathFault::Control),
        ("/a\tb", PathFault::Control),
        ("/a\u{7f}b", PathFault::Control),
        ("/%", PathFault::Triplet),
        ("/%2", PathFault::Triplet),
        ("/%zz", PathFault::Triplet),
        ("/%u002e", PathFault::Triplet),
        ("/a%2", PathFault::Triplet),
        ("/ä", PathFault::NonAscii),
        ("/\u{ff0e}\u{ff0e}/", PathFault::NonAscii),
        ("", PathFault::Relative),
        ("*", PathFault::Relative),
        ("a/b", PathFault::Relative),
    ] {
        assert_eq!(check(path), Err(fault), "{path:?}");
    }
}

/// Pieces that hidden dots, slashes and percent signs are made of.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = vec![
        ".", "..", "/", "%2e", "%2E", "%2f", "%5c", "%25", "%32", "%65", "%66", "25", "2e", "2f",
        "5c", "00", "%", "a", "e", "2", "0", "%61", "%30", "\\", "%00", "ä", "%e4", ";", "%3b",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..14)
        .prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_decision_is_that_of_a_reader_who_decodes(path in hostile()) {
        prop_assert_eq!(check(&path).is_ok(), passes(&path), "{}", path);
    }

    #[test]
    fn any_text_is_decided_without_panic_and_alike(path in "/[ -~é]{0,24}") {
        prop_assert_eq!(check(&path).is_ok(), passes(&path), "{}", path);
    }
}
