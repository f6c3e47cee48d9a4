//! Every stage has a bound and a time limit.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokenferry::simulator::{Fault, GRAPH, Gate, Handshake, Script};

use crate::harness::caller::Caller;
use crate::harness::stage::{AT_ONCE, Stage};
use crate::harness::{soon, until};

#[tokio::test]
async fn requests_beyond_the_bound_are_turned_away_at_once() {
    let stage = Stage::with("limits: {in_flight: 2}\n").await;
    let gate = Gate::new();
    stage
        .simulator
        .script(Script::on(GRAPH, Fault::Hold(gate.clone())));
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut caller = stage.caller().await;
        caller.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
        held.push(caller);
    }
    until("two are in flight", async || {
        let labels = [("route", "graph")];
        let number = stage.number("tokenferry_requests_in_flight", &labels).await;
        number == 2.0
    })
    .await;
    let mut fastest = f64::MAX;
    // Of several, and by the program's own account: a busy machine may hold up any one of them, and
    // its caller even more.
    for number in 0..10 {
        let id = format!("turned-away-{number}");
        let lines = format!("GET /graph/sim/bytes/1 HTTP/1.1\nclient-request-id: {id}");
        let answer = stage.ask(&lines).await;
        assert_eq!(answer.refusal(), (503, "overloaded".to_owned()));
        assert_eq!(answer.field("retry-after"), "1");
        let line = stage.log.with("/request_id", &id).await;
        fastest = fastest.min(line["total_ms"].as_f64().expect("it is told"));
    }
    assert!(fastest < 50.0, "{fastest} ms");
    gate.open();
    for caller in &mut held {
        caller.answer("GET").await.expect(200);
    }
    until("there is room again", async || {
        let answer = stage.get("/graph/sim/bytes/1").await;
        answer.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_peer_has_so_many_connections_and_no_more() {
    let stage = Stage::with("limits: {connections_per_peer: 2}\n").await;
    let mut first = stage.caller().await;
    let mut second = stage.caller().await;
    for caller in [&mut first, &mut second] {
        caller
            .exchange("GET /graph/sim/bytes/1 HTTP/1.1")
            .await
            .expect(200);
    }
    let mut third = stage.caller().await;
    let refused = third.answer("GET").await;
    assert_eq!(refused.refusal(), (503, "overloaded".to_owned()));
    assert!(refused.message().contains("limits.connections_per_peer"));
    assert_eq!(refused.field("retry-after"), "1");
    third.expect_close().await;
    let counted = [("reason", "overloaded")];
    stage
        .becomes("tokenferry_refused_total", &counted, 1.0)
        .await;
    drop(first);
    until("a place is free again", async || {
        let mut caller = stage.caller().await;
        let sent = caller.try_send("GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if sent.await.is_err() {
            return false;
        }
        let text = String::from_utf8_lossy(&caller.some().await).into_owned();
        text.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn accepting_pauses_when_the_connections_are_used_up() {
    let stage = Stage::with("limits: {connections: 1}\n").await;
    let mut first = stage.caller().await;
    first
        .exchange("GET /graph/sim/bytes/1 HTTP/1.1")
        .await
        .expect(200);
    // The system holds it until there is a place.
    let mut second = stage.caller().await;
    second.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
    first
        .exchange("GET /graph/sim/bytes/1 HTTP/1.1")
        .await
        .expect(200);
    assert!(!second.has_come());
    drop(first);
    second.answer("GET").await.expect(200);
}

#[tokio::test]
async fn a_listener_that_nobody_calls_keeps_no_place_from_another() {
    let own = "listen: ['127.0.0.1:0', '127.0.0.1:0']\nlimits: {connections: 1}\n";
    let stage = Stage::with(own).await;
    let addresses = stage.app().data_addresses();
    for address in addresses.iter().flat_map(|one| [one, one]) {
        let mut caller = Caller::connect(*address).await;
        caller
            .exchange("GET /graph/sim/bytes/1 HTTP/1.1")
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_refused_declared_or_not() {
    let stage = Stage::with(
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', max_body_bytes: 1000}]\n",
    )
    .await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 1001")
        .await;
    let answer = caller.answer("POST").await;
    assert_eq!(answer.refusal(), (413, "bodyTooLarge".to_owned()));
    assert_eq!(stage.arrivals(GRAPH), 0);

    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nTransfer-Encoding: chunked")
        .await;
    for _ in 0..3 {
        let chunk = format!("190\r\n{}\r\n", "x".repeat(400));
        // The third is one too many, and the answer may come before it is written.
        let _ = caller.try_send(chunk).await;
    }
    let answer = caller.answer("POST").await;
    assert_eq!(answer.refusal(), (413, "bodyTooLarge".to_owned()));
    // Who is still sending is read on, not reset.
    for _ in 0..20 {
        caller.send(vec![b'x'; 256 * 1024]).await;
    }
    let gone = stage
        .simulator
        .wait_for(|seen| {
            seen.host == GRAPH && seen.body.end != tokenferry::simulator::BodyEnd::Open
        })
        .await
        .unwrap();
    assert_eq!(
        gone.body.end,
        tokenferry::simulator::BodyEnd::Aborted,
        "never ended politely"
    );

    let post = "POST /graph/sim/sink HTTP/1.1";
    stage.ask_with(post, "x".repeat(1000)).await.expect(200);
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_answered_408() {
    let stage = Stage::with("timeouts: {request_head: 150ms}\n").await;
    let begun = Instant::now();
    let mut caller = stage.caller().await;
    caller
        .send("GET /graph/v1.0/users HTTP/1.1\r\nHost: loc")
        .await;
    let answer = caller.answer("GET").await;
    assert_eq!(answer.refusal(), (408, "requestTimeout".to_owned()));
    caller.expect_close().await;
    // Well before the default.
    assert!(begun.elapsed() < AT_ONCE);
}

#[tokio::test]
async fn an_idle_caller_is_let_go_without_a_word() {
    let stage = Stage::with("timeouts: {keep_alive: 150ms}\n").await;
    let mut caller = stage.caller().await;
    caller
        .exchange("GET /graph/sim/bytes/1 HTTP/1.1")
        .await
        .expect(200);
    caller.expect_close().await;
}

#[tokio::test]
async fn a_body_that_pauses_too_long_is_answered_408() {
    let stage = Stage::with("timeouts: {request_body_idle: 150ms}\n").await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 10")
        .await;
    caller.send("hello").await;
    let answer = caller.answer("POST").await;
    assert_eq!(answer.refusal(), (408, "requestTimeout".to_owned()));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_given_up() {
    for http in [1, 2] {
        // A standstill of less than a second counts, and what is answered is answered all the same.
        let own = format!(
            "routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}, timeouts: {{response_head: 1500ms}}}}]\n"
        );
        let stage = Stage::with(&own).await;
        let gate = Gate::new();
        stage
            .simulator
            .script(Script::on(GRAPH, Fault::Hold(gate.clone())).times(2));
        for method in ["GET", "POST"] {
            let lines = format!("{method} /graph/sim/sink HTTP/1.1\nContent-Length: 0");
            let answer = stage.ask(&lines).await;
            assert_eq!(answer.refusal(), (504, "upstreamTimeout".to_owned()));
        }
        let arrived = stage.arrivals(GRAPH);
        assert_eq!(arrived, 2, "neither is sent twice");
        stage.get("/graph/sim/bytes/1").await.expect(200);
    }
}

#[tokio::test]
async fn an_answer_that_pauses_too_long_is_cut() {
    for http in [1, 2] {
        let own = format!(
            "timeouts: {{response_body_idle: 1500ms}}\nroutes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
        );
        let stage = Stage::with(&own).await;
        let feed = stage.simulator.feed("one");
        assert!(
            soon(async {
                let mut caller = stage.caller().await;
                caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
                let mut answer = caller.head().await;
                assert!(feed.send("first").await);
                assert_eq!(caller.chunk(&mut answer).await.unwrap(), b"first");
                assert_eq!(caller.chunk(&mut answer).await, None);
                !answer.whole
            })
            .await
        );
        soon(feed.abandoned()).await;
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_finish_its_handshake_is_given_up() {
    // Of this route: a handshake for its token may take longer.
    let stage = Stage::with(
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', timeouts: {connect: 200ms}}]\n",
    )
    .await;
    stage.simulator.spoil(GRAPH, Handshake::Stall);
    let answer = stage.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (504, "upstreamTimeout".to_owned()));
    let message = answer.message();
    assert!(message.starts_with("the TLS handshake") && message.contains("timeouts.connect"));
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_let_go() {
    let stage = Stage::with("timeouts: {write_stall: 300ms}\n").await;
    let mut caller = Caller::narrow(stage.address()).await;
    caller.ask("GET /graph/sim/bytes/1000000000 HTTP/1.1").await;
    stage
        .simulator
        .wait_for(|seen| seen.answer == tokenferry::simulator::BodyEnd::Aborted)
        .await
        .unwrap();
    let line = stage.log.with("/outcome", "dropped").await;
    assert_eq!(line["status"], 200);
}

#[tokio::test]
async fn a_token_that_does_not_come_is_not_waited_for_for_ever() {
    let gate = Gate::new();
    let stage = Stage::cold("timeouts: {token_wait: 200ms}\n", |simulator| {
        let fault = Fault::Hold(gate.clone());
        simulator.script(Script::on(tokenferry::simulator::LOGIN, fault));
    })
    .await;
    let answer = stage.get("/graph/sim/bytes/1").await;
    assert_eq!(answer.refusal(), (503, "tokenUnavailable".to_owned()));
    assert!(!answer.field("retry-after").is_empty());
    let message = answer.message();
    assert!(message.contains("no token came within 200ms"), "{message}");
    gate.open();
    stage.attempted().await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
}

#[tokio::test]
async fn a_route_may_have_time_limits_of_its_own() {
    let stage = Stage::with(
        "\
timeouts: {response_head: 100ms}
routes:
  - {name: graph, path: /graph, upstream: 'https://GRAPH'}
  - {name: slow, path: /slow, upstream: 'https://GRAPH', timeouts: {response_head: 20s}}
",
    )
    .await;
    let answer = stage.get("/graph/sim/slow?head_ms=20000").await;
    assert_eq!(answer.refusal(), (504, "upstreamTimeout".to_owned()));
    stage.get("/slow/sim/slow?head_ms=600").await.expect(200);
}

#[tokio::test]
async fn the_answer_is_waited_for_from_the_end_of_the_body() {
    let stage = Stage::with("timeouts: {response_head: 1500ms}\n").await;
    let mut caller = stage.caller().await;
    let lines = "POST /graph/sim/sink HTTP/1.1\nTransfer-Encoding: chunked";
    caller.ask(lines).await;
    for _ in 0..10 {
        caller.send("1\r\nx\r\n").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    caller.send("0\r\n\r\n").await;
    caller.answer("POST").await.expect(200);
}

#[tokio::test]
async fn many_who_wait_for_one_connection_wait_no_longer_than_one() {
    let cases = [("1", true), ("2", true), ("auto", true), ("auto", false)];
    let all = cases.map(|(http, offered)| async move {
        // Long enough for the dial that succeeds, on a machine that stands still meanwhile.
        let own = format!(
            "workers: 1\ntimeouts: {{connect: 4s}}\nroutes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
        );
        let stage = Stage::cold(&own, |simulator| simulator.offer_http2(offered)).await;
        stage.attempted().await;
        stage.simulator.spoil(GRAPH, Handshake::Stall);
        let begun = Instant::now();
        let mut callers = Vec::new();
        for _ in 0..20 {
            let mut caller = stage.caller().await;
            caller.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
            callers.push(caller);
        }
        for caller in &mut callers {
            let answer = caller.answer("GET").await;
            assert_eq!(answer.refusal(), (504, "upstreamTimeout".to_owned()));
        }
        let took = begun.elapsed();
        assert!(took < AT_ONCE + AT_ONCE, "{http}: {took:?}");
        stage.simulator.recover(GRAPH);
        for caller in &mut callers {
            caller.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
        }
        for caller in &mut callers {
            caller.answer("GET").await.expect(200);
        }
    });
    join_all(all).await;
}
