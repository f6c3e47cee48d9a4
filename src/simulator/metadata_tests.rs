//! The metadata services of managed identities: a virtual machine, App Service and Azure Arc.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// GETs from the metadata listener; returns head and body.
async fn metadata(simulator: &Simulator, target: &str, field: &str) -> (String, serde_json::Value) {
    let mut tcp = TcpStream::connect(simulator.metadata_address())
        .await
        .unwrap();
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: 169.254.169.254\r\n{field}\r\nConnection: close\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    tcp.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (
        head.to_owned(),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

#[tokio::test]
async fn a_machine_hands_out_the_same_token_until_it_has_expired() {
    let simulator = Simulator::start().await.unwrap();
    let target = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fgraph.microsoft.com";
    let (_, first) = metadata(&simulator, target, "Metadata: true").await;
    assert_eq!(
        (&first["expires_in"], &first["refresh_token"]),
        (&json!("3599"), &json!(""))
    );
    let (_, second) = metadata(&simulator, target, "Metadata: true").await;
    assert_eq!(first["access_token"], second["access_token"]);
    simulator.expire_tokens(None);
    let (_, third) = metadata(&simulator, target, "Metadata: true").await;
    assert_ne!(first["access_token"], third["access_token"]);
    let (_, user) = metadata(
        &simulator,
        &format!("{target}&client_id={CLIENT_ID}"),
        "Metadata: true",
    )
    .await;
    assert_ne!(user["access_token"], third["access_token"]);
    let (_, bare) = metadata(&simulator, target, "Accept: */*").await;
    assert_eq!(bare["error"], "bad_request_102");
    let (_, unknown) = metadata(
        &simulator,
        &format!("{target}&client_id=x"),
        "Metadata: true",
    )
    .await;
    assert_eq!(unknown["error_description"], "Identity not found");
    assert_eq!(simulator.metadata_calls(), 6);
    assert_eq!(simulator.token_calls(), 0);
}

#[tokio::test]
async fn a_machine_serves_its_own_version_directly_and_for_a_resource() {
    let simulator = Simulator::start().await.unwrap();
    let place = "/metadata/identity/oauth2/token?resource=https%3A%2F%2Fgraph.microsoft.com";
    let (own, forwarded) = ("Metadata: true", "Metadata: true\r\nX-Forwarded-For: a");
    for (target, field, error) in [
        (place.to_owned(), own, "bad_request_101"),
        (
            format!("{place}&api-version=2017-01-01"),
            own,
            "bad_request_101",
        ),
        (
            format!("{place}&api-version=2018-02-01"),
            forwarded,
            "bad_request",
        ),
        (
            format!("{place}%2F.default&api-version=2018-02-01"),
            own,
            "invalid_resource",
        ),
        (
            format!("{place}&api-version=2018-02-01&mi_res_id=x"),
            own,
            "invalid_request",
        ),
    ] {
        let (head, document) = metadata(&simulator, &target, field).await;
        assert!(head.starts_with("HTTP/1.1 400"), "{target}: {head}");
        assert_eq!(document["error"], error, "{target}");
    }
    // Those that show a careless client: a forwarded call, a scope for a resource, and a name of
    // App Service's.
    let noted = simulator.violations();
    assert_eq!(noted.len(), 3, "{noted:?}");
}

#[tokio::test]
async fn app_service_and_arc_ask_for_their_proof() {
    let simulator = Simulator::start().await.unwrap();
    let resource = "resource=https%3A%2F%2Fgraph.microsoft.com";
    let target = format!("/msi/token?api-version=2019-08-01&{resource}");
    let header = simulator.identity_header();
    let header = format!("X-IDENTITY-HEADER: {}", header.expose_str().unwrap());
    let (_, document) = metadata(&simulator, &target, &header).await;
    assert!(document["expires_on"].is_string() && document.get("expires_in").is_none());
    let (head, _) = metadata(&simulator, &target, "X-IDENTITY-HEADER: wrong").await;
    assert!(head.starts_with("HTTP/1.1 401"));
    let old = target.replace("2019-08-01", "2017-09-01");
    let (head, _) = metadata(&simulator, &old, &header).await;
    assert!(head.starts_with("HTTP/1.1 500"), "{head}");
    let key = simulator.arc_key("/var/opt/azcmagent/tokens/x.key");
    let target = format!("/metadata/identity/oauth2/token?api-version=2020-06-01&{resource}");
    let (head, _) = metadata(&simulator, &target, "Metadata: true").await;
    assert!(
        head.contains("www-authenticate: Basic realm=/var/opt/azcmagent/tokens/x.key"),
        "{head}"
    );
    let proof = |key: &str| format!("Metadata: true\r\nAuthorization: Basic {key}");
    let encoded = STANDARD.encode(key.expose());
    let (head, _) = metadata(&simulator, &target, &proof(&encoded)).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let proof = proof(key.expose_str().unwrap());
    let named = format!("{target}&client_id={CLIENT_ID}");
    let (head, _) = metadata(&simulator, &named, &proof).await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let (head, document) = metadata(&simulator, &target, &proof).await;
    assert!(
        head.starts_with("HTTP/1.1 200") && document["access_token"].is_string(),
        "{head}"
    );
}
