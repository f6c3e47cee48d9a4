//! Clients that nobody here wrote: Microsoft's SDKs for Graph and Dataverse, DynamicsWebApi and two
//! more, page, create, delete, refer, upload and batch through the proxy. Part of the binary
//! `installed`: `tests/clients/install` fetches what they run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::stage::Stage;
use crate::tls::{Authority, secure_stage};

/// Where the SDKs are.
fn home() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients");
    assert!(
        home.exists(),
        "the SDKs are not there; tests/clients/install fetches them"
    );
    home
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// Long enough for a first start, which compiles what Python imports: the SDK has 20,000 files.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a client prints that ends well.
async fn printed(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output
        .expect("it ends")
        .expect("the thread ends")
        .expect("the client starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out
}

async fn succeeds(command: Command) {
    assert_eq!(printed(command).await, "fine\n");
}

/// Runs an SDK over TLS, which trusts the proxy by the variable of this name.
async fn works_over_tls(mut command: Command, trust: &str, base: &str) {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let stage = secure_stage(folder.path(), &authority, "").await;
    let ca_file = folder.path().join("ca-of-proxy.pem");
    std::fs::write(&ca_file, &authority.pem).expect("the folder can be written");
    let port = stage.address().port();
    command
        .env(trust, &ca_file)
        .arg(format!("https://localhost:{port}{base}"));
    succeeds(command).await;
}

/// What the Python of a page prints, block by block, each with a line of ours behind it.
async fn python(page: &str, asks: &[&str]) -> Vec<String> {
    let stage = Stage::open().await;
    let here = format!("localhost:{}", stage.address().port());
    let blocks = page.split("```python\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), asks.len());
    let mut all = Vec::new();
    for (block, ask) in blocks.into_iter().zip(asks) {
        let code = block.replace("localhost:8080", &here) + ask;
        let mut command = Command::new(home().join("python/bin/python"));
        command.env_clear().args(["-c", &code]);
        all.push(printed(command).await);
    }
    all
}

#[tokio::test]
async fn the_python_of_the_readme_reads_every_page() {
    let all = python(include_str!("../../README.md"), &[""]).await;
    assert_eq!(all[0].lines().count(), 1000);
}

#[tokio::test]
async fn the_classes_of_the_manual_bring_two_libraries_here() {
    let asks = [
        "print(len(list(account.directory().get_users(limit=None))))",
        "print(len(client.users.get_all().execute_query()))",
    ];
    let all = python(include_str!("../../docs/clients.md"), &asks).await;
    assert_eq!(all, ["1000\n", "1000\n"]);
}

#[tokio::test]
async fn the_graph_sdk_for_python_works() {
    let home = home();
    let stage = Stage::open().await;
    let mut command = Command::new(home.join("python/bin/python"));
    command.env_clear().arg(script("graph.py")).arg(format!(
        "http://localhost:{}/graph/v1.0",
        stage.address().port()
    ));
    succeeds(command).await;
}

#[tokio::test]
async fn the_dataverse_sdk_for_python_works_over_tls() {
    let home = home();
    let mut command = Command::new(home.join("python/bin/python"));
    command.env_clear().arg(script("dataverse.py"));
    works_over_tls(command, "REQUESTS_CA_BUNDLE", "/dynamics").await;
}

/// Node with a script beside the modules, where it looks for them.
fn node(name: &str) -> Command {
    let copy = home().join("node").join(name);
    std::fs::copy(script(name), &copy).expect("the folder can be written");
    let mut command = Command::new("node");
    command.arg(copy);
    command
}

#[tokio::test]
async fn dynamics_web_api_works() {
    let stage = Stage::open().await;
    let mut command = node("dynamics.mjs");
    let port = stage.address().port();
    command.arg(format!("http://localhost:{port}/dynamics/"));
    // It would go to a forward proxy for localhost, too.
    command.env_remove("http_proxy");
    succeeds(command).await;
}

#[tokio::test]
async fn the_graph_sdk_for_javascript_works_over_tls() {
    let command = node("graph.mjs");
    works_over_tls(command, "NODE_EXTRA_CA_CERTS", "/graph/").await;
}
