//! Large bodies leave memory flat. These run against the real binary, alone in its process.

use crate::harness::caller::Caller;
use crate::harness::program::Program;

/// Far more than all the buffers on the way.
const BYTES: usize = 1024 * 1024 * 1024;
/// KiB that the process may have in memory.
const RESIDENT: u64 = 40 * 1024;
/// Readers that stop, and the KiB that one of them may hold.
const READERS: u64 = 40;
const EACH: u64 = 768;

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
    let program = program(1).await;
    program.get("/graph/sim/bytes/1000000").await.expect(200);
    let before = program.resident();
    let mut held = Vec::new();
    for _ in 0..READERS {
        let mut caller = Caller::narrow(program.address).await;
        caller.ask("GET /graph/sim/bytes/100000000 HTTP/1.1").await;
        assert_eq!(caller.head().await.status, 200);
        held.push(caller);
    }
    for _ in 0..20 {
        program.get("/graph/sim/bytes/1000000").await.expect(200);
    }
    let each = program.resident().saturating_sub(before) / READERS;
    assert!(each < EACH, "{each} KiB");
}

async fn program(http: u8) -> Program {
    let own = format!(
        "routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
    );
    Program::start(&own, "").await
}
