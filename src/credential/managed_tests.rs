//! Managed identity against stand-ins for each platform's endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::{CredentialError, Pace};
use super::stand_in::{Seen, StandIn, ask, client, client_with, response, spec};
use super::{Credential, Platform};
use crate::config::{CredentialKind, HostName, IdentitySelector};
use crate::secret::file_reader::FileReader;

const TOKEN: &str = r#"{"access_token":"t","refresh_token":"","expires_in":"86399",
    "expires_on":"1893542700","resource":"https://graph.test","token_type":"Bearer"}"#;

/// A credential on a platform with these variables; IMDS's address leads to the stand-in.
fn managed(
    stand_in: &StandIn,
    selector: IdentitySelector,
    variables: &[(&str, String)],
) -> Arc<Credential> {
    let imds = (HostName::parse("169.254.169.254").unwrap(), 80);
    let resolve = BTreeMap::from([(imds, stand_in.address)]);
    let client = client_with(rustls::RootCertStore::empty(), resolve);
    let spec = spec("a", CredentialKind::ManagedIdentity(selector));
    Credential::all(&[spec], &client, &platform(variables))
        .unwrap()
        .remove(0)
}

fn platform(variables: &[(&str, String)]) -> Platform {
    Platform::detect(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    })
}

fn endpoint(stand_in: &StandIn) -> (&'static str, String) {
    (
        "IDENTITY_ENDPOINT",
        format!("http://{}/msi/token", stand_in.address),
    )
}

