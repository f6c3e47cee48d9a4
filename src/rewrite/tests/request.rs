//! Addresses of this proxy in requests.

use crate::rewrite::address::Links;
use crate::rewrite::request;
use crate::rewrite::sample::{graph, links_at, route, two};

fn dynamics() -> Links {
    links_at(None, two(), 1, "localhost:8080")
}

fn body(links: &Links, body: &str) -> Option<String> {
    let rewritten = request::body(body.as_bytes(), links)?;
    Some(String::from_utf8(rewritten.to_vec()).unwrap())
}

#[test]
fn references_in_queries_are_turned_back_in_their_own_spelling() {
    let query = |text| request::query(text, &dynamics());
    assert_eq!(
        query("a=%2f&$id=http://localhost:8080/dynamics/api/data/v9.2/o(1)&b").as_deref(),
        Some("a=%2f&$id=https://contoso-fake.crm4.dynamics.com/api/data/v9.2/o(1)&b")
    );
    assert_eq!(
        query("%24id=http%3a%2f%2fLocalhost:8080%2Fdynamics%2Fo%281%29").as_deref(),
        Some("%24id=https%3A%2F%2Fcontoso-fake.crm4.dynamics.com%2Fo%281%29")
    );
    assert_eq!(
        query("%40odata.id=http://localhost:8080/graph/v1.0/x").as_deref(),
        Some("%40odata.id=https://graph.microsoft.com/v1.0/x")
    );
    for other in [
        "",
        "$id",
        "$id=",
        "$id=accounts(1)",
        "$filter=http://localhost:8080/dynamics/x",
        "$ids=http://localhost:8080/dynamics/x",
        "$id=x?http://localhost:8080/dynamics/x",
        "$id=http://localhost:8081/dynamics/x",
        "$id=https://contoso-fake.crm4.dynamics.com/x",
        "$id=http%253A//localhost:8080/dynamics/x",
    ] {
        assert_eq!(query(other), None, "{other}");
    }
}

#[test]
fn references_in_bodies_are_turned_back() {
    assert_eq!(
        body(
            &graph(),
            r#"{"@odata.id" : "http://localhost:8080/graph/v1.0/directoryObjects/1","displayName":"http://localhost:8080/graph",
            "members@odata.bind":["http:\/\/localhost:8080\/graph\/v1.0\/a" , "x\"]","https://graph.microsoft.com/v1.0/b",
            "http://localhost:8080/graph/c"],"user@odata.bind":"http://localhost:8080/graph/u('1')","x":["http://localhost:8080/graph/"],
            "notificationUrl":"http://localhost:8080/graph/"}"#
        )
        .unwrap(),
        r#"{"@odata.id" : "https://graph.microsoft.com/v1.0/directoryObjects/1","displayName":"http://localhost:8080/graph",
            "members@odata.bind":["https://graph.microsoft.com\/v1.0\/a" , "x\"]","https://graph.microsoft.com/v1.0/b",
            "https://graph.microsoft.com/c"],"user@odata.bind":"https://graph.microsoft.com/u('1')","x":["http://localhost:8080/graph/"],
            "notificationUrl":"http://localhost:8080/graph/"}"#
    );
    for other in [
        "",
        "{}",
        r#"{"@odata.id":"http://localhost:8080/other/x"}"#,
        r#"{"@odata.id":"http://loc"#,
    ] {
        assert_eq!(body(&graph(), other), None, "{other}");
    }
}

#[test]
fn the_first_line_of_a_message_is_not_its_host() {
    let turned = |head: &str| {
        let batch = format!("--b\r\nContent-Type: application/http\r\n\r\n{head}\r\n\r\n--b--\r\n");
        let kind = "multipart/mixed; boundary=b";
        request::multipart_batch(batch.as_bytes(), kind, &graph()).is_some()
    };
    let host = "Host: localhost:8080\r\n";
    assert!(turned(&format!("GET /graph/v1.0/x HTTP/1.1\r\n{host}")));
    assert!(!turned(&format!("{host}Host: other.example\r\n")));
}

#[test]
fn targets_of_a_json_batch_become_relative_to_its_root() {
    let batch = r#"{"requests":[{"id":"1","url":"http://localhost:8080/graph/v1.0/users?$top=1","body":{"url":"http://localhost:8080/graph/v1.0/b",
        "@odata.id":"http://localhost:8080/graph/v1.0/c","a@odata.bind":["http://localhost:8080/graph/v1.0/c"]}},{"url":"/me"},{"url":"http://localhost:8080/graph/beta/d"},
        {"url":"http://localhost:8080/dynamics/v1.0/e"},{"url":"http://localhost:8080/graph/v1.0"},{"url":"http://localhost:8080/graph/v1.0/"},
        {"url":"http://localhost:8080/graph/v1.0//f"},{"url":"http://localhost:8080/graph/v1.0/?g"},{"url":"http:\/\/localhost:8080\/graph\/v1.0\/h"}]}"#;
    let rewritten = request::json_batch(batch.as_bytes(), "/v1.0", &graph()).unwrap();
    let expected = batch
        .replace("http://localhost:8080/graph/v1.0/users", "users")
        .replace(r"http:\/\/localhost:8080\/graph\/v1.0\/h", "h")
        .replace(
            "http://localhost:8080/graph/v1.0/c",
            "https://graph.microsoft.com/v1.0/c",
        );
    assert_eq!(std::str::from_utf8(&rewritten).unwrap(), expected);
}

