//! Redirects to where files lie are passed on, or followed for callers in a closed network; either
//! way the token stays here. The simulator takes offence at one that does not.

use std::time::Duration;

use tokenferry::simulator::{DOWNLOAD, Ending, Fault, GRAPH, Gate, Script};

use crate::harness::stage::{AT_ONCE, Stage};
use crate::harness::{soon, until};
use crate::tls::shake;

const FOLLOWING: &str = "\
routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', follow_downloads: ['*.sharepoint.com']}]
";
/// Where a file is sent in pieces.
const SESSIONS: [&str; 2] = [
    "/graph/v1.0/drives/d/items/i/createUploadSession",
    "/graph/v1.0/users/u/messages/m/attachments/createUploadSession",
];
const CONTENT: &str = "/graph/v1.0/drives/d/items/i/content";
const SIZE: usize = 65_536;

fn redirect(location: &str) -> Fault {
    Fault::answer(302, &[("location", location)], "")
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let stage = Stage::open().await;
    let answer = stage.get(CONTENT).await.expect(302);
    assert!(
        answer
            .field("location")
            .starts_with("https://contoso.sharepoint.com/")
    );
    assert_eq!(stage.arrivals(DOWNLOAD), 0);
}

#[tokio::test]
async fn an_address_that_needs_no_token_leads_to_no_route_of_its_host() {
    let stage = Stage::with(
        "routes:\n  - {name: graph, path: /graph, upstream: 'https://GRAPH', rewrite_links: all}\n  - {name: sp, path: /sp, upstream: 'https://contoso.sharepoint.com'}\n",
    )
    .await;
    let answer = stage.get(CONTENT).await.expect(302);
    assert!(
        answer
            .field("location")
            .starts_with("https://contoso.sharepoint.com/")
    );
    let file = "https://contoso.sharepoint.com/x";
    for (path, status) in [
        (CONTENT, 302),
        ("/graph/v1.0/users/7/photo/$value", 302),
        ("/graph/v1.0/x", 202),
    ] {
        stage
            .simulator
            .script(Script::on(GRAPH, Fault::answer(status, &[("location", file)], "")).times(1));
        let answer = stage.get(path).await.expect(status);
        assert_eq!(answer.field("location"), file, "{path}");
    }
    let item = format!(
        r#"{{"@microsoft.graph.downloadUrl":"{file}","webUrl":"{file}?sig=1","x":"{file}?tempauth=1"}}"#
    );
    let json = [("content-type", "application/json")];
    stage
        .simulator
        .script(Script::on(GRAPH, Fault::answer(200, &json, item.as_str())));
    assert_eq!(stage.get("/graph/v1.0/x").await.text(), item);
}

#[tokio::test]
async fn a_download_of_a_listed_host_is_fetched_without_the_token() {
    let stage = Stage::with(FOLLOWING).await;
    for _ in 0..2 {
        let lines = format!(
            "GET {CONTENT} HTTP/1.1\nUser-Agent: tool/1\nX-Own: 1\nAuthorization: Bearer x"
        );
        let answer = stage.ask(&lines).await.expect(200);
        assert_eq!(answer.body.len(), SIZE);
        assert!(
            answer
                .text()
                .contains("\"https://graph.microsoft.com/v1.0/x\""),
            "a file is not rewritten"
        );
        assert_eq!(answer.field("content-length"), SIZE.to_string());
        assert!(
            answer
                .field("content-disposition")
                .starts_with("attachment")
        );
        let sent = stage.last();
        assert_eq!(
            (sent.host.as_str(), sent.header("user-agent").as_deref()),
            (DOWNLOAD, Some("tool/1"))
        );
        for name in ["authorization", "x-own", "client-request-id", "cookie"] {
            assert_eq!(sent.header(name), None);
        }
    }
    let part = stage
        .ask(&format!("GET {CONTENT} HTTP/1.1\nRange: bytes=2-5"))
        .await
        .expect(206);
    assert_eq!(part.text(), "e co");
    assert_eq!(part.field("content-range"), format!("bytes 2-5/{SIZE}"));
    let head = stage.ask(&format!("HEAD {CONTENT} HTTP/1.1")).await;
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, SIZE.to_string().as_str())
    );
}

