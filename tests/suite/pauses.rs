//! What a busy upstream asks for, in answers that came late or from elsewhere, and what a request
//! holds while it waits to be sent again.

use std::time::{Duration, SystemTime};

use tokenferry::simulator::{Fault, GRAPH, Script};

use crate::harness::stage::Stage;

#[tokio::test]
async fn a_date_counts_from_when_the_answer_came() {
    let stage = Stage::open().await;
    let then = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
    let late = Fault::Latency(Duration::from_secs(3));
    stage.simulator.script(Script::on(GRAPH, late));
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {then}\r\nContent-Length: 0\r\n\r\n"
    );
    let busy = Fault::Raw(head.into_bytes(), tokenferry::simulator::Ending::Close);
    stage.simulator.script(Script::on(GRAPH, busy));
    let answer = stage.get("/graph/sim/bytes/1").await.expect(429);
    let left: u64 = answer.field("retry-after").parse().expect("seconds");
    assert!((30..=58).contains(&left), "{left}");
}
