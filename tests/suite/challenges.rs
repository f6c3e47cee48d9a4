//! What happens when an upstream refuses a token: one renewal for everybody, one replay, and never a
//! 401 for the caller.

use serde_json::json;
use tokenferry::simulator::{Ending, Fault, GRAPH, Gate, LOGIN, ORGANISATION, Script, Seen};

use crate::harness::answer::Answer;
use crate::harness::caller::Caller;
use crate::harness::stage::Stage;
use crate::harness::{soon, until};
use crate::retry_pauses::ask;

const RETRIES: &str = "tokenferry_upstream_retries_total";

pub(crate) fn refused(text: &str) -> Fault {
    let headers = [
        ("content-type", "application/json"),
        ("request-id", "upstream-id-7"),
        ("www-authenticate", "Bearer realm=\"\""),
    ];
    let error = json!({"code": "InvalidAuthenticationToken", "message": text});
    Fault::answer(401, &headers, json!({"error": error}).to_string())
}

pub(crate) fn is_refused(answer: &Answer, part: &str) {
    assert_eq!(answer.refusal(), (502, "tokenRefused".to_owned()));
    assert!(answer.message().contains(part), "{}", answer.message());
}

/// A POST of a body with its length.
pub(crate) async fn post(stage: &Stage, path: &str, kind: &str, body: &[u8]) -> Answer {
    let lines = format!("POST {path} HTTP/1.1\nContent-Type: {kind}");
    stage.ask_with(&lines, body).await
}

#[tokio::test]
async fn a_body_of_as_much_as_is_kept_is_sent_again_and_one_byte_more_is_not() {
    let stage = Stage::with("workers: 1\n").await;
    for (length, status) in [(65_536, 200), (65_537, 502)] {
        stage
            .simulator
            .script(Script::on(GRAPH, refused("no")).times(1));
        let mut caller = stage.caller().await;
        caller
            .ask(&format!(
                "POST /graph/sim/sink HTTP/1.1\nContent-Length: {length}"
            ))
            .await;
        caller.send(vec![b'x'; length]).await;
        assert_eq!(caller.answer("POST").await.status, status, "{length}");
    }
}

