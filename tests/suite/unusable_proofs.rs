//! Proofs that cannot be used: refused before the start with file and remedy, and harmless to a
//! program that runs.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, date_time_ymd};
use rustix::process::Signal;
use tokenferry::simulator::Simulator;
use tokio::task::JoinSet;

use crate::cli::{desk, with_file};
use crate::harness::program::{Program, run};
use crate::harness::until;
use crate::proofs::{CERTIFICATE, FEDERATED, SECRET, app, key, place, write};

/// A certificate until this day (`2027-03-01`), with the key that the fixtures have.
pub(crate) fn pair_until(day: &str) -> String {
    pair(2019, day)
}

/// The same from this year on.
pub(crate) fn pair(from: i32, day: &str) -> String {
    let mut day = day
        .split('-')
        .map(|part| part.parse::<u16>().expect("a number"));
    let mut next = || day.next().expect("a date has three parts");
    let (year, month, day) = (next(), next() as u8, next() as u8);
    let text = key("rsa_pkcs8.pem");
    let begin = text.find("-----BEGIN PRIVATE KEY").expect("there is a key");
    let end = "-----END PRIVATE KEY-----\n";
    let end = text.find(end).expect("it ends") + end.len();
    let pem = &text[begin..end];
    let pair = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_RSA_SHA256).expect("a key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(i32::from(year), month, day);
    let certificate = params.self_signed(&pair).expect("a certificate");
    format!("{}{pem}", certificate.pem())
}

/// The sections of a PEM text with this word in their name.
fn sections(text: &str, word: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in text.lines() {
        inside |= line.starts_with("-----BEGIN") && line.contains(word);
        if inside {
            kept += line;
            kept.push('\n');
        }
        inside &= !line.starts_with("-----END");
    }
    kept
}

/// What a certificate file may hold instead of a certificate and its key, and what is said of it.
fn spoilt() -> Vec<(&'static str, Option<String>, &'static str)> {
    let pair = key("rsa_pkcs8.pem");
    vec![
        ("missing", None, "check"),
        ("empty", Some(String::new()), "write the secret"),
        (
            "garbage",
            Some("no PEM at all".to_owned()),
            "openssl pkcs12",
        ),
        ("elliptic", Some(key("ec.pem")), "make an RSA key"),
        (
            "no key",
            Some(sections(&pair, "CERTIFICATE")),
            "no private key; append it",
        ),
        (
            "no certificate",
            Some(sections(&pair, "PRIVATE KEY")),
            "no certificate; append it",
        ),
        (
            "encrypted",
            Some(key("encrypted_aes256_sha256.pem")),
            "set certificate_password",
        ),
    ]
}

/// What is said of a certificate whose time is over.
const EXPIRED: &str = "expired on Wed, 01 Jan 2020";

