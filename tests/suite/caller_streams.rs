//! Streams of a caller's HTTP/2 that nobody reads, that end in a frame of their own, and many that
//! are given up at once.

use crate::harness::caller2::{self, read};
use crate::harness::stage::Stage;
use crate::harness::{soon, until};
use crate::hostile::frame::{Speaker, frame, good, request};
use crate::http2::piecewise;

/// RFC 9113 section 6.4.
const RST_STREAM: u8 = 3;
/// SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

#[tokio::test]
async fn a_stream_that_nobody_reads_keeps_its_place_until_its_connection_is_closed_for_it() {
    // The time between two requests is long: it is not that which ends the connection.
    let stage = Stage::with("limits: {in_flight: 1}\ntimeouts: {write_stall: 3s}\n").await;
    let mut shut = Speaker::connect(stage.address(), &[(WINDOW, 1)]).await;
    let list = good("/graph/sim/bytes/20000");
    shut.send(&request(1, &list)).await;
    stage.log.with("/outcome", "dropped").await;
    let answer = stage.get("/graph/sim/bytes/1").await;
    assert_eq!(answer.refusal(), (503, "overloaded".to_owned()));
    let outcome = shut.until(|outcome| outcome.closed).await;
    assert_eq!(outcome.goaway, Some(0));
    until("its place is free", async || {
        stage.get("/graph/sim/bytes/1").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_caller_may_give_up_all_that_it_has_open_at_once() {
    let stage = Stage::with("workers: 1\n").await;
    let mut speaker = Speaker::connect(stage.address(), &[]).await;
    let list = good("/graph/sim/bytes/1");
    let streams = (0..90).map(|number| 2 * number + 1);
    let asked = streams.clone().flat_map(|stream| request(stream, &list));
    let given_up = streams.flat_map(|stream| frame(RST_STREAM, 0, stream, &CANCEL));
    let all: Vec<u8> = asked.chain(given_up).collect();
    speaker.send(&all).await;
    speaker.send(&request(181, &list)).await;
    let served = soon(speaker.until(|outcome| !outcome.ended.is_empty())).await;
    assert_eq!((served.ended, served.goaway), (vec![181], None));
}

#[tokio::test]
async fn a_request_that_ends_in_a_frame_of_its_own_goes_up_without_a_body() {
    let stage = Stage::open().await;
    let labels = [("route", "graph")];
    for (method, path) in [
        ("GET", "bytes/1"),
        ("HEAD", "bytes/1"),
        ("OPTIONS", "bytes/1"),
        ("DELETE", "sink"),
    ] {
        stage.simulator.clear();
        let caller = stage.caller2().await;
        let (pieces, body) = piecewise();
        let sent = caller2::request(method, &format!("/graph/sim/{path}"), &[], body);
        let sent = tokio::spawn(async move { caller.send(sent).await });
        // The end comes long after the head.
        stage
            .becomes("tokenferry_requests_in_flight", &labels, 1.0)
            .await;
        drop(pieces);
        let answer = soon(sent).await.unwrap().expect("an answer");
        read(answer).await.expect(200);
        for name in ["transfer-encoding", "content-length"] {
            assert_eq!(stage.last().header(name), None, "{method}");
        }
    }
    let lines = "GET /graph/sim/bytes/1 HTTP/1.1\nTransfer-Encoding: chunked";
    let mut older = stage.caller().await;
    older.ask(lines).await;
    older.send("0\r\n\r\n").await;
    older.answer("GET").await.expect(200);
    assert_eq!(stage.last().header("transfer-encoding"), None);
}

#[tokio::test]
async fn a_body_that_nobody_expects_goes_up_whole_as_often_as_it_is_sent() {
    let stage = Stage::open().await;
    let caller = stage.caller2().await;
    for revoked in [false, true] {
        if revoked {
            stage.simulator.revoke_tokens(None);
        }
        let (pieces, body) = piecewise();
        let sent = caller2::request("DELETE", "/graph/sim/sink", &[], body);
        let (answer, ()) = tokio::join!(soon(caller.send(sent)), async {
            for piece in ["", "ab", "", "cde"] {
                soon(pieces.send(Ok(piece))).await.expect("it is taken");
            }
            drop(pieces);
        });
        let answer = read(answer.expect("an answer")).await.expect(200);
        assert_eq!(answer.json()["length"], 5);
    }
}
