//! Exchanges over a real socket: what is sent, and what becomes of each kind of answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::Credential;
use super::endpoint::MAX_ANSWER;
use super::error::{CredentialError, Flaw, Outage};
use super::stand_in::{
    self, StandIn, app_at, ask, ask_within, build, egress, egress_with, granted, response,
    secret_file, secret_in, spec, with_secret,
};
use crate::config::{AppIdentity, CredentialKind, HostName};

#[tokio::test]
async fn a_secret_goes_up_form_encoded_and_only_in_the_body() {
    let entra = StandIn::start(|_| granted("token-1")).await;
    let (_folder, credential) = with_secret("s~e+c/r&e=t \n", entra.app());
    let token = ask(&credential).await.unwrap();
    assert_eq!(token.secret.expose(), b"token-1");
    assert_eq!(token.expires_in, Duration::from_secs(3599));
    let seen = &entra.requests()[0];
    assert_eq!(seen.line, "POST /tenant-1/oauth2/v2.0/token HTTP/1.1");
    assert_eq!(
        seen.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(seen.headers["client-request-id"].len(), 36);
    assert_eq!(seen.field("grant_type").unwrap(), "client_credentials");
    assert_eq!(seen.field("client_id").unwrap(), "client-1");
    assert_eq!(seen.field("scope").unwrap(), "https://graph.test/.default");
    assert_eq!(seen.field("client_secret").unwrap(), "s~e+c/r&e=t");
    assert_eq!(seen.field("claims"), None);
    assert!(!seen.headers.contains_key("cookie") && !seen.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_name_of_this_machine_is_not_asked_of_a_resolver() {
    let entra = StandIn::start(|_| granted("t")).await;
    let port = entra.address.port();
    let (_folder, credential) = with_secret("s", app_at(&format!("http://entra.localhost:{port}")));
    ask(&credential).await.unwrap();
}

/// A credential with a file of another issuer's, and that file.
fn federated(text: &str, app: AppIdentity) -> (tempfile::TempDir, PathBuf, Arc<Credential>) {
    let (folder, file) = secret_file(text);
    let kind = CredentialKind::FederatedToken {
        app,
        file: file.clone().into(),
    };
    let credential = build(&[spec("a", kind)], &egress()).remove(0);
    (folder, file, credential)
}

#[tokio::test]
async fn a_federated_token_in_the_json_that_it_came_in_is_not_sent() {
    let entra = StandIn::start(|_| granted("t")).await;
    let answer = r#"{"count":1234,"value":"eyJh.fake.jwt"}"#;
    let (_folder, file, credential) = federated(answer, entra.app());
    let path = file.display().to_string();
    for error in [
        ask(&credential).await.unwrap_err(),
        credential.check().unwrap_err(),
    ] {
        let words = error.words();
        assert!(
            words.contains(&path) && words.contains("without quotes or the JSON"),
            "{words}"
        );
        assert!(!words.contains("1234") && !error.caller_words().contains(&path));
        assert!(error.refuses_credential());
    }
    assert!(entra.requests().is_empty());
}

#[tokio::test]
async fn a_refused_federated_token_is_not_blamed_on_a_certificate() {
    let body = r#"{"error":"invalid_client","error_codes":[700027]}"#;
    let entra = StandIn::start(move |_| response(401, "", body)).await;
    let (_folder, _, credential) = federated("eyJh.fake.jwt", entra.app());
    let words = ask(&credential).await.unwrap_err().words();
    assert!(words.contains("federated_token_file"), "{words}");
    assert!(!words.contains("certificate"), "{words}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_secret() {
    let other = StandIn::start(|_| granted("t")).await;
    let place = format!("Location: http://{}/x\r\n", other.address);
    let entra = StandIn::start(move |_| response(307, &place, "")).await;
    let (_folder, credential) = with_secret("s", entra.app());
    let error = ask(&credential).await.unwrap_err();
    assert!(matches!(
        error,
        CredentialError::Malformed {
            flaw: Flaw::Status(307),
            ..
        }
    ));
    assert_eq!((entra.requests().len(), other.requests().len()), (1, 0));
}

#[tokio::test]
async fn garbage_is_malformed_and_asked_for_once() {
    let [longest, long] = [0, 1].map(|more| "x".repeat(MAX_ANSWER + more));
    for (body, flaw) in [
        (longest.as_str(), Flaw::NotJson),
        ("", Flaw::Empty),
        ("<html>", Flaw::NotJson),
        ("{}", Flaw::TokenAbsent),
        (long.as_str(), Flaw::Large),
    ] {
        let answer = response(200, "", body);
        let entra = StandIn::start(move |_| answer.clone()).await;
        let (_folder, credential) = with_secret("s", entra.app());
        let error = ask(&credential).await.unwrap_err();
        let CredentialError::Malformed { flaw: found, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*found, flaw);
        assert_eq!(entra.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_is_one_however_long_its_text_and_wherever_it_ends() {
    let refusal = r#"{"error":"invalid_client","error_codes":[7000222],"error_description":""#;
    let long = "x".repeat(MAX_ANSWER + 4096);
    // Whole and too long; announced longer than it comes, on a connection that ends or stays open.
    for (body, announced, stays) in [
        (format!("{refusal}{long}\"}}"), MAX_ANSWER, false),
        (refusal.to_owned(), 5000, false),
        (refusal.to_owned(), 5000, true),
    ] {
        let length = announced.max(body.len());
        let throttled = format!(
            "HTTP/1.1 429 Status\r\nRetry-After: 60\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let refused = throttled.replace("429", "401");
        let (error, refusal) = tokio::join!(answered(throttled, stays), answered(refused, stays));
        assert!(matches!(error, CredentialError::Throttled(_)), "{error}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
        assert!(refusal.refuses_credential(), "{refusal}");
        assert!(refusal.words().starts_with("AADSTS7000222: "), "{refusal}");
    }
}

/// What becomes of these bytes as an answer, on a connection that `stays` open after them or not.
async fn answered(answer: String, stays: bool) -> CredentialError {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        stand_in::hear(&mut socket).await.unwrap().unwrap();
        // The client may leave before it has read everything.
        let _ = socket.write_all(answer.as_bytes()).await;
        if stays {
            std::future::pending::<()>().await;
        }
    });
    let (_folder, credential) = with_secret("s", app_at(&format!("http://{address}")));
    ask(&credential).await.unwrap_err()
}

#[tokio::test]
async fn a_broken_or_absent_connection_is_an_outage_in_words() {
    let entra =
        StandIn::start(|_| "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{".to_owned()).await;
    let (_folder, credential) = with_secret("s", entra.app());
    let error = ask(&credential).await.unwrap_err();
    assert!(matches!(
        error,
        CredentialError::Unavailable(Outage::Connection { .. })
    ));
    assert_eq!(entra.requests().len(), 1);

    // It does not listen, and keeps its port from the tests beside this one.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let (_folder, credential) = with_secret("s", app_at(&format!("http://{address}")));
    let words = ask(&credential).await.unwrap_err().words();
    assert!(
        words.starts_with(&format!("cannot reach {address}; check the network")),
        "{words}"
    );
    assert!(words.contains("refused"), "{words}");
}

#[tokio::test]
async fn silence_is_an_outage_after_the_time_limit() {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (_folder, credential) = with_secret("s", app_at(&format!("http://{address}")));
    let error = ask_within(&credential, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CredentialError::Unavailable(Outage::Timeout { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn an_absent_secret_names_the_file_to_the_operator_and_not_to_the_caller() {
    let entra = StandIn::start(|_| granted("t")).await;
    let (folder, credential) = with_secret("s", entra.app());
    let file = folder.path().join("secret");
    std::fs::remove_file(&file).unwrap();
    for error in [
        ask(&credential).await.unwrap_err(),
        credential.check().unwrap_err(),
    ] {
        let path = file.display().to_string();
        assert!(error.words().contains(&path) && !error.caller_words().contains(&path));
        assert!(error.refuses_credential());
    }
    assert!(entra.requests().is_empty());
}

#[tokio::test]
async fn a_fixed_address_is_used_for_tls_with_the_real_name_and_port_in_host() {
    let made = rcgen::generate_simple_self_signed(["login.test".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let socket = acceptor.accept(socket).await.unwrap();
            let _ = stand_in::serve(socket, &kept, &|_: &stand_in::Seen| granted("t")).await;
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let host = HostName::parse("login.test").unwrap();
    let resolve = BTreeMap::from([((host.clone(), 443), address), ((host, 8443), address)]);
    let egress = egress_with(roots, resolve);
    let (_folder, file) = secret_file("s");
    for (authority, expected) in [
        ("https://login.test", "login.test"),
        ("https://login.test:8443", "login.test:8443"),
    ] {
        let kind = secret_in(&file, app_at(authority));
        let credential = &build(&[spec("a", kind)], &egress)[0];
        ask(credential).await.unwrap();
        let seen = seen.lock().unwrap().pop().unwrap();
        assert_eq!(seen.headers["host"], expected);
    }
}
