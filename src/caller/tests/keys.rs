//! Fetching the cluster's keys from an issuer on loopback, over TLS.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rcgen::generate_simple_self_signed;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::token::Issuer;
use crate::caller::keys::{Egress, KeysError, fetch, read, token};
use crate::config::HostName;
use crate::forward_proxy::ForwardProxy;

/// Where the issuer says it is; where it is has another port.
const AUTHORITY: &str = "localhost:6443";

/// An issuer that answers by rule and writes down what it was asked.
struct Cluster {
    egress: Egress,
    seen: Arc<Mutex<Vec<String>>>,
    token: tempfile::NamedTempFile,
}

impl Cluster {
    /// `answer` gets the origin, the path and whether the token was shown, and gives status and body.
    async fn start(
        answer: impl Fn(&str, &str, bool) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let (acceptor, tls) = both_ends();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let name = HostName::parse("localhost").unwrap();
        let nobody = "127.0.0.1:1".parse().unwrap();
        let resolve = BTreeMap::from([((name.clone(), 443), nobody), ((name, 6443), address)]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(socket).await else {
                    continue;
                };
                let respond = |path: &str, shown| {
                    log.lock().unwrap().push(format!("{path} {shown}"));
                    answer(&format!("https://{AUTHORITY}"), path, shown)
                };
                exchange(stream, respond).await;
            }
        });
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "cluster-token\n").unwrap();
        Self {
            egress: Egress {
                own: tls.clone(),
                tls,
                resolve,
                forward_proxy: ForwardProxy::none(),
            },
            seen,
            token,
        }
    }

    async fn load(&self) -> Result<(), KeysError> {
        let issuer = format!("https://{AUTHORITY}/");
        fetch(&self.egress, &issuer, &token(&self.token.path().into())?)
            .await
            .map(drop)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// A server end with a certificate for localhost, and a client that trusts nothing else.
fn both_ends() -> (TlsAcceptor, ClientConfig) {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), tls)
}

