//! Any header and claims, signed by the cluster's key, as a token of a service account: it is let in
//! exactly when plain rules say so, and with a signature over anything else never. Any bytes as the
//! cluster's keys: a set is as good as the best of its members, and what is said of it quotes nothing.
//! An input is a line of header, a line of claims, and what is no token and may be a key set.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tokenferry::caller::key_set::KeySet;
use tokenferry::caller::service_account::{ServiceAccount, verify};
use tokenferry::config::{KubernetesKeys, KubernetesSpec};

const NOW: u32 = 1_800_000_000;
const LEEWAY: f64 = 30.0;

/// A cluster with one key.
struct Cluster {
    pair: EcdsaKeyPair,
    keys: KeySet,
    spec: KubernetesSpec,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(encode);
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y});
    let keys = json!({"keys": [key]}).to_string();
    Cluster {
        pair,
        keys: KeySet::parse(keys.as_bytes()).expect("a key set"),
        spec: KubernetesSpec {
            issuer: "https://kubernetes.default.svc".to_owned(),
            audience: "tokenferry".to_owned(),
            keys: KubernetesKeys::File("unused".into()),
        },
    }
});

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn is_absent(value: &Value) -> bool {
    value.is_null()
}

/// JSON in which text that is not UTF-8 may stand where nothing is read.
fn lenient(text: &[u8]) -> Option<Value> {
    serde_json::from_str(&String::from_utf8_lossy(text)).ok()
}

/// Whom this token is for, if it is good.
fn expected(header: &[u8], claims: &[u8]) -> Option<ServiceAccount> {
    let [header, claims] = [header, claims].map(lenient);
    let (header, claims) = (header?, claims?);
    let is_ours = header["alg"] == "ES256"
        && is_absent(&header["crit"])
        && (is_absent(&header["kid"]) || header["kid"] == "k1")
        && claims["iss"] == "https://kubernetes.default.svc";
    let is_for_us = match &claims["aud"] {
        Value::Array(all) => all.iter().all(Value::is_string) && all.contains(&"tokenferry".into()),
        one => one == "tokenferry",
    };
    let now = f64::from(NOW);
    let begins = is_absent(&claims["nbf"]) || claims["nbf"].as_f64()? <= now + LEEWAY;
    let goes_on = claims["exp"].as_f64()? > now - LEEWAY;
    let account = claims["sub"].as_str()?;
    let account = account.strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = account.split_once(':')?;
    (is_ours && is_for_us && begins && goes_on).then(|| ServiceAccount {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Whether readers may differ over an object: it has a member twice, or is not UTF-8.
fn is_doubtful(text: &[u8]) -> bool {
    let names = [
        "alg", "kid", "crit", "iss", "sub", "aud", "exp", "nbf", "\\u",
    ];
    let text = String::from_utf8_lossy(text);
    text.contains('\u{fffd}') || names.iter().any(|name| text.matches(name).count() > 1)
}

fn hold_token(header: &[u8], claims: &[u8], other: &str) {
    let cluster = &*CLUSTER;
    let now = UNIX_EPOCH + Duration::from_secs(NOW.into());
    let judge = |token: &str| verify(token, &cluster.spec, &cluster.keys, now);
    let sign = |message: &str| {
        let signed = cluster.pair.sign(&SystemRandom::new(), message.as_bytes());
        encode(signed.expect("a signature").as_ref())
    };
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(&message);
    let token = format!("{message}.{signature}");
    let found = judge(&token).ok();
    let expected = expected(header, claims).filter(|_| token.len() <= 16 * 1024);
    // Nobody is let in whom the lenient reader does not know either.
    if found.is_some() || !(is_doubtful(header) || is_doubtful(claims)) {
        assert_eq!(found, expected);
    }
    assert!(judge(other).is_err());
    let foreign = sign(other);
    assert!(other == message || judge(&format!("{message}.{foreign}")).is_err());
    assert!(judge(&format!("{message}.{signature}=")).is_err());
    assert!(judge(&format!("{message}.")).is_err());
    let none = json!({"alg": "none"}).to_string();
    let none = encode(none.as_bytes());
    assert!(judge(&format!("{none}.{}.", encode(claims))).is_err());
}

fn hold_keys(text: &[u8]) {
    let outcome = KeySet::parse(text);
    let document: Option<Value> = serde_json::from_slice(text).ok();
    let members = document.as_ref().and_then(|it| it["keys"].as_array());
    let Some(members) = members else {
        assert!(outcome.is_err());
        return;
    };
    let alone = |key: &Value| {
        let one = json!({"keys": [key]}).to_string();
        KeySet::parse(one.as_bytes()).is_ok()
    };
    assert!(outcome.is_ok() == members.iter().any(alone) || is_double_set(text));
    if let Err(error) = outcome {
        let shown = format!("{error} {error:?}");
        assert!(shown.len() < 200 && shown.is_ascii(), "{shown}");
    }
}

fn is_double_set(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.matches("\"keys\"").count() > 1 || text.contains("\\u")
}

fuzz_target!(|text: &[u8]| {
    let mut lines = text.splitn(3, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (header, claims, other) = (next(), next(), next());
    hold_token(header, claims, &String::from_utf8_lossy(other));
    hold_keys(other);
});
