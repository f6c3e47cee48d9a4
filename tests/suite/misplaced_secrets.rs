//! A newcomer's slips. A variable that holds a secret, where one that holds a path belongs: nothing that
//! the program says shows what it holds. And the ID of a secret, where its value belongs.

use rustix::process::Signal;
use tokenferry::simulator::{CLIENT_ID, Simulator, TENANT_ID};

use crate::cli::{desk, with_file};
use crate::harness::program::{Program, run};

const SLIP: &str = "s3cr3t-v4lue";

/// A file whose only credential proves itself by these keys.
fn credential(keys: &str) -> String {
    format!("credentials: {{app: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, {keys}}}}}\n")
}

#[tokio::test]
async fn no_key_of_a_file_shows_what_its_variable_holds() {
    let caller = "routes: [{name: a, path: /a, upstream: 'https://GRAPH', callers: [c]}]\n";
    let account = "callers: {c: {service_account: a/b}}\n";
    let kubernetes = "kubernetes: {issuer: 'https://a.b', audience: a, ";
    for own in [
        credential("client_secret_file: '${SLIP}'"),
        credential("client_secret_file: '/run/${SLIP}.txt'"),
        credential("certificate_file: '${SLIP}'"),
        credential("certificate_file: SECRET_FILE, certificate_password_file: '${SLIP}'"),
        credential("federated_token_file: '${SLIP}'"),
        "tls: {certificate_file: '${SLIP}', key_file: '${SLIP}', client_ca_file: '${SLIP}'}\n"
            .to_owned(),
        "trust: {ca_file: '${SLIP}'}\n".to_owned(),
        format!("callers: {{c: {{api_key_file: '${{SLIP}}'}}}}\n{caller}"),
        format!("{account}{kubernetes}jwks_file: '${{SLIP}}'}}\n{caller}"),
        format!("{account}{kubernetes}ca_file: '${{SLIP}}', token_file: '${{SLIP}}'}}\n{caller}"),
    ] {
        let (_simulator, folder) = desk(&own).await;
        for words in [&["check"][..], &["check", "--allow-missing-env"], &["run"]] {
            let mut command = with_file(words, folder.path());
            command.env("SLIP", SLIP);
            let (_, out, err) = run(command).await;
            assert!(
                !format!("{out}{err}").contains(SLIP),
                "{own}{words:?}: {out}{err}"
            );
            assert!(err.contains("${SLIP}"), "{own}{words:?}: {out}{err}");
        }
    }
}

#[tokio::test]
async fn the_standard_variables_are_not_shown_either() {
    let (_simulator, folder) = desk("").await;
    let file = folder.path().join("routes.yaml");
    std::fs::write(
        &file,
        "routes: [{name: a, path: /a, upstream: 'https://a.com'}]\n",
    )
    .expect("the folder can be written");
    let mut command = with_file(&["check"], folder.path());
    command
        .env("AZURE_TENANT_ID", TENANT_ID)
        .env("AZURE_CLIENT_ID", CLIENT_ID)
        .env("AZURE_CLIENT_CERTIFICATE_PATH", SLIP);
    let (code, out, err) = run(command).await;
    assert_eq!(code, 2, "{out}{err}");
    assert!(!format!("{out}{err}").contains(SLIP), "{out}{err}");
    assert!(err.contains("${AZURE_CLIENT_CERTIFICATE_PATH}"), "{err}");
}

#[tokio::test]
async fn neither_the_log_nor_the_status_page_shows_it_after_a_reload() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    let vars = [("SLIP", SLIP), ("TOKENFERRY_LOG", "trace")];
    let program = Program::within(simulator, "", &vars).await;
    program.rewrite(&credential("client_secret_file: '${SLIP}'"));
    program.signal(Signal::HUP);
    program.err.says("was not reloaded").await;
    let mut said = program.err.text();
    for page in ["/status.json", "/"] {
        let page = program.get_admin(page).await.expect(200).text();
        assert!(page.contains("${SLIP}"), "{page}");
        said.push_str(&page);
    }
    assert!(!said.contains(SLIP), "{said}");
}

#[tokio::test]
async fn a_file_that_goes_away_is_named_as_the_configuration_names_it() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join(SLIP);
    std::fs::write(&file, "secret").expect("the folder can be written");
    let simulator = Simulator::start().await.expect("the simulator starts");
    let vars = [("PLACE", file.to_str().expect("the name is text"))];
    simulator.outage(tokenferry::simulator::LOGIN);
    let own = credential("client_secret_file: '${PLACE}'");
    let program = Program::within(simulator, &own, &vars).await;
    std::fs::remove_file(&file).expect("it is there");
    program.err.says("cannot read ${PLACE}").await;
    let status = program.get_admin("/status.json").await.expect(200).text();
    assert!(
        !format!("{}{status}", program.err.text()).contains(SLIP),
        "{status}"
    );
}

#[tokio::test]
async fn the_id_of_a_secret_in_place_of_its_value_is_warned_of() {
    let (_simulator, folder) = desk("").await;
    let place = format!("{}/", folder.path().display());
    let id = "5f1c5e3b-6d1a-4b7e-9f55-0c2d3e4f5a6b";
    let write = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).expect("the folder can be written");
    };
    write("secret", id);
    let own = format!(
        "credentials:
  one: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret: '${{SECRET}}'}}
  two: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret_file: {place}secret}}
routes:
  - {{name: a, path: /a, upstream: 'https://a.com', credential: one}}
  - {{name: b, path: /b, upstream: 'https://b.com', credential: two}}
"
    );
    write("routes.yaml", &own);
    let told = async |secret: &str| {
        let mut check = with_file(&["check"], folder.path());
        check.env("SECRET", secret);
        let (code, _, err) = run(check).await;
        assert_eq!(code, 0, "{err}");
        assert!(!err.contains(id), "{err}");
        let words = " looks like a secret's ID, and Entra takes its value alone: ";
        err.matches(words).count()
    };
    assert_eq!(told(id).await, 2);
    assert_eq!(told("hunter2").await, 1);
}
