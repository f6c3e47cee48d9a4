//! Bodies on their way up, and answers that come before they are there.

use std::time::{Duration, Instant};

use tokenferry::simulator::{BodyEnd, Ending, Fault, GRAPH, Gate, Script, Seen};
use tokenferry::upstream::LINGER;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::caller::Caller;
use crate::harness::found;
use crate::harness::stage::Stage;
use crate::hostile::frame::{DATA, END_HEADERS, HEADERS, RST_STREAM, Speaker, fields, frame, good};

fn answered(status: u16) -> Fault {
    Fault::Answer {
        status: http::StatusCode::from_u16(status).expect("it is a status"),
        headers: Vec::new(),
        body: b"early".to_vec(),
    }
}

#[tokio::test]
async fn a_body_goes_up_in_the_framing_it_came_in() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 5")
        .await;
    caller.send("hello").await;
    caller.answer("POST").await.expect(200);
    assert_eq!(stage.last().header_values("content-length"), ["5"]);
    assert_eq!(stage.last().header("transfer-encoding"), None);
    assert_eq!(stage.last().text(), "hello");

    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nTransfer-Encoding: Chunked")
        .await;
    caller
        .send("3;ext=1\r\nhel\r\n002\r\nlo\r\n0\r\n\r\n")
        .await;
    caller.answer("POST").await.expect(200);
    assert_eq!(stage.last().header("content-length"), None);
    assert_eq!(stage.last().header_values("transfer-encoding"), ["chunked"]);
    assert_eq!(stage.last().text(), "hello");

    for method in ["POST", "PUT", "PATCH"] {
        let lines = format!("{method} /graph/sim/sink HTTP/1.1\nContent-Length: 0");
        caller.exchange(&lines).await.expect(200);
        assert_eq!(
            stage.last().header_values("content-length"),
            ["0"],
            "{method}"
        );
    }
    for method in ["GET", "HEAD", "DELETE"] {
        let lines = format!("{method} /graph/sim/bytes/0 HTTP/1.1");
        caller.exchange(&lines).await;
        assert_eq!(stage.last().header("content-length"), None, "{method}");
        assert_eq!(stage.last().header("transfer-encoding"), None, "{method}");
    }
    let mut old = stage.caller().await;
    old.ask("POST /graph/sim/sink HTTP/1.0\nContent-Length: 5")
        .await;
    old.send("hello").await;
    old.answer("POST").await.expect(200);
}

#[tokio::test]
async fn a_body_passes_in_both_directions_at_once() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/mirror HTTP/1.1\nTransfer-Encoding: chunked")
        .await;
    caller.send("5\r\nfirst\r\n").await;
    let mut answer = caller.head().await;
    assert_eq!(caller.chunk(&mut answer).await.unwrap(), b"first");
    caller.send("6\r\nsecond\r\n").await;
    assert_eq!(caller.chunk(&mut answer).await.unwrap(), b"second");
    caller.send("0\r\n\r\n").await;
    assert_eq!(caller.chunk(&mut answer).await, None);
    assert!(answer.whole);
}

#[tokio::test]
async fn a_caller_that_asks_first_is_told_to_go_on() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 5\nExpect: 100-continue")
        .await;
    assert_eq!(caller.head().await.status, 100);
    caller.send("hello").await;
    caller.answer("POST").await.expect(200);
    assert_eq!(stage.last().header("expect"), None);
}

#[tokio::test]
async fn a_caller_that_asks_first_is_refused_without_sending_anything() {
    let stage = Stage::with(
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', max_body_bytes: 1000}]\n",
    )
    .await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 5000\nExpect: 100-continue")
        .await;
    let answer = caller.answer("POST").await;
    assert_eq!(answer.refusal(), (413, "bodyTooLarge".to_owned()));
    assert_eq!(answer.interim, [] as [u16; 0]);
}

/// Sends more of a body than any buffer holds to where it is refused. `None` when that took longer
/// than the proxy reads on for, so that it rightly took no more.
async fn refused_upload(stage: &Stage, target: &str) -> Option<Caller> {
    const LENGTH: usize = 20 * 1024 * 1024;
    let mut caller = stage.caller().await;
    let lines = format!("POST {target} HTTP/1.1\nContent-Length: {LENGTH}");
    let begun = Instant::now();
    caller.ask(&lines).await;
    let sent = caller.try_send(vec![b'x'; LENGTH]).await;
    if sent.is_err() {
        assert!(begun.elapsed() > LINGER, "it is cut off too soon: {sent:?}");
        return None;
    }
    Some(caller)
}

