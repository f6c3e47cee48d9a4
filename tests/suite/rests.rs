//! Callers that keep a connection and ask for nothing for a while: what the program keeps for such a
//! connection is next to nothing, and nobody notices.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::harness::caller::Caller;
use crate::harness::program::Program;
use crate::harness::stage::{AT_ONCE, Stage};
use crate::harness::{soon, until};
use crate::tls::{Authority, secure_stage, shake};

/// Longer than the second after which a connection rests.
const PAUSE: Duration = Duration::from_millis(1500);
const HEAD: &str = "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Callers of one address, as many as may come from there without a limit of their own.
const CALLERS: usize = 200;
/// The KiB that one of them may hold.
const EACH: u64 = 10;

async fn rested(stage: &Stage) -> Caller {
    let mut caller = stage.caller().await;
    caller.exchange("GET /none HTTP/1.1").await.expect(404);
    tokio::time::sleep(PAUSE).await;
    caller
}

/// Asks, and reads to the end of one of our own answers.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) -> String {
    let written = soon(stream.write_all(text.as_bytes())).await;
    written.expect("the connection is there");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}}") {
        let read = soon(stream.read_buf(&mut answer)).await;
        assert!(read.is_ok_and(|read| read > 0), "the answer ends early");
    }
    String::from_utf8(answer).expect("our own answers are text")
}

