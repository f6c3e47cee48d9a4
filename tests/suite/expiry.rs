//! Credentials that end, or were replaced by something that cannot be used, are told of in time.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use tokenferry::simulator::{CLIENT_ID, TENANT_ID};
use tokenferry::timestamp::Timestamp;

use crate::cli::with_file;
use crate::harness::program::{Program, run};
use crate::harness::until;
use crate::unusable_proofs::{pair, pair_until};

const GRAPH_ONLY: &str =
    "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', credential: app}]\n";

/// A configuration with an app that has these keys.
fn app(keys: &str) -> String {
    format!(
        "credentials:\n  app:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n{keys}{GRAPH_ONLY}"
    )
}

#[tokio::test]
async fn a_running_program_warns_of_a_secret_that_ends_and_shows_when() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, "whatever").expect("the folder can be written");
    let keys = format!(
        "    client_secret_file: '{}'\n    expires: 2026-01-01\n",
        secret.display()
    );
    let program = Program::start(&app(&keys), "info").await;
    let warning = "credential \\\"app\\\" expired on 2026-01-01";
    program.err.says(warning).await;
    let page = program.get_admin("/metrics").await.text();
    let line = "tokenferry_credential_expiry_timestamp_seconds{credential=\"app\"} 1767225600";
    assert!(page.lines().any(|own| own == line), "{page}");
    assert_eq!(
        program.err.text().matches("expired on").count(),
        1,
        "once a day"
    );
}

#[tokio::test]
async fn the_end_of_a_certificate_is_known_before_its_first_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pair.pem");
    let pem = include_str!("../keys/rsa_pkcs8.pem");
    fs::write(&file, pem).expect("the folder can be written");
    let secret = folder.path().join("secret");
    fs::write(&secret, "hunter2\n").expect("the folder can be written");
    let own = app(&format!(
        "    client_secret_file: '{}'\n    fallback: spare\n  spare:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n    certificate_file: '{}'\n",
        secret.display(),
        file.display()
    ));
    let program = Program::start(&own, "info").await;
    let shown = async || {
        let page = program.get_admin("/metrics").await.text();
        page.contains("tokenferry_credential_expiry_timestamp_seconds{credential=\"spare\"}")
    };
    until("the spare's end is shown", &shown).await;
    program.signal(Signal::HUP);
    program.err.says("was reloaded").await;
    assert!(shown().await, "a reload loses nothing");
}

#[tokio::test]
async fn a_running_program_warns_of_a_certificate_that_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pair.pem");
    let soon = SystemTime::now() + Duration::from_secs(10 * 86_400);
    let day = Timestamp::of(soon).as_str()[..10].to_owned();
    fs::write(&file, pair_until(&day)).expect("the folder can be written");
    let own = app(&format!("    certificate_file: '{}'\n", file.display()));
    let program = Program::start(&own, "info").await;
    let end = format!("credential \\\"app\\\" expires on {day}, in 9 days");
    program.err.says(&end).await;
    let status = program.get_admin("/status.json").await.json();
    let ends = status["tokens"][0]["credential_expires_at"].to_string();
    assert!(ends.contains(&day), "{status}");
}

#[tokio::test]
async fn a_certificate_whose_time_has_not_come_is_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pair.pem");
    fs::write(&file, pair(2090, "2091-01-01")).expect("the folder can be written");
    let own = app(&format!("    certificate_file: '{}'\n", file.display()));
    let program = Program::start(&own, "info").await;
    let early = "is not valid before 2090-01-01T00:00:00.000Z; check this machine's clock";
    program.err.says(early).await;
    let (code, out, err) = run(with_file(&["check"], program.folder())).await;
    assert_eq!(code, 0, "{out}{err}");
    let warning = format!("warning: credential \"app\" {early}");
    assert!(err.contains(&warning), "{err}");
    let (_, out, err) = run(with_file(&["doctor", "graph"], program.folder())).await;
    assert!(out.contains(early), "{out}{err}");
}
