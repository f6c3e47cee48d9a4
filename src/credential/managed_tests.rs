//! Managed identity against stand-ins for each platform's endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::{CredentialError, Pace};
use super::stand_in::{Seen, StandIn, ask, egress, egress_with, response, spec};
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
    let egress = egress_with(rustls::RootCertStore::empty(), resolve);
    let spec = spec("a", CredentialKind::ManagedIdentity(selector));
    Credential::all(&[spec], &egress, &platform(variables))
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
        (408, Pace::Soon, None),
        (500, Pace::Soon, None),
        (503, Pace::Soon, None),
        (599, Pace::Soon, None),
        (400, Pace::Permanent, None),
        (401, Pace::Permanent, None),
        (403, Pace::Permanent, None),
        (499, Pace::Permanent, None),
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
async fn an_arc_agent_without_a_challenge_is_a_refusal() {
    let agent = StandIn::start(|_| response(401, "", "")).await;
    let error = ask(&managed(&agent, IdentitySelector::System, &arc(&agent)))
        .await
        .unwrap_err();
    assert_eq!(error.pace(), Pace::Permanent);
}

#[tokio::test]
async fn an_arc_agent_is_asked_for_no_identity_but_the_machines() {
    for selector in [
        IdentitySelector::ClientId("c".to_owned()),
        IdentitySelector::ObjectId("o".to_owned()),
        IdentitySelector::ResourceId("r".to_owned()),
    ] {
        let agent = StandIn::start(|_| response(200, "", TOKEN)).await;
        let credential = managed(&agent, selector, &arc(&agent));
        ask(&credential).await.unwrap_err();
        assert!(agent.requests().is_empty());
    }
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
    let mut credential = Credential::alone(&spec, &egress(), &platform).unwrap();
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