#[tokio::test]
async fn a_refused_request_whose_body_still_comes_reads_the_answer() {
    let stage = Stage::open().await;
    for target in ["/nowhere", "/graph/v1.0/../x"] {
        // A busy machine may need several attempts to be fast enough.
        let sent = found("a body goes up in time", || refused_upload(&stage, target));
        let mut caller = sent.await;
        let answer = caller.answer("POST").await;
        assert!(matches!(answer.status, 400 | 404));
        answer.code();
        caller.expect_close().await;
    }
}

#[tokio::test]
async fn an_early_answer_to_an_upload_arrives() {
    for http in [1, 2] {
        let own = format!(
            "routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
        );
        let stage = Stage::with(&own).await;
        stage
            .simulator
            .script(Script::on(GRAPH, answered(409)).early().times(1));
        let mut caller = stage.caller().await;
        let length = 20 * 1024 * 1024;
        caller
            .ask(&format!(
                "POST /graph/sim/sink HTTP/1.1\nContent-Length: {length}"
            ))
            .await;
        // What the upstream does not want may be left unsent.
        for _ in 0..20 {
            if caller.try_send(vec![b'x'; 1024 * 1024]).await.is_err() {
                break;
            }
        }
        let answer = caller.answer("POST").await.expect(409);
        assert_eq!(answer.text(), "early");
        stage.get("/graph/sim/bytes/1").await.expect(200);
    }
}

/// Answers heads, each before any of its body, and keeps the connection open; a GET with 200, if it is
/// the first of its connection.
async fn answer_early(mut stream: TcpStream) {
    let mut answer: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.unwrap_or(0) > 0 {
        if read.starts_with(b"POST ") && read.windows(4).any(|end| end == b"\r\n\r\n") {
            let early = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n";
            drop(stream.write_all(early).await);
            answer = b"HTTP/1.1 500 In A Body\r\nContent-Length: 0\r\n\r\n";
            read.clear();
        } else if read.windows(4).any(|word| word == b"GET ") {
            drop(stream.write_all(answer).await);
            read.clear();
        }
    }
}

#[tokio::test]
async fn no_other_request_goes_up_behind_a_body_that_is_not_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_early(stream));
        }
    });
    let stage = Stage::with(&format!(
        "workers: 1\nroutes: [{{name: early, path: /early, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default'}}]\n"
    ))
    .await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /early/x HTTP/1.1\nContent-Length: 100000")
        .await;
    caller.answer("POST").await.expect(409);
    stage.get("/early/x").await.expect(200);
}

#[tokio::test]
async fn an_answer_that_leaves_a_body_unread_says_that_the_connection_closes() {
    let stage = Stage::open().await;
    let early = Script::on(GRAPH, answered(409)).early().times(1);
    stage.simulator.script(early);
    for (path, status) in [("/graph/sim/sink", 409), ("/nowhere", 404)] {
        let mut caller = stage.caller().await;
        let head = format!("POST {path} HTTP/1.1\nContent-Length: 10");
        caller.ask(&head).await;
        let answer = caller.answer("POST").await.expect(status);
        assert_eq!(answer.field("connection"), "close", "{path}");
        caller.expect_close().await;
    }
    let mut caller = stage.caller().await;
    for _ in 0..2 {
        caller
            .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 5")
            .await;
        caller.send("whole").await;
        let answer = caller.answer("POST").await;
        assert_eq!(answer.field("connection"), "", "all of it was read");
    }
}

