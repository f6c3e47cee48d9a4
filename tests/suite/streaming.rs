//! Bodies in both directions.

use std::time::Duration;

use tokenferry::simulator::{Ending, Fault, GRAPH, Script};

use crate::harness::caller::Caller;
use crate::harness::soon;
use crate::harness::stage::Stage;

#[tokio::test]
async fn a_body_arrives_as_it_comes() {
    let stage = Stage::open().await;
    let feed = stage.simulator.feed("one");
    let mut caller = stage.caller().await;
    caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    let mut answer = caller.head().await;
    assert_eq!(answer.status, 200);
    for piece in ["first", "second", "third"] {
        assert!(feed.send(piece).await);
        let chunk = caller.chunk(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&chunk), piece);
    }
    drop(feed);
    assert_eq!(caller.chunk(&mut answer).await, None);
    assert!(answer.whole);
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_request_at_the_upstream() {
    let stage = Stage::open().await;
    let feed = stage.simulator.feed("one");
    let mut caller = stage.caller().await;
    caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    assert_eq!(caller.head().await.status, 200);
    drop(caller);
    soon(feed.abandoned()).await;
}

#[tokio::test]
async fn trailers_arrive_in_both_directions() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    let answer = caller
        .exchange("GET /graph/sim/trailers HTTP/1.1\nTE: trailers\nConnection: TE")
        .await;
    assert_eq!(answer.text(), "one\ntwo\n");
    assert_eq!(answer.field("trailer"), "x-sim-checksum, x-sim-rows");
    let expected = [("x-sim-checksum", "abc"), ("x-sim-rows", "2")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(answer.trailers, expected);

    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nTransfer-Encoding: chunked\nTrailer: X-Check, Authorization")
        .await;
    caller
        .send("5\r\nhello\r\n0\r\nX-Check: 42\r\nAuthorization: Bearer x\r\n\r\n")
        .await;
    assert_eq!(caller.answer("POST").await.expect(200).json()["length"], 5);
    let seen = stage.last();
    assert_eq!(seen.body.trailers, [("x-check".to_owned(), b"42".to_vec())]);
}

