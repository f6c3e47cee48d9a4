//! How the process ends.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::harness::lines::Lines;
use crate::harness::program::Program;
use crate::harness::stage::AT_ONCE;
use crate::harness::{soon, until};
use crate::hostile::frame::{PING, Speaker, WINDOW_UPDATE, frame, good, request};
use crate::tls::{Authority, get, shake_on, write_identity};

#[tokio::test]
async fn sigterm_lets_what_is_in_flight_finish() {
    let mut program = Program::start("timeouts: {drain_delay: 0s}\n", "").await;
    let feed = program.simulator.feed("one");
    let mut caller = program.caller().await;
    caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    let mut answer = caller.head().await;
    program.signal(Signal::TERM);
    program.err.says("draining").await;
    until("readiness ends", async || {
        program.get_admin("/readyz").await.status == 503
    })
    .await;
    let page = program.get_admin("/").await.expect(200).text();
    assert!(page.contains(">Draining<"), "{page}");
    assert!(feed.send("late").await);
    assert_eq!(caller.chunk(&mut answer).await.unwrap(), b"late");
    assert!(program.runs());
    drop(feed);
    assert_eq!(caller.chunk(&mut answer).await, None);
    assert!(answer.whole);
    caller.expect_close().await;
    assert_eq!(program.ended().await.code(), Some(0));
    program.out.with("/outcome", "complete").await;
}

#[tokio::test]
async fn during_the_delay_connections_are_still_accepted_and_told_to_close() {
    let mut program = Program::start("timeouts: {drain_delay: 5s}\n", "").await;
    let mut idle = program.caller().await;
    idle.exchange("GET /graph/sim/bytes/1 HTTP/1.1")
        .await
        .expect(200);
    program.signal(Signal::TERM);
    until("readiness ends", async || {
        program.get_admin("/readyz").await.status == 503
    })
    .await;
    let answer = program.get("/graph/sim/bytes/1").await.expect(200);
    assert_eq!(answer.field("connection"), "close");
    idle.expect_close().await;
    assert_eq!(program.ended().await.code(), Some(0));
}

