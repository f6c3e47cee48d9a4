//! Claims challenges (continuous access evaluation): the token that is asked for, and what a caller is
//! told while there is none.

use serde_json::{Value, json};
use tokenferry::simulator::{CLIENT_ID, Fault, GRAPH, Gate, LOGIN, Script, TENANT_ID};

use crate::challenges::post;
use crate::harness::stage::Stage;
use crate::harness::until;

const REFRESHES: &str = "tokenferry_token_refreshes_total";
const RETRIES: &str = "tokenferry_upstream_retries_total";

#[tokio::test]
async fn a_claims_challenge_is_answered_with_a_token_that_carries_the_claims() {
    let stage = Stage::open().await;
    let claims = json!({"access_token": {"nbf": {"essential": true, "value": "1893456000"}}});
    stage.simulator.demand_claims(GRAPH, Some(claims));
    let answer = post(&stage, "/graph/sim/sink", "text/plain", b"hello").await;
    answer.expect(200);
    let calls = stage
        .simulator
        .seen()
        .into_iter()
        .filter(|seen| seen.host == LOGIN);
    let last = calls.last().unwrap().text();
    assert!(
        last.contains("claims=") && last.contains("1893456000"),
        "{last}"
    );
    let labels = [("route", "graph"), ("reason", "challenge")];
    assert_eq!(stage.number(RETRIES, &labels).await, 1.0);
    stage.get("/graph/sim/bytes/1").await.expect(200);
    assert_eq!(
        stage.number(RETRIES, &labels).await,
        1.0,
        "the new token is cached"
    );
}

#[tokio::test]
async fn a_token_that_came_before_the_challenge_is_not_taken_for_one_with_the_claims() {
    let stage = Stage::cold("", |simulator| {
        simulator.patch_token_reply(json!({"expires_in": 3}));
    })
    .await;
    stage.attempted().await;
    let claims = json!({"access_token": {"nbf": {"essential": true, "value": "1893456000"}}});
    stage.simulator.demand_claims(GRAPH, Some(claims));
    let gate = Gate::new();
    let hold = Fault::Hold(gate.clone());
    stage.simulator.script(Script::on(GRAPH, hold).times(1));
    let mut caller = stage.caller().await;
    caller.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
    stage.arrive(1, "/sim/").await;
    let labels = [("scope", "https://graph.microsoft.com/.default")];
    let calls = stage.number(REFRESHES, &labels).await;
    stage.simulator.patch_token_reply(Value::Null);
    let renewed = async || stage.number(REFRESHES, &labels).await > calls;
    until("its token is renewed", renewed).await;
    gate.open();
    caller.answer("GET").await.expect(200);
}

/// The claims of every token call so far.
fn claims_asked_for(stage: &Stage) -> Vec<Value> {
    let calls = stage.simulator.seen().into_iter();
    let calls = calls.filter(|seen| seen.host == LOGIN && seen.method == "POST");
    let claims = calls.map(|seen| {
        let text = seen.text();
        let mut fields = url::form_urlencoded::parse(text.as_bytes());
        let claims = fields.find(|(name, _)| name == "claims");
        claims.map_or(Value::Null, |(_, text)| {
            serde_json::from_str(&text).expect("claims are JSON")
        })
    });
    claims.collect()
}

#[tokio::test]
async fn claims_that_are_demanded_join_the_declared_capability() {
    let own = format!(
        "credentials:\n  contoso: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret_file: SECRET_FILE, continuous_access: true}}\n"
    );
    let stage = Stage::with(&own).await;
    let capability = json!({"access_token": {"xms_cc": {"values": ["cp1"]}}});
    let asked = claims_asked_for(&stage);
    assert!(!asked.is_empty() && asked.iter().all(|claims| *claims == capability));

    let nbf = json!({"essential": true, "value": "1893456000"});
    stage
        .simulator
        .demand_claims(GRAPH, Some(json!({"access_token": {"nbf": nbf}})));
    stage.get("/graph/sim/bytes/1").await.expect(200);
    let merged = json!({"access_token": {"nbf": nbf, "xms_cc": {"values": ["cp1"]}}});
    assert_eq!(claims_asked_for(&stage)[asked.len()..], [merged]);
    assert_eq!(stage.arrivals("/sim/bytes"), 2, "it is replayed once");

    // A demand that names the capability itself, beside another one, loses neither.
    let stage = Stage::with(&own).await;
    let asked = claims_asked_for(&stage).len();
    let demand = json!({"access_token": {"xms_cc": {"values": ["cp2"]}}});
    stage.simulator.demand_claims(GRAPH, Some(demand));
    stage.get("/graph/sim/bytes/1").await.expect(200);
    let merged = json!({"access_token": {"xms_cc": {"values": ["cp2", "cp1"]}}});
    assert_eq!(claims_asked_for(&stage)[asked..], [merged]);
}

