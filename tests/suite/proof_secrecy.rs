//! What proves the app, whatever its kind, is nowhere to be seen: not in the log at its most verbose
//! level, not in an answer, a page or a metric, not in what the commands print.

use rustix::process::Signal;
use serde_json::Value;
use tokenferry::simulator::{
    CLIENT_ID, Ending, Fault, GRAPH, IDENTITY_CANARY, LOGIN, METADATA, SECRET_CANARY, Script,
    Simulator, TENANT_ID, TOKEN_CANARY,
};

use crate::harness::caller::Caller;
use crate::harness::program::{Program, command, run};
use crate::proofs::{key, place, write};

/// A kind of proof under test.
struct Kind {
    /// What the configuration has below `app`.
    keys: String,
    /// What the environment has.
    variables: Vec<(&'static str, String)>,
    /// What must not be seen.
    secrets: Vec<String>,
}

/// The lines of a private key, each long enough to be found by chance never.
fn key_lines(pem: &str) -> Vec<String> {
    let lines = pem.lines().filter(|line| line.len() > 40);
    lines.map(str::to_owned).collect()
}

fn entra(keys: &str) -> String {
    format!("    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n{keys}")
}

/// Every kind, with its proof in files of this folder.
fn kinds(simulator: &Simulator, folder: &std::path::Path) -> Vec<Kind> {
    let at = |name: &str| folder.join(name).display().to_string();
    let pem = key("encrypted_aes256_sha256.pem");
    simulator.register_certificate(&pem).expect("a certificate");
    write(&folder.join("pair.pem"), &pem);
    write(&folder.join("password"), "correct horse");
    let federated = simulator.federated_token(&Value::Null).expect("a token");
    write(&folder.join("federated"), &federated);
    let secret = simulator.client_secret().expect("the app has a secret");
    let secret = secret.expose_str().expect("it is text").to_owned();
    let header = simulator.identity_header();
    let header = header.expose_str().expect("it is text").to_owned();
    let endpoint = format!("http://{}/msi/token", simulator.metadata_address());
    let mut certificate = key_lines(&key("rsa_pkcs8.pem"));
    certificate.extend(key_lines(&pem));
    certificate.push("correct horse".to_owned());
    vec![
        Kind {
            keys: entra(&format!(
                "    certificate_file: '{}'\n    certificate_password_file: '{}'\n    send_chain: true\n",
                at("pair.pem"),
                at("password")
            )),
            variables: Vec::new(),
            secrets: certificate,
        },
        Kind {
            keys: entra(&format!(
                "    federated_token_file: '{}'\n",
                at("federated")
            )),
            variables: Vec::new(),
            secrets: vec![federated],
        },
        Kind {
            keys: entra("    client_secret: ${APP_SECRET}\n"),
            variables: vec![("APP_SECRET", secret.clone())],
            secrets: vec![secret],
        },
        Kind {
            keys: "    managed_identity: system\n".to_owned(),
            variables: vec![
                ("IDENTITY_ENDPOINT", endpoint),
                ("IDENTITY_HEADER", header.clone()),
            ],
            secrets: vec![header],
        },
        Kind {
            keys: format!("    managed_identity: {{client_id: {CLIENT_ID}}}\n"),
            variables: Vec::new(),
            secrets: Vec::new(),
        },
    ]
}

#[tokio::test]
async fn no_proof_of_any_kind_is_in_anything_that_is_said() {
    let (folder, _) = place();
    for number in 0..5 {
        let simulator = Simulator::start().await.expect("the simulator starts");
        let kind = kinds(&simulator, folder.path()).remove(number);
        let (program, mut said) = live(simulator, &kind).await;
        said.push_str(&commands(&program, &kind).await);
        hidden(&program.simulator, &kind, &said);
    }
}

/// Runs the program through good and bad times; gives all it says.
async fn live(simulator: Simulator, kind: &Kind) -> (Program, String) {
    let own = format!(
        "timeouts: {{drain_delay: 0s}}\ncredentials:\n  app:\n{}routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH'}}]\n",
        kind.keys
    );
    let mut variables = vec![("TOKENFERRY_LOG", "trace")];
    variables.extend(
        kind.variables
            .iter()
            .map(|(name, value)| (*name, value.as_str())),
    );
    let mut program = Program::within(simulator, &own, &variables).await;
    let mut said = String::new();
    let token_hosts = [LOGIN, METADATA, "127.0.0.1"];
    for trouble in [
        None,
        Some(Fault::Entra(700_027)),
        Some(Fault::Raw(b"garbage\r\n\r\n".to_vec(), Ending::Close)),
    ] {
        program.simulator.clear_scripts();
        for host in token_hosts {
            if let Some(fault) = &trouble {
                program.simulator.script(Script::on(host, fault.clone()));
            }
        }
        program.simulator.revoke_tokens(None);
        for target in ["/graph/v1.0/users?$top=1", "/graph/sim/status/401"] {
            let answer = program.get(target).await;
            said.push_str(&format!("{:?}\n{}\n", answer.fields, answer.text()));
        }
    }
    let mut admin = Caller::connect(program.admin).await;
    for target in ["/metrics", "/status.json", "/", "/readyz"] {
        let answer = admin.exchange(&format!("GET {target} HTTP/1.1")).await;
        said.push_str(&answer.text());
    }
    program.simulator.clear_scripts();
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
    said.push_str(&program.out.text());
    said.push_str(&program.err.text());
    (program, said)
}

/// What the commands print, in good and in bad times.
async fn commands(program: &Program, kind: &Kind) -> String {
    let mut all = String::new();
    for trouble in [None, Some(Fault::Entra(7_000_222))] {
        if let Some(fault) = trouble {
            program.simulator.script(Script::on(LOGIN, fault));
            let answer = Fault::Answer {
                status: http::StatusCode::UNAUTHORIZED,
                headers: Vec::new(),
                body: b"{}".to_vec(),
            };
            program.simulator.script(Script::on(GRAPH, answer));
        }
        for words in [
            &["doctor"][..],
            &["doctor", "--json"],
            &["token", "graph"],
            &["check"],
        ] {
            let mut command = command();
            command
                .args(words)
                .arg("-c")
                .arg(program.file())
                .env("TOKENFERRY_LOG", "trace")
                .envs(kind.variables.iter().map(|(name, value)| (*name, value)));
            let (_, out, err) = run(command).await;
            assert!(out.len() + err.len() > 20, "{words:?} says something");
            all.push_str(&format!("{out}{err}"));
        }
    }
    all
}

fn hidden(simulator: &Simulator, kind: &Kind, said: &str) {
    let absent = |secret: &str, what: &str| {
        assert!(!secret.is_empty(), "{what}");
        let at = said.find(secret);
        let near = at.map(|at| &said[at.saturating_sub(200)..(at + 40).min(said.len())]);
        assert_eq!(near, None, "{what}, {}", kind.keys);
    };
    for secret in &kind.secrets {
        absent(secret, "a proof");
    }
    for canary in [SECRET_CANARY, TOKEN_CANARY, IDENTITY_CANARY] {
        absent(canary, "a canary");
    }
    let signature = |jwt: &str| jwt.rsplit('.').next().unwrap_or_default().to_owned();
    for token in simulator.tokens() {
        absent(&signature(&token), "a token");
    }
    let mut assertions = 0;
    for call in simulator.seen() {
        let body = call.body.bytes.unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(&body) {
            if name == "client_assertion" {
                assertions += 1;
                absent(&value, "an assertion");
                absent(&signature(&value), "the signature of an assertion");
            }
        }
    }
    let signs = kind.keys.contains("certificate_file") || kind.keys.contains("federated");
    assert_eq!(
        assertions > 2,
        signs,
        "assertions were looked for: {assertions}"
    );
    assert!(said.len() > 10_000, "much was said");
    assert!(
        said.contains("\"level\":\"") && said.contains("findings"),
        "in the log and by doctor"
    );
}

#[test]
fn the_lines_of_a_key_are_what_is_looked_for() {
    let lines = key_lines(&key("rsa_pkcs8.pem"));
    assert!(lines.len() > 20 && lines.iter().all(|line| line.len() > 40));
}
