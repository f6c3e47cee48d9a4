//! The token endpoint: what it accepts, and with which code it refuses everything else.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::client::{Reply, ask, form, once, request};
use super::ident::{base64url, epoch};
use crate::guid;
use std::time::Duration;

use super::*;

const SCOPE: &str = "https://graph.microsoft.com/.default";

/// The form with one field changed, or left out.
async fn with(simulator: &Simulator, field: &str, value: Option<&str>) -> Reply {
    let mut form = form(simulator, SCOPE);
    form.retain(|(name, _)| *name != field);
    let added = value.map(|value| (field.to_owned(), value.to_owned()));
    let mut fields: Vec<(&str, String)> = form;
    if let Some((name, value)) = &added {
        fields.push((name, value.clone()));
    }
    ask(simulator, &fields).await
}

fn code(reply: &Reply) -> u64 {
    assert_ne!(reply.status, 200);
    let document = reply.json();
    assert!(document["error"].is_string() && document["trace_id"].is_string());
    let code = document["error_codes"][0].as_u64().unwrap();
    let description = document["error_description"].as_str().unwrap();
    assert!(
        description.starts_with(&format!("AADSTS{code}: ")),
        "{description}"
    );
    code
}

#[tokio::test]
async fn every_mistake_in_the_form_has_its_code() {
    let simulator = Simulator::start().await.unwrap();
    let cases = [
        ("client_secret", Some("wrong"), 7_000_215),
        ("client_secret", None, 7_000_216),
        (
            "client_id",
            Some("33333333-aaaa-4bbb-8ccc-000000000003"),
            700_016,
        ),
        ("client_id", None, 900_144),
        (
            "scope",
            Some("https://graph.microsoft.com/User.Read"),
            1_002_012,
        ),
        ("scope", Some("graph.microsoft.com/.default"), 70_011),
        (
            "scope",
            Some("https://graph.microsoft.com/.default https://a.b/.default"),
            28_003,
        ),
        (
            "scope",
            Some("https://typo.crm.dynamics.com/.default"),
            500_011,
        ),
        (
            "scope",
            Some("https://login.microsoftonline.com/.default"),
            500_011,
        ),
        ("grant_type", Some("password"), 70_003),
        (
            "scope",
            Some("https://graph.microsoft.com:443/.default"),
            500_011,
        ),
        ("claims", Some("{"), 90_014),
        ("claims", Some("[]"), 90_014),
    ];
    for (field, value, expected) in cases {
        let reply = with(&simulator, field, value).await;
        assert_eq!(code(&reply), expected, "{field} {value:?}");
    }
    assert_eq!(simulator.violations(), []);
    assert_eq!(code(&with(&simulator, "resource", Some("x")).await), 90_014);
    assert_eq!(simulator.violations().len(), 1);
}

#[tokio::test]
async fn a_secret_can_expire_and_be_replaced() {
    let simulator = Simulator::start().await.unwrap();
    let old = form(&simulator, SCOPE);
    simulator.expire_client_secrets();
    assert_eq!(code(&ask(&simulator, &old).await), 7_000_222);
    simulator.add_client_secret();
    assert_eq!(ask(&simulator, &form(&simulator, SCOPE)).await.status, 200);
    simulator.remove_client_secrets();
    assert_eq!(code(&ask(&simulator, &old).await), 7_000_215);
}

#[tokio::test]
async fn tenants_that_do_not_exist_are_told_apart_from_malformed_ones() {
    let simulator = Simulator::start().await.unwrap();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    for (tenant, expected) in [
        ("99999999-aaaa-4bbb-8ccc-000000000001", 90_002),
        ("fabrikam.onmicrosoft.com", 90_002),
        ("nonsense", 900_023),
        ("common", 50_194),
    ] {
        let target = format!("/{tenant}/oauth2/v2.0/token");
        let reply = once(&simulator, request("POST", LOGIN, &target, &headers, "a=b")).await;
        assert_eq!(code(&reply.unwrap()), expected, "{tenant}");
    }
    let target = format!("/{TENANT_ID}/oauth2/v2.0/token");
    let reply = once(&simulator, request("GET", LOGIN, &target, &[], ""))
        .await
        .unwrap();
    assert_eq!(code(&reply), 900_561);
    assert_eq!(simulator.violations().len(), 1);
}

