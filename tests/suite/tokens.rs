//! The token cache, as callers and the identity service see it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokenferry::simulator::{CLIENT_ID, Fault, GRAPH, Gate, LOGIN, Script, Simulator, TENANT_ID};
use tokio::task::JoinSet;

use crate::harness::program::Program;
use crate::harness::stage::Stage;
use crate::harness::{GRAPH_SCOPE, soon, until};

const GRAPH_ONLY: &str =
    "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: 2}]\n";

/// Sends many requests at once that find the cache cold; returns their statuses and bodies once
/// `go` has let the identity service answer.
async fn stampede(
    stage: &Stage,
    connections: usize,
    streams: usize,
    go: &Gate,
) -> Vec<(u16, String)> {
    let mut requests = JoinSet::new();
    for connection in 1..=connections {
        let caller = stage.caller2().await;
        for _ in 0..streams {
            let caller = caller.clone();
            requests.spawn(async move {
                let answer = caller.get_patiently("/graph/sim/bytes/1").await;
                let answer = answer.expect("there is an answer");
                (answer.status, answer.text())
            });
        }
        // A busy machine takes its time for all of them, but not for each.
        let waiting = (connection * streams) as f64;
        stage
            .becomes(
                "tokenferry_token_waiters",
                &[("scope", GRAPH_SCOPE)],
                waiting,
            )
            .await;
    }
    go.open();
    let mut answers = Vec::new();
    while let Some(answer) = soon(requests.join_next()).await {
        answers.push(answer.expect("no request panics"));
    }
    answers
}

#[tokio::test]
async fn ten_thousand_requests_that_find_the_cache_cold_cause_one_token_call() {
    let gate = Gate::new();
    // A busy machine may need longer than anybody waits.
    let own = format!(
        "limits: {{in_flight: 12000}}\ntimeouts: {{token_wait: 60s, connect: 60s}}\n{GRAPH_ONLY}"
    );
    let stage = Stage::cold(&own, |simulator| {
        simulator.record(false);
        simulator.script(Script::on(LOGIN, Fault::Hold(gate.clone())));
    })
    .await;
    let answers = stampede(&stage, 100, 100, &gate).await;
    assert_eq!(answers.len(), 10_000);
    let failed = answers.iter().find(|(status, _)| *status != 200);
    assert_eq!(failed, None);
    assert_eq!(stage.simulator.token_calls(), 1);
    let labels = [("scope", GRAPH_SCOPE)];
    let misses = stage.number("tokenferry_token_cache_misses_total", &labels);
    assert_eq!(misses.await, 10_000.0);
}

#[tokio::test]
async fn those_who_wait_share_a_failure_too() {
    let gate = Gate::new();
    let stage = Stage::cold(GRAPH_ONLY, |simulator| {
        simulator.script(Script::on(LOGIN, Fault::Hold(gate.clone())));
        simulator.script(Script::on(LOGIN, Fault::Entra(7_000_215)));
    })
    .await;
    let answers = stampede(&stage, 10, 50, &gate).await;
    for (status, text) in answers {
        assert_eq!(status, 502);
        assert!(text.contains("AADSTS7000215"), "{text}");
    }
    assert_eq!(stage.simulator.token_calls(), 1);
}

#[tokio::test]
async fn what_is_not_forwarded_is_neither_a_hit_nor_a_miss() {
    let gate = Gate::new();
    let stage = Stage::cold(GRAPH_ONLY, |simulator| {
        simulator.script(Script::on(LOGIN, Fault::Hold(gate.clone())));
        simulator.script(Script::on(LOGIN, Fault::Entra(7_000_215)));
    })
    .await;
    let in_flight = "tokenferry_requests_in_flight";
    let labels = [("route", "graph")];
    let mut left = stage.caller().await;
    left.ask("GET /graph/sim/bytes/1 HTTP/1.1\nclient-request-id: left")
        .await;
    stage.becomes(in_flight, &labels, 1.0).await;
    drop(left);
    stage.becomes(in_flight, &labels, 0.0).await;
    let mut waits = stage.caller().await;
    waits
        .ask("GET /graph/sim/bytes/1 HTTP/1.1\nclient-request-id: waits")
        .await;
    stage.becomes(in_flight, &labels, 1.0).await;
    gate.open();
    waits.answer("GET").await.expect(502);
    let lines = "GET /graph/sim/bytes/1 HTTP/1.1\nclient-request-id: told-at-once";
    stage.ask(lines).await.expect(502);
    for name in ["hits", "misses"] {
        let name = format!("tokenferry_token_cache_{name}_total");
        let labels = [("scope", GRAPH_SCOPE)];
        assert_eq!(stage.number(&name, &labels).await, 0.0, "{name}");
    }
    for (id, token) in [("left", "wait"), ("waits", "wait")] {
        let line = stage.log.with("/request_id", id).await;
        assert_eq!(line["token"], token);
    }
    let line = stage.log.with("/request_id", "told-at-once").await;
    assert!(line.get("token").is_none(), "{line}");
}

