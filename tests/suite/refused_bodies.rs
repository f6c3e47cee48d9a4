//! What becomes of a request with a body when its token is refused: a small body is sent again, a
//! large one is gone.

use std::time::Duration;

use futures_util::future::join_all;
use tokenferry::simulator::{Fault, GRAPH, Gate, Script};

use crate::challenges::{is_refused, post, refused};
use crate::harness::caller::Caller;
use crate::harness::caller2::{request, unsized_body};
use crate::harness::stage::Stage;
use crate::harness::until;
use crate::references::{keep_all, large};

#[tokio::test]
async fn a_small_body_is_sent_again_as_it_was() {
    for (kind, body) in [
        ("text/plain", b"hello".to_vec()),
        ("application/json", br#"{"a": 1}"#.to_vec()),
        ("application/octet-stream", vec![b'x'; 64 * 1024]),
    ] {
        let stage = Stage::open().await;
        stage.simulator.revoke_tokens(None);
        post(&stage, "/graph/sim/sink", kind, &body)
            .await
            .expect(200);
        let sent = stage.sent_to("/sim/sink");
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[1].body.bytes.as_deref().unwrap(), body);
        assert_eq!(
            sent[1].header_values("content-length"),
            [body.len().to_string()]
        );
        assert_ne!(
            sent[0].header("authorization"),
            sent[1].header("authorization")
        );
    }
}

/// A POST whose token is refused before its second half has come, which is waited for so long.
async fn refused_early(http: u8, chunked: bool, idle: &str) -> (Stage, Caller) {
    let own = format!(
        "timeouts: {{request_body_idle: {idle}}}\n\
         routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
    );
    let stage = Stage::with(&own).await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
    let calls = stage.simulator.token_calls();
    stage
        .simulator
        .script(Script::on(GRAPH, refused("early")).early().times(1));
    let mut caller = stage.caller().await;
    let (framing, first) = match chunked {
        true => ("Transfer-Encoding: chunked", "5\r\nfirst\r\n"),
        false => ("Content-Length: 10", "first"),
    };
    caller
        .ask(&format!("POST /graph/sim/sink HTTP/1.1\n{framing}"))
        .await;
    caller.send(first).await;
    until("the token is renewed", async || {
        stage.simulator.token_calls() > calls
    })
    .await;
    (stage, caller)
}

