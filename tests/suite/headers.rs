//! What goes up and comes down besides bodies.

use tokenferry::simulator::{Fault, GRAPH, Script, Seen};

use crate::harness::stage::Stage;

fn names(seen: &Seen) -> Vec<String> {
    let names = seen.headers.iter();
    names.map(|(name, _)| name.to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn nothing_of_the_connection_and_no_credential_of_the_caller_goes_up() {
    let stage = Stage::open().await;
    let lines = "\
GET /graph/sim/status/200 HTTP/1.1
Host: localhost
Authorization: Bearer caller-token
Proxy-Authorization: Basic eA==
X-Api-Key: caller-key
X-Ms-Authorization-Auxiliary: Bearer other
Cookie: a=b
Cookie: c=d
Forwarded: for=1.2.3.4
X-Forwarded-For: 1.2.3.4
X-Forwarded-Host: evil
X-Forwarded-Anything: x
Via: 1.1 somewhere
Referer: http://localhost/page
Sec-Fetch-Mode: cors
Sec-Anything: x
Connection: keep-alive, X-Private
Connection: X-Other-Private, Authorization, Host, Client-Request-Id
Keep-Alive: timeout=5
Proxy-Connection: keep-alive
Upgrade: websocket
HTTP2-Settings: x
TE: gzip, trailers
X-Private: secret
X-Other-Private: secret
X-Kept: one
X-Kept: two
Accept: application/json
Prefer: odata.maxpagesize=5
ConsistencyLevel: eventual
User-Agent: test/1.0";
    stage.ask(lines).await;
    let seen = stage.last();
    let authorization = seen.header_values("authorization");
    assert_eq!(authorization.len(), 1);
    assert!(!authorization[0].contains("caller-token"));
    assert_eq!(seen.header_values("host"), [GRAPH]);
    assert_eq!(seen.header_values("x-kept"), ["one", "two"]);
    assert_eq!(seen.header_values("te"), ["trailers"]);
    assert_eq!(seen.header_values("consistencylevel"), ["eventual"]);
    let mut names = names(&seen);
    names.sort();
    let expected = [
        "accept",
        "authorization",
        "client-request-id",
        "connection",
        "consistencylevel",
        "host",
        "prefer",
        "te",
        "user-agent",
        "x-kept",
        "x-kept",
    ];
    let without_connection = |names: &[&str]| {
        let kept = names.iter().filter(|name| **name != "connection");
        kept.map(|name| (*name).to_owned()).collect::<Vec<_>>()
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(without_connection(&names), without_connection(&expected));
    for value in seen.header_values("connection") {
        assert!(value.eq_ignore_ascii_case("te"), "{value}");
    }
}

#[tokio::test]
async fn a_request_id_is_passed_or_made_and_comes_back_in_refusals() {
    for http in [1, 2] {
        let stage = Stage::with(&format!(
            "routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
        ))
        .await;
        let id = "11111111-2222-3333-4444-555555555555";
        let lines = format!("GET /graph/v1.0/users?$top=1 HTTP/1.1\nclient-request-id: {id}");
        stage.ask(&lines).await.expect(200);
        assert_eq!(stage.last().header_values("client-request-id"), [id]);
        let mut made = Vec::new();
        // One that could break a log is as good as none.
        for sent in ["", "\nclient-request-id: a b"] {
            let lines = format!("GET /graph/v1.0/users?$top=1 HTTP/1.1{sent}");
            stage.ask(&lines).await.expect(200);
            made.extend(stage.last().header_values("client-request-id"));
        }
        assert_ne!(made[0], made[1]);
        for fresh in &made {
            let lengths: Vec<_> = fresh.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{fresh}");
        }
        assert_eq!(made.len(), 2, "HTTP/{http}: {made:?}");
        let lines = format!("GET /nowhere HTTP/1.1\nclient-request-id: {id}");
        assert_eq!(stage.ask(&lines).await.field("request-id"), id);
    }
}

#[tokio::test]
async fn what_is_of_the_upstreams_connection_or_origin_does_not_come_down() {
    let stage = Stage::open().await;
    let text = "HTTP/1.1 200 OK\r\n\
        Content-Length: 2\r\n\
        Content-Type: text/plain\r\n\
        Connection: keep-alive, X-Hop\r\n\
        Keep-Alive: timeout=5\r\n\
        X-Hop: 1\r\n\
        Proxy-Authenticate: Basic\r\n\
        Upgrade: h2c\r\n\
        Set-Cookie: a=b\r\n\
        Set-Cookie: c=d\r\n\
        Set-Cookie2: e=f\r\n\
        NEL: {}\r\n\
        Report-To: {}\r\n\
        WWW-Authenticate: Bearer\r\n\
        Strict-Transport-Security: max-age=1\r\n\
        Alt-Svc: h3=\":443\"\r\n\
        Clear-Site-Data: \"*\"\r\n\
        Access-Control-Allow-Origin: *\r\n\
        Access-Control-Allow-Credentials: true\r\n\
        Access-Control-Expose-Headers: *\r\n\
        ETag: \"x\"\r\n\
        Retry-After: 3\r\n\
        request-id: up\r\n\
        X-Twice: 1\r\n\
        X-Twice: 2\r\n\
        \r\nok";
    let fault = Fault::Raw(text.into(), tokenferry::simulator::Ending::Close);
    stage.simulator.script(Script::on(GRAPH, fault).times(1));
    let answer = stage.get("/graph/v1.0/users").await.expect(200);
    let mut names: Vec<&str> = answer
        .fields
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names.retain(|name| *name != "date");
    assert_eq!(
        names,
        [
            "content-length",
            "content-type",
            "cross-origin-resource-policy",
            "etag",
            "request-id",
            "retry-after",
            "x-content-type-options",
            "x-twice",
            "x-twice",
        ]
    );
    assert_eq!(answer.field("x-content-type-options"), "nosniff");
    assert_eq!(answer.field("cross-origin-resource-policy"), "same-origin");
    assert_eq!(answer.text(), "ok");
}

#[tokio::test]
async fn a_route_sets_and_removes_fields_and_keeps_what_it_is_told_to() {
    let stage = Stage::with(
        "\
routes:
  - name: graph
    path: /graph
    upstream: https://GRAPH
    keep_headers: [CallerObjectId]
    request_headers:
      set: {Prefer: odata.maxpagesize=7, X_Api_Key: theirs}
      remove: [X-Noise]
    response_headers:
      set: {X-Ours: yes}
      remove: [x-ms-ags-diagnostic]
",
    )
    .await;
    let lines = "\
GET /graph/v1.0/users?$top=1 HTTP/1.1
Prefer: a
Prefer: b
X-Noise: 1
CallerObjectId: 00000000-0000-0000-0000-000000000001";
    let answer = stage.ask(lines).await.expect(200);
    let seen = stage.last();
    assert_eq!(seen.header_values("prefer"), ["odata.maxpagesize=7"]);
    assert_eq!(seen.header_values("x_api_key"), ["theirs"]);
    assert_eq!(seen.header_values("x-noise").len(), 0);
    assert_eq!(seen.header_values("callerobjectid").len(), 1);
    assert_eq!(answer.field("x-ours"), "yes");
    assert_eq!(answer.field("x-ms-ags-diagnostic"), "");
}

#[tokio::test]
async fn trailers_are_no_way_around_the_rules_for_headers() {
    let stage = Stage::with(
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: 2}]\n",
    )
    .await;
    for announced in ["Trailer: X-Check, Authorization, CallerObjectId\n", ""] {
        let mut caller = stage.caller().await;
        let lines = format!("POST /graph/sim/sink HTTP/1.1\n{announced}Transfer-Encoding: chunked");
        caller.ask(&lines).await;
        let body =
            "2\r\nok\r\n0\r\nX-Check: 1\r\nAuthorization: Bearer x\r\nCallerObjectId: 1\r\n\r\n";
        caller.send(body).await;
        caller.answer("POST").await.expect(200);
        let names: Vec<String> = stage
            .last()
            .body
            .trailers
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let expected: &[&str] = if announced.is_empty() {
            &[]
        } else {
            &["x-check"]
        };
        assert_eq!(names, expected);
    }
    // Announced without a body they are nothing.
    let lines = "GET /graph/v1.0/users?$top=1 HTTP/1.1\nTrailer: X-Check";
    stage.ask(lines).await.expect(200);
    assert_eq!(stage.last().header("trailer"), None);
}

#[tokio::test]
async fn what_describes_content_passes_as_it_is() {
    let stage = Stage::with(
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', rewrite_links: false}]\n",
    )
    .await;
    let packed = stage.get("/graph/sim/gzip-page/1").await.expect(200);
    assert_eq!(packed.field("content-encoding"), "gzip");
    assert_eq!(&packed.body[..2], &[0x1f, 0x8b]);
    let text = "HTTP/1.1 206 Partial Content\r\n\
        Content-Range: bytes 2-3/10\r\n\
        Content-Type: application/octet-stream\r\n\
        Content-Disposition: attachment\r\n\
        Content-Length: 2\r\n\
        Date: Tue, 01 Jan 2030 00:00:00 GMT\r\n\
        Server: upstream\r\n\
        Last-Modified: Tue, 01 Jan 2030 00:00:00 GMT\r\n\
        \r\nok";
    let fault = Fault::Raw(text.into(), tokenferry::simulator::Ending::Close);
    stage.simulator.script(Script::on(GRAPH, fault).times(1));
    let lines = "GET /graph/v1.0/file HTTP/1.1\nRange: bytes=2-3\nIf-Range: \"x\"\nAccept-Encoding: identity";
    let part = stage.ask(lines).await.expect(206);
    assert_eq!(part.field("content-range"), "bytes 2-3/10");
    assert_eq!(part.field("date"), "Tue, 01 Jan 2030 00:00:00 GMT");
    assert_eq!(part.field("server"), "upstream");
    let seen = stage.last();
    assert_eq!(seen.header_values("range"), ["bytes=2-3"]);
    assert_eq!(seen.header_values("if-range"), ["\"x\""]);
    assert_eq!(seen.header_values("accept-encoding"), ["identity"]);
}

#[tokio::test]
async fn an_answer_in_two_framings_comes_down_in_one() {
    let stage = Stage::open().await;
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let fault = Fault::Raw(text.into(), tokenferry::simulator::Ending::Close);
    stage.simulator.script(Script::on(GRAPH, fault).times(1));
    let answer = stage.get("/graph/v1.0/users").await;
    // RFC 9112 section 6.3: the length does not count.
    assert_eq!(answer.expect(200).text(), "ok");
}

#[tokio::test]
async fn a_caller_cannot_have_its_bodys_framing_removed() {
    let stage = Stage::open().await;
    for (framing, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let mut caller = stage.caller().await;
        let lines = format!(
            "POST /graph/sim/sink HTTP/1.1\n{framing}\nConnection: content-length, transfer-encoding"
        );
        caller.ask(&lines).await;
        caller.send(body).await;
        caller.answer("POST").await.expect(200);
        assert_eq!(stage.last().text(), "hello");
    }
}

#[tokio::test]
async fn a_write_without_a_body_says_that_it_has_none() {
    let stage = Stage::open().await;
    for (method, wanted) in [
        ("POST", &["0"][..]),
        ("PUT", &["0"]),
        ("PATCH", &["0"]),
        ("GET", &[]),
        ("HEAD", &[]),
        ("DELETE", &[]),
        ("OPTIONS", &[]),
    ] {
        stage
            .ask(&format!("{method} /graph/sim/sink HTTP/1.1"))
            .await;
        let sent = stage.last();
        assert_eq!(sent.method, method);
        assert_eq!(sent.header_values("content-length"), wanted, "{method}");
        assert_eq!(sent.header("transfer-encoding"), None);
    }
    let lines = "POST /graph/sim/sink HTTP/1.1\nContent-Length: 0";
    stage.ask(lines).await.expect(200);
    let sent = stage.last();
    assert_eq!(sent.header_values("content-length"), ["0"], "once");
}

#[tokio::test]
async fn a_204_has_no_length_for_the_caller_whatever_the_upstream_says() {
    let stage = Stage::open().await;
    for length in [0, 5] {
        let head = format!("HTTP/1.1 204 No Content\r\nContent-Length: {length}\r\n\r\n");
        let spoilt = Fault::Raw(head.into_bytes(), tokenferry::simulator::Ending::Close);
        stage.simulator.script(Script::on(GRAPH, spoilt).times(2));
        let older = stage.get("/graph/sim/bytes/1").await.expect(204);
        let newer = stage.caller2().await;
        let newer = newer.exchange("GET", "/graph/sim/bytes/1").await;
        for answer in [older, newer.expect(204)] {
            assert!(answer.whole);
            assert_eq!(answer.field("content-length"), "", "{}", answer.version);
        }
    }
}
