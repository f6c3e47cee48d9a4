//! The path: what is decided on is what is forwarded, byte for byte, and what is ambiguous is
//! refused.

use super::Want::{Passed, Refused};
use super::{Fort, ask, get};

#[tokio::test]
async fn an_ambiguous_path_is_refused() {
    let fort = Fort::build("").await;
    for path in [
        "/..",
        "/.",
        "/../open/x",
        "/a/../b",
        "/./a",
        "/a/.",
        "/a/..",
        "/%2e%2e/x",
        "/.%2E/x",
        "/%2e/x",
        "/%252e%252e/x",
        "/%252e/x",
        "/%25252e%25252e/x",
        "/..%2fx",
        "/..%5cx",
        "/a%2f..%2fb",
        "/a%252f..%252fb",
        "/a%5c..%5cb",
        "/a/%2e%2e%2fb",
        "/a\\..\\b",
        "/a\\b",
        "/a%5cb",
        "/a%255cb",
        "/a%00b",
        "/a%2500b",
        "/a%0d%0aHost:%20evil",
        "/a%0ab",
        "/a%09b",
        "/a%1bb",
        "/a%7fb",
        "/a%zzb",
        "/a%2",
        "/a%",
        "/a%%41",
        "/%u002e%u002e/x",
        "/a%c3b%",
    ] {
        for route in ["/open", "/graph"] {
            let target = format!("{route}{path}");
            fort.face(&target, &get(&target), Refused(400, "badRequest"))
                .await;
        }
    }
    for raw in [
        &b"/open/\xc3\xa4"[..],
        b"/open/\xc0\xae\xc0\xae/x",
        b"/open/\xef\xbc\x8e\xef\xbc\x8e/x",
        b"/open/\x80",
        b"/open/a\x01b",
        b"/open/a\x7fb",
    ] {
        let mut bytes = b"GET ".to_vec();
        bytes.extend_from_slice(raw);
        bytes.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\n\r\n");
        fort.face("raw bytes", &bytes, Refused(400, "badRequest"))
            .await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn dots_with_parameters_are_no_way_around_allow() {
    let fort = Fort::build("").await;
    for path in ["/..;/groups", "/..;x=y/groups", "/%2e.%3B/groups", "/..;"] {
        let target = format!("/graph/v1.0/users{path}");
        fort.face(&target, &get(&target), Refused(403, "notAllowed"))
            .await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn a_route_lets_through_what_it_lists() {
    let fort = Fort::build("").await;
    let no = Refused(403, "notAllowed");
    for (line, want) in [
        ("GET /v1.0/users", Passed(200, "/v1.0/users")),
        ("HEAD /v1.0/users", Passed(200, "/v1.0/users")),
        ("GET /v1.0/users?$top=1", Passed(200, "/v1.0/users?$top=1")),
        ("GET /v1.0/groups", no),
        ("GET /v1.0", no),
        ("GET /v1.0/", no),
        ("GET /", no),
        ("GET /v1.0/usersx", no),
        ("GET /v1.0/users;x", no),
        ("GET /v1.0/users%2F1", no),
        ("GET /v1.0/users%252F1", no),
        ("GET /v1.0%2Fusers", no),
        ("GET /V1.0/users", no),
        ("GET /v1.0/Users", no),
        ("GET /v1.0/USERS/1", no),
        ("GET /v1.0//users", no),
        ("GET //v1.0/users", no),
        ("GET /beta/users", no),
        ("GET /v1.0/users('1')", no),
        ("DELETE /v1.0/users/1", no),
        ("PATCH /v1.0/users/1", no),
        ("PUT /v1.0/users/1", no),
        ("POST /v1.0/users", no),
        ("OPTIONS /v1.0/users", no),
        ("POST /v1.0/users/a%2Fb/sendMail", no),
        ("POST /v1.0/users/a%252Fb/sendMail", no),
        (
            "POST /v1.0/users/a%5Cb/sendMail",
            Refused(400, "badRequest"),
        ),
        ("POST /v1.0/users//sendMail", no),
        ("POST /v1.0/users/a/b/sendMail", no),
        ("POST /v1.0/users/a/SendMail", no),
        ("POST /v1.0/users/a/sendMail/", no),
        ("POST /v1.0/users/a/sendMail%2F", no),
        ("POST /v1.0/users/a/sendMail/x", no),
        ("GET /v1.0/users/../groups", Refused(400, "badRequest")),
        ("GET /v1.0/users/%2e%2e/groups", Refused(400, "badRequest")),
        ("GET /v1.0/users/..%2fgroups", Refused(400, "badRequest")),
    ] {
        let (method, path) = line.split_once(' ').expect("a method and a path");
        let bytes = ask(&format!(
            "{method} /graph{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0"
        ));
        fort.face(line, &bytes, want).await;
    }
    fort.stands().await;
}
