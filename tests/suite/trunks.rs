//! Connections to an upstream that are shared, refused, or change what is spoken.

use tokenferry::simulator::{Ending, Fault, GRAPH, Script};

use crate::harness::stage::Stage;

fn spoken(http: &str) -> String {
    format!(
        "workers: 1\nroutes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
    )
}

#[tokio::test]
async fn streams_that_are_refused_or_reset_leave_no_connection_behind() {
    let reset = Fault::Break {
        after: None,
        ending: Ending::Reset,
    };
    for (fault, words) in [
        (Fault::Unprocessed, "did not act on it"),
        (reset, "may or may not have been acted on"),
    ] {
        let stage = Stage::with(&spoken("2")).await;
        stage.get("/graph/sim/bytes/1").await.expect(200);
        stage.simulator.script(Script::on(GRAPH, fault));
        for _ in 0..20 {
            let answer = stage.get("/graph/sim/bytes/1").await;
            assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
            assert!(answer.message().contains(words), "{}", answer.message());
            assert!(!answer.message().contains("closed the connection"));
        }
        stage.simulator.clear_scripts();
        stage.get("/graph/sim/bytes/1").await.expect(200);
        let mut seen = stage.simulator.seen();
        seen.retain(|seen| seen.host == GRAPH);
        let first = seen[0].connection;
        assert!(seen.iter().all(|seen| seen.connection == first));
        assert_eq!(seen.len(), 42);
    }
}

#[tokio::test]
async fn a_write_that_was_refused_is_sent_again_on_the_same_connection() {
    let stage = Stage::with(&spoken("2")).await;
    let refused = Script::on(GRAPH, Fault::Unprocessed).times(1);
    stage.simulator.script(refused);
    let lines = "DELETE /graph/sim/bytes/1 HTTP/1.1";
    stage.ask(lines).await.expect(200);
    let mut seen = stage.simulator.seen();
    seen.retain(|seen| seen.host == GRAPH);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].connection, seen[1].connection);
}
