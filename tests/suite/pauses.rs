//! What a busy upstream asks for, in answers that came late or from elsewhere, and what a request
//! holds while it waits to be sent again.

use std::time::{Duration, SystemTime};

use tokenferry::simulator::{DOWNLOAD, Fault, GRAPH, Script};

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

#[tokio::test]
async fn hosts_of_downloads_are_heard_as_the_upstream_is() {
    let stage = Stage::with(
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', throttle: hold, follow_downloads: ['*.sharepoint.com']}]\n",
    )
    .await;
    let dates = [
        ("retry-after", "Tue, 01 Jan 2030 00:00:30 GMT"),
        ("date", "Tue, 01 Jan 2030 00:00:10 GMT"),
    ];
    for status in [429, 504] {
        let busy = Fault::answer(status, &dates, "busy");
        stage.simulator.script(Script::on(DOWNLOAD, busy).times(1));
        let content = "/graph/v1.0/drives/d/items/i/content";
        let answer = stage.get(content).await.expect(status);
        assert_eq!(answer.field("retry-after"), "20");
    }
    let throttled = "tokenferry_upstream_throttled_total";
    let labels = [("route", "graph")];
    assert_eq!(stage.number(throttled, &labels).await, 1.0);
    // It is another service that has asked for quiet.
    stage.get("/graph/sim/bytes/1").await.expect(200);
}
