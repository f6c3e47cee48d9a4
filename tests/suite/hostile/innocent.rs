//! What looks like an attack over HTTP/2 and is none: clients in use do it, and go on.

use std::time::Duration;

use super::Fort;
use super::frame::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Outcome, RST_STREAM, Speaker, fields, frame, good,
    request,
};
use super::http2::status;

#[tokio::test]
async fn a_caller_that_gives_up_all_its_requests_at_once_keeps_its_connection() {
    let fort = Fort::build("").await;
    let (slow, quick) = (
        fields(&good("/graph/sim/slow?head_ms=300")),
        fields(&good("/graph/sim/bytes/1")),
    );
    let cancel = [0, 0, 0, 8];
    let mut frames: Vec<u8> = (0..100)
        .flat_map(|index| {
            let stream = 2 * index + 1;
            [
                frame(HEADERS, 5, stream, &slow),
                frame(RST_STREAM, 0, stream, &cancel),
            ]
        })
        .flatten()
        .collect();
    frames.extend(frame(HEADERS, 5, 201, &quick));
    let mut speaker = Speaker::connect(fort.program.address, &[]).await;
    speaker.send(&frames).await;
    let over = |outcome: &Outcome| outcome.goaway.is_some() || outcome.ended.contains(&201);
    let outcome = speaker.until(over).await;
    assert_eq!(outcome.goaway, None, "{outcome:?}");
    assert!(outcome.status.contains(&(201, 200)), "{outcome:?}");
}

#[tokio::test]
async fn what_is_still_sent_of_an_answered_upload_is_taken_for_a_while() {
    let fort = Fort::build("").await;
    let mut list = good("/nowhere");
    list[0].1 = "POST";
    let head = frame(HEADERS, END_HEADERS, 1, &fields(&list));
    let piece = frame(DATA, 0, 1, &[0; 16 * 1024]);
    let answered = |outcome: &Outcome| outcome.ended.contains(&1);
    let mut patient = Speaker::connect(fort.program.address, &[]).await;
    patient.send(&head).await;
    let outcome = patient.until(answered).await;
    assert_eq!(status(&outcome), 404, "{outcome:?}");
    // Three times the window of a stream: more than goes up without room being made.
    for sent in 1..=12 {
        let fits = |outcome: &Outcome| outcome.room(1) >= sent * 16 * 1024;
        patient
            .until(|outcome| fits(outcome) || !outcome.resets.is_empty())
            .await;
        patient.send(&piece).await;
    }
    patient.send(&frame(DATA, END_STREAM, 1, b"x")).await;
    patient.send(&request(3, &good("/graph/sim/bytes/1"))).await;
    let outcome = patient.until(|outcome| outcome.ended.contains(&3)).await;
    assert_eq!(outcome.resets, [], "{outcome:?}");
    // Not for ever: then the stream is reset without an error, and the connection stays.
    let mut endless = Speaker::connect(fort.program.address, &[]).await;
    endless.send(&head).await;
    let outcome = endless.until(answered).await;
    assert_eq!(status(&outcome), 404, "{outcome:?}");
    let outcome = endless.until(|outcome| !outcome.resets.is_empty()).await;
    assert_eq!(outcome.resets, [(1, 0)], "{outcome:?}");
    endless.send(&request(3, &good("/graph/sim/bytes/1"))).await;
    let outcome = endless.until(|outcome| outcome.ended.contains(&3)).await;
    assert_eq!(outcome.goaway, None, "{outcome:?}");
}

#[tokio::test]
async fn a_caller_that_does_not_look_at_its_socket_for_half_a_minute_keeps_it() {
    let fort = Fort::build("").await;
    let mut speaker = Speaker::connect(fort.program.address, &[]).await;
    let ended = |stream| move |outcome: &Outcome| outcome.ended.contains(&stream);
    speaker.send(&request(1, &good("/graph/sim/bytes/1"))).await;
    speaker.until(ended(1)).await;
    // A pool that rests and a reader that computes answer no PING meanwhile; one comes after 20 s.
    tokio::time::sleep(Duration::from_secs(32)).await;
    speaker.send(&request(3, &good("/graph/sim/bytes/1"))).await;
    let outcome = speaker.until(ended(3)).await;
    assert!(outcome.status.contains(&(3, 200)), "{outcome:?}");
}
