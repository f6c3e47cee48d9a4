//! Floods of frames: each costs its own connection and nobody else's.

use std::time::{Duration, Instant};

use super::Fort;
use super::frame::{
    CONTINUATION, DATA, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, Speaker, WINDOW_UPDATE,
    fields, frame, good,
};
use super::http2::{ask, status};

/// Before a caller that answers no PING is given up anyway.
const AT_THE_LATEST: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_flood_of_frames_costs_its_own_connection_only() {
    let fort = Fort::build("").await;
    let head = fields(&good("/graph/sim/slow?head_ms=300"));
    let odd = |index: u32| 2 * index + 1;
    let many =
        |count: u32, make: &dyn Fn(u32) -> Vec<u8>| (0..count).flat_map(make).collect::<Vec<u8>>();
    let reset = |stream: u32| {
        [
            frame(HEADERS, 5, stream, &head),
            frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        ]
        .concat()
    };
    for (name, flood) in [
        ("PING", frame(PING, 0, 0, &[1; 8]).repeat(20_000)),
        ("PING answers", frame(PING, 1, 0, &[1; 8]).repeat(20_000)),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[]).repeat(20_000)),
        (
            "large SETTINGS",
            frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0].repeat(200)).repeat(2_000),
        ),
        (
            "PRIORITY",
            frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]).repeat(20_000),
        ),
        (
            "unknown frames",
            frame(0xbb, 0, 0, &[1; 100]).repeat(20_000),
        ),
        ("rapid reset", many(2000, &|index| reset(odd(index)))),
        (
            "resets of a stream that is over",
            [
                frame(HEADERS, 5, 1, &head),
                frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]).repeat(20_000),
            ]
            .concat(),
        ),
        (
            "CONTINUATION",
            [
                frame(HEADERS, 1, 1, &head),
                frame(CONTINUATION, 0, 1, &[]).repeat(20_000),
            ]
            .concat(),
        ),
        (
            "full CONTINUATION",
            [
                frame(HEADERS, 1, 1, &head),
                frame(CONTINUATION, 0, 1, &fields(&[("x", &"y".repeat(16_000))])).repeat(200),
            ]
            .concat(),
        ),
        (
            "empty DATA",
            [
                frame(HEADERS, 4, 1, &head),
                frame(DATA, 0, 1, &[]).repeat(20_000),
            ]
            .concat(),
        ),
        (
            "window updates of 0",
            [
                frame(HEADERS, 4, 1, &head),
                frame(WINDOW_UPDATE, 0, 1, &[0; 4]).repeat(5_000),
            ]
            .concat(),
        ),
        (
            "window updates",
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(20_000),
        ),
        (
            "window updates of a stream",
            [
                frame(HEADERS, 5, 1, &head),
                frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]).repeat(20_000),
            ]
            .concat(),
        ),
        (
            "window updates of streams that are over",
            many(40, &|index| reset(odd(index)))
                .into_iter()
                .chain(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]).repeat(20_000))
                .collect(),
        ),
        (
            "empty HEADERS",
            many(20_000, &|index| frame(HEADERS, 5, odd(index), &[])),
        ),
        (
            "HEADERS after the end",
            [
                frame(HEADERS, 5, 1, &head),
                frame(HEADERS, 5, 1, &head).repeat(20_000),
            ]
            .concat(),
        ),
        (
            "DATA of one byte that nobody reads",
            [
                frame(HEADERS, 4, 1, &fields(&good("/graph/v1.0/groups"))),
                frame(DATA, 0, 1, b"x").repeat(20_000),
            ]
            .concat(),
        ),
        (
            "DATA that is padding",
            [
                frame(HEADERS, 4, 1, &head),
                frame(DATA, 8, 1, &[4, 0, 0, 0, 0]).repeat(20_000),
            ]
            .concat(),
        ),
        ("PUSH_PROMISE", frame(5, 4, 1, &[0, 0, 0, 2]).repeat(20_000)),
        (
            "made reset",
            many(500, &|index| {
                [
                    frame(HEADERS, 4, odd(index), &head),
                    frame(WINDOW_UPDATE, 0, odd(index), &[0; 4]),
                ]
                .concat()
            }),
        ),
    ] {
        let mut speaker = Speaker::connect(fort.program.address, &[]).await;
        let attack = async {
            speaker.send(&flood).await;
            speaker
                .until(|outcome| outcome.goaway.is_some_and(|code| code != 0))
                .await
        };
        // Meanwhile others are served.
        let others = async {
            loop {
                fort.serves(name).await;
            }
        };
        let begun = Instant::now();
        let outcome = tokio::select! {
            outcome = attack => outcome,
            () = others => continue,
        };
        assert!(begun.elapsed() < AT_THE_LATEST, "{name}: it goes on");
        assert!(
            outcome.closed || outcome.goaway.is_some(),
            "{name}: it goes on"
        );
        drop(speaker);
        fort.holds(name, &outcome.bytes).await;
    }
    // Streams beyond the bound are refused, those within it are served.
    let mut speaker = Speaker::connect(fort.program.address, &[]).await;
    let streams = many(150, &|index| frame(HEADERS, 5, odd(index), &head));
    speaker.send(&streams).await;
    let outcome = speaker
        .until(|outcome| outcome.ended.len() + outcome.resets.len() >= 150)
        .await;
    assert!(outcome.ended.len() >= 100, "{outcome:?}");
    drop(speaker);
    fort.holds("many streams", &outcome.bytes).await;
    let large = "y".repeat(120_000);
    let mut list = good("/graph/sim/bytes/1");
    list.push(("x", &large));
    let block = fields(&list);
    let mut frames = frame(HEADERS, 1, 1, &block[..16_000]);
    for (at, piece) in block[16_000..].chunks(16_000).enumerate() {
        let last = (at + 2) * 16_000 >= block.len();
        frames.extend(frame(CONTINUATION, if last { 4 } else { 0 }, 1, piece));
    }
    let outcome = ask(&fort, &frames).await;
    assert!(
        matches!(status(&outcome), 0 | 431),
        "{:?}",
        status(&outcome)
    );
    fort.holds("a large field", &outcome.bytes).await;
    fort.stands().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn heads_of_many_callers_are_looked_at_before_all_of_them_are_read() {
    use rustix::process::Signal;

    use crate::harness::numbers::becomes;
    use crate::harness::program::Program;

    const CALLERS: usize = 100;
    const REQUESTS: usize = 20;
    /// Each takes one byte here, and a hundred in memory: 290 KB for a request, and 600 MB for all.
    const FIELDS: usize = 2900;
    /// KiB that the process may have in memory.
    const RESIDENT: u64 = 120 * 1024;

    let own = "workers: 1\ntimeouts: {first_byte: 10m, request_head: 10m, keep_alive: 10m}\nroutes: [{name: graph, path: /graph, upstream: 'https://GRAPH'}]\n";
    let program = Program::start(own, "").await;
    let mut block = fields(&good("/graph/sim/bytes/1"));
    // `age` without a value, of the static table (RFC 7541 appendix A).
    block.resize(block.len() + FIELDS, 0x80 | 21);
    let streams = (1..).step_by(2).take(REQUESTS);
    let flood: Vec<u8> = streams
        .flat_map(|stream| frame(HEADERS, 5, stream, &block))
        .collect();
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        callers.push(Speaker::connect(program.address, &[]).await);
    }
    // So that all is there when it goes on, as behind something that takes long.
    program.signal(Signal::STOP);
    for caller in &mut callers {
        caller.send(&flood).await;
    }
    program.signal(Signal::CONT);
    // Seconds of work: a tenth of one processor takes minutes, and nothing here runs out meanwhile.
    let answered = async {
        for caller in &mut callers {
            while caller.outcome.ended.len() < REQUESTS && !caller.outcome.closed {
                let _ = caller.stream.readable().await;
                caller.read().await;
            }
        }
    };
    // Told below, with how many they were.
    let _ = tokio::time::timeout(Duration::from_secs(600), answered).await;
    let ended: usize = callers.iter().map(|c| c.outcome.ended.len()).sum();
    assert_eq!(ended, CALLERS * REQUESTS);
    let refused = ended as f64;
    becomes(program.admin, "tokenferry_refused_total", &[], refused).await;
    assert!(
        program.most_resident() < RESIDENT,
        "{} KiB",
        program.most_resident()
    );
}