#[tokio::test]
async fn an_upstream_that_refuses_a_token_before_all_of_a_small_body_came_is_asked_again() {
    for (http, chunked) in [(1, false), (2, false), (1, true), (2, true)] {
        let (stage, mut caller) = refused_early(http, chunked, "30s").await;
        let later = match chunked {
            true => "5\r\nlater\r\n0\r\n\r\n",
            false => "later",
        };
        caller.send(later).await;
        caller.answer("POST").await.expect(200);
        let sent = stage.sent_to("/sim/sink");
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[1].text(), "firstlater");
        // Nothing of it is left on the connection.
        caller
            .exchange("GET /graph/sim/bytes/1 HTTP/1.1")
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_caller_who_stops_in_a_body_whose_token_was_refused_is_not_waited_for() {
    let all = [(1, false), (2, false), (1, true), (2, true)].map(|(http, chunked)| async move {
        // A standstill of less than a second counts, and the token is refused in time all the same.
        let (stage, mut caller) = refused_early(http, chunked, "1500ms").await;
        let answer = caller.answer("POST").await;
        assert_eq!(answer.refusal(), (408, "requestTimeout".to_owned()));
        assert_eq!(stage.arrivals("/sim/sink"), 1);
    });
    join_all(all).await;
}

#[tokio::test]
async fn a_body_that_turns_out_to_be_large_is_not_waited_for() {
    for http in [1, 2] {
        let (stage, mut caller) = refused_early(http, true, "30s").await;
        let large = format!("{:x}\r\n{}\r\n", 65_536, "x".repeat(65_536));
        // It may have closed already.
        let _ = caller.try_send(large).await;
        is_refused(&caller.answer("POST").await, "send the request again");
        assert_eq!(stage.arrivals("/sim/sink"), 1);
    }
}

#[tokio::test]
async fn a_small_body_of_unknown_length_is_sent_again_with_a_new_token() {
    for (kind, body) in [
        ("application/json", br#"{"a":"b"}"#.to_vec()),
        ("application/octet-stream", vec![b'x'; 64 * 1024]),
    ] {
        let stage = Stage::open().await;
        stage.get("/graph/sim/bytes/1").await.expect(200);
        stage.simulator.revoke_tokens(None);
        let mut caller = stage.caller().await;
        caller
            .ask(&format!(
                "POST /graph/sim/sink HTTP/1.1\nContent-Type: {kind}\nTransfer-Encoding: chunked"
            ))
            .await;
        for piece in body.chunks(30_000) {
            caller.send(format!("{:x}\r\n", piece.len())).await;
            caller.send(piece).await;
            caller.send("\r\n").await;
        }
        caller.send("0\r\n\r\n").await;
        caller.answer("POST").await.expect(200);
        assert_eq!(stage.arrivals("/sim/sink"), 2, "{kind}");
        let stage = Stage::open().await;
        stage.simulator.revoke_tokens(None);
        let fields = [("content-type", kind)];
        let streamed = request(
            "POST",
            "/graph/sim/sink",
            &fields,
            unsized_body(body.clone()),
        );
        let answer = stage.caller2().await.send(streamed).await.unwrap();
        assert_eq!(answer.status(), 200, "{kind}");
        let sent = stage.sent_to("/sim/sink");
        assert_eq!(sent.len(), 2, "{kind}");
        for sent in sent {
            assert_eq!(sent.body.bytes.as_deref().unwrap(), body);
        }
    }
}

#[tokio::test]
async fn a_streamed_body_is_never_sent_twice_and_the_next_request_has_the_new_token() {
    for chunked in [true, false] {
        let stage = Stage::open().await;
        stage.simulator.revoke_tokens(None);
        let mut caller = stage.caller().await;
        if chunked {
            caller
                .ask("POST /graph/sim/sink HTTP/1.1\nTransfer-Encoding: chunked")
                .await;
            let body = "x".repeat(65_537);
            caller.send(format!("10001\r\n{body}\r\n0\r\n\r\n")).await;
        } else {
            caller
                .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 65537")
                .await;
            caller.send(vec![b'x'; 65_537]).await;
        }
        let answer = caller.answer("POST").await;
        is_refused(&answer, "send the request again");
        assert_eq!(answer.all("www-authenticate").len(), 0);
        assert_eq!(stage.arrivals("/sim/sink"), 1);
        stage.get("/graph/sim/bytes/1").await.expect(200);
    }
}

#[tokio::test]
async fn large_bodies_of_unknown_length_take_no_room_from_small_ones() {
    let stage = Stage::with("workers: 1\n").await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
    let gate = Gate::new();
    let script = Script::on(GRAPH, Fault::Hold(gate.clone()))
        .under("/sim/sink")
        .times(300);
    stage.simulator.script(script);
    let mut uploads = Vec::new();
    for _ in 0..300 {
        let mut caller = stage.caller().await;
        caller
            .ask("POST /graph/sim/sink HTTP/1.1\nTransfer-Encoding: chunked")
            .await;
        let body = "x".repeat(65_537);
        caller.send(format!("10001\r\n{body}\r\n0\r\n\r\n")).await;
        uploads.push(caller);
    }
    stage.arrive(300, "/sim/sink").await;
    stage.simulator.revoke_tokens(None);
    post(&stage, "/graph/sim/mirror", "text/plain", b"small")
        .await
        .expect(200);
    gate.open();
    drop(uploads);
}

#[tokio::test]
async fn beyond_16_mib_of_kept_bodies_others_stream() {
    let stage = Stage::with("workers: 1\n").await;
    let (gate, callers) = keep_all(&stage).await;
    stage.simulator.revoke_tokens(None);
    let answer = large(&stage).await.answer("POST").await;
    is_refused(&answer, "send the request again");
    gate.open();
    for mut caller in callers {
        caller.answer("POST").await.expect(200);
    }
}

#[tokio::test]
async fn a_body_is_kept_no_longer_once_its_answer_has_begun() {
    let stage = Stage::with("workers: 1\n").await;
    let slow = Fault::Drip {
        size: 1,
        every: Duration::from_secs(60),
    };
    stage.simulator.script(Script::on(GRAPH, slow).times(256));
    let mut callers = Vec::new();
    for _ in 0..256 {
        callers.push(large(&stage).await);
    }
    for caller in &mut callers {
        caller.some().await;
    }
    stage.simulator.revoke_tokens(None);
    large(&stage).await.answer("POST").await.expect(200);
}
