//! Batches of Dataverse.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use crate::code::Code;
use crate::config::BaseUrl;
use crate::policy::Refusal;
use crate::policy::batch::{BatchContext, Operation, read};

fn read_as(kind: &str, upstream: &str, body: &[u8]) -> Result<Vec<Operation>, Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
    let upstream = BaseUrl::parse(upstream).unwrap();
    let context = BatchContext {
        upstream: &upstream,
        path: "/api/data/v9.2/$batch",
    };
    read(&context, &headers, body)
}

fn dynamics(body: &str) -> Result<Vec<Operation>, Refusal> {
    let kind = "multipart/mixed; boundary=\"batch_1\"";
    read_as(kind, "https://org.crm4.dynamics.com", body.as_bytes())
}

/// A part with this message.
fn part(boundary: &str, message: &str) -> String {
    format!(
        "--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{message}\r\n"
    )
}

fn one(message: &str) -> String {
    part("batch_1", message) + "--batch_1--\r\n"
}

fn target(target: &str) -> Result<String, Code> {
    let message = format!("GET {target} HTTP/1.1\r\nAccept: a\r\n\r\n");
    match dynamics(&one(&message)) {
        Ok(operations) => Ok(operations[0].path.clone()),
        Err(refusal) => Err(refusal.code),
    }
}

#[test]
fn the_documented_batch_is_read_change_set_included() {
    let set = "--batch_1\r\nContent-Type: multipart/mixed; boundary=\"changeset_1\"\r\n\r\n";
    let make = part("changeset_1", "POST /api/data/v9.2/tasks HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{\"a\":\"\r\n\r\n--x\"}")
        .replace("binary\r\n", "binary\r\nContent-ID: 1\r\n");
    let refer = part(
        "changeset_1",
        "PUT $1/subject HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}\r\n",
    );
    let body = [
        part("batch_1", "GET https://ORG.api.crm4.dynamics.com:443/api/data/v9.2/accounts?$top=1 HTTP/1.1\r\nPrefer: a\r\n\r\n"),
        format!("{set}{make}{refer}--changeset_1--\r\n"),
        part("batch_1", "get /api/data/v9.2/x HTTP/1.1"),
        "--batch_1--".to_owned(),
    ]
    .concat();
    let operations = dynamics(&body).unwrap();
    let brief: Vec<_> = operations
        .iter()
        .map(|operation| {
            (
                operation.method.clone(),
                operation.path.as_str(),
                operation.headers.len(),
            )
        })
        .collect();
    let expected = [
        (Method::GET, "/api/data/v9.2/accounts", 1),
        (Method::POST, "/api/data/v9.2/tasks", 1),
        (Method::PUT, "/api/data/v9.2/tasks(…)/subject", 1),
        (Method::GET, "/api/data/v9.2/x", 0),
    ];
    assert_eq!(brief, expected);
}

#[test]
fn a_target_is_of_the_upstream_or_refused() {
    assert_eq!(target("/api/data/v9.2/a").unwrap(), "/api/data/v9.2/a");
    assert_eq!(target("https://org.crm4.dynamics.com/").unwrap(), "/");
    assert_eq!(target("HTTPS://org.crm4.dynamics.com/a").unwrap(), "/a");
    // Relative to where the batch is.
    for (relative, path) in [
        ("accounts", "/api/data/v9.2/accounts"),
        (
            "accounts(1)/name/$value?a=/b",
            "/api/data/v9.2/accounts(1)/name/$value",
        ),
        (
            "accounts(name='a:b')",
            "/api/data/v9.2/accounts(name='a:b')",
        ),
    ] {
        assert_eq!(target(relative).unwrap(), path);
    }
    for other in [
        "https://evil.example/a",
        "http://org.crm4.dynamics.com/a",
        "http://org.crm4.dynamics.com:443/a",
        "https://org.crm4.dynamics.com:444/a",
        "https://org.crm4.dynamics.com@evil.example/a",
        "https://org.crm4.dynamics.com.evil.example/a",
        "https:/org.crm4.dynamics.com/a",
        "ftp://org.crm4.dynamics.com/a",
        "//evil.example/a",
        "org.crm4.dynamics.com:443",
        "evil+x-1.example:a",
        "*",
        "/api/data/v9.2/$batch",
        "/api/data/v9.2/%24BATCH/",
        "https://org.crm4.dynamics.com/$batch",
        "$batch",
        "x/$batch",
        "%24batch?x",
    ] {
        assert_eq!(target(other), Err(Code::NotAllowed), "{other}");
    }
    for other in [
        "/a/../b",
        "/a/%2e%2e/b",
        "/a\\b",
        "/a#b",
        "/a%zz",
        "/é",
        "/a\tb",
        "$1/a",
        "",
        "?a",
        "../a",
        "a/%2e%2e/../b",
        "a/..%2fb",
        "\\evil.example",
        "a#b",
        "a?b#c",
        "é",
    ] {
        assert_eq!(target(other), Err(Code::BadRequest), "{other}");
    }
}

