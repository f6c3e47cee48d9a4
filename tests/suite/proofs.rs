//! Proofs of the app that change, spoil or come from the environment, through the real binary.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenferry::simulator::{
    CLIENT_ID, LOGIN, LOGIN_USGOV, ORGANISATION, Seen, Simulator, TENANT_ID,
};

use crate::cli::{desk, with_file};
use crate::harness::program::{Program, run};
use crate::harness::stage::Stage;
use crate::harness::until;

const GRAPH_ONLY: &str =
    "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', credential: app}]\n";

/// A configuration with an app that has these keys; `FILE` is a file.
pub(crate) fn app(keys: &str, file: &Path) -> String {
    let keys = keys.replace("FILE", &file.display().to_string());
    format!(
        "credentials:\n  app:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n{keys}{GRAPH_ONLY}"
    )
}

pub(crate) const CERTIFICATE: &str = "    certificate_file: 'FILE'\n";
pub(crate) const FEDERATED: &str = "    federated_token_file: 'FILE'\n";
pub(crate) const SECRET: &str = "    client_secret_file: 'FILE'\n";

/// A folder with a file for a proof in it, which is not there yet.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("proof.pem");
    (folder, file)
}

pub(crate) fn write(file: &Path, content: impl AsRef<[u8]>) {
    fs::write(file, content).expect("the folder can be written");
}

pub(crate) fn key(name: &str) -> String {
    let path = format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("the key is there")
}

/// The token calls, in order.
fn calls(simulator: &Simulator) -> Vec<Seen> {
    let mut seen = simulator.seen();
    seen.retain(|seen| seen.host.starts_with("login.") && seen.method == "POST");
    seen
}

/// A part of the assertion in a token call: 0 its header, 1 its claims.
fn assertion(call: &Seen, part: usize) -> Value {
    let text = call.text();
    let (_, jwt) = text.split_once("client_assertion=").expect("it is sent");
    let part = jwt.split('.').nth(part).expect("it is a JWT");
    let json = URL_SAFE_NO_PAD.decode(part).expect("it is base64url");
    serde_json::from_slice(&json).expect("it is JSON")
}

/// Has the upstream refuse every token so far, so that the next request needs a new one.
async fn use_next(program: &Program) -> u16 {
    program.simulator.revoke_tokens(None);
    program.get("/graph/v1.0/users?$top=1").await.status
}

/// Whether a file without `credentials` gets a token by these variables.
async fn by_environment(
    simulator: &Simulator,
    folder: &Path,
    variables: &[(&str, &str)],
) -> String {
    let file = folder.join("routes.yaml");
    let text = fs::read_to_string(&file).expect("it is there");
    if let Some((before, rest)) = text.split_once("credentials:") {
        let (_, after) = rest.split_once("trust:").expect("it follows");
        write(&file, format!("{before}trust:{after}"));
    }
    let mut command = with_file(&["token", "graph"], folder);
    command
        .env("AZURE_TENANT_ID", TENANT_ID)
        .env("AZURE_CLIENT_ID", CLIENT_ID)
        .envs(variables.iter().copied());
    simulator.clear();
    let (code, out, err) = run(command).await;
    assert_eq!(code, 0, "{out}{err}");
    calls(simulator)[0].text()
}