#[test]
fn targets_hosts_and_bodies_of_a_multipart_batch_are_turned_back() {
    let message = |line: &str, host: &str, body: &str| {
        format!(
            "--b\r\nContent-Type: application/http\r\n\r\n{line}\r\n{host}Content-Type: application/json\r\n\r\n{body}\r\n"
        )
    };
    let batch = [
        message("GET http://localhost:8080/dynamics/api/data/v9.2/a?$id=http://localhost:8080/dynamics/x HTTP/1.1", "", ""),
        message("GET /dynamics/api/data/v9.2/b HTTP/1.1", "host: localhost:8080\r\n", ""),
        message("GET /dynamics/api/data/v9.2/c HTTP/1.1", "", ""),
        message("DELETE /api/data/v9.2/c/$ref?$id=http://localhost:8080/dynamics/x HTTP/1.1", "", ""),
        message("POST $1/d HTTP/1.1", "Content-Length: 2\r\n", r#"{"@odata.id":"http://localhost:8080/dynamics/e"}"#),
        message("GET https://other.example/ HTTP/1.1", "Host: other.example\r\n", ""),
        "--b--\r\n".to_owned(),
    ]
    .concat();
    let expected = [
        message("GET https://contoso-fake.crm4.dynamics.com/api/data/v9.2/a?$id=https://contoso-fake.crm4.dynamics.com/x HTTP/1.1", "", ""),
        message("GET /api/data/v9.2/b HTTP/1.1", "host: contoso-fake.crm4.dynamics.com\r\n", ""),
        message("GET /dynamics/api/data/v9.2/c HTTP/1.1", "", ""),
        message("DELETE /api/data/v9.2/c/$ref?$id=https://contoso-fake.crm4.dynamics.com/x HTTP/1.1", "", ""),
        message("POST $1/d HTTP/1.1", "", r#"{"@odata.id":"https://contoso-fake.crm4.dynamics.com/e"}"#),
        message("GET https://other.example/ HTTP/1.1", "Host: other.example\r\n", ""),
        "--b--\r\n".to_owned(),
    ]
    .concat();
    let kind = "multipart/mixed; boundary=b";
    let rewritten = request::multipart_batch(batch.as_bytes(), kind, &dynamics()).unwrap();
    assert_eq!(std::str::from_utf8(&rewritten).unwrap(), expected);
    assert_eq!(
        request::multipart_batch(&rewritten, kind, &dynamics()),
        None
    );
    assert_eq!(
        request::multipart_batch(batch.as_bytes(), "application/json", &dynamics()),
        None
    );
}

#[test]
fn a_route_with_an_upstream_prefix_keeps_it_in_what_is_turned_back() {
    let routes = vec![route("/g", "https://graph.microsoft.com/v1.0")];
    let links = links_at(None, routes, 0, "localhost:8080");
    let rewritten = body(&links, r#"{"@odata.id":"http://localhost:8080/g/users/1"}"#);
    assert_eq!(
        rewritten.as_deref(),
        Some(r#"{"@odata.id":"https://graph.microsoft.com/v1.0/users/1"}"#)
    );
    let batch = "--b\r\nContent-Type: application/http\r\n\r\nGET /g/users HTTP/1.1\r\nHost: localhost:8080\r\n\r\n\r\n--b--";
    let rewritten =
        request::multipart_batch(batch.as_bytes(), "multipart/mixed;boundary=b", &links);
    let expected = batch
        .replace("/g/users", "/v1.0/users")
        .replace("localhost:8080", "graph.microsoft.com");
    assert_eq!(rewritten.unwrap(), expected);
}

#[test]
fn the_host_of_a_message_is_this_proxy_in_every_spelling_and_by_its_public_name() {
    let kind = "multipart/mixed;boundary=b";
    let batch = |target: &str, host: &str| {
        format!(
            "--b\r\nContent-Type: application/http\r\n\r\nGET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n\r\n--b--\r\n"
        )
    };
    let named = Some("https://gw.example/api");
    for (public, asked, target, host) in [
        // Microsoft.OData always writes a port.
        (None, "localhost", "/dynamics/a", "localhost:80"),
        (None, "localhost:80", "/dynamics/a", "LocalHost"),
        (None, "gw.example.:8080", "/dynamics/a", "gw.example:8080"),
        (named, "10.0.0.1:8080", "/api/dynamics/a", "gw.example"),
        (named, "10.0.0.1:8080", "/api/dynamics/a", "GW.example:443"),
        (named, "10.0.0.1:8080", "/dynamics/a", "10.0.0.1:8080"),
        // The front end keeps the name, and takes the TLS off.
        (named, "gw.example", "/api/dynamics/a", "gw.example"),
        (named, "gw.example", "/dynamics/a", "gw.example"),
    ] {
        let links = links_at(public, two(), 1, asked);
        let rewritten = request::multipart_batch(batch(target, host).as_bytes(), kind, &links);
        let rewritten = rewritten.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        let expected = batch("/a", "contoso-fake.crm4.dynamics.com");
        assert_eq!(rewritten, Some(expected), "{target} at {host}");
    }
    for (target, host) in [
        ("/dynamics/a", "localhost:81"),
        ("/dynamics/a", "localhost:x"),
        ("/dynamics/a", "localhost.evil.example"),
        ("/api/dynamics/a", "gw.example:80"),
        ("/api/dynamics/a", "gw.example@evil.example"),
        ("/api/dynamics/a", ""),
    ] {
        let links = links_at(named, two(), 1, "localhost");
        let batch = batch(target, host);
        let rewritten = request::multipart_batch(batch.as_bytes(), kind, &links);
        assert_eq!(rewritten, None, "{target} at {host}");
    }
}