#[test]
fn a_target_outside_of_the_upstreams_prefix_is_refused() {
    let upstream = "https://org.crm4.dynamics.com/api/data";
    let at = |target: &str| {
        let body = one(&format!("GET {target} HTTP/1.1\r\n\r\n"));
        read_as(
            "multipart/mixed;boundary=batch_1",
            upstream,
            body.as_bytes(),
        )
        .map(|operations| operations[0].path.clone())
        .ok()
    };
    assert_eq!(at("/api/data/v9.2/a").unwrap(), "/v9.2/a");
    assert_eq!(at("/api/data").unwrap(), "/");
    assert_eq!(at("/api/database"), None);
    assert_eq!(at("/other"), None);
}

#[test]
fn what_two_servers_may_take_apart_in_two_ways_is_refused() {
    let good = one("GET /a HTTP/1.1\r\nAccept: a\r\n\r\n");
    assert!(dynamics(&good).is_ok());
    let message = |head: &str, body: &str| one(&format!("POST /a HTTP/1.1\r\n{head}\r\n{body}"));
    for (why, body) in [
        ("nothing", String::new()),
        ("no part", "--batch_1--\r\n".to_owned()),
        ("bare line feeds", good.replace("\r\n", "\n")),
        (
            "a bare line feed",
            good.replace("Accept: a\r\n", "Accept: a\n"),
        ),
        (
            "a bare carriage return",
            good.replace("Accept: a\r\n", "Accept: a\rB: b\r\n"),
        ),
        ("no end", good.replace("--batch_1--\r\n", "")),
        ("a preamble", format!("GET /b HTTP/1.1\r\n{good}")),
        ("an epilogue", format!("{good}GET /b HTTP/1.1\r\n")),
        ("a second end", format!("{good}--batch_1--\r\n")),
        ("padding", good.replace("--batch_1\r\n", "--batch_1 \r\n")),
        ("a boundary in a body", message("", "x--batch_1\r\n")),
        (
            "a whole part behind the text of another",
            message("", &part("batch_1", "GET /b HTTP/1.1\r\n")).replacen(
                "\r\n--batch_1\r\n",
                "\r\nxx--batch_1\r\n",
                1,
            ),
        ),
        (
            "a boundary after a line feed",
            message("", "x\n--batch_1\r\n"),
        ),
        (
            "a longer boundary in a body",
            message("", "x\r\n--batch_12\r\n"),
        ),
        ("an empty part", format!("--batch_1\r\n{good}")),
        ("a folded line", message("A: a\r\n b\r\n", "")),
        ("a space before the colon", message("A : a\r\n", "")),
        ("a line without a colon", message("A\r\n", "")),
        ("a long body", message("Content-Length: 1\r\n", "{}")),
        ("a short body", message("Content-Length: 3\r\n", "{}")),
        ("a signed length", message("Content-Length: +2\r\n", "{}")),
        (
            "two lengths",
            message("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"),
        ),
        ("chunked", message("Transfer-Encoding: chunked\r\n", "{}")),
        ("gzip", message("Content-Encoding: gzip\r\n", "{}")),
        ("two spaces", good.replace("GET /a", "GET  /a")),
        ("another protocol", good.replace("HTTP/1.1", "HTTP/1.0")),
        ("a method", good.replace("GET", "CONNECT")),
        ("an empty line in front", good.replace("GET", "\r\nGET")),
        (
            "another kind",
            good.replace("application/http", "text/plain"),
        ),
        (
            "two kinds",
            good.replace(
                "Content-Transfer-Encoding: binary",
                "content-type: application/http",
            ),
        ),
        ("base64", good.replace("binary", "base64")),
        (
            "another header",
            good.replace("Content-Transfer-Encoding", "Content-Location"),
        ),
        (
            "too many",
            part("batch_1", "GET /a HTTP/1.1\r\n\r\n").repeat(5001) + "--batch_1--",
        ),
    ] {
        assert_eq!(
            dynamics(&body).map_err(|refusal| refusal.code),
            Err(Code::BadRequest),
            "{why}"
        );
    }
    let most = part("batch_1", "GET /a HTTP/1.1\r\n\r\n").repeat(5000) + "--batch_1--";
    assert_eq!(dynamics(&most).unwrap().len(), 5000);
}

