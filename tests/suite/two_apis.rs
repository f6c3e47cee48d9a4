//! The scenario that started it: one program calls Graph and Dynamics, and somebody else does the
//! OAuth.

use serde_json::{Value, json};
use tokenferry::simulator::{GRAPH, LOGIN, ORGANISATION, Seen};

use crate::harness::stage::Stage;
use crate::harness::{found, until};

/// The token that a request went up with.
fn token(seen: &Seen) -> String {
    let all = seen.header_values("authorization");
    assert_eq!(all.len(), 1, "{all:?}");
    let token = all[0]
        .strip_prefix("Bearer ")
        .expect("it is a bearer token");
    token.to_owned()
}

/// The token of the last request to a host.
fn last_token(stage: &Stage, host: &str) -> String {
    let last = stage.sent_to(host).pop();
    token(&last.expect("a request went there"))
}

#[tokio::test]
async fn one_program_calls_graph_and_dynamics_without_any_oauth_code() {
    let stage = Stage::open().await;
    let users = stage.get("/graph/v1.0/users?$top=2").await.expect(200);
    assert_eq!(users.json()["value"].as_array().unwrap().len(), 2);
    let accounts = stage.get("/dynamics/api/data/v9.2/accounts?$select=name");
    let accounts = accounts.await.expect(200).json();
    assert!(!accounts["value"].as_array().unwrap().is_empty());

    let (graph, dynamics) = (last_token(&stage, GRAPH), last_token(&stage, ORGANISATION));
    assert_ne!(graph, dynamics, "each scope has a token of its own");
    for _ in 0..3 {
        stage.get("/graph/v1.0/users?$top=1").await.expect(200);
        stage
            .get("/dynamics/api/data/v9.2/accounts?$top=1")
            .await
            .expect(200);
    }
    assert_eq!(last_token(&stage, GRAPH), graph, "and keeps it");
    assert_eq!(last_token(&stage, ORGANISATION), dynamics);
    assert_eq!(stage.simulator.token_calls(), 2);
}

#[tokio::test]
async fn a_token_that_expires_is_renewed_without_the_caller_noticing() {
    let stage = Stage::cold("", |simulator| {
        // Usable for 1.8 s; the renewal is due before that.
        simulator.patch_token_reply(json!({"expires_in": 2}));
    })
    .await;
    stage.attempted().await;
    let first = stage.get("/graph/v1.0/users?$top=1").await.expect(200);
    drop(first);
    let before = last_token(&stage, GRAPH);
    stage.simulator.patch_token_reply(Value::Null);
    let after = found("another token is used", || async {
        let answer = stage.get("/graph/v1.0/users?$top=1").await;
        answer.expect(200);
        let token = last_token(&stage, GRAPH);
        (token != before).then_some(token)
    })
    .await;
    assert_ne!(after, before);
}

#[tokio::test]
async fn renewing_one_scope_leaves_the_others_token_alone() {
    let stage = Stage::cold("", |simulator| {
        simulator.patch_token_reply(json!({"expires_in": 2, "refresh_in": 1}));
    })
    .await;
    stage.attempted().await;
    // From here on tokens live for an hour: each scope is renewed once.
    stage
        .simulator
        .patch_token_reply(json!({"expires_in": 3600}));
    // However often before: a busy machine may have taken longer than a token lived.
    until("both were renewed", async || {
        let status = stage.ask_admin("GET /status.json HTTP/1.1").await.json();
        let tokens = status["tokens"].as_array().expect("they are listed");
        let left = |token: &Value| token["expires_in_seconds"].as_i64();
        tokens.iter().all(|token| left(token) > Some(60))
    })
    .await;
    stage.get("/graph/v1.0/users?$top=1").await.expect(200);
    let target = "/dynamics/api/data/v9.2/accounts?$top=1";
    stage.get(target).await.expect(200);
    let (graph, dynamics) = (last_token(&stage, GRAPH), last_token(&stage, ORGANISATION));
    let calls = stage.simulator.token_calls();
    stage.get("/graph/v1.0/users?$top=1").await.expect(200);
    stage.get(target).await.expect(200);
    assert_eq!(last_token(&stage, GRAPH), graph);
    assert_eq!(last_token(&stage, ORGANISATION), dynamics);
    assert_eq!(stage.simulator.token_calls(), calls);
}

#[tokio::test]
async fn a_failing_identity_service_gives_a_clear_error_and_ends_nothing() {
    let stage = Stage::cold("", |simulator| simulator.outage(LOGIN)).await;
    stage.attempted().await;
    for target in ["/graph/v1.0/users", "/dynamics/api/data/v9.2/accounts"] {
        let answer = stage.get(target).await.expect(503);
        assert_eq!(answer.code(), "tokenUnavailable");
        let after: u64 = answer.field("retry-after").parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
        assert!(answer.message().contains(LOGIN), "{}", answer.message());
    }
    let forwarded = stage.arrivals(GRAPH) + stage.arrivals(ORGANISATION);
    assert_eq!(forwarded, 0, "without a token nothing is forwarded");
    stage.ask_admin("GET /livez HTTP/1.1").await.expect(200);
    stage.ask_admin("GET /readyz HTTP/1.1").await.expect(200);

    stage.simulator.recover(LOGIN);
    until("it works again", async || {
        let answer = stage.get("/graph/v1.0/users?$top=1").await;
        answer.status == 200
    })
    .await;
}
