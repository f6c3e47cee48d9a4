//! Answers of the proxy's own: their form, their codes, and that nobody takes them for another's.

use tokenferry::simulator::{GRAPH, Handshake};

use crate::harness::stage::Stage;

/// Office365-REST-Python-Client puts its token into each operation.
#[tokio::test]
async fn a_header_that_does_not_pass_inside_a_batch_is_refused_with_what_to_do() {
    let stage = Stage::open().await;
    for (name, remedy) in [
        ("Authorization", "; leave it out"),
        (
            "CallerObjectId",
            ", or list it under keep_headers of the route",
        ),
    ] {
        let batch = format!(
            r#"{{"requests":[{{"id":"1","method":"GET","url":"/users","headers":{{"{name}":"x"}}}}]}}"#
        );
        let lines = "POST /graph/v1.0/$batch HTTP/1.1\nContent-Type: application/json";
        let answer = stage.ask_with(lines, batch).await;
        assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()), "{name}");
        let message = answer.json()["error"]["message"].to_string();
        let end = format!("{remedy}\"");
        assert!(message.ends_with(&end), "{message}");
    }
}

#[tokio::test]
async fn a_name_that_servers_read_in_different_ways_is_refused_with_what_may_be_done() {
    let stage = Stage::open().await;
    for (name, remedy) in [
        (
            "X_Team",
            "; rename it, or list it under keep_headers of the route",
        ),
        // `check` refuses these there.
        ("Content_Length", "; leave it out"),
        ("Proxy_Team", "; leave it out"),
        ("X_Api_Key", "; leave it out"),
    ] {
        let answer = stage
            .ask(&format!("GET /graph/v1.0/users HTTP/1.1\n{name}: 1"))
            .await;
        assert_eq!(answer.refusal(), (400, "badRequest".to_owned()), "{name}");
        let message = answer.message();
        assert!(message.ends_with(remedy), "{message}");
    }
}

/// Microsoft's documents show `$search="displayName:x"`, and curl sends the quotes as they are.
#[tokio::test]
async fn who_does_not_encode_an_address_is_told_to() {
    let stage = Stage::open().await;
    for query in ["$search=\"displayName:x\"", "$filter=a eq 1"] {
        let answer = stage.get(&format!("/graph/v1.0/users?{query}")).await;
        assert_eq!(answer.refusal(), (400, "badRequest".to_owned()), "{query}");
        let message = answer.message();
        assert!(message.contains("percent-encode spaces"), "{message}");
    }
}