#[tokio::test]
async fn a_proof_that_cannot_be_used_is_refused_before_the_start_with_file_and_remedy() {
    for (case, content, remedy) in spoilt() {
        let (_place, file) = place();
        if let Some(content) = content {
            write(&file, content);
        }
        refused(CERTIFICATE, &file, remedy, case).await;
    }
    let (_place, file) = place();
    fs::create_dir(&file).expect("the folder can be written");
    for keys in [CERTIFICATE, FEDERATED, SECRET] {
        refused(keys, &file, "check the path", "a directory").await;
    }
    let (_place, file) = place();
    write(&file, r#"{"count":1234,"value":"eyJh.eyJp.c2ln"}"#);
    refused(
        FEDERATED,
        &file,
        "without quotes or the JSON",
        "the issuer's answer",
    )
    .await;
    let (_place, file) = place();
    write(&file, key("encrypted_aes256_sha256.pem"));
    let (_other, password) = place();
    write(&password, "wrong horse");
    let keys = format!(
        "{CERTIFICATE}    certificate_password_file: '{}'\n",
        password.display()
    );
    refused(
        &keys,
        &file,
        "certificate_password does not decrypt",
        "wrong password",
    )
    .await;
}

#[tokio::test]
async fn an_expired_certificate_is_warned_of_and_keeps_no_other_route_down() {
    let (_place, file) = place();
    write(&file, pair_until("2020-01-01"));
    let keys =
        format!("{CERTIFICATE}    fallback: spare\n  spare:\n    managed_identity: system\n");
    let other = "  - {name: other, path: /other, upstream: 'https://GRAPH', credential: spare}\n";
    for (keys, status) in [
        (keys, 200),
        (
            format!("{CERTIFICATE}  spare:\n    managed_identity: system\n"),
            502,
        ),
    ] {
        let own = app(&keys, &file)
            .replace("routes: [", "routes:\n  - ")
            .replace("}]", "}")
            + other;
        let simulator = Simulator::start().await.expect("the simulator starts");
        let program = Program::within(simulator, &own, &[]).await;
        for round in ["start", "reload"] {
            let answer = program.get("/graph/v1.0/users?$top=1").await;
            assert_eq!(answer.status, status, "{round}: {}", answer.text());
            if status == 502 {
                assert_eq!(answer.code(), "tokenRejected");
                let status = program.get_admin("/status.json").await.text();
                assert!(status.contains(EXPIRED), "{status}");
            }
            program.get("/other/v1.0/users?$top=1").await.expect(200);
            program.signal(Signal::HUP);
            program.err.says("was reloaded").await;
        }
        let (code, out, err) = run(with_file(&["check"], program.folder())).await;
        assert_eq!(code, 0, "{out}{err}");
        let warning = "warning: credential \"app\" expired on 2020-01-01";
        assert!(err.contains(warning), "{err}");
        let (code, out, err) = run(with_file(&["doctor", "graph"], program.folder())).await;
        assert_eq!(code, i32::from(status == 502), "{out}{err}");
        assert!(out.contains(EXPIRED), "{out}{err}");
    }
}

async fn refused(keys: &str, file: &Path, remedy: &str, case: &str) {
    let (_simulator, folder) = desk(&app(keys, file)).await;
    for words in [["check"], ["run"]] {
        let (code, out, err) = run(with_file(&words, folder.path())).await;
        assert_eq!(code, 2, "{case}: {out}{err}");
        let name = file.display().to_string();
        assert!(err.contains(&name) && err.contains(remedy), "{case}: {err}");
    }
}

#[tokio::test]
async fn a_proof_that_is_spoilt_while_running_ends_nothing_and_drops_no_valid_token() {
    let expired = ("expired", Some(pair_until("2020-01-01")), EXPIRED);
    let mut prepared = Vec::new();
    for (case, content, _) in spoilt().into_iter().chain([expired]) {
        let simulator = Simulator::start().await.expect("the simulator starts");
        // All keys first: one may take seconds to make, in which no simulator would answer.
        let good = simulator.make_certificate().expect("a key");
        prepared.push((case, content, simulator, good));
    }
    let mut cases = JoinSet::new();
    for (case, content, simulator, good) in prepared {
        cases.spawn(spoil(case, content, simulator, good));
    }
    cases.join_all().await;
}

async fn spoil(case: &'static str, content: Option<String>, simulator: Simulator, good: String) {
    let (_place, file) = place();
    write(&file, &good);
    let program = Program::within(simulator, &app(CERTIFICATE, &file), &[]).await;
    let spoil = || match &content {
        Some(content) => write(&file, content),
        None => fs::remove_file(&file).expect("it is there"),
    };
    goes_on(case, program, spoil, || write(&file, &good)).await;
}

#[tokio::test]
async fn a_password_that_is_spoilt_while_running_costs_no_valid_token() {
    let (_place, file) = place();
    let (_other, password) = place();
    let simulator = Simulator::start().await.expect("the simulator starts");
    let pem = key("encrypted_aes256_sha256.pem");
    simulator.register_certificate(&pem).expect("a certificate");
    write(&file, &pem);
    let good = || write(&password, "correct horse");
    good();
    let keys = format!(
        "{CERTIFICATE}    certificate_password_file: '{}'\n",
        password.display()
    );
    let program = Program::within(simulator, &app(&keys, &file), &[]).await;
    let spoil = || write(&password, "wrong horse");
    goes_on("wrong password", program, spoil, good).await;
}

/// Spoils the proof of a running program and heals it again.
async fn goes_on(case: &str, mut program: Program, spoil: impl Fn(), heal: impl Fn()) {
    program.get("/graph/v1.0/users?$top=1").await.expect(200);
    spoil();
    // One endpoint refuses the token, whose renewal fails; everybody else goes on with it.
    let answer = program.get("/graph/sim/status/401").await;
    assert_eq!(
        answer.refusal(),
        (502, "tokenRejected".to_owned()),
        "{case}"
    );
    let message = answer.message();
    assert!(!message.contains("proof.pem"), "{case}: {message}");
    program.get("/graph/v1.0/users?$top=1").await.expect(200);
    let status = program.get_admin("/status.json").await.json();
    let token = &status["tokens"][0];
    assert_eq!(token["state"], "failing", "{case}: {token}");
    let message = token["failure"]["message"].as_str().expect("a message");
    assert!(message.contains("proof.pem"), "{case}: {message}");
    program.err.says("proof.pem").await;
    heal();
    until("the renewal works again", async || {
        let status = program.get_admin("/status.json").await.json();
        status["tokens"][0]["state"] == "valid"
    })
    .await;
    assert!(program.runs(), "{case}");
}