#[tokio::test]
async fn the_standard_variables_prove_the_app_in_each_of_their_forms() {
    let (simulator, folder) = desk("").await;
    let (_place, file) = place();
    let name = file.display().to_string();
    let secret = simulator.client_secret().expect("the app has a secret");
    let secret = secret.expose_str().expect("it is text");
    let form = by_environment(
        &simulator,
        folder.path(),
        &[("AZURE_CLIENT_SECRET", secret)],
    )
    .await;
    assert!(form.contains("client_secret="), "{form}");

    let pem = key("encrypted_aes256_sha256.pem");
    simulator.register_certificate(&pem).expect("a certificate");
    write(&file, &pem);
    let variables = [
        ("AZURE_CLIENT_CERTIFICATE_PATH", name.as_str()),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "correct horse"),
        ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "true"),
    ];
    by_environment(&simulator, folder.path(), &variables).await;
    let header = assertion(&calls(&simulator)[0], 0);
    assert!(
        header["x5t#S256"].is_string() && header["x5c"].is_array(),
        "{header}"
    );

    // As the webhook of Azure Workload Identity sets them, with the slash at the end.
    write(
        &file,
        simulator.federated_token(&Value::Null).expect("a token"),
    );
    let variables = [
        ("AZURE_FEDERATED_TOKEN_FILE", name.as_str()),
        ("AZURE_AUTHORITY_HOST", &format!("https://{LOGIN_USGOV}/")),
    ];
    by_environment(&simulator, folder.path(), &variables).await;
    let call = &calls(&simulator)[0];
    assert_eq!(call.host, LOGIN_USGOV);
    assert_eq!(call.target(), format!("/{TENANT_ID}/oauth2/v2.0/token"));
    assert_eq!(assertion(call, 1)["aud"][0], "api://AzureADTokenExchange");
}

#[tokio::test]
async fn a_certificate_that_is_replaced_signs_the_next_call() {
    let (_place, file) = place();
    let simulator = Simulator::start().await.expect("the simulator starts");
    write(&file, simulator.make_certificate().expect("a key"));
    let program = Program::within(simulator, &app(CERTIFICATE, &file), &[]).await;
    program.get("/graph/v1.0/users?$top=1").await.expect(200);
    write(&file, program.simulator.make_certificate().expect("a key"));
    assert_eq!(use_next(&program).await, 200);
    let calls = calls(&program.simulator);
    assert_eq!(calls.len(), 2);
    let thumbprint = |call| assertion(call, 0)["x5t#S256"].clone();
    assert_ne!(thumbprint(&calls[0]), thumbprint(&calls[1]));
}

#[tokio::test]
async fn a_secret_that_is_replaced_is_used_at_the_next_call() {
    let (_place, file) = place();
    let simulator = Simulator::start().await.expect("the simulator starts");
    write(&file, simulator.client_secret().expect("a secret").expose());
    let program = Program::within(simulator, &app(SECRET, &file), &[]).await;
    program.get("/graph/v1.0/users?$top=1").await.expect(200);
    program.simulator.remove_client_secrets();
    write(&file, program.simulator.add_client_secret().expose());
    program.get("/graph/v1.0/users?$top=1").await.expect(200);
    assert_eq!(program.simulator.token_calls(), 1, "the token in use stays");
    assert_eq!(use_next(&program).await, 200);
    assert_eq!(program.simulator.token_calls(), 2);
}

#[tokio::test]
async fn a_federated_token_is_read_at_each_call_and_may_come_late() {
    let (_place, file) = place();
    let stage = Stage::cold(&app(FEDERATED, &file), |_| {}).await;
    stage.attempted().await;
    let answer = stage.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (502, "tokenRejected".to_owned()));
    assert!(
        !answer.message().contains("proof.pem"),
        "{}",
        answer.message()
    );
    let status = stage.ask_admin("GET /status.json HTTP/1.1").await.text();
    assert!(
        status.contains("cannot read") && status.contains("proof.pem"),
        "{status}"
    );
    assert_eq!(
        stage.simulator.token_calls(),
        0,
        "nothing is sent without it"
    );
    let token = |id: &str| {
        stage
            .simulator
            .federated_token(&json!({"jti": id}))
            .expect("a token")
    };
    write(&file, token("first") + "\n");
    until("the file is read", async || {
        let status = stage.get("/graph/v1.0/users?$top=1").await.status;
        status == 200
    })
    .await;
    write(&file, token("second"));
    stage.simulator.revoke_tokens(None);
    stage.get("/graph/v1.0/users?$top=1").await.expect(200);
    let calls = calls(&stage.simulator);
    let ids: Vec<_> = calls
        .iter()
        .map(|call| assertion(call, 1)["jti"].clone())
        .collect();
    assert_eq!(ids, ["first", "second"]);
}

