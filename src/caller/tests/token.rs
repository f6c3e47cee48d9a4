//! Service-account tokens: real signatures, one thing wrong at a time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

use crate::caller::key_set::KeySet;
use crate::caller::service_account::{TokenError, verify};
use crate::config::{KubernetesKeys, KubernetesSpec};

pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

pub(super) fn spec() -> KubernetesSpec {
    KubernetesSpec {
        issuer: "https://kubernetes.default.svc".to_owned(),
        audience: "tokenferry".to_owned(),
        keys: KubernetesKeys::File("unused".into()),
    }
}

pub(super) fn claims() -> Value {
    json!({
        "iss": "https://kubernetes.default.svc",
        "aud": ["tokenferry"],
        "sub": "system:serviceaccount:reports:nightly",
        "exp": NOW + 600,
        "nbf": NOW - 600,
        "iat": NOW - 600,
    })
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A cluster with one P-256 key.
pub(super) struct Issuer(EcdsaKeyPair);

impl Issuer {
    pub(super) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(super) fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256",
            "x": encode(&point[1..33]), "y": encode(&point[33..]),
        })
    }

    pub(super) fn keys(&self) -> KeySet {
        KeySet::parse(json!({"keys": [self.jwk()]}).to_string().as_bytes()).unwrap()
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "ES256", "kid": "k1"}), claims)
    }

    pub(super) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims.to_string())
        );
        let signature = self
            .0
            .sign(&SystemRandom::new(), message.as_bytes())
            .unwrap();
        format!("{message}.{}", encode(signature))
    }
}

pub(super) fn verdict(issuer: &Issuer, token: &str) -> Result<String, TokenError> {
    verify(token, &spec(), &issuer.keys(), now()).map(|a| format!("{}/{}", a.namespace, a.name))
}

pub(super) fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

#[test]
fn a_token_of_the_cluster_proves_its_service_account() {
    let issuer = Issuer::new();
    let expected = Ok("reports/nightly".to_owned());
    assert_eq!(verdict(&issuer, &issuer.token(&claims())), expected);
    for audience in [json!("tokenferry"), json!(["vault", "tokenferry"])] {
        let of_it = changed(|c| c["aud"] = audience.clone());
        assert_eq!(verdict(&issuer, &issuer.token(&of_it)), expected);
    }
    let nameless = issuer.token_with(&json!({"alg": "ES256"}), &claims());
    assert_eq!(verdict(&issuer, &nameless), expected);
}

#[test]
fn a_token_with_one_thing_wrong_proves_nothing() {
    let issuer = Issuer::new();
    let of = |change: fn(&mut Value)| verdict(&issuer, &issuer.token(&changed(change)));
    assert_eq!(
        of(|c| c["iss"] = json!("https://evil")),
        Err(TokenError::Issuer)
    );
    assert_eq!(of(|c| c["aud"] = json!("vault")), Err(TokenError::Audience));
    assert_eq!(
        of(|c| c["aud"] = json!(["vault"])),
        Err(TokenError::Audience)
    );
    assert_eq!(of(|c| c["aud"] = json!([])), Err(TokenError::Audience));
    // At its expiry a token has expired (RFC 7519 section 4.1.4).
    assert_eq!(of(|c| c["exp"] = json!(NOW - 30)), Err(TokenError::Expired));
    assert_eq!(of(|c| c["nbf"] = json!(NOW + 31)), Err(TokenError::NotYet));
    assert_eq!(
        of(|c| c["sub"] = json!("system:node:a")),
        Err(TokenError::Subject)
    );
    assert_eq!(of(|c| c["exp"] = json!("soon")), Err(TokenError::Malformed));
    let long = of(|c| c["pad"] = json!("a".repeat(16 * 1024)));
    assert_eq!(long, Err(TokenError::Malformed));
    for field in ["iss", "aud", "exp", "sub"] {
        let without = changed(|c| drop(c.as_object_mut().unwrap().remove(field)));
        assert_eq!(
            verdict(&issuer, &issuer.token(&without)),
            Err(TokenError::Malformed)
        );
    }
}

#[test]
fn clocks_may_differ_by_half_a_minute() {
    let issuer = Issuer::new();
    for claims in [
        changed(|c| c["exp"] = json!(NOW - 29)),
        changed(|c| c["nbf"] = json!(NOW + 30)),
        changed(|c| c["exp"] = json!(NOW as f64 + 0.5)),
    ] {
        assert!(verdict(&issuer, &issuer.token(&claims)).is_ok());
    }
}

