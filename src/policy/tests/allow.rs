//! `allow` against a slow matcher, and through the decodings that Graph applies.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::decode;
use crate::config::{AllowSpec, PatternSegment};
use crate::policy::allow::Allow;

fn pattern(text: &str) -> Vec<PatternSegment> {
    text[1..]
        .split('/')
        .map(|segment| match segment {
            "*" => PatternSegment::AnyOne,
            "**" => PatternSegment::AnyNumber,
            text => match text.strip_suffix("(*)") {
                Some(name) => PatternSegment::Keyed(name.to_owned()),
                None => PatternSegment::Literal(text.to_owned()),
            },
        })
        .collect()
}

fn allow(lines: &[&str]) -> Allow {
    keeping(lines, &[])
}

fn keeping(lines: &[&str], keep: &[HeaderName]) -> Allow {
    let specs: Vec<AllowSpec> = lines
        .iter()
        .map(|line| {
            let (methods, path) = line.split_once(' ').unwrap();
            AllowSpec {
                methods: methods.split(',').map(|m| m.parse().unwrap()).collect(),
                pattern: pattern(path),
            }
        })
        .collect();
    Allow::new(Some(&specs), keep)
}

#[test]
fn patterns_mean_what_the_contract_says() {
    for (line, path, expected) in [
        ("GET /v1.0/users/**", "/v1.0/users", true),
        ("GET /v1.0/users/**", "/v1.0/users/", true),
        ("GET /v1.0/users/**", "/v1.0/users/a/b/c", true),
        ("GET /v1.0/users/**", "/v1.0/users('a')", false),
        ("GET /v1.0/users/**", "/v1.0/usersx", false),
        ("GET /v1.0/users/**", "/v1.0/Users/a", false),
        ("GET /v1.0/users/**", "/v1.0/%75sers/a", false),
        ("GET /v1.0/users/**", "/v1.0%2Fusers/a", false),
        ("GET /v1.0/users/**", "//v1.0/users/a", false),
        ("GET /users/*/messages", "/users/a/messages", true),
        ("GET /users/*/messages", "/users//messages", false),
        ("GET /users/*/messages", "/users/a/b/messages", false),
        ("GET /users/*/messages", "/users/a%2Fb/messages", false),
        ("GET /users/*/messages", "/users/a%252fb/messages", false),
        (
            "GET /users/*/messages",
            "/users/a%25252525252Fb/messages",
            false,
        ),
        (
            "GET /users/*/messages",
            "/users/a%25%32%46b/messages",
            false,
        ),
        ("GET /users/*/messages", "/users/a%5cb/messages", false),
        ("GET /users/*/messages", "/users/a%255cb/messages", false),
        ("GET /users/*/messages", "/users/a%c0%afb/messages", false),
        ("GET /users/*/messages", "/users/a%C1%9Cb/messages", false),
        ("GET /users/*/messages", "/users/a%e0%80%af/messages", false),
        (
            "GET /users/*/messages",
            "/users/a%f0%80%80%af/messages",
            false,
        ),
        (
            "GET /users/*/messages",
            "/users/a%25c0%25af/messages",
            false,
        ),
        ("GET /users/*/messages", "/users/a%c3%a4b/messages", true),
        ("GET /users/*/messages", "/users/%e0%a4%af/messages", true),
        ("GET /users/*/messages", "/users/a%c0/messages", true),
        ("GET /users/*/messages", "/users/a%40b/messages", true),
        ("GET /users/*/messages", "/users/100%25/messages", true),
        ("GET /users/*/messages", "/users/a%2525b/messages", true),
        ("GET /users/*", "/users", false),
        ("GET /users/*", "/users/", false),
        ("GET /users/*", "/users/a/", false),
        ("GET /a(*)/**", "/a(1)", true),
        ("GET /a(*)/**", "/a(b='c%20(d)',e=1)/f", true),
        ("GET /a(*)/**", "/a", false),
        ("GET /a(*)/**", "/a()", false),
        ("GET /a(*)/**", "/a(%20)", false),
        ("GET /a(*)/**", "/a(%25%32%30%E2%80%83)/b", false),
        ("GET /a(*)/**", "/a(%20%27b%27)", true),
        ("GET /a%2Fb(*)", "/a%2Fb(1)", true),
        ("GET /a%2Fb(*)", "/a%2Fb(1%2F2)", false),
        ("GET /a(*)/**", "/a/1", false),
        ("GET /a(*)/**", "/A(1)", false),
        ("GET /a(*)/**", "/ab(1)", false),
        ("GET /a(*)/**", "/a(1)b", false),
        ("GET /a(*)/**", "/a(1)%2Fb()", false),
        ("GET /a(*)/**", "/a(b='c%252Fd')", false),
        ("GET /a(*)/**", "/a%281)", false),
        ("GET /**", "", true),
        ("GET /**", "/a%2Fb/..c", true),
        ("GET /", "", true),
        ("GET /", "/", true),
        ("GET /", "//", false),
        ("GET /", "/a", false),
        ("GET /**/b/**/d", "/b/d", true),
        ("GET /**/b/**/d", "/a/b/b/c/d", true),
        ("GET /**/b/**/d", "/a/b/c/d/e", false),
        ("GET /a/**/*", "/a", false),
        ("GET /a/**/*", "/a/b/c", true),
        ("GET /**/**", "/a", true),
    ] {
        assert_eq!(
            allow(&[line]).permits(&Method::GET, path),
            expected,
            "{line} {path}"
        );
    }
}

