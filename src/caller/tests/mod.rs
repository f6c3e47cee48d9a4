//! Callers and their proofs, as a route asks for them.

mod certificate;
mod keys;
mod token;

use std::io::Write;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use rcgen::SanType;
use serde_json::json;

use self::certificate::certificate;
use self::token::{Issuer, changed, claims, now, spec};
use super::certificate::PeerNames;
use super::key_set::KeySet;
use super::service_account::TokenError;
use super::{CallerError, CallerId, Callers, RouteCallers};
use crate::config::{CallerProof, CallerSpec, CertificateName, KubernetesSpec, Name};
use crate::secret::SecretSource;

fn caller(name: &str, proof: CallerProof) -> CallerSpec {
    CallerSpec {
        name: Name::parse(name).unwrap(),
        proof,
    }
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    map
}

/// Callers `cron` and `alice` by key, `mesh` by certificate, `nightly` by service account.
struct Office {
    callers: Callers,
    specs: Vec<CallerSpec>,
    issuer: Issuer,
    key_file: tempfile::NamedTempFile,
}

impl Office {
    fn open() -> Self {
        let key = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            writeln!(file, "{text}").unwrap();
            file
        };
        let (cron, alice) = (key("cron-key"), key("alice-key"));
        let of = |file: &tempfile::NamedTempFile| {
            CallerProof::ApiKey(SecretSource::File(file.path().into()))
        };
        let account = CallerProof::ServiceAccount {
            namespace: "reports".to_owned(),
            name: "nightly".to_owned(),
        };
        let specs = vec![
            caller("cron", of(&cron)),
            caller("alice", of(&alice)),
            caller(
                "mesh",
                CallerProof::ClientCertificate(CertificateName::read("mesh.corp")),
            ),
            caller("nightly", account),
        ];
        let callers = Callers::new(&specs, Some(&spec())).unwrap();
        let issuer = Issuer::new();
        callers.set_cluster_keys(issuer.keys());
        Self {
            callers,
            specs,
            issuer,
            key_file: cron,
        }
    }

    fn route(&self, names: &[&str]) -> RouteCallers {
        let names: Vec<Name> = names
            .iter()
            .map(|name| Name::parse(name).unwrap())
            .collect();
        RouteCallers::new(&names, &self.specs)
    }

    fn ask(
        &self,
        route: &[&str],
        lines: &[(&str, &str)],
        peer: Option<&PeerNames>,
    ) -> Result<Option<usize>, CallerError> {
        self.callers
            .identify(&self.route(route), &headers(lines), peer, now())
            .map(|id| id.map(|CallerId(at)| at))
    }
}

#[test]
fn a_route_without_callers_asks_nobody() {
    let office = Office::open();
    assert_eq!(office.ask(&[], &[("x-api-key", "wrong")], None), Ok(None));
}

#[test]
fn a_route_whose_caller_does_not_exist_is_closed() {
    let office = Office::open();
    let result = office.ask(&["ghost"], &[("x-api-key", "cron-key")], None);
    assert_eq!(result, Err(CallerError::Unknown));
}

#[test]
fn a_key_proves_its_own_caller_on_its_own_routes() {
    let office = Office::open();
    let key = |text| office.ask(&["cron", "mesh"], &[("x-api-key", text)], None);
    assert_eq!(key("cron-key"), Ok(Some(0)));
    for wrong in ["alice-key", "cron-ke", "cron-key2", "", "CRON-KEY"] {
        assert_eq!(key(wrong), Err(CallerError::Unknown), "{wrong}");
    }
    let twice = [("x-api-key", "cron-key"), ("x-api-key", "cron-key")];
    let result = office.ask(&["cron", "nightly"], &twice, None);
    assert_eq!(result, Err(CallerError::Repeated));
    assert_eq!(
        office.ask(&["nightly"], &twice, None),
        Err(CallerError::Missing),
        "keys are not what is asked for"
    );
    assert_eq!(office.ask(&["cron"], &[], None), Err(CallerError::Missing));
}

#[test]
fn a_certificate_and_a_token_prove_their_callers() {
    let office = Office::open();
    let all = ["cron", "alice", "mesh", "nightly"];
    let mesh = certificate(|params| {
        params.subject_alt_names = vec![SanType::DnsName("mesh.corp".try_into().unwrap())];
    });
    assert_eq!(office.ask(&all, &[], Some(&mesh)), Ok(Some(2)));
    assert_eq!(
        office.ask(&["cron"], &[], Some(&mesh)),
        Err(CallerError::Unknown)
    );
    let token = format!("bearer {}", office.issuer.token(&claims()));
    let lines = [("authorization", token.as_str())];
    assert_eq!(office.ask(&all, &lines, None), Ok(Some(3)));
    assert_eq!(
        office.ask(&["mesh"], &lines, None),
        Err(CallerError::Missing)
    );
    let both = [lines[0], ("x-api-key", "alice-key")];
    assert_eq!(office.ask(&["nightly", "alice"], &both, None), Ok(Some(3)));
}

