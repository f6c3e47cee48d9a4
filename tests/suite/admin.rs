//! Metrics, probes and status.

use tokenferry::simulator::{Fault, LOGIN, Script, Simulator};

use crate::harness::caller::Caller;
use crate::harness::stage::Stage;
use crate::harness::{DYNAMICS_SCOPE, GRAPH_SCOPE, found, until};

/// A line of the page, without the quotes of its labels.
fn sample(line: &str) -> (&str, Vec<(&str, &str)>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split_terminator(',');
    let labels = labels.map(|label| label.split_once('=').expect("a label has a value"));
    let value = value.parse().expect("a value is a number");
    (name, labels.collect(), value)
}

#[tokio::test]
async fn what_happens_is_counted() {
    let stage = Stage::with("workers: 1\n").await;
    let graph = [("route", "graph")];
    stage.get("/graph/sim/bytes/1000").await.expect(200);
    let post = "POST /graph/sim/sink HTTP/1.1";
    let sunk = stage.ask_with(post, "x".repeat(500)).await.expect(200);
    let sunk = sunk.body.len() as f64;
    stage.get("/graph/sim/status/404").await;
    let throttled = stage.get("/graph/sim/status/429").await;
    assert_eq!(throttled.status, 429);
    stage.get("/nowhere").await.expect(404);
    stage.get("/graph/../x").await.expect(400);

    for line in [
        "tokenferry_requests_total{route=graph,method=GET,code=200} 1",
        "tokenferry_requests_total{route=graph,method=POST,code=200} 1",
        "tokenferry_requests_total{route=graph,method=GET,code=404} 1",
        "tokenferry_requests_total{route=graph} 4",
        "tokenferry_requests_total{code=400} 1",
        "tokenferry_request_duration_seconds_count{route=graph} 4",
        "tokenferry_upstream_response_seconds_count{route=graph} 4",
        "tokenferry_requests_in_flight{route=graph} 0",
        "tokenferry_request_bytes_total{route=graph} 500",
        "tokenferry_token_cache_hits_total{credential=contoso,scope=GRAPH} 4",
        "tokenferry_token_cache_misses_total{scope=GRAPH} 0",
        "tokenferry_token_cache_hits_total{scope=DYNAMICS} 0",
        "tokenferry_token_refreshes_total{scope=GRAPH,outcome=success} 1",
        "tokenferry_token_refresh_duration_seconds_count{scope=GRAPH} 1",
        "tokenferry_token_waiters 0",
        "tokenferry_upstream_throttled_total{route=graph} 1",
        "tokenferry_upstream_connections{route=graph,state=idle} 1",
        "tokenferry_upstream_connections{route=graph,state=active} 0",
        "tokenferry_refused_total{reason=noRoute} 1",
        "tokenferry_refused_total{reason=badRequest} 1",
        "tokenferry_config_last_reload_successful 1",
        "tokenferry_build_info 1",
    ] {
        let line = line.replace("GRAPH", GRAPH_SCOPE);
        let line = line.replace("DYNAMICS", DYNAMICS_SCOPE);
        let (name, labels, expected) = sample(&line);
        stage.becomes(name, &labels, expected).await;
    }
    let down = stage
        .number("tokenferry_response_bytes_total", &graph)
        .await;
    assert!(down >= 1000.0 + sunk, "{down}");
    let expiry = stage
        .number(
            "tokenferry_token_expiry_timestamp_seconds",
            &[("scope", GRAPH_SCOPE)],
        )
        .await;
    assert!(expiry > 1.7e9, "{expiry}");
    assert!(stage.number("process_resident_memory_bytes", &[]).await > 0.0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_processor_time_is_told_in_parts_of_a_second() {
    let stage = Stage::open().await;
    let before = stage.number("process_cpu_seconds_total", &[]).await;
    let after = stage.number("process_cpu_seconds_total", &[]).await;
    assert!(after > before, "a scrape takes time: {before}, {after}");
}

#[tokio::test]
async fn labels_come_from_closed_sets() {
    let stage = Stage::open().await;
    for line in [
        "FROBNICATE /graph/x HTTP/1.1",
        "GET /secret-path HTTP/1.1\nUser-Agent: canary",
    ] {
        stage.ask(&format!("{line}\nX-Canary: canary")).await;
    }
    let page = stage.ask_admin("GET /metrics HTTP/1.1").await.expect(200);
    assert!(page.field("content-type").starts_with("text/plain"));
    for word in ["FROBNICATE", "secret-path", "canary", "127.0.0.1"] {
        assert!(!page.text().contains(word), "{word}");
    }
}

#[tokio::test]
async fn readiness_waits_for_the_first_attempt_and_not_for_a_token() {
    let gate = tokenferry::simulator::Gate::new();
    let stage = Stage::cold("", |simulator| {
        simulator.script(Script::on(LOGIN, Fault::Hold(gate.clone())));
        simulator.script(Script::on(LOGIN, Fault::Entra(7_000_222)));
    })
    .await;
    let before = stage.ask_admin("GET /readyz HTTP/1.1").await.expect(503);
    assert_eq!(before.json()["waiting_for"][0], "tokens");
    stage.ask_admin("GET /livez HTTP/1.1").await.expect(200);
    gate.open();
    stage.attempted().await;
    until("it is ready", async || {
        stage.ask_admin("GET /readyz HTTP/1.1").await.status == 200
    })
    .await;
    let strict = stage
        .ask_admin("GET /readyz?tokens HTTP/1.1")
        .await
        .expect(503);
    let routes = strict.json()["routes"].clone();
    assert_eq!(routes[0]["route"], "graph");
    assert_eq!(routes[0]["token"], "rejected");
}

#[tokio::test]
async fn readiness_waits_for_the_slowest_of_several_tokens() {
    let gate = tokenferry::simulator::Gate::new();
    let stage = Stage::cold("", |simulator| {
        simulator.script(Script::on(LOGIN, Fault::Hold(gate.clone())).times(1));
    })
    .await;
    let body = found("one of them is there", async || {
        let answer = stage.ask_admin("GET /readyz?tokens HTTP/1.1").await;
        let body = answer.expect(503).json();
        let mut routes = body["routes"].as_array().expect("a list").iter();
        let is_there = routes.any(|route| route["token"] == "valid");
        is_there.then_some(body)
    })
    .await;
    assert_eq!(body["waiting_for"], serde_json::json!(["tokens"]));
    assert_eq!(body["tokens_served"], false);
    gate.open();
    until("both are there", async || {
        let answer = stage.ask_admin("GET /readyz?tokens HTTP/1.1").await;
        answer.status == 200
    })
    .await;
}

#[tokio::test]
async fn status_tells_programs_what_the_page_tells_people() {
    let stage = Stage::cold("", Simulator::expire_client_secrets).await;
    stage.attempted().await;
    stage.get("/graph/v1.0/users").await.expect(502);
    let status = stage
        .ask_admin("GET /status.json HTTP/1.1")
        .await
        .expect(200)
        .json();
    assert_eq!(status["routes"][0]["name"], "graph");
    assert_eq!(status["routes"][0]["requests"], 1);
    assert_eq!(status["refused"]["tokenRejected"], 1);
    let failure = status["tokens"][0]["failure"]["message"].as_str().unwrap();
    assert!(failure.contains("AADSTS7000222"), "{failure}");
    let page = stage.ask_admin("GET / HTTP/1.1").await.expect(200).text();
    assert!(page.contains("AADSTS7000222"));

    // Once it is over, it is told as that.
    let secret = stage.simulator.add_client_secret();
    // Not seen before it is whole, which would be another failure.
    let new = stage.folder().join("new");
    std::fs::write(&new, secret.expose()).unwrap();
    std::fs::rename(new, stage.folder().join("secret")).unwrap();
    let token = found("a token comes", || async {
        let answer = stage.ask_admin("GET /status.json HTTP/1.1").await;
        let token = answer.json()["tokens"][0].clone();
        (token["state"] == "valid").then_some(token)
    })
    .await;
    assert!(token["failure"].is_null(), "{token}");
    let past = &token["past_failure"];
    assert_eq!(past["message"], failure);
    assert_eq!(past["over_at"], token["renewed_at"]);
    let page = stage.ask_admin("GET / HTTP/1.1").await.expect(200).text();
    assert!(page.contains("Over for "), "{page}");
}

#[tokio::test]
async fn an_address_has_so_many_connections_to_the_admin_listener_and_all_keep_nobody_away() {
    let stage = Stage::open().await;
    let mut callers = Vec::new();
    for _ in 0..48 {
        let mut caller = Caller::connect(stage.admin()).await;
        caller.exchange("GET /livez HTTP/1.1").await.expect(200);
        callers.push(caller);
    }
    Caller::connect(stage.admin()).await.expect_close().await;
    // Sixteen are left for others.
    #[cfg(target_os = "linux")]
    {
        for _ in 0..16 {
            let mut caller = Caller::neighbour(stage.admin()).await;
            caller.exchange("GET /livez HTTP/1.1").await.expect(200);
            callers.push(caller);
        }
        // All places are taken: whoever comes next has that of the one that was asked longest ago.
        callers[0].exchange("GET /livez HTTP/1.1").await.expect(200);
        let probe = Caller::neighbour(stage.admin()).await;
        callers.push(probe);
        let probe = callers.last_mut().unwrap();
        probe.exchange("GET /livez HTTP/1.1").await.expect(200);
        callers[1].expect_close().await;
        callers[0].exchange("GET /livez HTTP/1.1").await.expect(200);
    }
    drop(callers);
    until("the places are free again", async || {
        let mut caller = Caller::connect(stage.admin()).await;
        let sent = caller.try_send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if sent.await.is_err() {
            return false;
        }
        !caller.some().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn probes_that_have_gone_take_no_place_from_a_scraper_that_is_idle() {
    let stage = Stage::open().await;
    let mut scraper = Caller::connect(stage.admin()).await;
    scraper.exchange("GET /metrics HTTP/1.1").await.expect(200);
    // More than may be open at once.
    for _ in 0..70 {
        let mut probe = Caller::connect(stage.admin()).await;
        let answer = probe.exchange("GET /livez HTTP/1.1\nConnection: close");
        answer.await.expect(200);
        probe.expect_close().await;
    }
    scraper.exchange("GET /metrics HTTP/1.1").await.expect(200);
}

#[tokio::test]
async fn the_data_listener_has_no_admin_pages() {
    let stage = Stage::open().await;
    for target in ["/metrics", "/livez", "/readyz", "/status.json", "/"] {
        stage.get(target).await.expect(404);
    }
}
