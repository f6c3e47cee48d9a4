//! What happens when an upstream refuses a token: one renewal for everybody, one replay, and never a
//! 401 for the caller.

use serde_json::json;
use tokenferry::simulator::{Fault, GRAPH, Gate, LOGIN, Script, Seen};

use crate::harness::answer::Answer;
use crate::harness::caller::Caller;
use crate::harness::stage::Stage;
use crate::harness::{soon, until};
use crate::references::{keep_all, large};

const RETRIES: &str = "tokenferry_upstream_retries_total";

/// Requests that arrived at Graph under this path.
pub(crate) fn arrivals(stage: &Stage, path: &str) -> Vec<Seen> {
    let seen = stage.simulator.seen().into_iter();
    seen.filter(|seen| seen.host == GRAPH && seen.target().starts_with(path))
        .collect()
}

fn refused(text: &str) -> Fault {
    let headers = [
        ("content-type", "application/json"),
        ("request-id", "upstream-id-7"),
        ("www-authenticate", "Bearer realm=\"\""),
    ];
    let error = json!({"code": "InvalidAuthenticationToken", "message": text});
    Fault::answer(401, &headers, json!({"error": error}).to_string())
}

fn is_refused(answer: &Answer, part: &str) {
    assert_eq!(answer.refusal(), (502, "tokenRefused".to_owned()));
    assert!(answer.message().contains(part), "{}", answer.message());
}

/// A POST of a body with its length.
pub(crate) async fn post(stage: &Stage, path: &str, kind: &str, body: &[u8]) -> Answer {
    let mut caller = stage.caller().await;
    let length = body.len();
    caller
        .ask(&format!(
            "POST {path} HTTP/1.1\nContent-Type: {kind}\nContent-Length: {length}"
        ))
        .await;
    caller.send(body).await;
    caller.answer("POST").await
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
        assert_eq!(arrivals(stage, "/sim/").len(), 2);
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
        until("there is another token", || async {
            (stage.simulator.token_calls() > calls).then_some(())
        })
        .await;
        // At most one every 30 s.
        assert_eq!(stage.simulator.token_calls(), calls + 1);
        let used = |seen: &Seen| seen.header("authorization");
        until("it is used", || async {
            stage.get("/graph/sim/bytes/1").await.expect(200);
            let first = arrivals(&stage, "/v1.0/$batch").first().and_then(used);
            let last = arrivals(&stage, "/sim/bytes").last().and_then(used);
            (first != last).then_some(())
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
    until("all have arrived", || async {
        (arrivals(&stage, "/sim/").len() == 100).then_some(())
    })
    .await;
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
}

#[tokio::test]
async fn a_small_body_is_sent_again_as_it_was() {
    for (kind, body) in [
        ("text/plain", b"hello".to_vec()),
        ("application/json", br#"{"a": 1}"#.to_vec()),
        ("application/octet-stream", vec![b'x'; 64 * 1024]),
    ] {
        let stage = Stage::open().await;
        stage.simulator.revoke_tokens(None);
        post(&stage, "/graph/sim/sink", kind, &body)
            .await
            .expect(200);
        let sent = arrivals(&stage, "/sim/sink");
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[1].body.bytes.as_deref().unwrap(), body);
        assert_eq!(
            sent[1].header_values("content-length"),
            [body.len().to_string()]
        );
        assert_ne!(
            sent[0].header("authorization"),
            sent[1].header("authorization")
        );
    }
}

/// A POST whose token is refused before its second half has come.
async fn refused_early(http: u8) -> (Stage, Caller) {
    let own = format!(
        "timeouts: {{request_body_idle: 200ms}}\n\
         routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
    );
    let stage = Stage::with(&own).await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
    let calls = stage.simulator.token_calls();
    stage
        .simulator
        .script(Script::on(GRAPH, refused("early")).early().times(1));
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 10")
        .await;
    caller.send("first").await;
    until("the token is renewed", || async {
        (stage.simulator.token_calls() > calls).then_some(())
    })
    .await;
    (stage, caller)
}

#[tokio::test]
async fn an_upstream_that_refuses_a_token_before_all_of_a_small_body_came_is_asked_again() {
    for http in [1, 2] {
        let (stage, mut caller) = refused_early(http).await;
        caller.send("later").await;
        caller.answer("POST").await.expect(200);
        let sent = arrivals(&stage, "/sim/sink");
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[1].text(), "firstlater");
        // Nothing of it is left on the connection.
        caller
            .exchange("GET /graph/sim/bytes/1 HTTP/1.1")
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_caller_who_stops_in_a_body_whose_token_was_refused_is_not_waited_for() {
    for http in [1, 2] {
        let (stage, mut caller) = refused_early(http).await;
        let answer = caller.answer("POST").await;
        assert_eq!(answer.refusal(), (408, "requestTimeout".to_owned()));
        assert_eq!(arrivals(&stage, "/sim/sink").len(), 1);
    }
}

#[tokio::test]
async fn a_streamed_body_is_never_sent_twice_and_the_next_request_has_the_new_token() {
    for chunked in [true, false] {
        let stage = Stage::open().await;
        stage.simulator.revoke_tokens(None);
        let mut caller = stage.caller().await;
        if chunked {
            caller
                .ask("POST /graph/sim/sink HTTP/1.1\nTransfer-Encoding: chunked")
                .await;
            caller.send("5\r\nhello\r\n0\r\n\r\n").await;
        } else {
            caller
                .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 65537")
                .await;
            caller.send(vec![b'x'; 65_537]).await;
        }
        let answer = caller.answer("POST").await;
        is_refused(&answer, "send the request again");
        assert_eq!(answer.all("www-authenticate").len(), 0);
        assert_eq!(arrivals(&stage, "/sim/sink").len(), 1);
        stage.get("/graph/sim/bytes/1").await.expect(200);
    }
}

#[tokio::test]
async fn beyond_16_mib_of_kept_bodies_others_stream() {
    let stage = Stage::with("workers: 1\n").await;
    let (gate, callers) = keep_all(&stage).await;
    stage.simulator.revoke_tokens(None);
    let answer = large(&stage).await.answer("POST").await;
    is_refused(&answer, "send the request again");
    gate.open();
    for mut caller in callers {
        caller.answer("POST").await.expect(200);
    }
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
            arrivals(&stage, "/sim/odd").len(),
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
    let sent = arrivals(&stage, "/sim/bytes")[0]
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
    assert_eq!(arrivals(&stage, "/sim/odd").len(), 1);
}

#[tokio::test]
async fn a_403_passes_unchanged() {
    let stage = Stage::open().await;
    let calls = stage.simulator.token_calls();
    let answer = stage.get("/graph/sim/status/403").await.expect(403);
    assert_eq!(answer.json()["error"]["code"], "SimulatedStatus");
    assert_eq!(stage.simulator.token_calls(), calls);
}