#[test]
fn the_operations_of_all_change_sets_are_five_thousand_at_most() {
    for (second, reads) in [(2500, true), (2501, false)] {
        let set = |name: &str, count: usize| {
            let parts = part(name, "POST /a HTTP/1.1\r\n\r\n{}").repeat(count);
            format!(
                "--batch_1\r\nContent-Type: multipart/mixed; boundary={name}\r\n\r\n{parts}--{name}--\r\n"
            )
        };
        let body = set("c", 2500) + &set("d", second) + "--batch_1--";
        assert_eq!(dynamics(&body).is_ok(), reads, "{second}");
    }
}

#[test]
fn the_length_of_a_part_is_that_of_its_content() {
    let message = "GET /a HTTP/1.1\r\n";
    for (length, reads) in [(message.len(), true), (message.len() - 1, false)] {
        let body = one(message).replace("binary", &format!("binary\r\nContent-Length: {length}"));
        assert_eq!(dynamics(&body).is_ok(), reads, "{length}");
    }
}

#[test]
fn change_sets_do_not_nest_and_their_boundary_is_their_own() {
    let set = |outer: &str, inner: &str, content: &str| {
        format!(
            "--{outer}\r\nContent-Type: multipart/mixed; boundary={inner}\r\n\r\n{content}--{inner}--\r\n"
        )
    };
    let message = "POST /a HTTP/1.1\r\n\r\n{}";
    let good = set("batch_1", "c", &part("c", message)) + "--batch_1--\r\n";
    assert_eq!(dynamics(&good).unwrap().len(), 1);
    for body in [
        set("batch_1", "c", &set("c", "d", &part("d", message))),
        set("batch_1", "batch_1", &part("batch_1", message)),
        set("batch_1", "batch_12", &part("batch_12", message)),
        set("batch_1", "batch_", &part("batch_", message)),
        set("batch_1", "c; charset=utf-7", &part("c", message)).replace("; charset=utf-7--", "--"),
    ] {
        assert!(dynamics(&(body + "--batch_1--\r\n")).is_err());
    }
}