#[tokio::test]
async fn an_outage_between_two_tokens_is_noticed_by_nobody() {
    let mut usable_until = Instant::now();
    let stage = Stage::cold("", |simulator| {
        simulator.patch_token_reply(json!({"expires_in": 8}));
        // Usable for 7.2 s from the call, which is still to come; the next call is due after 6.4 s.
        usable_until = Instant::now() + Duration::from_millis(7200);
    })
    .await;
    stage.attempted().await;
    stage.simulator.outage(LOGIN);
    let labels = [("scope", GRAPH_SCOPE), ("outcome", "unavailable")];
    let failures = "tokenferry_token_refreshes_total";
    let mut requests = 0.0;
    let mut caller = stage.caller().await;
    while Instant::now() < usable_until {
        let failed = stage.number(failures, &labels).await > 0.0;
        let answer = caller.exchange("GET /graph/sim/bytes/1 HTTP/1.1").await;
        // A busy machine may have taken the time that was left.
        if answer.status != 200 {
            assert!(Instant::now() >= usable_until, "{}", answer.text());
            break;
        }
        requests += 1.0;
        if failed {
            break;
        }
    }
    assert!(requests > 0.0, "the token was there");
    let found = "tokenferry_token_cache_hits_total";
    let hits = stage.number(found, &[("scope", GRAPH_SCOPE)]).await;
    assert_eq!(hits, requests);
    until("the outage was real", async || {
        stage.number(failures, &labels).await > 0.0
    })
    .await;
}

#[tokio::test]
async fn a_refused_credential_is_a_502_that_says_what_to_change() {
    let stage = Stage::cold("", Simulator::expire_client_secrets).await;
    let answer = stage.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (502, "tokenRejected".to_owned()));
    let message = answer.message();
    assert!(message.contains("AADSTS7000222"), "{message}");
    assert!(message.to_lowercase().contains("trace"), "{message}");
    let words = message.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    assert!(
        words.filter(|word| word.len() == 36).count() >= 1,
        "{message}"
    );
    // The other scope's call is on its way, too.
    stage.attempted().await;
    let calls = stage.simulator.token_calls();
    for _ in 0..5 {
        stage.get("/graph/v1.0/users").await.expect(502);
    }
    assert_eq!(
        stage.simulator.token_calls(),
        calls,
        "and is not asked again for a minute"
    );
}

#[tokio::test]
async fn the_log_says_why_a_request_had_no_token() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    simulator.script(Script::on(LOGIN, Fault::Entra(7_000_222)));
    let program = Program::within(simulator, "", &[]).await;
    program.get("/graph/v1.0/users").await.expect(502);
    let line = |line: &str| line.contains("request refused").then(|| line.to_owned());
    let line = program.err.find("the refusal", line).await;
    assert!(line.contains("AADSTS7000222"), "{line}");
}