#[tokio::test]
async fn other_hosts_schemes_and_methods_are_left_to_the_caller() {
    let stage = Stage::with(FOLLOWING).await;
    for location in [
        "https://elsewhere.example/x",
        "http://contoso.sharepoint.com/x",
        "https://contoso.sharepoint.com.evil.example/x",
    ] {
        stage
            .simulator
            .script(Script::on(GRAPH, redirect(location)).times(1));
        let answer = stage.get(CONTENT).await.expect(302);
        assert_eq!(answer.field("location"), location);
    }
    let own = "https://contoso.sharepoint.com/x";
    stage
        .simulator
        .script(Script::on(GRAPH, redirect(own)).times(1));
    let answer = stage
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 0")
        .await
        .expect(302);
    assert_eq!(answer.field("location"), own);
    assert_eq!(stage.arrivals(DOWNLOAD), 0);
}

#[tokio::test]
async fn further_redirects_are_followed_five_times() {
    let stage = Stage::with(FOLLOWING).await;
    let next = redirect("/_layouts/15/next");
    for status in [301, 303, 307, 308] {
        let next = Fault::answer(status, &[("location", "/_layouts/15/next")], "");
        stage.simulator.script(Script::on(DOWNLOAD, next).times(1));
    }
    let last = Fault::answer(200, &[("retry-after", "1.5")], "there");
    stage.simulator.script(Script::on(DOWNLOAD, last).times(1));
    let answer = stage.get(CONTENT).await.expect(200);
    assert_eq!(
        (answer.text().as_str(), answer.field("retry-after")),
        ("there", "2")
    );
    stage.simulator.script(Script::on(DOWNLOAD, next));
    let answer = stage.get(CONTENT).await;
    assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
    stage.simulator.clear_scripts();
    let elsewhere = redirect("https://elsewhere.example/x");
    stage
        .simulator
        .script(Script::on(DOWNLOAD, elsewhere).times(1));
    let answer = stage.get(CONTENT).await.expect(302);
    assert_eq!(answer.field("location"), "https://elsewhere.example/x");
}

#[tokio::test]
async fn a_redirect_that_is_followed_leaves_its_connection_to_the_next_request() {
    let stage = Stage::with(&format!("workers: 1\n{FOLLOWING}")).await;
    let moved = [("location", "https://contoso.sharepoint.com/x")];
    let moved = Fault::answer(302, &moved, "<p>It lies elsewhere.</p>");
    stage.simulator.script(Script::on(GRAPH, moved));
    let there = Fault::answer(200, &[], "there");
    stage.simulator.script(Script::on(DOWNLOAD, there));
    for _ in 0..3 {
        assert_eq!(stage.get(CONTENT).await.expect(200).text(), "there");
    }
    for host in [GRAPH, DOWNLOAD] {
        assert_eq!(stage.connections_used(host).len(), 1, "{host}");
    }
}

#[tokio::test]
async fn a_request_in_flight_keeps_no_idle_connections_to_where_files_lie_over_a_reload() {
    let own = format!("workers: 1\n{FOLLOWING}");
    let stage = Stage::with(&own).await;
    let _feed = stage.simulator.feed("one");
    let mut caller = stage.caller().await;
    caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    caller.head().await;
    stage.get(CONTENT).await.expect(200);
    assert_eq!(stage.simulator.connections(DOWNLOAD), 1);
    stage.reload(&own);
    let closed = until("it is closed", async || {
        stage.simulator.connections(DOWNLOAD) == 0
    });
    // Long before those that rest are closed anyway.
    let closed = tokio::time::timeout(AT_ONCE, closed).await;
    closed.expect("it is closed at once");
}

#[tokio::test]
async fn the_time_to_the_head_is_that_of_the_files_own_answer() {
    let stage = Stage::with(FOLLOWING).await;
    let slow = Fault::Latency(Duration::from_millis(300));
    stage.simulator.script(Script::on(DOWNLOAD, slow));
    stage.get(CONTENT).await.expect(200);
    let line = stage.log.with("/route", "graph").await;
    assert!(
        line["head_ms"].as_f64().is_some_and(|ms| ms >= 300.0),
        "{line}"
    );
}

#[tokio::test]
async fn connections_to_where_files_lie_that_are_stale_cost_no_error() {
    let stage = Stage::with(&format!("workers: 1\n{FOLLOWING}")).await;
    stage.leave_stale(DOWNLOAD, CONTENT).await;
    stage.get(CONTENT).await.expect(200);
}

