//! Large bodies leave memory flat. These run against the real binary, alone in its process.

use std::time::Duration;

use futures_util::future::join_all;
use tokenferry::simulator::{Fault, GRAPH, Gate, Script};

use crate::harness::caller::Caller;
use crate::harness::program::Program;

/// Far more than all the buffers on the way.
const BYTES: usize = 256 * 1024 * 1024;
/// KiB that the process may have in memory.
const RESIDENT: u64 = 40 * 1024;
/// Callers that do not go on, and the KiB that one of them may hold: a piece of a body or three, what
/// TLS has of it, and the rest of a connection.
const CALLERS: u64 = 40;
const EACH: u64 = 144;
/// The same of an upload to HTTP/1.1: what the manual says of any exchange. Up to three pieces wait to be
/// written, for each of which hyper makes room for two, and TLS has another; 173 to 209 were seen.
const EACH_UPLOAD: u64 = 256;
/// The same where the upstream speaks HTTP/2: the window of a stream comes on top.
const EACH_STREAM: u64 = 512;
/// How long nothing goes up when no buffer on the way has room: more than the other callers take for a
/// piece of each.
const FULL: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_large_download_leaves_memory_flat() {
    for http in [1, 2] {
        let program = program(http).await;
        let mut caller = program.caller().await;
        caller
            .ask(&format!("GET /graph/sim/bytes/{BYTES} HTTP/1.1"))
            .await;
        assert_eq!(caller.head().await.status, 200);
        let mut read = 0;
        while read < BYTES {
            let piece = caller.some().await;
            assert!(!piece.is_empty(), "it broke off after {read} bytes");
            read += piece.len();
        }
        assert_eq!(read, BYTES);
        assert!(
            program.most_resident() < RESIDENT,
            "{} KiB",
            program.most_resident()
        );
    }
}

#[tokio::test]
async fn a_large_upload_leaves_memory_flat() {
    for http in [1, 2] {
        let program = program(http).await;
        let mut caller = program.caller().await;
        caller
            .ask(&format!(
                "PUT /graph/sim/sink HTTP/1.1\nContent-Length: {BYTES}"
            ))
            .await;
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..BYTES / piece.len() {
            caller.send(&piece).await;
        }
        let answer = caller.answer("PUT").await.expect(200);
        assert_eq!(answer.json()["length"], BYTES);
        assert!(
            program.most_resident() < RESIDENT,
            "{} KiB",
            program.most_resident()
        );
    }
}

#[tokio::test]
async fn a_reader_that_stops_holds_little() {
    for (http, each) in [(1, EACH), (2, EACH_STREAM)] {
        reader_holds_less(http, each).await;
    }
}

async fn reader_holds_less(http: u8, most: u64) {
    let program = program(http).await;
    program.get("/graph/sim/bytes/1000000").await.expect(200);
    let before = program.resident();
    let mut held = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = Caller::narrow(program.address).await;
        caller.ask("GET /graph/sim/bytes/100000000 HTTP/1.1").await;
        assert_eq!(caller.head().await.status, 200);
        held.push(caller);
    }
    for _ in 0..20 {
        program.get("/graph/sim/bytes/1000000").await.expect(200);
    }
    let each = program.resident().saturating_sub(before) / CALLERS;
    assert!(each < most, "{each} KiB");
}

#[tokio::test]
async fn an_upload_that_the_upstream_does_not_read_holds_little() {
    for (http, each) in [(1, EACH_UPLOAD), (2, EACH)] {
        upload_holds_less(http, each).await;
    }
}

async fn upload_holds_less(http: u8, most: u64) {
    let program = program(http).await;
    program.get("/graph/sim/bytes/1000000").await.expect(200);
    let unread = Script::on(GRAPH, Fault::Hold(Gate::new())).early();
    program.simulator.script(unread);
    let before = program.resident();
    let address = program.address;
    let uploads = (0..CALLERS).map(|_| async move {
        let mut caller = Caller::connect(address).await;
        caller
            .ask(&format!(
                "PUT /graph/sim/sink HTTP/1.1\nContent-Length: {BYTES}"
            ))
            .await;
        let piece = [b'x'; 64 * 1024];
        let mut sent = 0;
        // Until nothing more goes up: all buffers on the way are full.
        while tokio::time::timeout(FULL, caller.send(&piece))
            .await
            .is_ok()
        {
            sent += piece.len();
            assert!(sent < BYTES, "the upstream reads");
        }
        caller
    });
    let held = join_all(uploads).await;
    let each = program.resident().saturating_sub(before) / CALLERS;
    drop(held);
    assert!(each < most, "{each} KiB");
}

async fn program(http: u8) -> Program {
    // A busy machine shakes hands for forty callers at once, and with the upstream for as many.
    let own = format!(
        "timeouts: {{connect: 60s}}\nroutes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
    );
    Program::start(&own, "").await
}