#[tokio::test]
async fn a_fallback_is_seen_in_log_metric_and_status_until_the_first_works_again() {
    let (_place, file) = place();
    let simulator = Simulator::start().await.expect("the simulator starts");
    write(&file, "not~the~secret");
    let keys = format!("{SECRET}    fallback: spare\n  spare:\n    managed_identity: system\n");
    let program = Program::within(simulator, &app(&keys, &file), &[]).await;
    program.get("/graph/v1.0/users?$top=1").await.expect(200);
    let event = program
        .err
        .with("/message", "credential refused, its fallback takes over")
        .await;
    assert_eq!(
        (&event["credential"], &event["fallback"]),
        (&json!("app"), &json!("spare"))
    );
    let reason = event["reason"].as_str().expect("a reason");
    assert!(reason.contains("AADSTS7000215"), "{reason}");
    let gauge = "tokenferry_credential_fallback_active{credential=\"app\"}";
    let page = program.get_admin("/metrics").await.text();
    assert!(page.contains(&format!("{gauge} 1\n")), "{page}");
    let page = format!("\n{page}");
    let refusals = page
        .split("\ntokenferry_token_refreshes_total{")
        .find(|sample| sample.contains("outcome=\"rejected\""));
    let refusals = refusals.and_then(|sample| sample.lines().next());
    assert!(refusals.is_some_and(|it| it.ends_with("} 1")), "{page}");
    let status = program.get_admin("/status.json").await.json();
    assert_eq!(status["tokens"][0]["fallback"], "spare");
    assert!(program.get_admin("/").await.text().contains("spare"));

    write(
        &file,
        program
            .simulator
            .client_secret()
            .expect("a secret")
            .expose(),
    );
    until("the first is tried again", async || {
        let page = program.get_admin("/metrics").await.text();
        page.contains(&format!("{gauge} 0\n"))
    })
    .await;
    let message = "credential works again, its fallback steps back";
    program.err.with("/message", message).await;
    let status = program.get_admin("/status.json").await.json();
    assert_eq!(status["tokens"][0]["fallback"], Value::Null);
}

#[tokio::test]
async fn a_national_cloud_is_asked_at_its_own_authority() {
    let secret = "    client_secret_file: 'FILE'\n";
    for (keys, host) in [
        ("    cloud: usgov\n", LOGIN_USGOV),
        ("    cloud: usgov-dod\n", LOGIN_USGOV),
        (
            &format!("    authority: 'https://{LOGIN_USGOV}/'\n"),
            LOGIN_USGOV,
        ),
        ("    cloud: public\n", LOGIN),
    ] {
        let (_place, file) = place();
        let own = app(&format!("{secret}{keys}"), &file);
        let own = own.replace("https://GRAPH", &format!("https://{ORGANISATION}"));
        let (simulator, folder) = desk(&own).await;
        write(&file, simulator.client_secret().expect("a secret").expose());
        let (code, out, err) = run(with_file(&["token", "graph"], folder.path())).await;
        assert_eq!(code, 0, "{keys}: {out}{err}");
        let calls = calls(&simulator);
        assert_eq!((calls.len(), calls[0].host.as_str()), (1, host), "{keys}");
    }
    let (_place, file) = place();
    write(&file, "secret");
    let own = app(&format!("{secret}    cloud: china\n"), &file);
    let (_simulator, folder) = desk(&own).await;
    let (code, out, err) = run(with_file(&["check"], folder.path())).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("this API is in cloud \"public\""), "{err}");
    assert!(err.contains("login.partner.microsoftonline.cn"), "{err}");
}