#[test]
fn a_content_id_stands_in_the_head_of_the_part_or_of_the_message() {
    let batch = |of_part: &str, of_message: &str| {
        let make = part(
            "batch_1",
            &format!("POST /a HTTP/1.1\r\n{of_message}\r\n{{}}"),
        )
        .replace("binary\r\n", &format!("binary\r\n{of_part}"));
        dynamics(&(make + &one("PUT $1/b HTTP/1.1\r\n\r\n")))
            .map(|operations| operations[1].path.clone())
            .map_err(|refusal| refusal.message)
    };
    let one = "Content-ID: 1\r\n";
    for (of_part, of_message) in [(one, ""), ("", one), (one, "content-id:1\r\n")] {
        assert_eq!(batch(of_part, of_message), Ok("/a(…)/b".to_owned()));
    }
    let refused = batch(one, "Content-ID: 2\r\n").unwrap_err();
    assert!(refused.contains("operation 1 of the batch"), "{refused}");
    assert!(refused.contains("Content-ID"), "{refused}");
    assert!(batch("Content-ID: 2\r\n", one).is_err());
    assert!(batch("", &one.repeat(2)).is_err());
    assert!(batch("", "").is_err());
    // Ids are told apart wherever they stand.
    let same = part("batch_1", "POST /a HTTP/1.1\r\nContent-ID: 1\r\n\r\n{}");
    let other = same.replace("POST /a HTTP/1.1\r\nContent-ID: 1", "POST /b HTTP/1.1");
    let other = other.replace("binary\r\n", "binary\r\nContent-ID: 1\r\n");
    assert!(dynamics(&format!("{same}{other}--batch_1--")).is_err());
}

#[test]
fn a_host_is_the_upstreams_or_refused() {
    let host = |host: &str| {
        let message = format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
        dynamics(&one(&message))
            .map(|_| ())
            .map_err(|refusal| refusal.code)
    };
    assert_eq!(host("org.crm4.dynamics.com"), Ok(()));
    assert_eq!(host("Org.Api.Crm4.Dynamics.com:443"), Ok(()));
    assert_eq!(host("evil.example"), Err(Code::NotAllowed));
    assert_eq!(host("org.crm4.dynamics.com:80"), Err(Code::NotAllowed));
    assert_eq!(
        host("org.crm4.dynamics.com\r\nHost: evil.example"),
        Err(Code::BadRequest)
    );
}

#[test]
fn a_boundary_is_one_and_plain() {
    let upstream = "https://org.crm4.dynamics.com";
    let body = one("GET /a HTTP/1.1\r\n\r\n");
    for (kind, reads) in [
        ("multipart/mixed;boundary=batch_1", true),
        ("Multipart/Mixed; charset=utf-8; BOUNDARY=\"batch_1\"", true),
        ("multipart/mixed;; boundary=batch_1; ", true),
        ("multipart/mixed; boundary=batch_1; boundary=x", false),
        ("multipart/mixed; boundary=", false),
        ("multipart/mixed; boundary=\"batch 1\"", false),
        ("multipart/mixed; boundary=\"batch_1", false),
        ("multipart/mixed; boundary", false),
        ("multipart/form-data; boundary=batch_1", false),
        ("multipart/mixed; boundary=batch_1; charset=utf-7", false),
        (
            "multipart/mixed; boundary=batch_1; boundary*=us-ascii''other",
            false,
        ),
        ("multipart/mixed; boundary=batch_1; BOUNDARY*0=other", false),
        (
            "multipart/mixed; boundary=batch_1; charset*=utf-8''utf-7",
            false,
        ),
        (
            "multipart/mixed; CharSet=\"UTF-16\"; boundary=batch_1",
            false,
        ),
        ("multipart/mixed; charset=\"UTF-8\"; boundary=batch_1", true),
        ("multipart/mixed; charset=us-ascii; boundary=batch_1", true),
    ] {
        assert_eq!(
            read_as(kind, upstream, body.as_bytes()).is_ok(),
            reads,
            "{kind}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        parts in prop::collection::vec(prop::sample::select(vec![
            "--batch_1", "--", "\r\n", "\n", "\r", "Content-Type: application/http", "GET /a HTTP/1.1",
            "Content-Type: multipart/mixed; boundary=c", "--c", "$1", "Content-ID: 1", "é", ":", " ",
        ]), 0..30),
    ) {
        let _ = dynamics(&parts.concat());
    }

    #[test]
    fn any_body_without_the_boundary_is_a_body(body in "[ -~\r\n]{0,200}") {
        prop_assume!(!body.contains("batch_1"));
        let text = one(&format!("POST /a HTTP/1.1\r\nA: b\r\n\r\n{body}"));
        prop_assert_eq!(dynamics(&text).unwrap().len(), 1);
    }
}
