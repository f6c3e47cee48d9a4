//! Assertions as Entra checks them.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use x509_parser::pem::Pem;

use super::key_file_tests::key_alone;
use super::stand_in::{StandIn, ask, build, egress, granted, spec};
use crate::config::CredentialKind;
use crate::secret::SecretSource;

const PKCS8: &str = include_str!("../../tests/keys/rsa_pkcs8.pem");
const AES_256: &str = include_str!("../../tests/keys/encrypted_aes256_sha256.pem");

fn certificate(entra: &StandIn, file: &Path, send_chain: bool) -> CredentialKind {
    CredentialKind::Certificate {
        app: entra.app(),
        file: file.into(),
        password: None,
        send_chain,
    }
}

fn part(assertion: &str, at: usize) -> Vec<u8> {
    let part = assertion.split('.').nth(at).unwrap();
    BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()
}

fn json(assertion: &str, at: usize) -> Value {
    serde_json::from_slice(&part(assertion, at)).unwrap()
}

/// What was sent for a file with this text.
async fn assertions(text: &str, send_chain: bool, calls: usize) -> (StandIn, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pem");
    std::fs::write(&file, text).unwrap();
    let entra = StandIn::start(|_| granted("t")).await;
    let kind = certificate(&entra, &file, send_chain);
    let credential = &build(&[spec("a", kind)], &egress())[0];
    for _ in 0..calls {
        ask(credential).await.unwrap();
    }
    let sent = entra.requests();
    let sent = sent
        .iter()
        .map(|seen| seen.field("client_assertion").unwrap());
    let sent = sent.collect();
    (entra, sent)
}

#[tokio::test]
async fn an_assertion_is_signed_by_the_key_and_names_the_certificate() {
    let (_, sent) = assertions(PKCS8, false, 1).await;
    let header = json(&sent[0], 0);
    assert_eq!(header["alg"], "PS256");
    assert_eq!(header["typ"], "JWT");
    assert_eq!(
        header["x5t#S256"],
        "U4cACK0bK3nhoIbym_6m4RiaQpnKodNWW6ak5eD4H9A"
    );
    assert_eq!(header["x5c"], Value::Null);
    let pem = Pem::iter_from_buffer(PKCS8.as_bytes()).map(Result::unwrap);
    let pem = pem
        .into_iter()
        .find(|pem| pem.label == "CERTIFICATE")
        .unwrap();
    let public = pem
        .parse_x509()
        .unwrap()
        .public_key()
        .subject_public_key
        .data
        .to_vec();
    let (signed, _) = sent[0].rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public)
        .verify(signed.as_bytes(), &part(&sent[0], 2))
        .unwrap();
}

#[tokio::test]
async fn an_assertion_is_for_this_endpoint_short_lived_dated_back_and_fresh() {
    let (entra, sent) = assertions(PKCS8, false, 2).await;
    let claims = json(&sent[0], 1);
    let audience = format!("http://{}/tenant-1/oauth2/v2.0/token", entra.address);
    assert_eq!(claims["aud"], audience);
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&"client-1".into(), &"client-1".into())
    );
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let (from, until) = (
        claims["nbf"].as_u64().unwrap(),
        claims["exp"].as_u64().unwrap(),
    );
    assert!(
        (50..70).contains(&(now - from)) && until - from == 600,
        "{claims}"
    );
    assert_eq!(claims["iat"], claims["nbf"]);
    assert_ne!(claims["jti"], json(&sent[1], 1)["jti"]);
}

#[tokio::test]
async fn a_replaced_file_is_used_and_a_broken_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pem");
    std::fs::write(&file, AES_256).unwrap();
    let entra = StandIn::start(|_| granted("t")).await;
    let credential = &build(&[spec("a", certificate(&entra, &file, false))], &egress())[0];
    let error = ask(credential).await.unwrap_err();
    let words = format!(
        "the key is encrypted; set certificate_password, or certificate_password_file, for {}",
        file.display()
    );
    assert_eq!(error.words(), words);
    assert!(error.refuses_credential());
    assert_eq!(credential.expiry(), None);
    std::fs::write(&file, PKCS8).unwrap();
    ask(credential).await.unwrap();
    let after = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    assert!(credential.expiry().unwrap() > after);
    let (key, pair) = key_alone();
    let (next, thumbprint) = certificate_of(&pair, 2019, 2085);
    std::fs::write(&file, next + &key).unwrap();
    ask(credential).await.unwrap();
    let sent = entra.requests()[1].field("client_assertion").unwrap();
    assert_eq!(json(&sent, 0)["x5t#S256"], thumbprint);
    std::fs::remove_file(&file).unwrap();
    let words = ask(credential).await.unwrap_err().words();
    assert!(
        words.contains("cannot read") && words.contains("(os error 2)"),
        "{words}"
    );
}

#[tokio::test]
async fn a_password_file_decrypts_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let (file, password) = (
        folder.path().join("app.pem"),
        folder.path().join("password"),
    );
    std::fs::write(&file, AES_256).unwrap();
    std::fs::write(&password, "correct horse\n").unwrap();
    let entra = StandIn::start(|_| granted("t")).await;
    let kind = CredentialKind::Certificate {
        app: entra.app(),
        file: file.into(),
        password: Some(SecretSource::File((&password).into())),
        send_chain: false,
    };
    let credential = &build(&[spec("a", kind)], &egress())[0];
    credential.check().unwrap();
    ask(credential).await.unwrap();
    std::fs::write(&password, "another").unwrap();
    let words = credential.check().unwrap_err().words();
    assert!(
        words.starts_with("certificate_password does not decrypt"),
        "{words}"
    );
}

/// A certificate of this key for these years, and its `x5t#S256`.
fn certificate_of(key: &rcgen::KeyPair, from: i32, until: i32) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let made = params.self_signed(key).unwrap();
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, made.der()));
    (made.pem(), thumbprint)
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_stands_in_no_ones_way() {
    let (key, pair) = key_alone();
    let (early, _) = certificate_of(&pair, 2019, 2080);
    let (next, thumbprint_of_next) = certificate_of(&pair, 2090, 2100);
    let (own, thumbprint) = certificate_of(&pair, 2019, 2085);
    for text in [
        format!("{next}{early}{own}{key}"),
        format!("{early}{own}{next}{key}"),
    ] {
        let (_, sent) = assertions(&text, true, 1).await;
        let header = json(&sent[0], 0);
        assert_eq!(header["x5t#S256"], thumbprint);
        let chain = header["x5c"].as_array().unwrap();
        assert_eq!(chain.len(), 1);
        let first = BASE64_STANDARD.decode(chain[0].as_str().unwrap()).unwrap();
        let first = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &first));
        assert_eq!(first, thumbprint);
    }
    // Alone it is used: the clock of this machine may be behind.
    let (_, sent) = assertions(&format!("{next}{key}"), false, 1).await;
    assert_eq!(json(&sent[0], 0)["x5t#S256"], thumbprint_of_next);
}