/// GOAWAY before the first request would have made the caller connect for nothing.
#[tokio::test]
async fn an_http2_caller_who_comes_during_the_delay_is_told_at_its_end() {
    let mut program = Program::start("timeouts: {drain_delay: 5s}\n", "").await;
    program.signal(Signal::TERM);
    until("readiness ends", async || {
        program.get_admin("/readyz").await.status == 503
    })
    .await;
    let mut speaker = Speaker::connect(program.address, &[]).await;
    speaker.send(&frame(PING, 0, 0, b"told yet")).await;
    // What was sent before it has come before it.
    let pong = frame(PING, 1, 0, b"told yet");
    let acknowledged = |all: &[u8]| all.windows(pong.len()).any(|piece| piece == pong);
    let outcome = speaker.until(|outcome| acknowledged(&outcome.bytes)).await;
    assert_eq!((outcome.goaway, outcome.closed), (None, false));
    let asked = request(1, &good("/graph/sim/bytes/1"));
    speaker.send(&asked).await;
    let answered = speaker.until(|outcome| outcome.ended.contains(&1)).await;
    assert_eq!((answered.status, answered.goaway), (vec![(1, 200)], None));
    let told = speaker.until(|outcome| outcome.goaway.is_some()).await;
    assert_eq!(told.goaway, Some(0));
    drop(speaker);
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sigint_skips_the_delay() {
    let mut program = Program::start("timeouts: {drain_delay: 60s}\n", "").await;
    let mut idle = program.caller().await;
    idle.exchange("GET /graph/sim/bytes/1 HTTP/1.1")
        .await
        .expect(200);
    let begun = Instant::now();
    program.signal(Signal::INT);
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
    idle.expect_close().await;
}

#[tokio::test]
async fn a_request_that_has_come_is_served_before_its_connection_is_closed() {
    let mut program = Program::start("workers: 1\n", "").await;
    let mut callers = Vec::new();
    for _ in 0..300 {
        let mut caller = program.caller().await;
        caller.exchange("GET /none HTTP/1.1").await.expect(404);
        callers.push(caller);
    }
    // So that all of them have come when the end begins.
    program.signal(Signal::STOP);
    for caller in &mut callers {
        caller.ask("GET /none HTTP/1.1").await;
    }
    program.signal(Signal::INT);
    program.signal(Signal::CONT);
    for caller in &mut callers {
        caller.answer("GET").await.expect(404);
    }
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn who_has_connected_by_the_end_is_served() {
    let mut program = Program::start("workers: 1\n", "").await;
    // The system takes connections on behalf of a process that stands still.
    program.signal(Signal::STOP);
    let mut callers = Vec::new();
    for _ in 0..300 {
        let mut caller = program.caller().await;
        caller.ask("GET /none HTTP/1.1").await;
        callers.push(caller);
    }
    program.signal(Signal::INT);
    program.signal(Signal::CONT);
    for caller in &mut callers {
        caller.answer("GET").await.expect(404);
    }
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn who_has_begun_to_shake_hands_by_the_end_is_served() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    write_identity(folder.path(), &authority.identity("localhost"));
    let shown = folder.path().display();
    let own = format!(
        "workers: 1\ntimeouts: {{first_byte: 60s, drain: 60s}}\ntls: {{certificate_file: '{shown}/tls.pem', key_file: '{shown}/tls.key'}}\n"
    );
    let mut program = Program::start(&own, "").await;
    let mut silent = program.caller().await;
    program.signal(Signal::STOP);
    let mut callers = Vec::new();
    for _ in 0..50 {
        let socket = soon(TcpStream::connect(program.address)).await.unwrap();
        let mut shaken = Box::pin(shake_on(socket, &authority.pem, &["http/1.1"], None));
        // It says hello, and nobody answers.
        let waits = poll_fn(|cx| Poll::Ready(shaken.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        callers.push(shaken);
    }
    program.signal(Signal::INT);
    program.signal(Signal::CONT);
    for shaken in callers {
        let mut stream = shaken.await.expect("hands are shaken");
        let answer = get(&mut stream, "/none", "").await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    let begun = Instant::now();
    silent.expect_close().await;
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(begun.elapsed() < AT_ONCE, "nobody waits for the silent one");
}

#[tokio::test]
async fn a_request_that_is_coming_on_a_kept_connection_is_awaited() {
    let mut program = Program::start("workers: 1\n", "").await;
    let mut caller = program.caller().await;
    caller.exchange("GET /none HTTP/1.1").await.expect(404);
    caller.send("GET /none HTTP/1.1\r\nHost: local").await;
    // Connections are read in order, so that a part has come when the next one is answered.
    program.get("/none").await.expect(404);
    program.signal(Signal::INT);
    program.err.says("draining").await;
    until("nobody is accepted any more", async || {
        let refused = TcpStream::connect(program.address).await;
        refused.is_err()
    })
    .await;
    caller.send("host\r\n\r\n").await;
    let answer = caller.answer("GET").await.expect(404);
    assert_eq!(answer.field("connection"), "close");
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_does_not_finish_is_cut_at_the_limit() {
    let mut program = Program::start("timeouts: {drain_delay: 0s, drain: 300ms}\n", "").await;
    let _feed = program.simulator.feed("one");
    let mut caller = program.caller().await;
    caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    let mut answer = caller.head().await;
    program.signal(Signal::TERM);
    assert_eq!(caller.chunk(&mut answer).await, None);
    assert!(!answer.whole);
    assert_eq!(program.ended().await.code(), Some(0));
    program.out.with("/outcome", "failed").await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut program = Program::start("timeouts: {drain_delay: 60s, drain: 60s}\n", "").await;
    let _feed = program.simulator.feed("one");
    let mut caller = program.caller().await;
    caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    caller.head().await;
    program.signal(Signal::TERM);
    program.err.says("draining").await;
    let begun = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn http2_callers_are_told_and_finish() {
    let mut program = Program::start("timeouts: {drain_delay: 0s}\n", "").await;
    let caller = crate::harness::caller2::Caller2::connect(program.address).await;
    // Longer than somebody who is told to go is waited for without a request.
    let target = "/graph/sim/slow?body_ms=4000";
    let streamed = tokio::spawn({
        let caller = caller.clone();
        async move { caller.exchange("GET", target).await }
    });
    let seen = program
        .simulator
        .wait_for(|seen| seen.target.ends_with(b"/sim/slow?body_ms=4000"));
    seen.await.expect("the request is in flight");
    program.signal(Signal::TERM);
    program.err.says("draining").await;
    let answer = soon(streamed).await.unwrap().expect(200);
    assert_eq!(answer.text(), "{\"first\":1,\"second\":2}");
    drop(caller);
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_http2_caller_that_reads_slowly_gets_the_end_of_its_answer() {
    const LENGTH: usize = 250_000;
    let mut program = Program::start("timeouts: {drain_delay: 0s}\n", "").await;
    // Room for all of it, but not in the caller's system: much is still in ours at the end.
    let mut speaker = Speaker::connect(program.address, &[(4, 1 << 24)]).await;
    rustix::net::sockopt::set_socket_recv_buffer_size(&speaker.stream, 16 * 1024).unwrap();
    let wider = |by: u32| frame(WINDOW_UPDATE, 0, 0, &by.to_be_bytes());
    speaker.send(&wider(1 << 24)).await;
    let target = format!("/graph/sim/bytes/{LENGTH}");
    speaker.send(&request(1, &good(&target))).await;
    speaker.until(|outcome| !outcome.status.is_empty()).await;
    program.signal(Signal::TERM);
    // What the systems hold at the end takes longer than who is told to go is waited for without a word.
    let mut pace = tokio::time::interval(Duration::from_millis(600));
    while !speaker.outcome.ended.contains(&1) && !speaker.outcome.closed {
        pace.tick().await;
        speaker.read().await;
        speaker.send(&wider(1)).await;
        for ping in std::mem::take(&mut speaker.outcome.pings) {
            speaker.send(&frame(PING, 1, 0, &ping)).await;
        }
    }
    assert_eq!(speaker.outcome.data.len(), LENGTH);
    drop(speaker);
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_connection_on_which_nothing_has_come_does_not_hold_up_the_end() {
    let patient = "timeouts: {first_byte: 60s, drain: 60s}\n";
    for own in [patient.to_owned(), format!("tls: local\n{patient}")] {
        let mut program = Program::start(&own, "").await;
        let mut silent = program.caller().await;
        // Connections are taken in order, so that one is when the next one has ended.
        let mut next = program.caller().await;
        next.send("GET / HTTP/1.0\r\n\r\n").await;
        next.rest().await;
        let begun = Instant::now();
        program.signal(Signal::INT);
        assert_eq!(program.ended().await.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(10), "{own}");
        silent.expect_close().await;
    }
}

#[tokio::test]
async fn an_http2_caller_that_does_not_answer_holds_up_nothing() {
    // It reads nothing, so it neither acknowledges nor closes.
    for streams in [0, 1] {
        let mut program = Program::start("timeouts: {drain: 60s}\n", "").await;
        let mut speaker = Speaker::connect(program.address, &[]).await;
        if streams > 0 {
            speaker.send(&request(1, &good("/graph/sim/bytes/1"))).await;
            speaker.until(|outcome| outcome.ended.contains(&1)).await;
        }
        program.get("/graph/sim/bytes/1").await.expect(200);
        let begun = Instant::now();
        program.signal(Signal::INT);
        assert_eq!(program.ended().await.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(10), "{streams}");
        drop(speaker);
    }
}

/// `run` whose configuration is a pipe, and so does not come; with what writes to it, which tells
/// that the program has begun to read.
async fn starting(folder: &std::path::Path) -> (std::process::Child, std::fs::File) {
    let file = folder.join("routes.yaml");
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo runs").success());
    let child = crate::cli::with_file(&["run"], folder)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let open = move || std::fs::OpenOptions::new().write(true).open(file);
    let opened = soon(tokio::task::spawn_blocking(open)).await;
    let pipe = opened.expect("opening does not panic");
    (child, pipe.expect("it is a pipe"))
}

fn send(child: &std::process::Child, signal: Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("the process is there");
}

#[tokio::test]
async fn a_start_that_hangs_can_be_ended() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let (mut child, _pipe) = starting(folder.path()).await;
        send(&child, signal);
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let ended = soon(ended).await.expect("the thread ends");
        assert_eq!(ended.expect("it is a child").code(), Some(0));
    }
}

#[tokio::test]
async fn a_start_that_waits_for_a_lock_can_be_ended() {
    for signal in [Signal::TERM, Signal::INT] {
        let state = tempfile::tempdir().expect("there is room for a folder");
        let ours = state.path().join("tokenferry");
        std::fs::create_dir(&ours).expect("the folder can be written");
        let lock = std::fs::File::create(ours.join("lock")).expect("the folder can be written");
        lock.lock().expect("it is free");
        let socket = state.path().join("socket");
        let own = format!("tls: local\nlisten: 'unix:{}'\n", socket.display());
        let (_simulator, desk) = crate::cli::desk(&own).await;
        let mut child = crate::cli::with_file(&["run"], desk.path())
            .env("XDG_STATE_HOME", state.path())
            .spawn()
            .expect("the binary runs");
        // It has begun to start, which it cannot end.
        until("it listens", async || {
            let called = tokio::net::UnixStream::connect(&socket).await;
            called.is_ok()
        })
        .await;
        send(&child, signal);
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let ended = soon(ended).await.expect("the thread ends");
        assert_eq!(ended.expect("it is a child").code(), Some(0));
        assert!(!socket.exists(), "it is left behind");
    }
}

#[tokio::test]
async fn sighup_during_the_start_is_a_reload_after_it() {
    use std::io::Write;
    let (_simulator, desk) = crate::cli::desk("").await;
    let good = desk.path().join("routes.yaml");
    let text = std::fs::read(&good).expect("it is there");
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (mut child, mut pipe) = starting(folder.path()).await;
    send(&child, Signal::HUP);
    std::fs::rename(&good, folder.path().join("routes.yaml")).expect("the folder can be written");
    pipe.write_all(&text).expect("the program reads");
    drop(pipe);
    let err = Lines::follow(child.stderr.take().expect("a pipe"));
    err.says("was reloaded").await;
    child.kill().expect("it runs");
    child.wait().expect("it is a child");
}
