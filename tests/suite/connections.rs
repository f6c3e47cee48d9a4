//! A caller's connection over several requests.

use std::time::{Duration, Instant};

use tokenferry::simulator::{Ending, Fault, GRAPH, Gate, Script};
use tokenferry::upstream::LINGER;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::harness::caller::Caller;
use crate::harness::stage::{AT_ONCE, Stage};
use crate::harness::{found, soon, until};

#[tokio::test]
async fn a_caller_that_wants_to_close_is_closed_after_its_answer() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    let answer = caller
        .exchange("GET /graph/sim/bytes/5 HTTP/1.1\nConnection: close")
        .await
        .expect(200);
    assert_eq!(answer.field("connection"), "close");
    caller.expect_close().await;
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_order() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    let mut text = String::new();
    for length in 1..=20 {
        text.push_str(&format!(
            "GET /graph/sim/bytes/{length} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        text.push_str(
            "POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        );
        text.push_str("POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    }
    caller.send(text).await;
    for length in 1..=20 {
        assert_eq!(caller.answer("GET").await.expect(200).body.len(), length);
        assert_eq!(caller.answer("POST").await.expect(200).json()["length"], 5);
        assert_eq!(caller.answer("POST").await.expect(200).json()["length"], 1);
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal_or_says_that_it_does_not() {
    let stage = Stage::open().await;
    for (lines, body) in [
        ("GET /nowhere HTTP/1.1", ""),
        ("POST /nowhere HTTP/1.1\nContent-Length: 5", "hello"),
        (
            "POST /nowhere HTTP/1.1\nTransfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("POST /graph/%2e%2e HTTP/1.1\nContent-Length: 5", "hello"),
    ] {
        let mut caller = stage.caller().await;
        caller.ask(lines).await;
        caller.send(body).await;
        let answer = caller.answer("POST").await;
        answer.code();
        if answer.field("connection") == "close" {
            caller.expect_close().await;
            continue;
        }
        let next = caller.exchange("GET /graph/sim/bytes/5 HTTP/1.1").await;
        assert_eq!(next.expect(200).body, b"xxxxx", "{lines}");
    }
}

#[tokio::test]
async fn a_body_that_is_malformed_ends_the_connection_and_the_caller_is_told() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nTransfer-Encoding: chunked")
        .await;
    caller.send("5\r\nhello\r\nzz\r\n").await;
    let answer = caller.answer("POST").await;
    assert_eq!(answer.refusal(), (400, "badRequest".to_owned()));
    assert_eq!(answer.field("connection"), "close");
    caller.expect_close().await;
}

/// Sends what some servers take for a body, behind the answer. `None` when that took longer than the
/// proxy reads on for.
async fn sent_behind(stage: &Stage) -> Option<()> {
    let mut caller = stage.caller().await;
    let begun = Instant::now();
    caller
        .ask("GET /nowhere HTTP/1.1\nContent_Length: 10")
        .await;
    let answer = caller.answer("GET").await.expect(404);
    assert_eq!(answer.field("connection"), "close");
    caller.expect_close().await;
    // Where nobody reads the first, it is answered with a reset, which the second meets.
    for piece in ["first", "later"] {
        if let Err(error) = caller.try_send(piece).await {
            assert!(begun.elapsed() > LINGER, "it is not read: {error}");
            return None;
        }
    }
    Some(())
}

#[tokio::test]
async fn what_some_servers_take_for_a_body_is_read_behind_the_answer() {
    let stage = Stage::open().await;
    found("it goes in time", || sent_behind(&stage)).await;
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let stage = Stage::open().await;
    let mut caller = stage.caller().await;
    for _ in 0..2 {
        for byte in b"GET /graph/sim/bytes/5 HTTP/1.1\r\nHost: localhost\r\n\r\n" {
            caller.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        caller.answer("GET").await.expect(200);
    }
    caller.send("\r\n").await;
    caller
        .exchange("GET /graph/sim/bytes/5 HTTP/1.1")
        .await
        .expect(200);
}

/// A caller whose request is at the upstream, which does not answer.
async fn held() -> (Stage, Caller) {
    let stage = Stage::open().await;
    let hold = Fault::Hold(Gate::new());
    stage.simulator.script(Script::on(GRAPH, hold).times(1));
    let mut caller = stage.caller().await;
    caller.ask("GET /graph/sim/bytes/5 HTTP/1.1").await;
    let arrived = stage.simulator.wait_for(|seen| seen.host == GRAPH).await;
    arrived.expect("the request goes up");
    (stage, caller)
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_ends_the_request() {
    let (stage, caller) = held().await;
    drop(caller);
    let line = stage.log.with("/outcome", "dropped").await;
    assert_eq!(
        (line["status"].as_u64(), line["attempts"].as_u64()),
        (Some(0), Some(1))
    );
    let labels = [("route", "graph")];
    stage
        .becomes("tokenferry_requests_in_flight", &labels, 0.0)
        .await;
    let what = "its connection to the upstream is gone";
    until(what, async || stage.simulator.connections(GRAPH) == 0).await;
}

#[tokio::test]
async fn a_caller_that_ends_its_side_counts_as_gone() {
    let (stage, mut caller) = held().await;
    caller.end().await;
    caller.expect_close().await;
    let line = stage.log.with("/outcome", "dropped").await;
    assert_eq!(line["attempts"].as_u64(), Some(1));
}

#[tokio::test]
async fn five_hundred_callers_at_once_are_all_served() {
    let stage = Stage::with("limits: {in_flight: 400}\n").await;
    let address = stage.address();
    let mut callers = JoinSet::new();
    for _ in 0..500 {
        callers.spawn(async move {
            let mut caller = Caller::connect(address).await;
            let mut refused = 0;
            for _ in 0..10 {
                let answer = caller.exchange("GET /graph/sim/bytes/2000 HTTP/1.1").await;
                match answer.status {
                    200 => assert_eq!(answer.body.len(), 2000),
                    _ => {
                        assert_eq!(answer.refusal(), (503, "overloaded".to_owned()));
                        refused += 1;
                    }
                }
            }
            refused
        });
    }
    let mut refused = 0;
    // A busy machine takes its time for all of them, but not for each step of one.
    while let Some(done) = callers.join_next().await {
        refused += done.unwrap();
    }
    assert!(refused < 2500, "{refused}");
    let labels = [("route", "graph"), ("code", "200")];
    let served = f64::from(5000 - refused);
    stage
        .becomes("tokenferry_requests_total", &labels, served)
        .await;
    stage
        .becomes("tokenferry_requests_in_flight", &[("route", "graph")], 0.0)
        .await;
}

#[tokio::test]
async fn a_unix_socket_serves_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let stage = Stage::with(&format!("listen: ['unix:{}']\n", path.display())).await;
    let mut socket = UnixStream::connect(&path).await.unwrap();
    let text = "GET /graph/sim/bytes/5 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("xxxxx"),
        "{answer}"
    );
    drop(stage);
    let what = "it is taken away at the end";
    until(what, async || !path.exists()).await;
}

#[tokio::test]
async fn who_waits_for_a_place_until_the_end_is_told_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let own = format!(
        "listen: ['127.0.0.1:0', 'unix:{}']\nlimits: {{connections: 1}}\n",
        path.display()
    );
    let stage = Stage::with(&own).await;
    let feed = stage.simulator.feed("one");
    let mut first = stage.caller().await;
    first.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    let mut answer = first.head().await;
    // One is accepted and waits for its place, others wait to be accepted.
    let (mut callers, mut neighbours) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let mut caller = stage.caller().await;
        caller.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
        callers.push(caller);
        let mut stream = soon(UnixStream::connect(&path)).await.unwrap();
        let asks = b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(asks).await.unwrap();
        neighbours.push(stream);
    }
    let test = async {
        for caller in &mut callers {
            let refused = caller.answer("GET").await;
            assert_eq!(refused.refusal(), (503, "overloaded".to_owned()));
            assert!(refused.message().contains("limits.connections allows"));
            assert_eq!(refused.field("connection"), "close");
            caller.expect_close().await;
        }
        for stream in &mut neighbours {
            let mut refused = String::new();
            soon(stream.read_to_string(&mut refused)).await.unwrap();
            assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        }
        drop(feed);
        assert_eq!(first.chunk(&mut answer).await, None);
        assert!(answer.whole, "who is served is served to the end");
    };
    let drained = stage.app().drain(Duration::ZERO, AT_ONCE);
    let (cut, ()) = tokio::join!(drained, test);
    assert_eq!(cut, 0);
    let counted = [("reason", "overloaded")];
    stage
        .becomes("tokenferry_refused_total", &counted, 4.0)
        .await;
}

#[tokio::test]
async fn routes_without_callers_are_open_beyond_loopback_alone() {
    assert!(Stage::open().await.app().open_routes().is_empty());
    let stage = Stage::with("listen: '0.0.0.0:0'\n").await;
    assert_eq!(stage.app().open_routes(), ["graph", "dynamics"]);
}

#[tokio::test]
async fn every_address_of_ipv6_is_every_one_of_ipv4_too() {
    if let Err(error) = std::net::TcpListener::bind("[::]:0") {
        println!("not tested: this machine has no IPv6 ({error})");
        return;
    }
    // Without a look at whether it is ready: what it listens at is itself no address to call where
    // there are none of IPv6.
    let stage = Stage::cold("listen: '[::]:0'\nadmin: '[::]:0'\n", |_| {}).await;
    // Others may reach what asks nobody who is calling.
    assert_eq!(stage.app().open_routes(), ["graph", "dynamics"]);
    let mut addresses = vec![std::net::IpAddr::from([127, 0, 0, 1])];
    // The addresses of IPv6 may all have been taken away.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        addresses.push(std::net::Ipv6Addr::LOCALHOST.into());
    }
    for (port, target) in [
        (stage.address().port(), "/graph/sim/bytes/1"),
        (stage.admin().port(), "/livez"),
    ] {
        for ip in &addresses {
            let mut caller = Caller::connect((*ip, port).into()).await;
            let line = format!("GET {target} HTTP/1.1");
            caller.exchange(&line).await.expect(200);
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_costs_a_slow_reader_none_of_those_before_it() {
    const LENGTH: usize = 60_000;
    let stage = Stage::with("workers: 1\n").await;
    // It takes in a part; the rest waits in the system of the proxy.
    let mut caller = Caller::narrow(stage.address()).await;
    caller
        .ask(&format!("GET /graph/sim/bytes/{LENGTH} HTTP/1.1"))
        .await;
    stage.log.with("/outcome", "complete").await;
    let fault = Fault::Break {
        after: Some(1000),
        ending: Ending::Close,
    };
    stage.simulator.script(Script::on(GRAPH, fault).times(1));
    caller.ask("GET /graph/sim/bytes/5000 HTTP/1.1").await;
    stage.log.with("/outcome", "failed").await;
    // What comes behind a connection that is closed is answered with a reset.
    for _ in 0..3 {
        caller.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
    }
    let answer = caller.answer("GET").await;
    assert!(answer.whole, "{} bytes have come", answer.body.len());
    assert!(!caller.answer("GET").await.whole);
    caller.end().await;
    caller.expect_close().await;
}
