//! Streams of a caller's HTTP/2 that nobody reads, and many that are given up at once.

use crate::harness::stage::Stage;
use crate::harness::{soon, until};
use crate::hostile::frame::{Speaker, frame, good, request};

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
    until("its place is free", || async {
        (stage.get("/graph/sim/bytes/1").await.status == 200).then_some(())
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