#[tokio::test]
async fn claims_that_are_asked_for_a_moment_after_a_renewal_are_told_as_that() {
    let stage = Stage::open().await;
    let plain = [("www-authenticate", "Bearer realm=\"\"")];
    let first = Fault::answer(401, &plain, "");
    stage
        .simulator
        .script(Script::on(GRAPH, first).under("/sim/odd").times(1));
    let asks = "Bearer error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnt9fQ==\"";
    let then = Fault::answer(401, &[("www-authenticate", asks)], "");
    stage
        .simulator
        .script(Script::on(GRAPH, then).under("/sim/odd"));
    for _ in 0..2 {
        let answer = stage.get("/graph/sim/odd").await;
        assert_eq!(answer.refusal(), (502, "tokenRefused".to_owned()));
        let message = answer.message();
        assert!(message.contains("asks for claims"), "{message}");
    }
    let answer = stage.get("/graph/sim/odd").await;
    let wait: u64 = answer.field("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert!(answer.message().contains("when Retry-After has passed"));
    let event = stage.log.with("/code", "tokenRefused").await;
    assert_eq!(event["status"], 502);
}

#[tokio::test]
async fn claims_that_a_token_just_got_does_not_satisfy_are_not_asked_for_again() {
    let stage = Stage::open().await;
    let asks = "Bearer error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnt9fQ==\"";
    let always = Fault::answer(401, &[("www-authenticate", asks)], "");
    let script = Script::on(GRAPH, always).under("/sim/odd");
    stage.simulator.script(script);
    let before = claims_asked_for(&stage).len();
    let answer = stage.get("/graph/sim/odd").await;
    assert_eq!(answer.refusal(), (502, "tokenRefused".to_owned()));
    let message = answer.message();
    assert!(message.contains("fetched just now"), "{message}");
    assert_eq!(answer.field("retry-after"), "", "waiting does not help");
    assert_eq!(claims_asked_for(&stage).len(), before + 1);
    assert_eq!(stage.arrivals("/sim/odd"), 2);
}

#[tokio::test]
async fn claims_that_entra_does_not_give_now_are_told_as_that_and_other_refusals_renew() {
    let stage = Stage::open().await;
    let claims = json!({"access_token": {"nbf": {"essential": true, "value": "1893456000"}}});
    stage.simulator.demand_claims(GRAPH, Some(claims));
    let outage = Fault::answer(503, &[], "");
    stage.simulator.script(Script::on(LOGIN, outage).times(1));
    for _ in 0..2 {
        let answer = stage.get("/graph/sim/bytes/1").await;
        assert_eq!(answer.refusal(), (503, "tokenUnavailable".to_owned()));
        let wait: u64 = answer.field("retry-after").parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    }
    let status = stage.ask_admin("GET /status.json HTTP/1.1").await.json();
    let failing = |token: &Value| token["failure"].is_object() && token["state"] == "valid";
    assert!(
        status["tokens"].as_array().unwrap().iter().any(failing),
        "{status}"
    );
    stage.simulator.demand_claims(GRAPH, None);
    let plain = Fault::answer(401, &[("www-authenticate", "Bearer realm=\"\"")], "");
    stage
        .simulator
        .script(Script::on(GRAPH, plain).under("/sim/bytes").times(1));
    stage.get("/graph/sim/bytes/1").await.expect(200);
}