#[test]
fn methods_are_those_listed_and_get_includes_head() {
    let allow = allow(&["GET,POST /a", "DELETE /b"]);
    assert!(allow.permits(&Method::HEAD, "/a"));
    assert!(allow.permits(&Method::POST, "/a"));
    assert!(!allow.permits(&Method::DELETE, "/a"));
    assert!(!allow.permits(&Method::OPTIONS, "/a"));
    assert!(!allow.permits(&Method::HEAD, "/b"));
    assert!(!allow.permits(&Method::POST, "/b"));
}

#[test]
fn a_route_without_rules_lets_everything_through_and_one_with_none_nothing() {
    assert!(Allow::new(None, &[]).permits(&Method::DELETE, "/x"));
    assert!(!allow(&[]).permits(&Method::GET, "/x"));
}

#[test]
fn a_kept_override_is_the_method_that_counts() {
    for kept in [
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
    ] {
        let kept = HeaderName::from_static(kept);
        let allow = keeping(&["POST /a", "PATCH /a"], std::slice::from_ref(&kept));
        let request = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&kept, HeaderValue::from_static(value));
            }
            allow.permits_request(&Method::POST, &headers, "/a")
        };
        assert!(request(&[]), "{kept}");
        assert!(request(&["PATCH"]), "{kept}");
        assert!(request(&[" patch "]), "{kept}");
        assert!(!request(&["DELETE"]), "{kept}");
        assert!(!request(&["delete"]), "{kept}");
        assert!(!request(&["PATCH", "DELETE"]), "{kept}");
        assert!(!request(&["PATCH, DELETE"]), "{kept}");
        assert!(!request(&[""]), "{kept}");
        // Where everything passes, a method that is none is the upstream's to refuse.
        let mut headers = HeaderMap::new();
        headers.append(&kept, HeaderValue::from_static(""));
        let all = Allow::new(None, &[kept]);
        assert!(all.permits_request(&Method::POST, &headers, "/a"));
    }
}

#[test]
fn a_long_hostile_path_is_matched_in_time_linear_in_it() {
    // 20 000 segments against many `**`: exponential or cubic matching would not come back.
    let path = "/a".repeat(20_000);
    let line = format!("GET {}/b", "/**/a".repeat(20));
    assert!(!allow(&[&line]).permits(&Method::GET, &path));
    let encoded = format!("/users/%{}", "25".repeat(20_000));
    assert!(allow(&["GET /users/*"]).permits(&Method::GET, &encoded));
}