#[tokio::test]
async fn a_caller_that_breaks_off_is_broken_off_at_the_upstream() {
    let stage = Stage::open().await;
    for (head, body) in [
        ("Content-Length: 10", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\nzz\r\n"),
    ] {
        stage.simulator.clear();
        let mut caller = stage.caller().await;
        caller
            .ask(&format!("POST /graph/sim/sink HTTP/1.1\n{head}"))
            .await;
        caller.send(body).await;
        stage
            .simulator
            .wait_for(|seen| seen.host == GRAPH)
            .await
            .unwrap();
        if body.contains("zz") {
            assert_eq!(
                caller.answer("POST").await.refusal(),
                (400, "badRequest".to_owned())
            );
        }
        drop(caller);
        let seen = stage
            .simulator
            .wait_for(|seen| seen.host == GRAPH && seen.body.end != BodyEnd::Open)
            .await
            .unwrap();
        assert_eq!(seen.body.end, BodyEnd::Aborted, "{body}");
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_in_its_body_is_broken_off_at_the_upstream_whatever_the_reason() {
    for (http, reason) in [(1, 0), (1, 8), (2, 0), (2, 8)] {
        let stage = Stage::with(&format!(
            "routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
        ))
        .await;
        let mut list = good("/graph/sim/sink");
        list[0].1 = "POST";
        let mut caller = Speaker::connect(stage.address(), &[]).await;
        caller
            .send(&frame(HEADERS, END_HEADERS, 1, &fields(&list)))
            .await;
        caller.send(&frame(DATA, 0, 1, b"first half")).await;
        let arrived = |seen: &Seen| seen.host == GRAPH;
        stage.simulator.wait_for(arrived).await.unwrap();
        // Node's way to give up a stream is NO_ERROR.
        caller
            .send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, reason]))
            .await;
        let ended = |seen: &Seen| seen.host == GRAPH && seen.body.end != BodyEnd::Open;
        let seen = stage.simulator.wait_for(ended).await.unwrap();
        assert_eq!(seen.body.end, BodyEnd::Aborted, "{http} {reason}");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_read_stops_the_caller() {
    let stage = Stage::open().await;
    let gate = Gate::new();
    stage.simulator.script(
        Script::on(GRAPH, Fault::Hold(gate.clone()))
            .early()
            .times(1),
    );
    stage
        .simulator
        .script(Script::on(GRAPH, answered(409)).early().times(1));
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nTransfer-Encoding: chunked")
        .await;
    let mut sent = 0;
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1024 * 1024));
    while sent < 256 {
        let push = tokio::time::timeout(Duration::from_millis(700), caller.try_send(&chunk));
        if push.await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 64, "{sent} MiB are somewhere in between");
    gate.open();
    assert_eq!(caller.answer("POST").await.status, 409);
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_upstream() {
    for http in [1, 2] {
        let own = format!(
            "routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
        );
        let stage = Stage::with(&own).await;
        let feed = stage.simulator.feed("one");
        let mut caller = Caller::narrow(stage.address()).await;
        caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
        let mut sent = 0;
        while sent < 256 {
            let push = feed.send(vec![b'x'; 1024 * 1024]);
            if tokio::time::timeout(Duration::from_millis(700), push)
                .await
                .is_err()
            {
                break;
            }
            sent += 1;
        }
        assert!(sent < 64, "{sent} MiB are somewhere in between");
        drop(feed);
        let answer = caller.answer("GET").await.expect(200);
        assert_eq!(answer.body.len(), sent * 1024 * 1024);
    }
}

#[tokio::test]
async fn a_caller_that_asks_first_may_be_refused_by_the_upstream() {
    for http in [1, 2] {
        let own = format!(
            "routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
        );
        let stage = Stage::with(&own).await;
        let refused = Script::on(GRAPH, answered(409)).early().times(1);
        stage.simulator.script(refused);
        let mut caller = stage.caller().await;
        let lines = "POST /graph/sim/sink HTTP/1.1\nContent-Length: 5\nExpect: 100-continue";
        caller.ask(lines).await;
        // It is not sure whether it is told to go on: the upstream is asked at the same time.
        caller.answer("POST").await.expect(409);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_the_middle_of_an_upload_reaches_the_caller_as_far_as_it_went()
{
    let stage = Stage::open().await;
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".to_vec();
    let broken = Fault::Raw(half, Ending::Notify);
    stage
        .simulator
        .script(Script::on(GRAPH, broken).early().times(1));
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 9000000")
        .await;
    // Enough that it does not all fit into what is read before the answer comes.
    caller.send(vec![b'x'; 1_000_000]).await;
    assert_eq!(caller.head().await.status, 200);
    assert_eq!(caller.rest().await, b"first");
    assert!(matches!(caller.ended, Some(Ok(()))), "{:?}", caller.ended);
}