/// The variables beside an agent of Azure Arc.
fn arc(agent: &StandIn) -> [(&'static str, String); 2] {
    let metadata = "http://localhost:40342".to_owned();
    [endpoint(agent), ("IMDS_ENDPOINT", metadata)]
}

#[tokio::test]
async fn a_virtual_machine_asks_the_metadata_service() {
    let imds = StandIn::start(|_| response(200, "", TOKEN)).await;
    let token = ask(&managed(&imds, IdentitySelector::System, &[]))
        .await
        .unwrap();
    assert_eq!(token.expires_in, Duration::from_secs(86_399));
    let seen = &imds.requests()[0];
    let line = "GET /metadata/identity/oauth2/token?api-version=2018-02-01\
        &resource=https%3A%2F%2Fgraph.test HTTP/1.1";
    assert_eq!(seen.line, line);
    assert_eq!(seen.headers["metadata"], "true");
    assert_eq!(seen.headers["host"], "169.254.169.254");
}

#[tokio::test]
async fn app_service_is_asked_with_its_header_and_its_spelling() {
    let service = StandIn::start(|_| {
        response(
            200,
            "",
            r#"{"access_token":"t","expires_on":"4102444800","token_type":"Bearer"}"#,
        )
    })
    .await;
    let variables = [
        endpoint(&service),
        ("IDENTITY_HEADER", "header-1".to_owned()),
    ];
    for (selector, parameter) in [
        (IdentitySelector::System, ""),
        (IdentitySelector::ClientId("c".to_owned()), "&client_id=c"),
        (IdentitySelector::ObjectId("o".to_owned()), "&object_id=o"),
        (
            IdentitySelector::ResourceId("/r/1".to_owned()),
            "&mi_res_id=%2Fr%2F1",
        ),
    ] {
        let token = ask(&managed(&service, selector, &variables)).await.unwrap();
        assert_eq!(token.expires_in, Duration::from_secs(172_800));
        let seen = service.requests().pop().unwrap();
        assert_eq!(seen.headers["x-identity-header"], "header-1");
        let query = "api-version=2019-08-01&resource=https%3A%2F%2Fgraph.test";
        assert_eq!(
            seen.line,
            format!("GET /msi/token?{query}{parameter} HTTP/1.1")
        );
    }
    let imds = StandIn::start(|_| response(200, "", TOKEN)).await;
    let selector = IdentitySelector::ResourceId("r".to_owned());
    ask(&managed(&imds, selector, &[])).await.unwrap();
    assert!(imds.requests()[0].line.contains("&msi_res_id=r "));
}

#[tokio::test]
async fn a_name_below_localhost_is_this_machine_whatever_a_resolver_says() {
    let service = StandIn::start(|_| response(200, "", TOKEN)).await;
    let authority = format!("identity.localhost:{}", service.address.port());
    let variables = [
        ("IDENTITY_ENDPOINT", format!("http://{authority}/msi/token")),
        ("IDENTITY_HEADER", "header-1".to_owned()),
    ];
    let credential = managed(&service, IdentitySelector::System, &variables);
    ask(&credential).await.unwrap();
    assert_eq!(service.requests()[0].headers["host"], authority);
}

#[tokio::test]
async fn statuses_lead_where_the_documentation_says() {
    for (status, pace, wait) in [
        (404, Pace::Soon, None),
        (410, Pace::Soon, Some(10)),
        (429, Pace::Soon, None),
        (500, Pace::Soon, None),
        (400, Pace::Permanent, None),
        (403, Pace::Permanent, None),
    ] {
        let body = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
        let imds = StandIn::start(move |_| response(status, "", body)).await;
        let error = ask(&managed(&imds, IdentitySelector::System, &[]))
            .await
            .unwrap_err();
        assert_eq!(error.pace(), pace, "{status}");
        assert_eq!(
            error.retry_after(),
            wait.map(Duration::from_secs),
            "{status}"
        );
        assert_eq!(error.refuses_credential(), pace == Pace::Permanent);
        assert!(!error.words().contains("not found"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_with_a_status_in_between_is_malformed() {
    let imds = StandIn::start(|_| response(302, "Location: http://evil.test/\r\n", "")).await;
    let error = ask(&managed(&imds, IdentitySelector::System, &[]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CredentialError::Malformed { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_arc_agent_gets_no_file_but_its_own_key() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("secret.key");
    std::fs::write(&outside, "secret").unwrap();
    let challenge = format!("WWW-Authenticate: Basic realm={}\r\n", outside.display());
    let agent = StandIn::start(move |_: &Seen| response(401, &challenge, "")).await;
    let error = ask(&managed(&agent, IdentitySelector::System, &arc(&agent)))
        .await
        .unwrap_err();
    assert!(error.words().contains("it was not read"), "{error}");
    let seen = agent.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].headers["metadata"], "true");
    assert!(!seen[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn an_arc_agent_without_a_challenge_is_a_refusal() {
    let agent = StandIn::start(|_| response(401, "", "")).await;
    let error = ask(&managed(&agent, IdentitySelector::System, &arc(&agent)))
        .await
        .unwrap_err();
    assert_eq!(error.pace(), Pace::Permanent);
}

#[tokio::test]
async fn an_arc_identity_is_the_machines_own() {
    let agent = StandIn::start(|_| response(401, "", "")).await;
    let selector = IdentitySelector::ClientId("c".to_owned());
    let error = managed(&agent, selector, &arc(&agent)).check().unwrap_err();
    assert!(
        error.words().contains("managed_identity: system"),
        "{error}"
    );
}

#[tokio::test]
async fn an_arc_key_is_read_and_sent_back() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("one.key");
    std::fs::write(&key, "key-1\n").unwrap();
    // As an agent in a domain has it: with a challenge that is not for us, in a line of its own.
    let challenge = format!(
        "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: Basic realm=\"{}\"\r\n",
        key.display()
    );
    let agent = StandIn::start(move |seen: &Seen| match seen.headers.get("authorization") {
        Some(_) => response(200, "", TOKEN),
        None => response(401, &challenge, ""),
    })
    .await;
    let platform = platform(&arc(&agent)).with_arc_keys(folder.path());
    let spec = spec(
        "a",
        CredentialKind::ManagedIdentity(IdentitySelector::System),
    );
    let mut credential = Credential::alone(&spec, &client(), &platform).unwrap();
    ask(&credential).await.unwrap();
    assert_eq!(agent.requests()[1].headers["authorization"], "Basic key-1");

    // A file system that hangs is waited for as with other files: aside, and not for long.
    credential.reader = FileReader::patient_for(Duration::from_millis(20));
    let release = credential.reader.hang().await;
    let error = ask(&credential).await.unwrap_err();
    assert!(
        error
            .words()
            .contains("one.key: the files were not read within"),
        "{error}"
    );
    assert_eq!(agent.requests().len(), 3, "no key, no request for a token");
    release.send(()).unwrap();
}