/// What a pattern matches, found recursively.
fn slowly(pattern: &[PatternSegment], segments: &[&str]) -> bool {
    match (pattern, segments) {
        ([], []) => true,
        ([PatternSegment::AnyNumber, after @ ..], _) => {
            slowly(after, segments) || (!segments.is_empty() && slowly(pattern, &segments[1..]))
        }
        ([PatternSegment::AnyOne, after @ ..], [segment, rest @ ..]) => {
            let hidden = segment.contains("%2F") || segment.contains("%252F");
            !segment.is_empty() && !hidden && slowly(after, rest)
        }
        ([PatternSegment::Keyed(name), after @ ..], [segment, rest @ ..]) => {
            let is_one = segment.starts_with(&format!("{name}(")) && segment.ends_with(')');
            let hidden = segment.contains("%2F") || segment.contains("()");
            is_one && !hidden && slowly(after, rest)
        }
        ([PatternSegment::Literal(text), after @ ..], [segment, rest @ ..]) => {
            text == segment && slowly(after, rest)
        }
        _ => false,
    }
}

fn pattern_text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "b", "*", "**", "a(*)", "a%2Fb"]),
        1..6,
    )
    .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn path_text() -> impl Strategy<Value = String> {
    let pieces = vec![
        "a", "b", "", "a(1)", "a()", "a(%2F)", "a%2Fb", "c%20d", "a%252Fb",
    ];
    prop::collection::vec(prop::sample::select(pieces), 1..7)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

/// A path that fits a pattern, with everything in it that `*` and `**` may stand for.
fn filling(text: &str) -> impl Strategy<Value = String> + use<> {
    let one = || prop::sample::select(vec!["a", "c%20d", "%2541", "100%25", "x%2525y"]);
    let any = prop::sample::select(vec!["a", "b", "", "a%2Fb", "a%252Fb", "%2F"]);
    let segments: Vec<BoxedStrategy<Vec<String>>> = pattern(text)
        .into_iter()
        .map(|segment| match segment {
            PatternSegment::AnyNumber => {
                prop::collection::vec(any.clone().prop_map(str::to_owned), 0..3).boxed()
            }
            PatternSegment::AnyOne => one().prop_map(|piece| vec![piece.to_owned()]).boxed(),
            PatternSegment::Keyed(name) => one()
                .prop_map(move |piece| vec![format!("{name}({piece})")])
                .boxed(),
            PatternSegment::Literal(text) => Just(vec![text]).boxed(),
        })
        .collect();
    segments.prop_map(|pieces| format!("/{}", pieces.concat().join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn matching_is_that_of_a_slow_reader(text in pattern_text(), path in path_text()) {
        let line = format!("GET {text}");
        let segments: Vec<&str> = path[1..].split('/').collect();
        prop_assert_eq!(
            allow(&[&line]).permits(&Method::GET, &path),
            slowly(&pattern(&text), &segments)
        );
    }

    #[test]
    fn what_is_permitted_stays_permitted_after_graph_has_decoded(
        (text, path) in pattern_text().prop_flat_map(|text| {
            let filled = filling(&text);
            (Just(text), filled)
        }),
    ) {
        let (mut text, mut path) = (text, path);
        for _ in 0..3 {
            let line = format!("GET {text}");
            prop_assert!(allow(&[&line]).permits(&Method::GET, &path), "{} {}", text, path);
            text = String::from_utf8(decode(text.as_bytes())).unwrap();
            path = String::from_utf8(decode(path.as_bytes())).unwrap();
        }
    }
}

#[test]
fn dots_in_front_of_parameters_pass_no_pattern() {
    let allow = allow(&["GET /v1.0/users/**", "GET /a/*/b"]);
    for path in [
        "/v1.0/users/..;/admin",
        "/v1.0/users/..;a=b/admin",
        "/v1.0/users/.;/admin",
        "/v1.0/users/..;",
        "/v1.0/users/%2e%2E;/admin",
        "/v1.0/users/..%3b/admin",
        "/v1.0/users/%252e.%253B/admin",
        "/v1.0/users/a%2F..;/admin",
        "/a/..;/b",
    ] {
        assert!(!allow.permits(&Method::GET, path), "{path}");
        assert!(Allow::new(None, &[]).permits(&Method::GET, path), "{path}");
    }
    for path in [
        "/v1.0/users/a;b=c/d",
        "/v1.0/users/a;..",
        "/v1.0/users/...;/d",
        "/v1.0/users/a..;/d",
        "/v1.0/users/;..;/d",
        "/v1.0/users/..a;/d",
        "/v1.0/users/100%25;",
    ] {
        assert!(allow.permits(&Method::GET, path), "{path}");
    }
}
