//! Callers that take their time, never read, or come in crowds: each costs a bounded time and
//! amount, others are served meanwhile, and everything is given back afterwards.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokenferry::simulator::GRAPH;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Fort;
use super::frame::{
    END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, SETTINGS, Speaker, WINDOW_UPDATE, fields,
    frame, good, request,
};
use super::wire::listen;
use crate::harness::caller::Caller;
use crate::harness::stage::AT_ONCE;
use crate::harness::{soon, until};

/// Those who are served meanwhile have them, too, also on a busy machine: a standstill of less than a
/// second counts.
const SHORT: &str = "timeouts: {first_byte: 1500ms, request_head: 1300ms, keep_alive: 1500ms, request_body_idle: 1200ms, write_stall: 1400ms}";

/// The pause before another byte or frame, and how many of them may be sent: in ten seconds, of which a
/// standstill of the machine is no part.
const PACE: Duration = Duration::from_millis(50);
const AT_MOST: usize = 200;

async fn open(fort: &Fort, bytes: &[u8]) -> TcpStream {
    let mut stream = soon(TcpStream::connect(fort.program.address))
        .await
        .expect("a connection");
    soon(stream.write_all(bytes)).await.expect("it is taken");
    stream
}

#[tokio::test]
async fn every_stage_of_a_caller_has_its_time() {
    let fort = Fort::build(SHORT).await;
    let settings = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let half_head = frame(
        HEADERS,
        END_STREAM,
        1,
        &fields(&good("/graph/sim/bytes/1"))[..5],
    );
    let address = fort.program.address;
    // All at once: each waits for a limit, and none is to stand in the way of another.
    for (name, rest) in join_all([
        ("nothing", &b""[..]),
        ("half a method", b"GE"),
        ("half a head", b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: loc"),
        ("no last line end", b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n"),
        ("empty lines", b"\r\n\r\n\r\n"),
        ("half a preface", b"PRI * HT"),
        ("a whole preface", PREFACE),
        ("a preface and settings", &settings),
        ("half a frame", &[&settings[..], &[0, 0, 8, PING]].concat()),
        ("half a field block", &[&settings[..], &half_head].concat()),
        ("one exchange, then nothing", b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("one stream, then nothing", &[&settings[..], &request(1, &good("/graph/sim/bytes/1"))].concat()),
        ("half a body", b"POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"),
        ("half a chunk", b"POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"),
    ].map(|(name, bytes)| async move {
        let begun = Instant::now();
        let mut caller = Caller::connect(address).await;
        caller.send(bytes).await;
        let rest = caller.rest().await;
        assert!(begun.elapsed() < AT_ONCE + AT_ONCE, "{name}: {:?}", begun.elapsed());
        (name, rest)
    })).await {
        fort.holds(name, &rest).await;
    }
    fort.stands().await;
}

/// Sends a byte after each pause. Whether there was an answer, or the end, before all of them were sent.
async fn is_cut_short(
    stream: &mut TcpStream,
    bytes: impl Iterator<Item = u8>,
    pause: Duration,
) -> bool {
    for byte in bytes {
        tokio::select! {
            biased;
            _ = stream.readable() => return true,
            () = tokio::time::sleep(pause) => {}
        }
        // Where it fails, the next look sees why.
        let _ = soon(stream.write_all(&[byte])).await;
    }
    false
}

#[tokio::test]
async fn one_byte_at_a_time_does_not_prolong_a_head() {
    let fort = Fort::build(SHORT).await;
    for (name, text) in [
        (
            "a slow head",
            &b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\nX: 0123456789"[..],
        ),
        ("slow empty lines", &[b'\n'; 60]),
        ("a slow preface", PREFACE),
    ] {
        let mut stream = open(&fort, &text[..1]).await;
        // The shortest takes twice as long as its limit.
        let rest = text[1..].iter().copied();
        assert!(
            is_cut_short(&mut stream, rest, 2 * PACE).await,
            "{name}: it is read still"
        );
        let reply = listen(&mut stream).await;
        assert!(
            reply.status() == 408 || reply.answers.is_empty(),
            "{name}: {reply:?}"
        );
        fort.holds(name, &reply.bytes).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn one_byte_at_a_time_does_not_prolong_a_batch() {
    let fort = Fort::build(SHORT).await;
    let head = "POST /graph/v1.0/$batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n";
    let mut stream = open(&fort, head.as_bytes()).await;
    let blanks = std::iter::repeat_n(b' ', AT_MOST);
    assert!(
        is_cut_short(&mut stream, blanks, PACE).await,
        "it is read still"
    );
    let reply = listen(&mut stream).await;
    assert_eq!(reply.status(), 408, "{reply:?}");
    fort.holds("a slow batch", &reply.bytes).await;
    fort.stands().await;
}

#[tokio::test]
async fn frames_between_requests_do_not_keep_a_connection() {
    let fort = Fort::build("timeouts: {keep_alive: 1500ms}").await;
    let ping = frame(PING, 0, 0, &[2; 8]);
    // One that each answer pays for thousands of.
    let wider = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
    for (name, again) in [
        ("PING now and then", &ping),
        ("WINDOW_UPDATE now and then", &wider),
    ] {
        let mut speaker = Speaker::connect(fort.program.address, &[]).await;
        let target = good("/graph/sim/bytes/50000");
        speaker.send(&request(1, &target)).await;
        speaker.until(|outcome| outcome.ended.contains(&1)).await;
        let mut sent = 0;
        while speaker.try_send(again).await.is_ok() {
            sent += 1;
            assert!(sent < AT_MOST, "{name}: it is open still");
            tokio::time::sleep(PACE).await;
        }
        let outcome = speaker.until(|outcome| outcome.closed).await;
        assert_eq!(outcome.goaway, Some(0), "{name}: it is told");
        fort.holds(name, &[]).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn who_does_not_read_lets_go_of_the_upstream_and_harms_nobody() {
    // The neighbour is served within twice of it, beside sixty large answers.
    let fort = Fort::build("timeouts: {write_stall: 4s}").await;
    let large = "/graph/sim/bytes/50000000";
    let upstream = || fort.program.simulator.connections(GRAPH);
    let pooled = upstream();
    // HTTP/1.1: the socket fills up.
    let mut callers = Vec::new();
    for _ in 0..10 {
        let mut caller = Caller::narrow(fort.program.address).await;
        caller.ask(&format!("GET {large} HTTP/1.1")).await;
        callers.push(caller);
    }
    // HTTP/2: windows that are shut from the start, and one that others share a connection with.
    let mut shut = Speaker::connect(fort.program.address, &[(4, 0)]).await;
    let streams: Vec<u8> = (0..50)
        .flat_map(|index| request(2 * index + 1, &good(large)))
        .collect();
    shut.send(&streams).await;
    fort.serves("they have begun").await;
    let mut shared = Speaker::connect(fort.program.address, &[]).await;
    shared.send(&request(1, &good(large))).await;
    shared
        .send(&frame(WINDOW_UPDATE, 0, 0, &[0x3f, 0, 0, 0]))
        .await;
    // All that its window takes. Its connection is closed soon when nobody else uses it.
    shared.until(|outcome| outcome.data.len() >= 65_535).await;
    shared.send(&request(3, &good("/graph/sim/bytes/5"))).await;
    let outcome = shared.until(|outcome| outcome.ended.contains(&3)).await;
    assert!(
        outcome.ended.contains(&3) && outcome.goaway.is_none(),
        "the neighbour is served"
    );
    until("the upstream's connections are let go", async || {
        upstream() <= pooled + 8
    })
    .await;
    until("nothing is in flight", async || {
        let numbers = crate::harness::numbers::Numbers::scrape(fort.program.admin).await;
        numbers.sum("tokenferry_requests_in_flight", &[]) == 0.0
    })
    .await;
    drop((callers, shut, shared));
    fort.holds("unread answers", &[]).await;
    fort.stands().await;
}

#[tokio::test]
async fn answers_that_are_given_count_until_they_are_sent() {
    // The other is turned away within it.
    let fort = Fort::build("timeouts: {write_stall: 2s}\nlimits: {in_flight: 4}").await;
    let other = || async {
        let mut caller = Caller::connect(fort.program.address).await;
        caller.exchange("GET /graph/sim/bytes/1 HTTP/1.1").await
    };
    // As many as before have their places the second time: none was given back twice.
    for dropped in [4, 8] {
        // Windows of one byte: a short answer is given as a whole, and hardly any of it is sent.
        let mut shut = Speaker::connect(fort.program.address, &[(4, 1)]).await;
        for stream in [1, 3, 5, 7] {
            shut.send(&request(stream, &good("/graph/sim/bytes/20000")))
                .await;
        }
        shut.until(|outcome| outcome.data.len() >= 4).await;
        assert_eq!(other().await.refusal(), (503, "overloaded".to_owned()));
        let outcome = shut.until(|outcome| outcome.closed).await;
        assert_eq!((outcome.goaway, outcome.data.len()), (Some(0), 4));
        assert!(outcome.status.iter().all(|(_, status)| *status == 200));
        until("their places are free", async || {
            other().await.status == 200
        })
        .await;
        until("their ends are logged", async || {
            let log = fort.program.out.text();
            let given =
                |line: &&str| line.contains("\"dropped\"") && line.contains("\"status\":200");
            log.lines().filter(given).count() == dropped
        })
        .await;
    }
    fort.holds("answers behind a shut window", &[]).await;
    fort.stands().await;
}

#[tokio::test]
async fn a_crowd_of_connections_is_served_or_waits_and_then_leaves_nothing() {
    let fort = Fort::build(&format!(
        "{SHORT}\nlimits: {{connections: 300, connections_per_peer: 200}}"
    ))
    .await;
    let mut crowd = Vec::new();
    for index in 0..400 {
        let mut stream = soon(TcpStream::connect(fort.program.address))
            .await
            .expect("the system accepts");
        let bytes: &[u8] = match index % 4 {
            0 => b"",
            1 => b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHo",
            2 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            _ => b"POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
        };
        // Beyond the bound for one peer the connection is closed already.
        let _ = stream.write_all(bytes).await;
        crowd.push(stream);
    }
    until("the crowd is gone", async || {
        let reply = super::talk(
            fort.program.address,
            b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .await;
        reply.status() == 200
    })
    .await;
    drop(crowd);
    fort.holds("a crowd", &[]).await;
    fort.stands().await;
}

#[tokio::test]
async fn connections_that_reset_at_once_are_nothing() {
    let fort = Fort::build("").await;
    for index in 0..500 {
        let stream = soon(TcpStream::connect(fort.program.address))
            .await
            .expect("the system accepts");
        if index % 2 == 0 {
            stream.set_zero_linger().expect("a socket takes options");
        }
        if index % 3 == 0 {
            let _ = stream
                .try_write(b"GET /graph/sim/slow?head_ms=50 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        drop(stream);
    }
    fort.holds("resets", &[]).await;
    let mut head = frame(HEADERS, END_HEADERS, 1, &fields(&good("/graph/sim/sink")));
    head.extend(frame(super::frame::RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    for _ in 0..50 {
        let mut speaker = Speaker::connect(fort.program.address, &[]).await;
        speaker.send(&head).await;
    }
    fort.holds("streams that reset", &[]).await;
    fort.stands().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn running_out_of_descriptors_is_a_rest_and_no_end() {
    use crate::harness::found;

    let fort = Fort::build("").await;
    fort.program.limit_files(60);
    let mut crowd = Vec::new();
    for _ in 0..150 {
        // The system accepts what the program cannot.
        let connected = soon(TcpStream::connect(fort.program.address)).await;
        crowd.push(connected.expect("the system accepts"));
    }
    fort.program.err.says("accepting rests").await;
    let text = fort.program.err.text();
    assert_eq!(
        text.matches("accepting rests").count(),
        1,
        "it is said once"
    );
    drop(crowd);
    found("it accepts again", || async {
        let mut stream = TcpStream::connect(fort.program.address).await.ok()?;
        let good =
            b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(good).await.ok()?;
        (listen(&mut stream).await.status() == 200).then_some(())
    })
    .await;
    fort.program.limit_files(20_000);
    fort.holds("no descriptors", &[]).await;
    fort.stands().await;
}