#[test]
fn neither_algorithm_nor_key_can_be_talked_out_of() {
    let issuer = Issuer::new();
    let stranger = Issuer::new();
    let with = |header: Value| verdict(&issuer, &issuer.token_with(&header, &claims()));
    assert_eq!(with(json!({"alg": "none"})), Err(TokenError::Malformed));
    assert_eq!(
        with(json!({"alg": "HS256", "kid": "k1"})),
        Err(TokenError::Malformed)
    );
    assert_eq!(
        with(json!({"alg": "RS256", "kid": "k1"})),
        Err(TokenError::UnknownKey)
    );
    assert_eq!(
        with(json!({"alg": "ES256", "kid": "k2"})),
        Err(TokenError::UnknownKey)
    );
    assert_eq!(
        with(json!({"alg": "ES256", "kid": "k1", "crit": ["x"]})),
        Err(TokenError::Malformed)
    );
    assert_eq!(
        verdict(&issuer, &stranger.token(&claims())),
        Err(TokenError::Signature)
    );
}

#[test]
fn a_token_that_was_touched_proves_nothing() {
    let issuer = Issuer::new();
    let token = issuer.token(&claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let other = encode(changed(|c| c["sub"] = json!("system:serviceaccount:a:b")).to_string());
    let forged = format!("{header}.{other}.{signature}");
    assert_eq!(verdict(&issuer, &forged), Err(TokenError::Signature));
    assert_eq!(
        verdict(&issuer, &format!("{message}.")),
        Err(TokenError::Signature)
    );
    for text in ["", ".", "..", "a.b", "a.b.c", message, &"a".repeat(20_000)] {
        assert_eq!(
            verdict(&issuer, text),
            Err(TokenError::Malformed),
            "{text:.40}"
        );
    }
}

#[test]
fn an_rsa_key_of_the_cluster_verifies() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = key.public_key().as_ref();
    let (_, public) = RSAPublicKey::from_der(der).unwrap();
    let jwk = json!({
        "kty": "RSA", "kid": "r1",
        // Some issuers write the sign byte of the number.
        "n": encode([&[0], public.modulus].concat()),
        "e": encode(public.exponent),
    });
    let keys = KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    let header = json!({"alg": "RS256", "kid": "r1"}).to_string();
    let message = format!("{}.{}", encode(header), encode(claims().to_string()));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        message.as_bytes(),
        &mut signature,
    )
    .unwrap();
    let token = format!("{message}.{}", encode(&signature));
    assert!(verify(&token, &spec(), &keys, now()).is_ok());
    signature[7] ^= 1;
    let token = format!("{message}.{}", encode(&signature));
    assert_eq!(
        verify(&token, &spec(), &keys, now()),
        Err(TokenError::Signature)
    );
}

#[test]
fn keys_of_other_kinds_and_uses_are_passed_over() {
    let jwk = Issuer::new().jwk();
    let with = |field: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[field] = value;
        json!({"keys": [jwk]}).to_string()
    };
    for set in [
        with("use", json!("enc")),
        with("alg", json!("ES384")),
        with("crv", json!("P-384")),
        with("kty", json!("OKP")),
        with("x", json!("AAAA")),
        with("y", json!("*")),
        r#"{"keys":[]}"#.to_owned(),
        r#"{"issuer":"x"}"#.to_owned(),
        "[]".to_owned(),
    ] {
        assert!(KeySet::parse(set.as_bytes()).is_err(), "{set}");
    }
}

#[test]
fn a_key_that_cannot_be_read_takes_no_other_with_it() {
    let issuer = Issuer::new();
    for odd in [
        json!({"alg": "RS256"}),
        json!({"kty": "AKP", "n": 7}),
        json!({"kty": "RSA", "n": ["AQAB"], "e": "AQAB"}),
        json!("k0"),
        Value::Null,
    ] {
        let set = json!({"keys": [odd, issuer.jwk()]}).to_string();
        let keys = KeySet::parse(set.as_bytes()).unwrap();
        let token = issuer.token(&claims());
        assert!(verify(&token, &spec(), &keys, now()).is_ok(), "{set}");
    }
}