#[test]
fn a_good_token_of_another_service_account_proves_nobody() {
    let office = Office::open();
    for account in ["other:nightly", "reports:other", "nightly:reports"] {
        let claims = changed(|c| c["sub"] = json!(format!("system:serviceaccount:{account}")));
        let token = format!("Bearer {}", office.issuer.token(&claims));
        let result = office.ask(&["nightly"], &[("authorization", &token)], None);
        assert_eq!(result, Err(CallerError::Unknown), "{account}");
    }
}

#[test]
fn a_dummy_token_does_not_spoil_another_proof() {
    let office = Office::open();
    let lines = [("authorization", "Bearer dummy"), ("x-api-key", "cron-key")];
    assert_eq!(office.ask(&["nightly", "cron"], &lines, None), Ok(Some(0)));
    let result = office.ask(&["nightly", "cron"], &lines[..1], None);
    assert_eq!(result, Err(CallerError::Token(TokenError::Malformed)));
}

#[test]
fn who_proves_nothing_in_two_ways_is_told_of_both() {
    let office = Office::open();
    let lines = [("authorization", "Bearer dummy"), ("x-api-key", "cron-kez")];
    let neither = CallerError::Neither(TokenError::Malformed);
    let result = office.ask(&["nightly", "cron"], &lines, None);
    assert_eq!(result, Err(neither));
    let words = neither.to_string();
    assert!(words.contains("the key or certificate"), "{words}");
    assert!(words.contains("the bearer token is not"), "{words}");
    let mesh = certificate(|params| {
        params.subject_alt_names = vec![SanType::DnsName("other.corp".try_into().unwrap())];
    });
    let result = office.ask(&["nightly", "mesh"], &lines[..1], Some(&mesh));
    assert_eq!(result, Err(neither));
    // What the route does not ask for is no proof.
    let result = office.ask(&["nightly"], &lines, Some(&mesh));
    assert_eq!(result, Err(CallerError::Token(TokenError::Malformed)));
}

#[test]
fn a_token_that_cannot_be_judged_is_not_its_callers_fault_whatever_is_beside_it() {
    let office = Office::open();
    let token = format!("Bearer {}", office.issuer.token(&claims()));
    let lines = [("authorization", token.as_str()), ("x-api-key", "cron-kez")];
    let dummy = [("authorization", "Bearer dummy"), lines[1]];
    let ask = |lines| office.ask(&["nightly", "cron"], lines, None);
    assert_eq!(ask(&lines), Ok(Some(3)));
    office.callers.set_cluster_keys(KeySet::default());
    for (lines, ours) in [
        (&lines[..], true),
        (&lines[..1], true),
        (&lines[1..], false),
        (&dummy, false),
        (&dummy[..1], false),
        (&[], false),
    ] {
        assert_eq!(ask(lines).unwrap_err().is_ours(), ours, "{lines:?}");
    }
}

#[test]
fn a_token_that_came_twice_proves_nobody() {
    let office = Office::open();
    let token = format!("Bearer {}", office.issuer.token(&claims()));
    let line = ("authorization", token.as_str());
    assert_eq!(office.ask(&["nightly"], &[line], None), Ok(Some(3)));
    for other in [line, ("authorization", "Bearer dummy")] {
        for lines in [[line, other], [other, line]] {
            let result = office.ask(&["nightly"], &lines, None);
            assert_eq!(result, Err(CallerError::Missing));
        }
    }
}

#[test]
fn keys_are_kept_of_the_same_issuer_and_of_no_other() {
    let office = Office::open();
    let of_issuer = |issuer: &str| {
        let spec = KubernetesSpec {
            issuer: issuer.to_owned(),
            ..spec()
        };
        Callers::new(&office.specs[2..], Some(&spec)).unwrap()
    };
    let same = of_issuer(&spec().issuer);
    same.keep_keys_of(&office.callers);
    assert!(same.knows_cluster());
    // Else the former issuer could sign for the new one.
    let other = of_issuer("https://other.corp");
    other.keep_keys_of(&office.callers);
    assert!(!other.knows_cluster());
}