#[tokio::test]
async fn a_caller_that_rests_is_answered_however_its_next_request_comes() {
    let stage = Stage::open().await;
    let upload =
        "POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    let callers = [
        vec![HEAD.to_owned()],
        HEAD.chars().map(String::from).collect(),
        vec![format!("{HEAD}{HEAD}"), HEAD.to_owned()],
        vec![upload.to_owned() + upload],
        // More than is read at once to see that there is something.
        vec![HEAD.replace("\r\n\r\n", &format!("\r\nA: {}\r\n\r\n", "a".repeat(9000)))],
    ];
    let served = callers.map(async |pieces| {
        let mut caller = rested(&stage).await;
        for _ in 0..2 {
            for piece in &pieces {
                caller.send(piece).await;
            }
            let all = pieces.concat();
            for _ in 0..all.matches("GET ").count() {
                caller.answer("GET").await.expect(404);
            }
            for _ in 0..all.matches("POST ").count() {
                let answer = caller.answer("POST").await.expect(200);
                assert_eq!(answer.json()["length"], 5);
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    join_all(served).await;
}

#[tokio::test]
async fn a_caller_that_rests_over_tls_is_answered_and_told_of_the_end() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let stage = secure_stage(folder.path(), &authority, "").await;
    let mut stream = shake(stage.address(), &authority.pem, &["http/1.1"], None)
        .await
        .unwrap();
    // The second is more than is read at once to see that there is something: TLS has the rest.
    let long = format!("\r\nA: {}\r\n\r\n", "a".repeat(9000));
    for text in [HEAD, &HEAD.replace("\r\n\r\n", &long), HEAD] {
        let answer = ask(&mut stream, text).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        tokio::time::sleep(PAUSE).await;
    }
    let cut = stage.app().drain(Duration::ZERO, AT_ONCE).await;
    assert_eq!(cut, 0, "nobody is cut off");
    // Without close_notify this is an error.
    assert_eq!(soon(stream.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_caller_that_rests_is_refused_has_the_usual_form() {
    let stage = Stage::with("timeouts: {request_head: 300ms}\n").await;
    let cases = [
        (
            "GET /graph/x#y HTTP/1.1\r\nHost: localhost\r\n\r\n",
            400,
            "badRequest",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a b\r\nbad\r\n\r\n",
            400,
            "badRequest",
        ),
        ("GET /none HTTP/1.1\r\nHost: loc", 408, "requestTimeout"),
    ];
    let refused = cases.map(async |(text, status, code)| {
        let mut caller = rested(&stage).await;
        caller.send(text).await;
        let answer = caller.answer("GET").await;
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{text}");
        caller.expect_close().await;
    });
    join_all(refused).await;
}

#[tokio::test]
async fn a_head_that_begins_behind_a_request_has_no_longer_than_one_that_begins_alone() {
    let stage = Stage::with("timeouts: {request_head: 300ms}\n").await;
    let mut caller = stage.caller().await;
    let begun = Instant::now();
    caller.send(format!("{HEAD}GET /none HTTP/1.1\r\nHo")).await;
    caller.answer("GET").await.expect(404);
    let answer = caller.answer("GET").await;
    assert_eq!(answer.refusal(), (408, "requestTimeout".to_owned()));
    assert!(begun.elapsed() < AT_ONCE);
    let mut caller = stage.caller().await;
    caller.send(format!("{HEAD}GET /none HTTP/1.1\r\nHo")).await;
    caller.answer("GET").await.expect(404);
    caller.send("st: localhost\r\n\r\n").await;
    caller.answer("GET").await.expect(404);
}

#[tokio::test]
async fn an_empty_line_behind_a_request_begins_no_other() {
    let stage = Stage::with("timeouts: {keep_alive: 2s, request_head: 300ms}\n").await;
    let mut caller = stage.caller().await;
    let upload = "POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n";
    let begun = Instant::now();
    // RFC 9112, section 2.2: some old clients do.
    caller.send(format!("{upload}hello\r\n\n")).await;
    caller.answer("POST").await.expect(200);
    // In a packet of its own, and when hyper is gone.
    caller.send("\r\n").await;
    tokio::time::sleep(PAUSE).await;
    caller.send("\r\n").await;
    let more = caller.rest().await;
    assert_eq!(String::from_utf8_lossy(&more), "");
    let rested = begun.elapsed();
    assert!(rested > Duration::from_millis(1900), "{rested:?}");
}

#[tokio::test]
async fn an_empty_line_of_a_caller_that_rests_costs_it_no_connection() {
    let stage = Stage::open().await;
    let mut caller = rested(&stage).await;
    caller.send("\r\n").await;
    caller.send("\n").await;
    for _ in 0..2 {
        tokio::time::sleep(PAUSE).await;
        let answer = caller.exchange("GET /none HTTP/1.1").await.expect(404);
        assert_eq!(answer.all("connection"), [""; 0]);
    }
}

#[tokio::test]
async fn a_caller_that_rests_too_long_over_tls_is_told_of_the_end() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let own = "timeouts: {first_byte: 300ms, keep_alive: 1500ms}\n";
    let stage = secure_stage(folder.path(), &authority, own).await;
    for asks in [false, true] {
        let mut stream = shake(stage.address(), &authority.pem, &["http/1.1"], None)
            .await
            .unwrap();
        if asks {
            ask(&mut stream, HEAD).await;
        }
        // Without close_notify this is an error.
        assert_eq!(soon(stream.read(&mut [0])).await.unwrap(), 0, "{asks}");
    }
}

#[tokio::test]
async fn a_slow_caller_that_asked_for_an_upgrade_gets_all_of_its_last_answer() {
    let stage = Stage::open().await;
    // How many requests have been refused once no more are, because an answer waits to be written.
    let settled = async || {
        let last = Cell::new((0.0, 0));
        until("an answer waits", async || {
            let labels = [("reason", "noRoute")];
            let now = stage.number("tokenferry_refused_total", &labels).await;
            let (before, times) = last.get();
            last.set((
                now,
                if now > 0.0 && now == before {
                    times + 1
                } else {
                    0
                },
            ));
            times == 20
        })
        .await;
        last.get().0 as usize
    };
    let mut caller = Caller::narrow(stage.address()).await;
    caller.send(HEAD.repeat(2000)).await;
    let before = settled().await;
    drop(caller);
    let mut caller = Caller::narrow(stage.address()).await;
    // Some of its body is still to come when it is refused.
    let last = "POST /none HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 9\r\n\r\nabc";
    caller.send(HEAD.repeat(before - 1) + last).await;
    settled().await;
    for _ in 1..before {
        caller.answer("GET").await.expect(404);
    }
    caller.answer("POST").await.expect(404);
    caller.expect_close().await;
}

#[tokio::test]
async fn a_caller_that_rests_is_let_go_after_as_long_as_is_said() {
    let stage = Stage::with("timeouts: {keep_alive: 2s}\n").await;
    let mut caller = stage.caller().await;
    caller.exchange("GET /none HTTP/1.1").await.expect(404);
    let answered = Instant::now();
    caller.expect_close().await;
    let rested = answered.elapsed();
    assert!(rested > Duration::from_millis(1900), "{rested:?}");
    assert!(rested < Duration::from_secs(2) + AT_ONCE, "{rested:?}");
}

#[tokio::test]
async fn a_caller_that_rests_may_leave_and_holds_up_no_end() {
    let mut program = Program::start("workers: 1\n", "").await;
    let mut callers = Vec::new();
    for _ in 0..4 {
        let mut caller = program.caller().await;
        caller.exchange("GET /none HTTP/1.1").await.expect(404);
        callers.push(caller);
    }
    tokio::time::sleep(PAUSE).await;
    let mut leaves = callers.pop().expect("four");
    leaves.end().await;
    leaves.expect_close().await;
    // What has come by the end is answered.
    let mut late = callers.pop().expect("three");
    program.signal(Signal::STOP);
    late.ask("GET /none HTTP/1.1").await;
    program.signal(Signal::INT);
    program.signal(Signal::CONT);
    late.answer("GET").await.expect(404);
    let begun = Instant::now();
    for mut caller in callers {
        caller.expect_close().await;
    }
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(begun.elapsed() < AT_ONCE);
}

#[tokio::test]
async fn a_caller_that_rests_holds_little() {
    let program = Program::start("workers: 1\n", "").await;
    // What is needed once is there.
    program.get("/graph/sim/bytes/1000").await.expect(200);
    let before = program.resident();
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = program.caller().await;
        let get = "GET /graph/sim/bytes/1000 HTTP/1.1";
        caller.exchange(get).await.expect(200);
        callers.push(caller);
    }
    let held = || program.resident().saturating_sub(before) / CALLERS as u64;
    until("memory is given back", async || held() < EACH).await;
    for caller in &mut callers {
        let get = "GET /graph/sim/bytes/1000 HTTP/1.1";
        caller.exchange(get).await.expect(200);
    }
}
