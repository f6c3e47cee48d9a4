//! Every kind of credential, from the configuration to the answer of an API. The simulator verifies
//! each proof as Entra does.

use std::time::Duration;

use serde_json::{Value, json};
use tokenferry::simulator::{CLIENT_ID, Fault, LOGIN, Script, Seen, Simulator, TENANT_ID};

use crate::harness::program::{Program, command, run};
use crate::harness::stage::Stage;
use crate::harness::until;

const GRAPH_ONLY: &str =
    "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', credential: app}]\n";

/// A configuration with one route and an app that has these keys besides its name.
fn app(keys: &str) -> String {
    format!(
        "credentials:\n  app:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n{keys}{GRAPH_ONLY}"
    )
}

/// The token calls, in order.
fn calls(stage: &Stage) -> Vec<Seen> {
    let mut seen = stage.simulator.seen();
    seen.retain(|seen| seen.host.starts_with(LOGIN) && seen.method == "POST");
    seen
}

/// A stage whose app has `keys`, with `FILE` standing for a file that holds the proof.
async fn stage(keys: &str, proof: impl FnOnce(&Simulator) -> String) -> (Stage, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("proof");
    let own = app(&keys.replace("FILE", &file.display().to_string()));
    let stage = Stage::cold(&own, |simulator| {
        std::fs::write(&file, proof(simulator)).expect("the folder can be written");
    })
    .await;
    stage.attempted().await;
    (stage, folder)
}

#[tokio::test]
async fn a_rotated_token_of_another_issuer_is_used_without_a_restart() {
    let (stage, folder) = stage("    federated_token_file: 'FILE'\n", |simulator| {
        simulator
            .federated_token(&json!({"sub": "system:serviceaccount:tools:stranger"}))
            .expect("a key can be made")
    })
    .await;
    assert_eq!(stage.get("/graph/v1.0/users").await.status, 502);
    let good = stage
        .simulator
        .federated_token(&Value::Null)
        .expect("a key can be made");
    std::fs::write(folder.path().join("proof"), good).expect("the folder can be written");
    until("the new token is used", async || {
        let status = stage.get("/graph/v1.0/users").await.status;
        status == 200
    })
    .await;
}

#[tokio::test]
async fn a_token_of_28_hours_is_kept_and_renewed_at_half_of_them() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("secret");
    let own = app(&format!(
        "    client_secret_file: '{}'\n    continuous_access: true\n",
        file.display()
    ));
    let stage = Stage::cold(&own, |simulator| {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        simulator.set_token_lifetime(hours(28), None);
        let secret = simulator.client_secret().expect("the app has a secret");
        std::fs::write(&file, secret.expose()).expect("the folder can be written");
    })
    .await;
    stage.attempted().await;
    assert_eq!(stage.get("/graph/v1.0/users").await.status, 200);
    let status = stage.ask_admin("GET /status.json HTTP/1.1").await.json();
    let token = &status["tokens"][0];
    let hours = |name: &str| token[name].as_i64().expect("seconds") / 3600;
    assert_eq!(hours("expires_in_seconds"), 27, "{token}");
    let next = hours("next_attempt_in_seconds");
    assert!((12..=14).contains(&next), "{token}");
}

/// Another credential of the app would be told the same.
#[tokio::test]
async fn the_second_credential_is_not_asked_when_the_first_is_not_to_blame() {
    let keys = "    client_secret_file: 'FILE'\n    fallback: spare\n  spare:\n    managed_identity: system\n";
    let (stage, _folder) = stage(keys, |simulator| {
        // As `invalid_client`.
        simulator.script(Script::on(LOGIN, Fault::Entra(501_051)));
        "secret".to_owned()
    })
    .await;
    let answer = stage.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (502, "tokenRejected".to_owned()));
    let message = answer.message();
    assert!(message.contains("assigned apps only"), "{message}");
    assert_eq!(stage.simulator.metadata_calls(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_secret_file_that_has_become_a_pipe_holds_up_nobody() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    simulator.set_token_lifetime(Duration::from_secs(4), Some(Duration::from_secs(1)));
    let mut program = Program::within(simulator, "", &[]).await;
    let secret = program.folder().join("secret");
    let pipe = program.folder().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("there is a mkfifo").success());
    // At once: a file that is missing is another failure, after which the next one is not told.
    std::fs::rename(pipe, &secret).expect("the folder can be written");
    let words = "only a regular file is read";
    program.err.says(words).await;
    program.get_admin("/livez").await.expect(200);
    until("the token is over", async || {
        let answer = program.get("/graph/v1.0/users?$top=1").await;
        answer.status == 502
    })
    .await;
    let mut check = command();
    check.arg("check").arg("-c").arg(program.file());
    let (code, _, err) = run(check).await;
    assert!(code == 2 && err.contains(words), "{code}: {err}");
    program.signal(rustix::process::Signal::INT);
    assert!(program.ended().await.success());
}

#[tokio::test]
async fn the_log_tells_that_a_corrected_secret_has_ended_the_failures() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    simulator.set_token_lifetime(Duration::from_secs(4), Some(Duration::from_secs(1)));
    let program = Program::within(simulator, "", &[]).await;
    let file = program.folder().join("secret");
    let right = std::fs::read(&file).expect("the folder can be read");
    std::fs::write(&file, "not~the~secret").expect("the folder can be written");
    program.err.says("no new token").await;
    std::fs::write(&file, right).expect("the folder can be written");
    program.err.says("token renewed, after failures").await;
}

#[tokio::test]
async fn a_file_that_holds_more_than_the_secret_is_told_and_never_sent() {
    for held in ["hunter2\n# of March\n", "h\0u\0n\0t\0e\0r\x002\0"] {
        let (stage, folder) = stage("    client_secret_file: 'FILE'\n", |_| held.to_owned()).await;
        let answer = stage.get("/graph/v1.0/me").await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert!(calls(&stage).is_empty());
        let file = folder.path().join("routes.yaml");
        let proof = folder.path().join("proof").display().to_string();
        let own = app(&format!("    client_secret_file: {proof}\n"));
        std::fs::write(&file, own.replace("GRAPH", "graph.microsoft.com")).unwrap();
        let mut check = command();
        check.args(["check", "-c"]).arg(&file);
        let (code, _, err) = run(check).await;
        let told = err.contains(&format!(
            "{proof} does not hold a secret alone, which is one line"
        ));
        assert!(code == 2 && told && !err.contains("hunter"), "{code} {err}");
    }
}