#[tokio::test]
async fn a_new_secret_in_the_file_is_tried_at_once() {
    let stage = Stage::cold("", Simulator::expire_client_secrets).await;
    stage.get("/graph/v1.0/users").await.expect(502);
    let secret = stage.simulator.add_client_secret();
    std::fs::write(stage.folder().join("secret"), secret.expose()).unwrap();
    until("the new secret is used", async || {
        let answer = stage.get("/graph/v1.0/users?$top=1").await;
        answer.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_throttled_identity_service_is_a_503_that_says_when() {
    let stage = Stage::cold("", |simulator| {
        let fault = Fault::Answer {
            status: http::StatusCode::TOO_MANY_REQUESTS,
            headers: vec![("retry-after".into(), "60".into())],
            body: Vec::new(),
        };
        simulator.script(Script::on(LOGIN, fault));
    })
    .await;
    stage.attempted().await;
    let answer = stage.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (503, "tokenUnavailable".to_owned()));
    let after: u64 = answer.field("retry-after").parse().unwrap();
    assert!((30..=65).contains(&after), "{after}");
    let labels = [("outcome", "throttled")];
    assert_eq!(
        stage
            .number("tokenferry_token_refreshes_total", &labels)
            .await,
        2.0
    );
    assert_eq!(stage.simulator.token_calls(), 2, "one for each scope");
}

#[tokio::test]
async fn tokens_come_back_without_a_request() {
    let stage = Stage::cold("", |simulator| simulator.outage(LOGIN)).await;
    stage.attempted().await;
    stage.simulator.recover(LOGIN);
    let labels = [("outcome", "success")];
    stage
        .becomes("tokenferry_token_refreshes_total", &labels, 2.0)
        .await;
    stage.get("/graph/v1.0/users?$top=1").await.expect(200);
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_an_error_and_not_a_token() {
    let expired = "{\"access_token\":\"x\",\"token_type\":\"Bearer\",\"expires_in\":0}";
    // All at once: what takes long is the pause before the next call.
    let cases = [
        ("", "malformed"),
        ("<html>", "malformed"),
        ("{}", "malformed"),
        ("{\"access_token\":\"\"}", "malformed"),
        ("[]", "malformed"),
        ("null", "malformed"),
        (expired, "unavailable"),
    ];
    let each = cases.map(|(body, outcome)| async move {
        let stage = Stage::cold(GRAPH_ONLY, |simulator| {
            let fault = Fault::Answer {
                status: http::StatusCode::OK,
                headers: vec![("content-type".into(), "application/json".into())],
                body: body.into(),
            };
            simulator.script(Script::on(LOGIN, fault).times(1));
        })
        .await;
        stage.attempted().await;
        let labels = [("outcome", outcome)];
        let counted = stage
            .number("tokenferry_token_refreshes_total", &labels)
            .await;
        assert_eq!(counted, 1.0, "{body}");
        until("the next call succeeds", async || {
            let answer = stage.get("/graph/v1.0/users?$top=1").await;
            answer.status == 200
        })
        .await;
    });
    join_all(each).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_only_itself() {
    let gate = Gate::new();
    let stage = Stage::cold(GRAPH_ONLY, |simulator| {
        simulator.script(Script::on(LOGIN, Fault::Hold(gate.clone())));
    })
    .await;
    let mut leaving = stage.caller().await;
    leaving.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
    let mut staying = stage.caller().await;
    staying.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
    let labels = [("scope", GRAPH_SCOPE)];
    stage
        .becomes("tokenferry_token_waiters", &labels, 2.0)
        .await;
    drop(leaving);
    stage
        .becomes("tokenferry_token_waiters", &labels, 1.0)
        .await;
    gate.open();
    staying.answer("GET").await.expect(200);
    assert_eq!(stage.simulator.token_calls(), 1);
}

#[tokio::test]
async fn routes_that_agree_share_a_token() {
    let stage = Stage::with(
        "\
routes:
  - {name: one, path: /one, upstream: 'https://GRAPH'}
  - {name: two, path: /two, upstream: 'https://GRAPH/v1.0'}
  - {name: three, path: /three, upstream: 'https://contoso.api.crm.dynamics.com', scope: 'https://ORGANISATION/.default'}
  - {name: four, path: /four, upstream: 'https://ORGANISATION'}
",
    )
    .await;
    assert_eq!(stage.simulator.token_calls(), 2);
}

#[tokio::test]
async fn credentials_that_write_one_identity_in_two_ways_share_its_token() {
    let capitals = |guid: &str| guid.to_uppercase();
    let stage = Stage::with(&format!(
        "\
credentials:
  one: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret_file: SECRET_FILE}}
  two: {{tenant_id: {}, client_id: {}, client_secret_file: SECRET_FILE}}
routes:
  - {{name: one, path: /one, upstream: 'https://GRAPH', credential: one}}
  - {{name: two, path: /two, upstream: 'https://GRAPH', credential: two}}
",
        capitals(TENANT_ID),
        capitals(CLIENT_ID),
    ))
    .await;
    for route in ["/one", "/two"] {
        stage.get(&format!("{route}/sim/bytes/1")).await.expect(200);
    }
    assert_eq!(stage.simulator.token_calls(), 1);
}

#[tokio::test]
async fn lifetimes_are_read_in_every_form_they_come_in() {
    for reply in [
        json!({"expires_in": "3599"}),
        json!({"expires_in": 3599.5}),
        json!({"expires_in": null, "expires_on": "4102444800"}),
        json!({"expires_in": null}),
        json!({"expires_in": 99_999_999_999_u64}),
        json!({"expires_in": 3599, "refresh_in": "never"}),
    ] {
        let stage = Stage::cold(GRAPH_ONLY, |simulator| {
            simulator.patch_token_reply(reply.clone());
        })
        .await;
        let answer = stage.get("/graph/sim/bytes/1").await;
        assert_eq!(answer.status, 200, "{reply}: {}", answer.text());
        assert_eq!(stage.simulator.token_calls(), 1, "{reply}");
    }
}

#[tokio::test]
async fn a_request_that_waits_for_a_token_has_its_body_to_send_after_it() {
    let gate = Gate::new();
    let stage = Stage::cold(GRAPH_ONLY, |simulator| {
        simulator.script(Script::on(LOGIN, Fault::Hold(gate.clone())));
    })
    .await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 5")
        .await;
    caller.send("hello").await;
    stage.becomes("tokenferry_token_waiters", &[], 1.0).await;
    assert_eq!(stage.arrivals(GRAPH), 0);
    gate.open();
    assert_eq!(caller.answer("POST").await.expect(200).json()["length"], 5);
}