#[tokio::test]
async fn a_download_that_leads_back_to_the_upstream_leads_back_here() {
    let stage = Stage::with(FOLLOWING).await;
    let host = stage.address();
    for (status, sent, wanted) in [
        (
            302,
            "https://GRAPH/v1.0/x?y",
            format!("http://{host}/graph/v1.0/x?y"),
        ),
        (
            302,
            "https://GRAPH/x?tempauth=1",
            format!("https://{GRAPH}/x?tempauth=1"),
        ),
        (300, "/x", "/x".to_owned()),
        (201, "https://GRAPH/x", format!("https://{GRAPH}/x")),
    ] {
        let back = sent.replace("GRAPH", GRAPH);
        let back = Fault::answer(status, &[("location", back.as_str())], "");
        stage.simulator.script(Script::on(DOWNLOAD, back).times(1));
        let lines = format!("GET {CONTENT} HTTP/1.1\nHost: {host}");
        let answer = stage.ask(&lines).await.expect(status);
        assert_eq!(answer.field("location"), wanted);
    }
}

#[tokio::test]
async fn a_download_holds_no_place_at_the_upstream() {
    let stage = Stage::with(&FOLLOWING.replace("follow_", "max_concurrency: 1, follow_")).await;
    let gate = Gate::new();
    stage
        .simulator
        .script(Script::on(DOWNLOAD, Fault::Hold(gate.clone())));
    let mut first = stage.caller().await;
    first.ask(&format!("GET {CONTENT} HTTP/1.1")).await;
    until("the download is asked for", async || {
        let seen = stage.simulator.seen();
        seen.iter().any(|seen| seen.host == DOWNLOAD)
    })
    .await;
    soon(stage.get("/graph/sim/bytes/1")).await.expect(200);
    gate.open();
    first.answer("GET").await.expect(200);
}

#[tokio::test]
async fn a_host_that_is_down_is_told_and_its_refusals_are_its_own() {
    let stage = Stage::with(FOLLOWING).await;
    let calls = stage.simulator.token_calls();
    stage
        .simulator
        .script(Script::on(DOWNLOAD, Fault::status(401)).times(1));
    stage.get(CONTENT).await.expect(401);
    assert_eq!(
        stage.simulator.token_calls(),
        calls,
        "no reason to renew the token"
    );
    for fault in [
        Fault::Break {
            after: None,
            ending: Ending::Close,
        },
        Fault::Raw(b"HTTP/1.1 101 Go on\r\n\r\n".to_vec(), Ending::Close),
        Fault::Raw(b"HTTP/1.1 200 OK\r\na : b\r\n\r\n".to_vec(), Ending::Close),
    ] {
        stage.simulator.clear_scripts();
        stage.simulator.script(Script::on(DOWNLOAD, fault));
        let answer = stage.get(CONTENT).await;
        assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
        // Nobody is to look for the fault at the route's upstream.
        let told = answer.message();
        assert!(told.starts_with(DOWNLOAD), "{told}");
    }
    stage.simulator.clear_scripts();
    stage.simulator.outage(DOWNLOAD);
    let answer = stage.get(CONTENT).await;
    assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
}

/// The answer to one piece, sent to the simulator where the address says that it is.
async fn put(stage: &Stage, path: &str, range: &str, piece: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (at, authority) = (stage.simulator.address(), stage.simulator.ca_pem());
    let shaken = shake(at, authority, &["http/1.1"], None).await;
    let mut stream = shaken.expect("hands are shaken");
    let length = piece.len();
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\nContent-Range: bytes {range}\r\n\r\n{piece}"
    );
    let sent = soon(stream.write_all(request.as_bytes())).await;
    sent.expect("it is taken");
    let mut answer = String::new();
    let read = soon(stream.read_to_string(&mut answer)).await;
    read.expect("an answer");
    answer
}

#[tokio::test]
async fn a_file_is_sent_in_pieces_to_where_its_session_says_and_past_this_proxy() {
    let stage = Stage::open().await;
    let own = format!("https://localhost:{}", stage.simulator.address().port());
    for session in SESSIONS {
        let lines = format!("POST {session} HTTP/1.1\nContent-Length: 0");
        let answer = stage.ask(&lines).await;
        assert!(
            (200..202).contains(&answer.status),
            "{session}: {}",
            answer.text()
        );
        let address = answer.json()["uploadUrl"].as_str().unwrap().to_owned();
        let path = address.strip_prefix(&own);
        let path = path.unwrap_or_else(|| panic!("{address} leads elsewhere"));
        let more = put(&stage, path, "0-3/10", "0123").await;
        assert!(more.starts_with("HTTP/1.1 202 "), "{more}");
        assert!(more.contains("\"nextExpectedRanges\":[\"4-\"]"), "{more}");
        let done = put(&stage, path, "4-9/10", "456789").await;
        assert!(done.starts_with("HTTP/1.1 201 "), "{done}");
    }
}