/// One request without a body, one answer, and the connection closes.
async fn exchange(mut stream: TlsStream<TcpStream>, respond: impl Fn(&str, bool) -> (u16, String)) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains(&format!("host: {AUTHORITY}\r\n")), "{head}");
    let path = head.split(' ').nth(1).unwrap();
    let shown = head.contains("authorization: Bearer cluster-token\r\n");
    let (status, body) = respond(path, shown);
    let reply = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nlocation: /elsewhere\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(reply.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

/// Both documents, where `jwks_uri` is on the origin itself.
fn documents(origin: &str, path: &str) -> (u16, String) {
    match path {
        "/.well-known/openid-configuration" => (
            200,
            json!({"jwks_uri": format!("{origin}/openid/v1/jwks")}).to_string(),
        ),
        "/openid/v1/jwks" => (200, json!({"keys": [Issuer::new().jwk()]}).to_string()),
        _ => (404, String::new()),
    }
}

#[tokio::test]
async fn an_issuer_that_asks_for_the_token_gets_it() {
    let cluster = Cluster::start(|origin, path, shown| match shown {
        true => documents(origin, path),
        false => (403, "{}".to_owned()),
    })
    .await;
    cluster.load().await.unwrap();
    let expected = [
        "/.well-known/openid-configuration false",
        "/.well-known/openid-configuration true",
        "/openid/v1/jwks false",
        "/openid/v1/jwks true",
    ];
    assert_eq!(cluster.seen(), expected);
}

#[tokio::test]
async fn an_issuer_with_public_keys_never_sees_the_token() {
    let cluster = Cluster::start(|origin, path, _| documents(origin, path)).await;
    cluster.load().await.unwrap();
    assert!(cluster.seen().iter().all(|line| line.ends_with("false")));
}

#[tokio::test]
async fn a_token_file_that_holds_more_than_a_token_is_named_and_not_the_issuers_certificate() {
    let cluster = Cluster::start(|origin, path, shown| match shown {
        true => documents(origin, path),
        false => (401, String::new()),
    })
    .await;
    for held in [
        "hunter2\n# of March",
        "{\"token\": \"hunter2\"}",
        "hunter\u{e4}",
    ] {
        std::fs::write(cluster.token.path(), held).unwrap();
        let error = cluster.load().await.unwrap_err();
        let words = crate::chain::Chain(&error).to_string();
        let place = cluster.token.path().display().to_string();
        assert!(
            words.contains(&place) && !words.contains("hunter"),
            "{words}"
        );
        assert!(!words.contains("ca_file"), "{words}");
    }
}

#[tokio::test]
async fn who_asks_for_the_token_without_a_certificate_of_the_cluster_does_not_get_it() {
    for keys_only in [false, true] {
        let stranger = Cluster::start(move |origin, path, shown| {
            match shown || keys_only && path != "/openid/v1/jwks" {
                true => documents(origin, path),
                false => (403, "{}".to_owned()),
            }
        });
        let mut stranger = stranger.await;
        stranger.egress.own = both_ends().1;
        let error = stranger.load().await.unwrap_err();
        assert!(matches!(error, KeysError::Stranger { .. }), "{error:?}");
        let seen = stranger.seen();
        assert_eq!(seen.len(), if keys_only { 2 } else { 1 });
        assert!(seen.iter().all(|line| line.ends_with("false")), "{seen:?}");
    }
}

#[tokio::test]
async fn what_is_no_key_set_is_refused() {
    let refused = Cluster::start(|_, _, _| (401, String::new())).await;
    assert!(matches!(refused.load().await, Err(KeysError::Refused(_))));
    let redirected = Cluster::start(|_, _, _| (302, String::new())).await;
    assert!(matches!(
        redirected.load().await,
        Err(KeysError::Refused(_))
    ));
    assert_eq!(redirected.seen().len(), 1, "nothing is followed");
    let nonsense = Cluster::start(|_, _, _| (200, "<html>".to_owned())).await;
    assert!(matches!(
        nonsense.load().await,
        Err(KeysError::Discovery(_))
    ));
    let plain = Cluster::start(|_, _, _| (200, r#"{"jwks_uri":"http://x/"}"#.to_owned())).await;
    assert!(matches!(plain.load().await, Err(KeysError::Insecure)));
    let endless = Cluster::start(|_, _, _| (200, "x".repeat(1024 * 1024 + 1))).await;
    assert!(matches!(endless.load().await, Err(KeysError::TooLarge)));
    let empty = Cluster::start(|origin, path, _| match path {
        "/openid/v1/jwks" => (200, r#"{"keys":[]}"#.to_owned()),
        _ => documents(origin, path),
    })
    .await;
    assert!(matches!(empty.load().await, Err(KeysError::KeySet(_))));
}

#[test]
fn keys_of_a_file_are_read_from_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let set = json!({"keys": [Issuer::new().jwk()]}).to_string();
    std::fs::write(file.path(), set).unwrap();
    assert!(read(&file.path().into()).is_ok());
    for (wrong, said) in [
        ("hi", "not a JSON Web Key Set"),
        ("\"hunter2\"", "line 1"),
        ("{\"keys\":[]}", "no RSA or P-256 key"),
    ] {
        std::fs::write(file.path(), wrong).unwrap();
        let error = read(&file.path().into()).unwrap_err();
        let words = crate::chain::Chain(&error).to_string();
        assert!(
            words.contains(said) && words.contains("jwks_file"),
            "{words}"
        );
        assert!(
            !words.contains("issuer") && !words.contains("hunter2"),
            "{words}"
        );
    }
    // Windows removes no file that is open.
    let path = file.path().to_owned();
    file.close().unwrap();
    assert!(matches!(
        read(&path.into()),
        Err(KeysError::Unreadable { .. })
    ));
}
