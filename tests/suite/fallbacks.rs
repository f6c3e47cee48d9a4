//! A credential and its fallback, seen from outside while neither gives a token.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tokenferry::simulator::{CLIENT_ID, Simulator, TENANT_ID};

use crate::harness::program::Program;
use crate::harness::until;
use crate::proofs::{SECRET, app, place, write};
use crate::unusable_proofs::pair_until;

const TAKES_OVER: &str = "credential refused, its fallback takes over";

/// A simulator, a secret that it refuses, and a certificate that it takes.
async fn refused_and_taken() -> (Simulator, (TempDir, PathBuf), (TempDir, PathBuf)) {
    let (secret, certificate) = (place(), place());
    let simulator = Simulator::start().await.expect("the simulator starts");
    write(&secret.1, "not~the~secret");
    write(&certificate.1, simulator.make_certificate().expect("a key"));
    (simulator, secret, certificate)
}

#[tokio::test]
async fn while_both_are_refused_each_is_named_and_neither_is_said_to_work() {
    let (_place, secret) = place();
    let (_other, certificate) = place();
    let simulator = Simulator::start().await.expect("the simulator starts");
    write(&secret, "not~the~secret");
    write(&certificate, pair_until("2099-01-01"));
    let keys = format!(
        "{SECRET}    fallback: spare\n  spare:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n    certificate_file: '{}'\n",
        certificate.display()
    );
    let program = Program::within(simulator, &app(&keys, &secret), &[]).await;
    let answer = program.get("/graph/v1.0/users?$top=1").await;
    assert_eq!(answer.refusal(), (502, "tokenRejected".to_owned()));
    let status = program.get_admin("/status.json").await.json();
    let failure = &status["tokens"][0]["failure"]["message"];
    for words in [
        answer.message(),
        failure.as_str().unwrap_or_default().to_owned(),
    ] {
        let both = words.split_once("; its fallback \"spare\": AADSTS700027");
        let first = both.map(|(first, _)| first);
        let named = first.is_some_and(|first| first.starts_with("AADSTS7000215"));
        assert!(named, "{words}");
    }
    let logged = program.err.with("/message", "no new token").await;
    // A person has to do something.
    assert_eq!(logged["level"], "ERROR");
    let reason = logged["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("AADSTS7000215"), "{logged}");
    assert!(reason.contains("AADSTS700027:"), "{logged}");
    assert!(!program.err.text().contains(TAKES_OVER));

    let good = program.simulator.make_certificate().expect("a key");
    write(&certificate, good);
    until("the fallback gives the token", async || {
        let answer = program.get("/graph/v1.0/users?$top=1").await;
        answer.status == 200
    })
    .await;
    let event = program.err.with("/message", TAKES_OVER).await;
    let reason = event["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("AADSTS7000215"), "{event}");
    assert_ne!(event["fallback"], Value::Null);

    // As long as it stands in, it is told why.
    let token = program.get_admin("/status.json").await.json()["tokens"][0].clone();
    assert_eq!(token["fallback"], "spare");
    assert!(token["failure"].is_null(), "{token}");
    assert_eq!(token["fallback_reason"], reason);
    let page = program.get_admin("/").await.text();
    assert!(page.contains("replaced by spare"), "{page}");
    assert!(page.contains("<td>AADSTS7000215"), "{page}");
}

#[tokio::test]
async fn what_is_told_of_one_credential_is_not_told_of_another() {
    let (simulator, (_place, secret), (_other, certificate)) = refused_and_taken().await;
    let own = format!(
        "credentials:
  app: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret_file: '{}', fallback: spare, expires: 2099-03-01}}
  second: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, certificate_file: '{}', fallback: spare}}
  spare: {{managed_identity: system}}
routes:
  - {{name: one, path: /one, upstream: 'https://GRAPH', credential: second}}
  - {{name: two, path: /two, upstream: 'https://GRAPH', credential: app}}
",
        secret.display(),
        certificate.display()
    );
    let program = Program::within(simulator, &own, &[]).await;
    for target in ["/one/v1.0/users?$top=1", "/two/v1.0/users?$top=1"] {
        program.get(target).await.expect(200);
    }
    let page = program.get_admin("/metrics").await.text();
    for (name, active) in [("app", 1), ("second", 0)] {
        let gauge = "tokenferry_credential_fallback_active";
        let line = format!("{gauge}{{credential=\"{name}\"}} {active}\n");
        assert!(page.contains(&line), "{page}");
    }
    let status = program.get_admin("/status.json").await.json();
    let tokens = status["tokens"].as_array().expect("a list");
    let of = |name: &str| tokens.iter().find(|token| token["credential"] == name);
    let (app, second) = (of("app").expect("one"), of("second").expect("one"));
    assert_eq!(
        (&app["fallback"], &second["fallback"]),
        (&Value::from("spare"), &Value::Null)
    );
    let ends = |token: &Value| token["credential_expires_at"].clone();
    assert_eq!(ends(app), "2099-03-01T00:00:00.000Z");
    assert_ne!(ends(second), ends(app));
}

#[tokio::test]
async fn each_route_is_shown_with_the_state_of_its_own_token() {
    let (simulator, (_place, secret), (_other, certificate)) = refused_and_taken().await;
    let keys = format!(
        "{SECRET}  second: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, certificate_file: '{}'}}\n",
        certificate.display()
    );
    let own = app(&keys, &secret).replace(
        "credential: app}",
        "credential: app}, {name: second, path: /second, upstream: 'https://GRAPH', credential: second}",
    );
    let program = Program::within(simulator, &own, &[]).await;
    program.get("/graph/v1.0/users").await.expect(502);
    program.get("/second/v1.0/users").await.expect(200);
    let routes = program.get_admin("/status.json").await.json()["routes"].clone();
    let state = |at: usize| routes[at]["token"].clone();
    assert_eq!((state(0), state(1)), ("rejected".into(), "valid".into()));
}