#[tokio::test]
async fn an_unknown_key_of_the_cluster_asks_for_new_ones() {
    let office = Office::open();
    let rotated = office
        .issuer
        .token_with(&json!({"alg": "ES256", "kid": "k2"}), &claims());
    let lines = [("authorization", format!("Bearer {rotated}"))];
    let lines = [(lines[0].0, lines[0].1.as_str())];
    let wanted = || tokio::time::timeout(Duration::ZERO, office.callers.keys_wanted());
    assert!(wanted().await.is_err(), "nobody asked yet");
    let result = office.ask(&["nightly"], &lines, None);
    assert_eq!(result, Err(CallerError::Token(TokenError::UnknownKey)));
    assert!(wanted().await.is_ok());
}

#[test]
fn a_changed_key_file_counts_and_an_unreadable_one_changes_nothing() {
    let office = Office::open();
    let ask = |text| office.ask(&["cron"], &[("x-api-key", text)], None);
    std::fs::write(office.key_file.path(), "new-key\n").unwrap();
    assert_eq!(ask("cron-key"), Ok(Some(0)));
    // `alice`'s file is gone since the office opened: her key stays, and the failure is told.
    let failures = office.callers.refresh();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].to_string().contains("\"alice\""));
    assert_eq!(ask("new-key"), Ok(Some(0)));
    assert_eq!(ask("cron-key"), Err(CallerError::Unknown));
    assert_eq!(
        office.ask(&["alice"], &[("x-api-key", "alice-key")], None),
        Ok(Some(1))
    );
}

#[test]
fn a_key_that_cannot_be_read_at_start_is_an_error() {
    let missing = SecretSource::File("/nonexistent/key".into());
    let specs = [caller("cron", CallerProof::ApiKey(missing))];
    let error = Callers::new(&specs, None).unwrap_err();
    assert!(error.to_string().contains("cron"));
}

#[test]
fn a_key_that_no_header_can_hold_is_refused_and_spaces_around_one_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "first-key\n").unwrap();
    let specs = [caller(
        "cron",
        CallerProof::ApiKey(SecretSource::File(file.clone().into())),
    )];
    let callers = Callers::new(&specs, None).unwrap();
    for unsendable in ["hunter-2\nhunter-3\n", "hunter\u{7f}2"] {
        std::fs::write(&file, unsendable).unwrap();
        assert_eq!(super::api_keys::unsendable(&specs), [0]);
        let error = Callers::new(&specs, None).unwrap_err().to_string();
        assert!(error.contains("\"cron\""), "{error}");
        assert!(!error.contains("hunter"), "{error}");
        assert_eq!(callers.refresh().len(), 1);
    }
    let ask = |text| {
        let route = RouteCallers::new(&[Name::parse("cron").unwrap()], &specs);
        let lines = headers(&[("x-api-key", text)]);
        callers.identify(&route, &lines, None, now()).is_ok()
    };
    assert!(ask("first-key"), "it stays");
    std::fs::write(&file, "\t a key\tof two words \n").unwrap();
    assert!(callers.refresh().is_empty() && ask("a key\tof two words"));
    assert!(super::api_keys::unsendable(&specs).is_empty());
}

#[test]
fn two_callers_with_one_key_are_refused_and_the_key_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, key: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, key).unwrap();
        CallerProof::ApiKey(SecretSource::File(path.into()))
    };
    let specs = [
        caller("one", key("one", "hunter-2\n")),
        caller(
            "job",
            CallerProof::ClientCertificate(CertificateName::read("hunter-2")),
        ),
        caller("two", key("two", "hunter-3")),
        caller("three", key("three", "hunter-2")),
    ];
    let error = Callers::new(&specs, None).unwrap_err().to_string();
    let named = error.contains("\"one\"") && error.contains("\"three\"");
    assert!(named && !error.contains("hunter"), "{error}");
    assert_eq!(super::api_keys::shared(&specs), [(0, 3)]);

    key("three", "hunter-4");
    let callers = Callers::new(&specs, None).unwrap();
    let ask = |name: &str, text: &'static str| {
        let route = RouteCallers::new(&[Name::parse(name).unwrap()], &specs);
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-api-key"),
            HeaderValue::from_static(text),
        )]);
        callers.identify(&route, &headers, None, now()).is_ok()
    };
    key("two", "hunter-4");
    let failures = callers.refresh();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].to_string().contains("\"two\" and \"three\""));
    assert!(ask("two", "hunter-3") && ask("three", "hunter-4"));
    assert!(!ask("two", "hunter-4"), "what is shared is not taken");
    key("three", "hunter-5");
    assert!(callers.refresh().is_empty());
    assert!(ask("two", "hunter-4") && ask("three", "hunter-5"));
}