#[tokio::test]
async fn a_refusal_whose_text_does_not_end_is_not_waited_for() {
    let stage = Stage::open().await;
    let head = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n{";
    let silent = Fault::Raw(head.into(), Ending::Hang);
    stage.simulator.script(Script::on(GRAPH, silent).times(1));
    stage.get("/graph/sim/bytes/1").await.expect(200);
}

#[tokio::test]
async fn a_revoked_token_costs_the_caller_nothing_but_time() {
    let stage = Stage::open().await;
    for method in ["GET", "HEAD", "DELETE"] {
        // A renewal is forced at most every 30 s, so each method has a proxy of its own.
        let stage = if method == "GET" {
            &stage
        } else {
            &Stage::open().await
        };
        let calls = stage.simulator.token_calls();
        stage.simulator.revoke_tokens(None);
        let answer = stage
            .ask(&format!("{method} /graph/sim/status/200 HTTP/1.1"))
            .await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(stage.simulator.token_calls(), calls + 1);
        assert_eq!(stage.arrivals("/sim/"), 2);
        let labels = [("route", "graph"), ("reason", "token")];
        assert_eq!(stage.number(RETRIES, &labels).await, 1.0);
    }
}

#[tokio::test]
async fn a_refusal_inside_a_batch_renews_the_token_for_the_next_request() {
    let json = r#"{"responses":[{"id":"1","status":200},{"id":"2","status":401,"body":{}}]}"#;
    let part = "--b\r\nContent-Type: application/http\r\n\r\n";
    let multipart = format!("{part}HTTP/1.1 401 Unauthorized\r\n\r\n\r\n--b--\r\n");
    let kind = "multipart/mixed; boundary=b";
    let operation = "GET /v1.0/x HTTP/1.1\r\n\r\n\r\n";
    for (asked_as, asked, kind, body) in [
        (
            "application/json",
            r#"{"requests":[{"id":"1","method":"GET","url":"/x"}]}"#.to_owned(),
            "application/json",
            json,
        ),
        (
            kind,
            format!("{part}{operation}--b--\r\n"),
            kind,
            &multipart,
        ),
    ] {
        let stage = Stage::open().await;
        let calls = stage.simulator.token_calls();
        let fault = Fault::answer(200, &[("content-type", kind)], body);
        stage
            .simulator
            .script(Script::on(GRAPH, fault).under("/v1.0/$batch"));
        for _ in 0..3 {
            let answer = post(&stage, "/graph/v1.0/$batch", asked_as, asked.as_bytes()).await;
            assert_eq!(answer.expect(200).text(), body);
        }
        until("there is another token", async || {
            stage.simulator.token_calls() > calls
        })
        .await;
        // At most one every 30 s.
        assert_eq!(stage.simulator.token_calls(), calls + 1);
        let used = |seen: &Seen| seen.header("authorization");
        until("it is used", async || {
            stage.get("/graph/sim/bytes/1").await.expect(200);
            let first = stage.sent_to("/v1.0/$batch").first().and_then(used);
            let last = stage.sent_to("/sim/bytes").last().and_then(used);
            first != last
        })
        .await;
        let labels = [("route", "graph")];
        assert_eq!(stage.number(RETRIES, &labels).await, 0.0);
    }
}

#[tokio::test]
async fn a_burst_of_refusals_costs_one_call() {
    let stage = Stage::with("workers: 2\n").await;
    let calls = stage.simulator.token_calls();
    let gate = Gate::new();
    stage.simulator.script(
        Script::on(GRAPH, Fault::Hold(gate.clone()))
            .under("/sim/bytes")
            .times(100),
    );
    let mut asked = tokio::task::JoinSet::new();
    let address = stage.address();
    for _ in 0..100 {
        asked.spawn(async move {
            let mut caller = Caller::connect(address).await;
            caller
                .exchange("GET /graph/sim/bytes/3 HTTP/1.1")
                .await
                .status
        });
    }
    stage.arrive(100, "/sim/").await;
    stage.simulator.revoke_tokens(None);
    stage.simulator.script(
        Script::on(GRAPH, refused("late"))
            .under("/sim/bytes")
            .times(0),
    );
    gate.open();
    while let Some(status) = soon(asked.join_next()).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(stage.simulator.token_calls(), calls + 1);
}

#[tokio::test]
async fn the_upstreams_reason_is_told_in_whatever_form_it_comes() {
    let stage = Stage::open().await;
    let headers = [
        ("content-type", "application/json"),
        (
            "x-ms-diagnostics",
            "3001000;reason=\"There has been an error.\";category=\"invalid_client\"",
        ),
        (
            "www-authenticate",
            "Bearer authorization_uri=https://l.example/x, resource_id=https://other.example/",
        ),
    ];
    let body = r#"{"error_description":"Unsupported app only token."}"#;
    let fault = Fault::answer(401, &headers, body);
    stage
        .simulator
        .script(Script::on(GRAPH, fault).under("/sim/"));
    let answer = stage.get("/graph/sim/bytes/1").await;
    for part in [
        "message: Unsupported app only token.",
        "diagnostics: There has been an error.",
        "takes tokens for: https://other.example/",
    ] {
        is_refused(&answer, part);
    }
    // All that Dataverse says, without quotes.
    let sentence = "Bearer error=invalid_token, error_description=Error during token validation!, authorization_uri=https://l.example/x, resource_id=https://other.example/";
    let fault = Fault::answer(401, &[("www-authenticate", sentence)], "");
    stage
        .simulator
        .script(Script::on(ORGANISATION, fault).under("/sim/"));
    let answer = stage.get("/dynamics/sim/bytes/1").await;
    is_refused(
        &answer,
        "(message: Error during token validation!, takes tokens for: https://other.example/)",
    );
}

#[tokio::test]
async fn an_endpoint_that_refuses_every_token_is_told_apart_and_empties_no_cache() {
    let stage = Stage::open().await;
    let long = "eyJ0eXAi".repeat(50);
    let text = format!("Invalid audience {long}.");
    stage
        .simulator
        .script(Script::on(GRAPH, refused(&text)).under("/sim/odd"));
    let calls = stage.simulator.token_calls();
    for round in 0..3 {
        let answer = stage.get("/graph/sim/odd").await;
        assert_eq!(answer.refusal(), (502, "tokenRefused".to_owned()));
        let message = answer.message();
        for part in [
            "InvalidAuthenticationToken",
            "Invalid audience",
            "upstream-id-7",
            "tokenferry doctor ROUTE",
        ] {
            assert!(message.contains(part), "{message}");
        }
        assert!(!message.contains("eyJ0"), "{message}");
        let wanted = if round == 0 { 2 } else { round + 2 };
        assert_eq!(
            stage.arrivals("/sim/odd"),
            wanted,
            "a replay only after a renewal"
        );
        stage.get("/graph/sim/bytes/1").await.expect(200);
    }
    assert_eq!(
        stage.simulator.token_calls(),
        calls + 1,
        "one forced renewal in 30 s"
    );
}

#[tokio::test]
async fn a_token_that_another_request_had_exchanged_is_tried_and_then_that_is_the_end() {
    let stage = Stage::open().await;
    let gate = Gate::new();
    for fault in [Fault::Hold(gate.clone()), refused("too early")] {
        let script = Script::on(GRAPH, fault).under("/sim/bytes/1").times(1);
        stage.simulator.script(script);
    }
    let mut late = ask(&stage, 1).await;
    stage.arrive(1, "/sim/bytes/1").await;
    let other = Script::on(GRAPH, refused("no")).under("/sim/bytes/2");
    stage.simulator.script(other.times(1));
    stage.get("/graph/sim/bytes/2").await.expect(200);
    let calls = stage.simulator.token_calls();
    let again = Script::on(GRAPH, refused("no")).under("/sim/bytes/1");
    stage.simulator.script(again.times(1));
    gate.open();
    let answer = soon(late.answer("GET")).await;
    is_refused(&answer, "a token that was fetched just now is refused too");
    assert!(answer.all("retry-after").is_empty());
    assert_eq!(stage.simulator.token_calls(), calls);
    assert_eq!(stage.arrivals("/sim/bytes/1"), 2);
}

#[tokio::test]
async fn an_outage_of_entra_leaves_the_cached_token_to_the_others() {
    let stage = Stage::open().await;
    stage.simulator.outage(LOGIN);
    stage
        .simulator
        .script(Script::on(GRAPH, refused("odd")).under("/sim/odd"));
    let answer = stage.get("/graph/sim/odd").await;
    assert_eq!(answer.refusal(), (503, "tokenUnavailable".to_owned()));
    assert!(answer.field("retry-after").parse::<u64>().unwrap() >= 1);
    stage.get("/graph/sim/bytes/1").await.expect(200);
}

#[tokio::test]
async fn a_token_that_comes_again_is_not_tried_again() {
    let stage = Stage::open().await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
    let sent = stage.sent_to("/sim/bytes")[0]
        .header("authorization")
        .unwrap();
    let token = sent.strip_prefix("Bearer ").unwrap();
    stage
        .simulator
        .patch_token_reply(json!({"access_token": token}));
    stage
        .simulator
        .script(Script::on(GRAPH, refused("no")).under("/sim/odd"));
    let answer = stage.get("/graph/sim/odd").await;
    is_refused(&answer, "same token");
    assert_eq!(stage.arrivals("/sim/odd"), 1);
}

#[tokio::test]
async fn a_403_passes_unchanged() {
    let stage = Stage::open().await;
    let calls = stage.simulator.token_calls();
    let answer = stage.get("/graph/sim/status/403").await.expect(403);
    assert_eq!(answer.json()["error"]["code"], "SimulatedStatus");
    assert_eq!(stage.simulator.token_calls(), calls);
}