#[tokio::test]
async fn trailers_of_an_answer_are_held_to_the_rules_for_headers() {
    let stage = Stage::open().await;
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check, Set-Cookie, Content-Length, Access-Control-Allow-Origin\r\n\r\n2\r\nok\r\n0\r\nX-Check: 1\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\nAccess-Control-Allow-Origin: *\r\n\r\n";
    let raw = Fault::Raw(answer.into(), Ending::Hang);
    stage.simulator.script(Script::on(GRAPH, raw));
    let answer = stage
        .ask("GET /graph/v1.0/x HTTP/1.1\nTE: trailers\nConnection: TE")
        .await
        .expect(200);
    assert_eq!(answer.trailers, [("x-check".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn trailers_go_up_behind_a_body_that_might_hold_links_too() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Type: application/json\nTransfer-Encoding: chunked\nTrailer: X-Check")
        .await;
    caller.send("2\r\n{}\r\n0\r\nX-Check: 42\r\n\r\n").await;
    caller.answer("POST").await.expect(200);
    let seen = stage.last();
    assert_eq!(seen.body.trailers, [("x-check".to_owned(), b"42".to_vec())]);
}

#[tokio::test]
async fn a_truncated_answer_is_passed_on_as_truncated() {
    for upstream_http in [1, 2] {
        let route = "{name: graph, path: /graph, upstream: 'https://GRAPH'";
        let own = format!("routes: [{route}, upstream_http: {upstream_http}}}]\n");
        truncated(&Stage::with(&own).await).await;
    }
}

async fn truncated(stage: &Stage) {
    let cases = [
        ("/graph/sim/bytes/100000", Ending::Close),
        ("/graph/sim/bytes/100000", Ending::Notify),
        ("/graph/sim/bytes/100000", Ending::Reset),
        ("/graph/sim/bytes/100000?chunked=1", Ending::Close),
        ("/graph/sim/bytes/100000?chunked=1", Ending::Notify),
        ("/graph/sim/bytes/100000?chunked=1", Ending::Reset),
    ];
    for (target, ending) in cases {
        for two in [false, true] {
            let fault = Fault::Break {
                after: Some(50_000),
                ending,
            };
            stage.simulator.script(Script::on(GRAPH, fault).times(1));
            let answer = if two {
                stage.caller2().await.exchange("GET", target).await
            } else {
                stage.get(target).await
            };
            assert_eq!(answer.status, 200);
            assert!(!answer.whole, "{target} {ending:?} {two}");
            // A reset of TCP may overtake data.
            if ending != Ending::Reset {
                assert_eq!(answer.body.len(), 50_000, "{target} {ending:?} {two}");
            }
        }
    }
}

#[tokio::test]
async fn a_truncated_answer_ends_in_a_reset_where_only_the_end_could_tell() {
    let stage = Stage::open().await;
    for target in [
        "/graph/sim/bytes/1000?chunked=1",
        "/graph/sim/page/100000",
        "/graph/sim/bytes/1000",
    ] {
        let fault = Fault::Break {
            after: Some(500),
            ending: Ending::Close,
        };
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let mut caller = stage.caller().await;
        caller.ask(&format!("GET {target} HTTP/1.0")).await;
        caller.rest().await;
        let reset = caller.ended.expect("the connection has ended").unwrap_err();
        assert_eq!(
            reset.kind(),
            std::io::ErrorKind::ConnectionReset,
            "{target}"
        );
    }
    let mut caller = stage.caller().await;
    caller
        .ask("GET /graph/sim/bytes/5?chunked=1 HTTP/1.0")
        .await;
    caller.rest().await;
    assert!(caller.ended.expect("the connection has ended").is_ok());
}

#[tokio::test]
async fn the_end_of_the_connection_ends_a_body_only_when_tls_says_so() {
    let stage = Stage::open().await;
    for (ending, whole) in [
        (Ending::Notify, true),
        (Ending::Close, false),
        (Ending::Reset, false),
    ] {
        for two in [false, true] {
            let fault = Fault::CloseDelimited(ending);
            stage.simulator.script(Script::on(GRAPH, fault).times(1));
            let target = "/graph/sim/status/200";
            let answer = if two {
                stage.caller2().await.exchange("GET", target).await
            } else {
                stage.get(target).await
            };
            assert_eq!(answer.status, 200);
            assert_eq!(answer.whole, whole, "{ending:?}, HTTP/2: {two}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_no_body() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    let head = caller.exchange("HEAD /graph/sim/bytes/1234 HTTP/1.1").await;
    assert_eq!((head.status, head.field("content-length")), (200, "1234"));
    let next = caller.exchange("GET /graph/sim/bytes/5 HTTP/1.1").await;
    assert_eq!(next.expect(200).body, b"xxxxx");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_fields_and_the_connection() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    for (status, length) in [(204, None), (304, Some("1234")), (304, None)] {
        let line = length.map_or(String::new(), |length| {
            format!("Content-Length: {length}\r\n")
        });
        let text = format!("HTTP/1.1 {status} Fine\r\nETag: \"a\"\r\n{line}\r\n");
        let fault = Fault::Raw(text.into(), Ending::Close);
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let answer = caller.exchange("GET /graph/v1.0/users HTTP/1.1").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.field("etag"), "\"a\"");
        // A length may be left out of a 304, but not be wrong (RFC 9110 section 15.4.5).
        let shown = answer.field("content-length");
        assert!(shown.is_empty() || Some(shown) == length, "{shown}");
        assert_eq!(answer.field("transfer-encoding"), "");
    }
    let last = caller.exchange("GET /graph/sim/bytes/5 HTTP/1.1").await;
    last.expect(200);
}

#[tokio::test]
async fn an_old_caller_gets_an_answer_it_can_read() {
    let stage = Stage::open().await;
    for target in ["/graph/sim/bytes/5", "/graph/sim/bytes/5?chunked=1"] {
        let mut caller = stage.caller().await;
        let answer = caller.exchange(&format!("GET {target} HTTP/1.0")).await;
        assert_eq!(answer.clone().expect(200).body, b"xxxxx");
        assert!(answer.version < 2);
        assert_eq!(
            answer.field("transfer-encoding"),
            "",
            "HTTP/1.0 knows no chunks"
        );
        caller.expect_close().await;
        assert_eq!(stage.last().version, http::Version::HTTP_11);
    }
}

#[tokio::test]
async fn an_answer_that_drips_arrives_drip_by_drip() {
    let stage = Stage::open().await;
    for target in ["/graph/sim/bytes/300", "/graph/sim/bytes/300?chunked=1"] {
        let fault = Fault::Drip {
            size: 1,
            every: Duration::ZERO,
        };
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let answer = stage.get(target).await.expect(200);
        assert_eq!(answer.body, vec![b'x'; 300]);
    }
}

#[tokio::test]
async fn a_body_where_none_may_be_is_left_out() {
    let own =
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: 2}]\n";
    let stage = Stage::with(own).await;
    for status in [204, 304] {
        for _ in 0..2 {
            let fault = Fault::answer(status, &[("etag", "\"a\"")], "a body");
            stage.simulator.script(Script::on(GRAPH, fault).times(1));
        }
        let mut caller = stage.caller().await;
        let first = caller.exchange("GET /graph/v1.0/users HTTP/1.1").await;
        let caller2 = stage.caller2().await;
        let second = caller2.exchange("GET", "/graph/v1.0/users").await;
        for answer in [first, second] {
            assert_eq!((answer.status, &*answer.body), (status, &b""[..]));
            assert_eq!(answer.field("etag"), "\"a\"");
        }
        let next = caller.exchange("GET /graph/sim/bytes/5 HTTP/1.1").await;
        next.expect(200);
        let next = caller2.exchange("GET", "/graph/sim/bytes/5").await;
        next.expect(200);
    }
}

#[tokio::test]
async fn a_caller_that_reads_slowly_all_the_time_is_not_let_go() {
    const BYTES: usize = 5_000_000;
    // A standstill of less than a second counts as not reading.
    let stage = Stage::with("timeouts: {write_stall: 1500ms}\n").await;
    let mut caller = Caller::narrow(stage.address()).await;
    let lines = format!("GET /graph/sim/bytes/{BYTES} HTTP/1.1");
    caller.ask(&lines).await;
    let answer = caller.head().await;
    assert_eq!(answer.field("content-length"), BYTES.to_string());
    // About a megabyte a second: far less than is sent at once, and never nothing.
    let mut pace = tokio::time::interval(Duration::from_millis(25));
    let mut read = 0;
    while read < BYTES {
        pace.tick().await;
        let piece = caller.some().await;
        assert!(!piece.is_empty(), "it was let go after {read} bytes");
        read += piece.len();
    }
    assert_eq!(read, BYTES);
}
