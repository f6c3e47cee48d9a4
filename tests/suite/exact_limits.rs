//! Bounds that are numbers of things: exactly so many pass, and not one more.

use tokenferry::simulator::{Fault, GRAPH, Gate, Script};

use crate::harness::caller2::{empty, read, request};
use crate::harness::soon;
use crate::harness::stage::Stage;
use crate::hostile::frame;

/// RFC 9113 section 7.
const REFUSED_STREAM: u32 = 7;

#[tokio::test]
async fn so_many_header_lines_as_may_come_do() {
    let stage = Stage::with("limits: {headers: 5}\n").await;
    // `Host` is one of them.
    let lines = "GET /graph/sim/bytes/1 HTTP/1.1\na: 1\nb: 2\nb: 3\nc: 4";
    stage.ask(lines).await.expect(200);
    let answer = stage.ask(&format!("{lines}\nd: 5")).await;
    assert_eq!(answer.refusal(), (431, "headersTooLarge".to_owned()));

    let caller = stage.caller2().await;
    let fields = [
        ("a", "1"),
        ("b", "2"),
        ("b", "3"),
        ("c", "4"),
        ("d", "5"),
        ("e", "6"),
    ];
    let ask = async |most: usize| {
        let sent = request("GET", "/graph/sim/bytes/1", &fields[..most], empty());
        read(soon(caller.send(sent)).await.unwrap()).await
    };
    ask(5).await.expect(200);
    assert_eq!(ask(6).await.refusal(), (431, "headersTooLarge".to_owned()));
}

#[tokio::test]
async fn more_header_lines_than_usual_may_come_where_that_is_said() {
    let stage = Stage::with("limits: {headers: 150}\n").await;
    // And `Host`.
    let line = "GET /graph/sim/bytes/1 HTTP/1.1".to_owned();
    let lines = (0..149).fold(line, |lines, n| format!("{lines}\na{n}: 1"));
    stage.ask(&lines).await.expect(200);
    let answer = stage.ask(&format!("{lines}\nb: 1")).await;
    assert_eq!(answer.refusal(), (431, "headersTooLarge".to_owned()));
}

#[tokio::test]
async fn so_many_bytes_of_a_head_as_may_come_do() {
    let line = "GET /graph/sim/bytes/1 HTTP/1.1";
    // `Host: localhost` and `a: 1`, each with its line end.
    let block = 17 + 6;
    let own = format!(
        "limits: {{request_line: {}, header_block: {block}}}\n",
        line.len()
    );
    let stage = Stage::with(&own).await;
    stage.ask(&format!("{line}\na: 1")).await.expect(200);
    let answer = stage.ask(&format!("{line}\na: 12")).await;
    assert_eq!(answer.refusal(), (431, "headersTooLarge".to_owned()));
    let answer = stage.get("/graph/sim/bytes/12").await;
    assert_eq!(answer.refusal(), (414, "uriTooLong".to_owned()));
}

#[tokio::test]
async fn a_stream_beyond_the_bound_is_refused_and_the_others_are_served() {
    let stage = Stage::with("limits: {streams: 2}\n").await;
    let gate = Gate::new();
    let hold = Fault::Hold(gate.clone());
    stage.simulator.script(Script::on(GRAPH, hold));
    let mut speaker = frame::Speaker::connect(stage.address(), &[]).await;
    for stream in [1, 3, 5] {
        let list = frame::good("/graph/sim/bytes/1");
        speaker.send(&frame::request(stream, &list)).await;
    }
    let refused = speaker.until(|outcome| !outcome.resets.is_empty()).await;
    assert_eq!(refused.resets, [(5, REFUSED_STREAM)]);
    assert!(refused.status.is_empty(), "the others wait");
    gate.open();
    let served = speaker.until(|outcome| outcome.ended.len() == 2).await;
    assert_eq!((served.data.len(), served.goaway), (2, None));
}