#[tokio::test]
async fn a_call_as_no_client_makes_it_is_refused_and_noted() {
    let simulator = Simulator::start().await.unwrap();
    let endpoint = format!("/{TENANT_ID}/oauth2/v2.0/token");
    let (kind, json) = ("application/x-www-form-urlencoded", "application/json");
    let secret = simulator.client_secret().unwrap();
    let secret = secret.expose_str().unwrap();
    let good = client::form_text(&form(&simulator, SCOPE));
    for (target, media_type, more, expected) in [
        (format!("{endpoint}?api-version=1.0"), kind, "", 90_014),
        (format!("/{endpoint}"), kind, "", 90_014),
        (endpoint.clone(), json, "", 900_144),
        (endpoint.clone(), kind, "&scope=x", 90_014),
        (endpoint.clone(), kind, "&client_assertion=x", 90_014),
        (endpoint.clone(), kind, "&client_assertion_type=x", 90_014),
    ] {
        let noted = simulator.violations().len();
        let fields = [("content-type", media_type)];
        let call = request("POST", LOGIN, &target, &fields, format!("{good}{more}"));
        let reply = once(&simulator, call).await.unwrap();
        assert_eq!(code(&reply), expected, "{target} {media_type} {more}");
        assert_eq!(simulator.violations().len(), noted + 1, "{more}");
    }
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{secret}")));
    let fields = [("content-type", kind), ("authorization", &basic)];
    let call = request("POST", LOGIN, &endpoint, &fields, good);
    assert_eq!(code(&once(&simulator, call).await.unwrap()), 90_014);
    let noted = simulator.violations();
    assert_eq!(noted.len(), 7, "{noted:?}");
}

#[tokio::test]
async fn an_assertion_is_not_taken_for_one_without_its_type() {
    let simulator = Simulator::start().await.unwrap();
    let token = simulator.federated_token(&Value::Null).unwrap();
    let mut form = form(&simulator, SCOPE);
    form.retain(|(name, _)| *name != "client_secret");
    form.push(("client_assertion", token));
    assert_eq!(code(&ask(&simulator, &form).await), 900_144);
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    form.push(("client_assertion_type", saml.to_owned()));
    assert_eq!(code(&ask(&simulator, &form).await), 90_014);
}

/// Signs an assertion as a good client would, with some members of header and claims changed.
fn assertion(pem: &str, header: &Value, claims: &Value) -> String {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_der()).unwrap();
    let now = epoch(std::time::SystemTime::now());
    let mut head = json!({
        "alg": "PS256", "typ": "JWT", "x5t#S256": base64url(digest(&SHA256, &certificate)),
    });
    let mut payload = json!({
        "aud": format!("https://{LOGIN}/{TENANT_ID}/oauth2/v2.0/token"),
        "iss": CLIENT_ID, "sub": CLIENT_ID, "jti": guid::fresh(),
        "nbf": now - 30, "iat": now, "exp": now + 300,
    });
    entra::lay_over(&mut head, header);
    entra::lay_over(&mut payload, claims);
    let signed = format!(
        "{}.{}",
        base64url(head.to_string()),
        base64url(payload.to_string())
    );
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    let padding: &'static dyn RsaEncoding = match head["alg"] == "RS256" {
        true => &RSA_PKCS1_SHA256,
        false => &RSA_PSS_SHA256,
    };
    key.sign(padding, &random, signed.as_bytes(), &mut signature)
        .unwrap();
    format!("{signed}.{}", base64url(signature))
}

async fn present(simulator: &Simulator, assertion: String) -> Reply {
    let mut form = form(simulator, SCOPE);
    form.retain(|(name, _)| *name != "client_secret");
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    form.push(("client_assertion_type", kind.to_owned()));
    form.push(("client_assertion", assertion));
    ask(simulator, &form).await
}

#[tokio::test]
async fn an_assertion_is_verified_claim_by_claim() {
    let simulator = Simulator::start().await.unwrap();
    let pem = simulator.make_certificate().unwrap();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let chain = STANDARD.encode(&der);
    let none = json!({});
    let good = present(&simulator, assertion(&pem, &json!({"x5c": [chain]}), &none)).await;
    assert_eq!(good.status, 200);
    let now = epoch(std::time::SystemTime::now());
    for (header, claims, expected) in [
        (json!({"x5t#S256": "other"}), none.clone(), 700_027),
        (json!({"alg": "HS256"}), none.clone(), 50_027),
        (
            json!({"x5t#S256": null, "x5t": "other"}),
            none.clone(),
            700_027,
        ),
        (json!({"x5c": ["AAAA"]}), none.clone(), 50_027),
        (json!({"x5c": [chain, "-"]}), none.clone(), 50_027),
        (none.clone(), json!({"sub": "other"}), 50_048),
        (
            none.clone(),
            json!({"iss": "other", "sub": "other"}),
            50_013,
        ),
        (
            none.clone(),
            json!({"aud": "https://login.microsoftonline.com/"}),
            50_013,
        ),
        (none.clone(), json!({"exp": now - 1}), 700_024),
        (none.clone(), json!({"nbf": now + 60}), 700_024),
        (none.clone(), json!({"exp": null}), 50_027),
        (none.clone(), json!({"jti": null}), 50_027),
    ] {
        let reply = present(&simulator, assertion(&pem, &header, &claims)).await;
        assert_eq!(code(&reply), expected, "{header} {claims}");
    }
    let (signed, _) = assertion(&pem, &none, &none)
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let forged = format!("{signed}.{}", base64url([1; 256]));
    assert_eq!(code(&present(&simulator, forged).await), 700_027);
}