#[tokio::test]
async fn a_hash_is_seen_in_an_address_and_nowhere_else() {
    let stage = Stage::open().await;
    // A head that follows another without a pause and comes in two pieces.
    let mut caller = stage.caller().await;
    let head = "GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n";
    caller
        .send(format!("{head}\r\n{head}User-Agent: some"))
        .await;
    caller.answer("GET").await.expect(200);
    caller.send(" C# client\r\n\r\n").await;
    caller.answer("GET").await.expect(200);
    // Empty lines before a request are none, and a line may come in pieces.
    for pieces in [
        ["\r\n", "GET /graph/sim/bytes/1#2"],
        ["GET /graph/sim/b", "ytes/1#2"],
        // Its first bytes are read alone, to see which protocol is spoken.
        ["GET /graph/x#", "EXT#@contoso.example"],
    ] {
        let mut caller = stage.caller().await;
        for piece in pieces {
            caller.send(piece).await;
        }
        caller.send(" HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let answer = caller.answer("GET").await;
        assert_eq!(answer.refusal(), (400, "badRequest".to_owned()));
        assert!(answer.message().contains('#'), "{}", answer.message());
    }
    // Behind a host alone, where there is a slash only once it is cut off.
    let answer = stage.get("http://localhost#2").await;
    assert_eq!(answer.refusal(), (400, "badRequest".to_owned()));
    assert!(answer.message().contains('#'), "{}", answer.message());
}

#[tokio::test]
async fn a_listed_page_may_read_why_it_is_refused() {
    let stage = Stage::with(
        "browser_origins: ['https://dash.example']\nroutes: [{name: graph, path: /graph, upstream: 'https://GRAPH', allow: [GET /v1.0/**]}]\n",
    )
    .await;
    let ask = async |origin: &str, line: &str| {
        let lines = format!("{line} HTTP/1.1\nOrigin: {origin}");
        stage.ask(&lines).await
    };
    for (line, status) in [
        ("GET /graph/beta", 403),
        ("GET /nowhere", 404),
        ("GET /graph/%2e%2e", 400),
        ("GET /graph/100%", 400),
        ("GET http://evil.example/graph/v1.0/x", 421),
        ("TRACE /graph/v1.0/x", 405),
    ] {
        let answer = ask("https://dash.example", line).await;
        assert_eq!(answer.refusal().0, status, "{line}");
        let allowed = answer.field("access-control-allow-origin");
        assert_eq!(allowed, "https://dash.example", "{line}");
        assert_eq!(answer.field("vary"), "Origin", "{line}");
        let answer = ask("https://other.example", line).await;
        assert_eq!(answer.field("access-control-allow-origin"), "", "{line}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_forwarded_is_told_which_ones_are() {
    let stage = Stage::open().await;
    let answer = stage.ask("TRACE /graph/v1.0/x HTTP/1.1").await;
    assert_eq!(answer.refusal(), (405, "methodNotSupported".to_owned()));
    let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    assert_eq!(answer.field("allow"), methods);
    assert_eq!(stage.get("/nowhere").await.expect(404).field("allow"), "");
}

#[tokio::test]
async fn a_broken_head_behind_a_good_request_is_answered_in_our_form_too() {
    let stage = Stage::open().await;
    let firsts = [
        (
            "GET /graph/sim/bytes/3 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            200,
        ),
        (
            "GET /graph/sim/status/400 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            400,
        ),
        ("GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (
            "POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
            200,
        ),
    ];
    for (first, status) in firsts {
        let mut caller = stage.caller().await;
        caller.send(&format!("{first}GARBAGE\r\n\r\n")).await;
        assert_eq!(caller.answer("GET").await.status, status, "{first}");
        let answer = caller.answer("GET").await;
        assert_eq!(answer.refusal(), (400, "badRequest".to_owned()), "{first}");
        assert!(answer.whole);
    }
    let reasons = [("reason", "badRequest")];
    assert_eq!(
        stage.number("tokenferry_refused_total", &reasons).await,
        4.0
    );
}

#[tokio::test]
async fn heads_that_are_too_large_are_answered_in_our_form() {
    let stage =
        Stage::with("limits: {request_line: 1KiB, header_block: 2KiB, headers: 10}\n").await;
    let long = "a".repeat(1500);
    let longer = "a".repeat(8000);
    let many = (0..12).fold(String::new(), |all, n| format!("{all}\nX-{n}: 1"));
    for (lines, expected) in [
        (
            format!("GET /graph/v1.0/{long} HTTP/1.1"),
            (414, "uriTooLong"),
        ),
        (
            format!("GET /graph/v1.0/users?$top=1 HTTP/1.1\nX-Long: {long}\nX-Longer: {long}"),
            (431, "headersTooLarge"),
        ),
        (
            format!("GET /graph/v1.0/users?$top=1 HTTP/1.1{many}"),
            (431, "headersTooLarge"),
        ),
        (
            format!("GET /graph/v1.0/users?$top=1 HTTP/1.1\nX-Long: {longer}"),
            (431, "headersTooLarge"),
        ),
        (
            format!("GET /graph/v1.0/{longer} HTTP/1.1"),
            (414, "uriTooLong"),
        ),
        (
            format!("GET /graph/v1.0/{} HTTP/1.1", "b".repeat(200_000)),
            (414, "uriTooLong"),
        ),
    ] {
        let answer = stage.ask(&lines).await;
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(answer.refusal(), expected, "{} bytes", lines.len());
    }
    let fits = format!("GET /graph/v1.0/users?$top=1 HTTP/1.1\nX-Long: {long}");
    stage.ask(&fits).await.expect(200);
    for (length, status) in [(1024, 200), (1025, 414)] {
        let rest = length - "GET /graph/sim/bytes/1? HTTP/1.1".len();
        let line = format!("GET /graph/sim/bytes/1?{} HTTP/1.1", "a".repeat(rest));
        assert_eq!(stage.ask(&line).await.status, status, "{length} bytes");
        let over = format!("{line}\nX-Longer: {longer}");
        let status = if status == 414 { 414 } else { 431 };
        assert_eq!(stage.ask(&over).await.status, status, "{length} bytes");
    }
}

#[tokio::test]
async fn the_same_heads_over_http2_are_refused_too() {
    let stage = Stage::with("limits: {request_line: 1KiB, header_block: 2KiB}\n").await;
    let caller = stage.caller2().await;
    let target = format!("/graph/v1.0/{}", "a".repeat(1500));
    let answer = caller.exchange("GET", &target).await;
    assert_eq!(answer.refusal(), (414, "uriTooLong".to_owned()));
    let long = "a".repeat(2500);
    let fields = [("x-long", long.as_str())];
    let request = crate::harness::caller2::request(
        "GET",
        "/graph/v1.0/users",
        &fields,
        crate::harness::caller2::empty(),
    );
    let answer = crate::harness::caller2::read(caller.send(request).await.unwrap()).await;
    assert_eq!(answer.refusal(), (431, "headersTooLarge".to_owned()));
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_named_with_the_reason() {
    let stage = Stage::with("workers: 1\n").await;
    for (handshake, words, error) in [
        (Handshake::Reset, "handshake", "connection_terminated"),
        (Handshake::Expired, "handshake", "tls_certificate_error"),
        (
            Handshake::Untrusted,
            "trust.ca_file",
            "tls_certificate_error",
        ),
        (Handshake::WrongName, "handshake", "tls_certificate_error"),
    ] {
        stage.simulator.spoil(GRAPH, handshake);
        let answer = stage.get("/graph/v1.0/users").await;
        assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
        let message = answer.message();
        assert!(
            message.contains(GRAPH) && message.contains(words),
            "{message}"
        );
        assert!(!answer.text().contains("rustls"), "{message}");
        let status = format!("tokenferry; error={error}");
        assert_eq!(answer.field("proxy-status"), status, "{message}");
    }
    stage.simulator.recover(GRAPH);
    stage.get("/graph/v1.0/users?$top=1").await.expect(200);
}

#[tokio::test]
async fn errors_of_the_upstream_pass_as_they_are() {
    let stage = Stage::open().await;
    for status in [400, 403, 404, 409, 412, 429, 500, 501, 503, 504] {
        let answer = stage.get(&format!("/graph/sim/status/{status}")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["error"]["code"], "SimulatedStatus");
        assert!(answer.all("proxy-status").is_empty());
    }
}

#[tokio::test]
async fn the_first_answer_does_not_wait_for_the_rest_of_a_second_request() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    let one = "GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    caller.send(format!("{one}{one}GET /graph/sim/by")).await;
    caller.answer("GET").await.expect(200);
    caller.answer("GET").await.expect(200);
    caller
        .send("tes/3 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(caller.answer("GET").await.expect(200).body, b"xxx");
}

#[tokio::test]
async fn a_caller_that_sends_far_too_much_head_reads_the_answer_and_not_a_reset() {
    let stage = Stage::open().await;
    for _ in 0..5 {
        let mut caller = stage.caller().await;
        let long = "x".repeat(4 * 1024 * 1024);
        let head = format!("GET /graph/v1.0 HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n");
        caller.send(head).await;
        let answer = caller.answer("GET").await;
        assert_eq!(answer.refusal(), (431, "headersTooLarge".to_owned()));
    }
}

#[tokio::test]
async fn a_refused_head_request_gets_the_head_alone() {
    let stage = Stage::open().await;
    let caller = stage.caller2().await;
    let length = caller.exchange("GET", "/nowhere").await.body.len();
    let refused = caller.exchange("HEAD", "/nowhere").await;
    assert!(refused.whole, "{refused:?}");
    let old = stage.ask("HEAD /nowhere HTTP/1.1").await;
    for refused in [refused, old] {
        assert_eq!((refused.status, refused.body.len()), (404, 0));
        assert_eq!(refused.field("content-length"), length.to_string());
    }
    // The connection still serves.
    caller
        .exchange("GET", "/graph/sim/bytes/1")
        .await
        .expect(200);
}
