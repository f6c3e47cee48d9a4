//! One line for each request, once it is over.

use tokenferry::simulator::{Ending, Fault, GRAPH, Script};

use crate::harness::stage::Stage;
use crate::harness::until;

#[tokio::test]
async fn a_line_tells_what_a_request_was() {
    let stage = Stage::open().await;
    let lines = "POST /graph/sim/sink?$secret=hunter2 HTTP/1.1\nclient-request-id: abc-1";
    let answer = stage.ask_with(lines, "hello").await.expect(200);
    let line = stage.log.with("/request_id", "abc-1").await;
    assert_eq!(line["route"], "graph");
    assert_eq!(line["method"], "POST");
    assert_eq!(line["path"], "/graph/sim/sink");
    assert_eq!(line["status"], 200);
    assert_eq!(line["request_bytes"], 5);
    assert_eq!(line["response_bytes"], answer.body.len());
    assert_eq!(line["token"], "hit");
    assert_eq!(line["attempts"], 1);
    assert_eq!(line["outcome"], "complete");
    assert_eq!(line["code"], serde_json::Value::Null);
    assert!(line["total_ms"].as_f64() >= line["head_ms"].as_f64());
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
    assert!(!stage.log.text().contains("hunter2"), "no query");
}

#[tokio::test]
async fn the_upstreams_id_of_a_request_is_logged() {
    let stage = Stage::open().await;
    let answer = stage.get("/graph/v1.0/users?$top=1").await.expect(200);
    let id = answer.field("request-id").to_owned();
    assert!(!id.is_empty());
    stage.log.with("/upstream_request_id", &id).await;
    for (headers, id) in [
        // Azure's own name of it.
        (&[("x-ms-request-id", "azure-7")][..], "azure-7"),
        (
            &[("x-ms-request-id", "other"), ("request-id", "graph-7")],
            "graph-7",
        ),
        // What is no id is not shown as one.
        (
            &[("request-id", "no \"id\""), ("x-ms-request-id", "azure-8")],
            "azure-8",
        ),
        // Dataverse's two, which a front end made one field of.
        (
            &[("x-ms-service-request-id", "power-9, power-10")],
            "power-9",
        ),
    ] {
        let fault = Fault::answer(200, headers, "");
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        stage.get("/graph/x").await.expect(200);
        stage.log.with("/upstream_request_id", id).await;
    }
}

#[tokio::test]
async fn a_line_says_how_a_request_ended() {
    let stage = Stage::with("workers: 1\n").await;
    let fault = Fault::Break {
        after: Some(1000),
        ending: Ending::Close,
    };
    stage.simulator.script(Script::on(GRAPH, fault).times(1));
    let answer = stage.get("/graph/sim/bytes/5000").await;
    assert!(!answer.whole);
    let line = stage.log.with("/outcome", "failed").await;
    assert_eq!(
        (line["status"].as_u64(), line["response_bytes"].as_u64()),
        (Some(200), Some(1000))
    );

    let feed = stage.simulator.feed("one");
    let mut caller = stage.caller().await;
    caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    let mut answer = caller.head().await;
    assert!(feed.send("12345").await);
    caller.chunk(&mut answer).await.unwrap();
    drop(caller);
    let line = stage.log.with("/outcome", "dropped").await;
    assert_eq!(
        (line["status"].as_u64(), line["response_bytes"].as_u64()),
        (Some(200), Some(5))
    );
}

#[tokio::test]
async fn a_repeated_request_shows_its_attempts() {
    let stage = Stage::with("workers: 1\n").await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
    let fault = Fault::Break {
        after: None,
        ending: Ending::Close,
    };
    stage
        .simulator
        .script(Script::on(GRAPH, fault).reused().times(1));
    stage
        .ask("GET /graph/sim/bytes/1 HTTP/1.1\nclient-request-id: again")
        .await
        .expect(200);
    let line = stage.log.with("/request_id", "again").await;
    assert_eq!(line["attempts"], 2);
}

#[tokio::test]
async fn a_line_stays_one_line_whatever_is_sent() {
    let stage = Stage::open().await;
    stage.get("/graph/v1.0/%22%0a\"x\"").await;
    stage.get("/nowhere/\"}{\"a\":\"").await;
    let mut caller = stage.caller().await;
    caller
        .send(b"GET /nowhere/\xff\x1b[0m HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    caller.answer("GET").await.expect(400);
    stage
        .ask("GET /last HTTP/1.1\nclient-request-id: last")
        .await
        .expect(404);
    stage.log.with("/request_id", "last").await;
    for line in stage.log.all() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(line.is_object());
    }
}

#[tokio::test]
async fn a_blocked_output_holds_up_no_request_and_what_is_lost_is_counted() {
    let stage = Stage::with("workers: 1\n").await;
    stage.log.hold(true);
    let mut caller = stage.caller().await;
    let lines = format!("GET /nowhere/{} HTTP/1.1", "x".repeat(2000));
    let mut sent = 0.0;
    loop {
        caller.exchange(&lines).await.expect(404);
        sent += 1.0;
        if sent % 100.0 == 0.0 && dropped(&stage).await > 0.0 {
            break;
        }
        assert!(sent < 5000.0, "the queue has a bound");
    }
    caller.exchange(&lines).await.expect(404);
    stage.log.hold(false);
    // The queue is full for a moment more.
    until("what was queued is written", async || {
        let written = stage.log.all().len() as f64;
        written + dropped(&stage).await == sent + 1.0
    })
    .await;
    stage
        .ask("GET /last HTTP/1.1\nclient-request-id: last")
        .await
        .expect(404);
    stage.log.with("/request_id", "last").await;
    let written = stage.log.all().len() as f64;
    assert_eq!(written + dropped(&stage).await, sent + 2.0);
}

async fn dropped(stage: &Stage) -> f64 {
    let name = "tokenferry_access_log_dropped_total";
    stage.number(name, &[]).await
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_log_that_cannot_be_written_is_told_of_and_holds_up_no_request() {
    use std::process::Stdio;

    use rustix::process::Resource;
    use tokenferry::simulator::Simulator;

    use crate::harness::numbers::Numbers;
    use crate::harness::program::Program;

    let full = std::fs::File::options().write(true).open("/dev/full");
    let limited = tempfile::tempfile();
    for out in [full, limited] {
        let simulator = Simulator::start().await.expect("the simulator starts");
        let out = Stdio::from(out.expect("it can be written"));
        let levels = [("TOKENFERRY_LOG", "info")];
        let program = Program::writing_to(out, simulator, "", &levels).await;
        program.limit(Resource::Fsize, 0);
        assert_eq!(program.get("/graph/sim/bytes/1").await.status, 200);
        let told = "standard output cannot be written";
        let is_told = |line: &str| line.contains(told).then_some(());
        program.err.find(told, is_told).await;
        assert_eq!(program.get("/graph/sim/bytes/1").await.status, 200);
        let numbers = Numbers::scrape(program.admin).await;
        assert!(numbers.sum("tokenferry_access_log_dropped_total", &[]) >= 1.0);
    }
}