#[tokio::test]
async fn an_assertion_of_an_older_library_is_accepted() {
    let simulator = Simulator::start().await.unwrap();
    let pem = simulator.make_certificate().unwrap();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, &der);
    let now = epoch(std::time::SystemTime::now());
    let texts = json!({"nbf": now.to_string(), "iat": now.to_string()});
    for thumbprint in [base64url(thumbprint), STANDARD.encode(thumbprint)] {
        let header = json!({"alg": "RS256", "x5t#S256": null, "x5t": thumbprint});
        let reply = present(&simulator, assertion(&pem, &header, &texts)).await;
        assert_eq!(reply.status, 200, "{header}");
    }
    assert_eq!(simulator.violations(), []);
}

#[tokio::test]
async fn a_new_thumbprint_in_the_other_alphabet_is_of_no_key() {
    let simulator = Simulator::start().await.unwrap();
    let pem = include_str!("../../tests/keys/rsa_pkcs8.pem");
    simulator.register_certificate(pem).unwrap();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let thumbprint = digest(&SHA256, &der);
    let padded = URL_SAFE.encode(thumbprint);
    for (thumbprint, status) in [(STANDARD.encode(thumbprint), 401), (padded, 200)] {
        let header = json!({"x5t#S256": thumbprint});
        let reply = present(&simulator, assertion(pem, &header, &json!({}))).await;
        assert_eq!(reply.status, status, "{thumbprint}");
    }
}

#[tokio::test]
async fn an_assertion_that_is_used_twice_is_refused_and_noted() {
    let simulator = Simulator::start().await.unwrap();
    let pem = simulator.make_certificate().unwrap();
    let text = assertion(&pem, &json!({}), &json!({}));
    assert_eq!(present(&simulator, text.clone()).await.status, 200);
    assert_eq!(code(&present(&simulator, text).await), 50_013);
    assert_eq!(simulator.violations().len(), 1);
}

#[tokio::test]
async fn a_federated_token_has_to_match_issuer_audience_and_subject() {
    let simulator = Simulator::start().await.unwrap();
    let good = simulator.federated_token(&Value::Null).unwrap();
    assert_eq!(present(&simulator, good.clone()).await.status, 200);
    // Unlike an assertion of its own making, a client may present this one as long as it lives.
    assert_eq!(present(&simulator, good).await.status, 200);
    for (claims, expected) in [
        (
            json!({"iss": FEDERATED_ISSUER.trim_end_matches('/')}),
            700_211,
        ),
        (json!({"aud": ["api://other"]}), 700_212),
        (json!({"sub": "system:serviceaccount:tools:other"}), 700_213),
        (json!({"exp": 1}), 700_024),
    ] {
        let token = simulator.federated_token(&claims).unwrap();
        assert_eq!(
            code(&present(&simulator, token).await),
            expected,
            "{claims}"
        );
    }
    let foreign = Simulator::start().await.unwrap();
    let foreign = foreign.federated_token(&Value::Null).unwrap();
    assert_eq!(code(&present(&simulator, foreign).await), 50_013);
    let keys = simulator.federated_keys().unwrap();
    assert_eq!(keys["keys"][0]["e"], "AQAB");
    assert_eq!(keys["keys"][0]["n"].as_str().unwrap().len(), 342);
}

#[tokio::test]
async fn replies_take_the_shapes_that_a_test_asks_for() {
    let simulator = Simulator::start().await.unwrap();
    let (hour, half) = (Duration::from_secs(86_400), Duration::from_secs(43_200));
    simulator.set_token_lifetime(hour, Some(half));
    let document = ask(&simulator, &form(&simulator, SCOPE)).await.json();
    assert_eq!(
        (&document["expires_in"], &document["refresh_in"]),
        (&json!(86_400), &json!(43_200))
    );
    let patch = json!({"expires_in": "3599.5", "ext_expires_in": null, "token_type": "bearer"});
    simulator.patch_token_reply(patch);
    let document = ask(&simulator, &form(&simulator, SCOPE)).await.json();
    assert_eq!(document["expires_in"], "3599.5");
    assert_eq!(document.get("ext_expires_in"), None);
    simulator.script(Script::on(LOGIN, Fault::Entra(53003)).times(1));
    let refused = ask(&simulator, &form(&simulator, SCOPE)).await;
    assert_eq!(code(&refused), 53_003);
    assert!(refused.json()["claims"].as_str().unwrap().starts_with('{'));
    simulator.script(Script::on(LOGIN, Fault::plain_429("60")).times(1));
    let throttled = ask(&simulator, &form(&simulator, SCOPE)).await;
    assert_eq!(
        (throttled.status.as_u16(), throttled.header("retry-after")),
        (429, "60")
    );
    assert_eq!(ask(&simulator, &form(&simulator, SCOPE)).await.status, 200);
}
