//! What comes down.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{headers, name};
use crate::config::HeaderEdits;
use crate::policy::response_header::{ResponseRules, settle};

fn rules(keep: &[&str]) -> ResponseRules {
    let keep: Vec<HeaderName> = keep.iter().map(|text| name(text)).collect();
    ResponseRules::new(&keep, &HeaderEdits::default())
}

fn apply(rules: &ResponseRules, headers: &mut HeaderMap) -> bool {
    let settled = settle(headers);
    rules.apply(headers, settled)
}

/// What is left beside the two headers that are always added.
fn left(rules: &ResponseRules, lines: &[(&str, &str)]) -> Vec<String> {
    let mut map = headers(lines);
    apply(rules, &mut map);
    assert_eq!(map.remove("x-content-type-options").unwrap(), "nosniff");
    assert_eq!(
        map.remove("cross-origin-resource-policy").unwrap(),
        "same-origin"
    );
    let mut lines: Vec<String> = map
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

#[test]
fn what_belongs_to_the_upstream_stays_there() {
    for field in [
        "Set-Cookie",
        "WWW-Authenticate",
        "Strict-Transport-Security",
        "Alt-Svc",
        "Clear-Site-Data",
        "Access-Control-Allow-Origin",
        "Access-Control-Anything",
        "Public-Key-Pins",
        "Public-Key-Pins-Report-Only",
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
        "Proxy-Connection",
        "TE",
        "Transfer-Encoding",
        "Upgrade",
        "Cross-Origin-Resource-Policy",
    ] {
        let lines = [(field, "a"), ("etag", "1"), (field, "b")];
        assert_eq!(left(&rules(&[]), &lines), ["etag: 1"], "{field}");
    }
}

#[test]
fn the_rest_comes_down_untouched() {
    let lines = [
        ("cache-control", "private"),
        ("content-length", "0"),
        ("location", "https://a/b"),
        ("odata-entityid", "x"),
        ("request-id", "1"),
        ("retry-after", "1"),
        ("trailer", "x-checksum"),
        ("vary", "Accept"),
        ("vary", "Prefer"),
        ("x_y", "1"),
    ];
    let mut expected: Vec<String> = lines.iter().map(|(n, v)| format!("{n}: {v}")).collect();
    expected.sort();
    assert_eq!(left(&rules(&[]), &lines), expected);
}

#[test]
fn names_nominated_by_the_upstream_go_whatever_the_line() {
    let lines = [
        ("connection", "close"),
        ("connection", "X-Secret"),
        ("x-secret", "1"),
        ("x-other", "2"),
    ];
    assert_eq!(left(&rules(&[]), &lines), ["x-other: 2"]);
}

#[test]
fn a_kept_header_comes_down_and_framing_is_not_kept() {
    let rules = rules(&["set-cookie", "access-control-x", "transfer-encoding"]);
    let lines = [
        ("set-cookie", "a"),
        ("access-control-x", "b"),
        ("transfer-encoding", "gzip"),
    ];
    assert_eq!(
        left(&rules, &lines),
        ["access-control-x: b", "set-cookie: a"]
    );
}

#[test]
fn an_edit_has_the_last_word_but_not_on_framing() {
    let edits = HeaderEdits {
        set: vec![
            (
                name("x-content-type-options"),
                HeaderValue::from_static("off"),
            ),
            (
                name("cross-origin-resource-policy"),
                HeaderValue::from_static("cross-origin"),
            ),
            (name("content-length"), HeaderValue::from_static("7")),
        ],
        remove: vec![name("server"), name("trailer")],
    };
    let mut map = headers(&[("server", "IIS"), ("content-length", "3"), ("trailer", "x")]);
    apply(&ResponseRules::new(&[], &edits), &mut map);
    let expected = [
        ("content-length", "3"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("trailer", "x"),
        ("x-content-type-options", "off"),
    ];
    assert_eq!(map, headers(&expected));
}

#[test]
fn trailers_carry_nothing_that_a_header_may_not() {
    let mut trailers = headers(&[
        ("x-checksum", "1"),
        ("set-cookie", "2"),
        ("content-length", "3"),
        ("access-control-x", "4"),
    ]);
    rules(&[]).trailers(&mut trailers);
    assert_eq!(trailers, headers(&[("x-checksum", "1")]));
    let edits = HeaderEdits {
        set: vec![(name("x-rows"), HeaderValue::from_static("ours"))],
        remove: vec![name("x-checksum")],
    };
    let mut trailers = headers(&[("x-checksum", "1"), ("x-rows", "2"), ("x-kept", "3")]);
    ResponseRules::new(&[], &edits).trailers(&mut trailers);
    assert_eq!(trailers, headers(&[("x-kept", "3")]));
}

proptest! {
    #[test]
    fn doing_it_twice_does_nothing_more(
        lines in prop::collection::vec(
            ("(connection|set-cookie|alt-svc|etag|trailer|x-a|access-control-x|content-length)", "(x-a|5|05|close, etag)"),
            0..10,
        ),
    ) {
        let borrowed: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (&**n, &**v)).collect();
        let mut once = headers(&borrowed);
        apply(&rules(&[]), &mut once);
        let mut twice = once.clone();
        apply(&rules(&[]), &mut twice);
        prop_assert_eq!(once, twice);
    }
}

#[test]
fn a_length_beside_a_transfer_coding_does_not_count() {
    let mut fields = headers(&[("content-length", "99"), ("transfer-encoding", "chunked")]);
    apply(&rules(&[]), &mut fields);
    assert!(!fields.contains_key("content-length"));
    assert!(!fields.contains_key("transfer-encoding"));
}

#[test]
fn a_document_is_of_no_origin_to_a_browser() {
    for kind in [
        "text/html",
        "Text/HTML ; charset=utf-8",
        "application/xhtml+xml",
        "image/svg+xml",
        "application/xml;odata=x",
        // Chromium runs the page in each of these but the last.
        "application/json;charset=utf-8,text/html",
        "text/plain, Text/HTML",
        "text/html, */*",
        "text/html x",
        "text/html(x)",
        "text/html\tx",
        "Text/XSL",
        // Firefox shows the parts, whatever they are.
        "multipart/x-mixed-replace;boundary=a",
    ] {
        let lines = [("content-type", kind), ("service-worker-allowed", "/")];
        let wanted = [
            "content-security-policy: sandbox".to_owned(),
            format!("content-type: {kind}"),
        ];
        assert_eq!(left(&rules(&[]), &lines), wanted);
    }
    for kind in [
        "application/json; note=text/html",
        "text/plain",
        "html",
        "text/htmlx",
        "multipart/mixed; boundary=a",
        ",;,",
        "",
    ] {
        let wanted = [format!("content-type: {kind}")];
        assert_eq!(left(&rules(&[]), &[("content-type", kind)]), wanted);
    }
    // Of two the last counts to browsers.
    let lines = [
        ("content-type", "text/plain"),
        ("content-type", "text/html"),
    ];
    assert_eq!(left(&rules(&[]), &lines).len(), 3);
    // One of the upstream's own stays in force beside it.
    let lines = [
        ("content-security-policy", "img-src 'none'"),
        ("content-type", "text/html"),
    ];
    assert_eq!(left(&rules(&[]), &lines).len(), 3);
}
