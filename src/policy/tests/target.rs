//! What hyper hands over and what of it passes.

use http::{HeaderValue, Method, Uri, Version};

use super::headers;
use crate::code::Code;
use crate::policy::target::Target;

/// The host and the path and query that pass, or the code of the refusal.
fn decide(
    method: &str,
    target: &str,
    lines: &[(&str, &str)],
    version: Version,
) -> Result<(String, String), Code> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let uri: Uri = target.parse().unwrap();
    let headers = headers(lines);
    Target::of(&method, &uri, &headers, version)
        .map(|target| {
            let query = target.asked.query().map(|query| format!("?{query}"));
            let whole = target.path.to_owned() + &query.unwrap_or_default();
            (target.authority.host.into_owned(), whole)
        })
        .map_err(|refusal| refusal.code)
}

fn h1(method: &str, target: &str, lines: &[(&str, &str)]) -> Result<(String, String), Code> {
    decide(method, target, lines, Version::HTTP_11)
}

fn h2(target: &str, lines: &[(&str, &str)]) -> Result<(String, String), Code> {
    decide("GET", target, lines, Version::HTTP_2)
}

fn passes(host: &str, target: &str) -> Result<(String, String), Code> {
    Ok((host.to_owned(), target.to_owned()))
}

const HOST: (&str, &str) = ("host", "localhost:8080");

#[test]
fn origin_form_passes_byte_for_byte() {
    for target in [
        "/",
        "/graph/v1.0/users?$top=1",
        "//evil/x",
        "/a%2Fb?c=%5c..%00ä",
        "/x?",
        "/x??a=/../",
    ] {
        assert_eq!(h1("GET", target, &[HOST]), passes("localhost", target));
    }
}

#[test]
fn authority_form_and_asterisk_are_refused() {
    for target in [
        "evil.example:80",
        "@evil.example",
        ".evil.example",
        ":8443",
        "admin",
        "*",
    ] {
        let Ok(uri) = target.parse::<Uri>() else {
            continue;
        };
        assert_eq!(
            h1("GET", &uri.to_string(), &[HOST]),
            Err(Code::BadRequest),
            "{target}"
        );
    }
    assert_eq!(h1("OPTIONS", "*", &[HOST]), Err(Code::BadRequest));
}

#[test]
fn the_host_of_an_absolute_target_counts_and_not_the_header() {
    assert_eq!(
        h1(
            "GET",
            "http://LocalHost:8080/graph?x",
            &[("host", "127.0.0.1")]
        ),
        passes("localhost", "/graph?x")
    );
    assert_eq!(
        h1("GET", "http://evil.example/x", &[HOST]),
        passes("evil.example", "/x")
    );
    assert_eq!(
        h1("GET", "http://localhost", &[HOST]),
        passes("localhost", "/")
    );
}

#[test]
fn odd_absolute_targets_are_refused() {
    for target in [
        "http://u:p@localhost/",
        "ftp://localhost/",
        "ws://localhost/",
        "http://localhost?x=1",
    ] {
        assert_eq!(
            h1("GET", target, &[HOST]),
            Err(Code::BadRequest),
            "{target}"
        );
    }
    assert_eq!(h1("GET", "http://localhost/x", &[]), Err(Code::BadRequest));
}

#[test]
fn methods_that_nobody_forwards_are_405() {
    for method in [
        "CONNECT", "TRACE", "TRACK", "get", "BREW", "GE!T", "PROPFIND", "QUERY", "PRI",
    ] {
        assert_eq!(
            h1(method, "/", &[HOST]),
            Err(Code::MethodNotSupported),
            "{method}"
        );
    }
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert!(h1(method, "/", &[HOST]).is_ok(), "{method}");
    }
    assert_eq!(
        h1("CONNECT", "localhost:80", &[HOST]),
        Err(Code::MethodNotSupported)
    );
}

#[test]
fn there_is_one_valid_host() {
    for lines in [
        &[][..],
        &[("host", "")],
        &[("host", "a, b")],
        &[("host", "u@a")],
        &[("host", "a/b?c")],
        &[("host", "a b")],
        &[("host", "localhost:99999")],
        &[("host", "löcalhost")],
        &[HOST, HOST],
        &[HOST, ("host", "evil.example")],
    ] {
        assert_eq!(h1("GET", "/", lines), Err(Code::BadRequest), "{lines:?}");
        assert_eq!(
            decide("GET", "/", lines, Version::HTTP_10),
            Err(Code::BadRequest)
        );
    }
}

#[test]
fn on_http_2_authority_and_host_agree() {
    assert_eq!(
        h2("http://localhost:8080/x", &[]),
        passes("localhost", "/x")
    );
    assert_eq!(
        h2("http://localhost:8080/x", &[HOST]),
        passes("localhost", "/x")
    );
    assert_eq!(h2("https://a/x", &[("host", "A.:443")]), passes("a", "/x"));
    assert_eq!(h2("/x", &[HOST]), passes("localhost", "/x"));
    for (target, lines) in [
        ("http://localhost:8080/x", &[("host", "evil.example")][..]),
        ("http://localhost:8080/x", &[("host", "localhost:8081")]),
        ("http://localhost/x", &[("host", "localhost:443")]),
        ("http://u@localhost/x", &[]),
        ("ftp://localhost/x", &[]),
        ("/x", &[]),
    ] {
        assert_eq!(
            h2(target, lines),
            Err(Code::BadRequest),
            "{target} {lines:?}"
        );
    }
}

#[test]
fn transfer_encoding_is_chunked_or_absent() {
    let with = |values: &[&'static str]| {
        let mut lines = vec![HOST];
        lines.extend(values.iter().map(|value| ("transfer-encoding", *value)));
        h1("POST", "/", &lines).map(|_| ())
    };
    assert_eq!(with(&["chunked"]), Ok(()));
    assert_eq!(with(&["Chunked"]), Ok(()));
    for values in [
        &["gzip, chunked"][..],
        &[", chunked"],
        &["chunked, chunked"],
        &["identity"],
        &["identity", "chunked"],
        &["chunked", "chunked"],
        &["chunked;x"],
        &["\u{b}chunked"],
        &[""],
    ] {
        if values
            .iter()
            .all(|value| HeaderValue::from_str(value).is_ok())
        {
            assert_eq!(with(values), Err(Code::BadRequest), "{values:?}");
        }
    }
}

#[test]
fn only_a_continue_may_be_expected() {
    assert!(h1("POST", "/", &[HOST, ("expect", "100-Continue")]).is_ok());
    for value in ["200-maybe", "100-continue, x", ""] {
        let lines = [HOST, ("expect", value)];
        assert_eq!(
            h1("POST", "/", &lines),
            Err(Code::ExpectationFailed),
            "{value}"
        );
    }
}

#[test]
fn a_fault_in_the_path_is_a_bad_request_and_one_in_the_query_is_the_upstreams() {
    assert_eq!(h1("GET", "/a/%2e%2e/b", &[HOST]), Err(Code::BadRequest));
    assert_eq!(
        h1("GET", "/a?b=/../c&d=%zz", &[HOST]),
        passes("localhost", "/a?b=/../c&d=%zz")
    );
}
