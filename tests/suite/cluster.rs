//! Service accounts whose keys are fetched from the cluster's issuer. What happens by the clock is
//! tested beside the clock, in `app::cluster_keys`.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokenferry::lock::locked;
use tokenferry::simulator::Simulator;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::program::Program;
use crate::harness::until;
use crate::tls::Authority;

const CLUSTER_TOKEN: &str = "CANARY-cluster-token";

/// An issuer on loopback that shows its keys to whoever has the token of the cluster. Its name is its
/// address: not every machine knows a `localhost`.
struct Cluster {
    issuer: String,
    up: AtomicBool,
    keys: String,
    heads: Mutex<Vec<String>>,
}

impl Cluster {
    async fn start(authority: &Authority, keys: &Value) -> Arc<Self> {
        let identity = authority.identity("127.0.0.1");
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.expect("a certificate")],
                key.expect("a key"),
            )
            .expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let cluster = Arc::new(Self {
            issuer: format!("https://127.0.0.1:{port}"),
            up: AtomicBool::new(false),
            keys: keys.to_string(),
            heads: Mutex::default(),
        });
        let own = Arc::clone(&cluster);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A caller that breaks off is the concern of the test, not of the issuer.
                let _ = own.answer(&acceptor, socket).await;
            }
        });
        cluster
    }

    async fn answer(&self, acceptor: &TlsAcceptor, socket: TcpStream) -> std::io::Result<()> {
        let mut stream = acceptor.accept(socket).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let shown = head.contains(&format!("authorization: Bearer {CLUSTER_TOKEN}\r\n"));
        let (status, body) = match (self.up.load(Ordering::Relaxed), shown) {
            (false, _) => (503, String::new()),
            (true, false) => (401, String::new()),
            (true, true) if head.starts_with("GET /keys ") => (200, self.keys.clone()),
            (true, true) => {
                let keys = format!("{}/keys", self.issuer);
                (200, json!({ "jwks_uri": keys }).to_string())
            }
        };
        locked(&self.heads).push(head);
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }

    /// Lines of configuration for it, with the files of this folder.
    fn configured(&self, folder: &str) -> String {
        configured(&self.issuer, folder)
    }

    fn calls(&self) -> usize {
        locked(&self.heads).len()
    }

    /// Whether anybody came with a credential.
    fn was_shown_something(&self) -> bool {
        let heads = locked(&self.heads);
        heads.iter().any(|head| head.contains("authorization:"))
    }
}

fn configured(issuer: &str, folder: &str) -> String {
    format!(
        "kubernetes: {{issuer: '{issuer}', audience: tokenferry, ca_file: '{folder}/ca.pem', token_file: '{folder}/token'}}\n\
         callers: {{job: {{service_account: tools/tokenferry}}}}\n\
         routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [job]}}]\n"
    )
}

#[tokio::test]
async fn requests_are_welcome_once_the_keys_were_asked_for() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    fs::write(folder.path().join("token"), CLUSTER_TOKEN).unwrap();
    // Connections are made, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("https://{}", silent.local_addr().unwrap());
    let own = configured(&issuer, &folder.path().display().to_string());
    let program = Program::start(&own, "").await;
    until("the token is there and the keys are not", async || {
        let answer = program.get_admin("/readyz").await;
        answer.expect(503).json()["waiting_for"] == json!(["keys"])
    })
    .await;
    drop(silent);
    until(
        "the attempt has failed, and requests are welcome",
        async || program.get_admin("/readyz").await.status == 200,
    )
    .await;
}

#[tokio::test]
async fn keys_come_from_the_issuer_and_stay_over_an_outage_and_a_reload() {
    tokenferry::trust::install_provider();
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let simulator = Simulator::start().await.unwrap();
    let cluster = Cluster::start(&authority, &simulator.federated_keys().unwrap()).await;
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    fs::write(folder.path().join("token"), CLUSTER_TOKEN).unwrap();
    let claims = json!({"aud": "tokenferry", "iss": cluster.issuer});
    let good = simulator.federated_token(&claims).unwrap();
    let shown = folder.path().display().to_string();
    let own = cluster.configured(&shown);
    let program = Program::within(simulator, &own, &[("TOKENFERRY_LOG", "trace")]).await;
    let lines = format!("GET /graph/sim/bytes/1 HTTP/1.1\nAuthorization: Bearer {good}");
    let ask = || async { program.caller().await.exchange(&lines).await };
    let refused = ask().await;
    // It cannot be told whether the token is good, and that is not its fault.
    assert_eq!(refused.refusal(), (503, "tokenUnavailable".to_owned()));
    assert_eq!(refused.field("retry-after"), "10");
    let nobody = program.get("/graph/sim/bytes/1").await;
    assert_eq!(nobody.refusal(), (401, "callerUnknown".to_owned()));
    let failure = "the keys of the cluster cannot be used; none are known";
    program.err.says(failure).await;
    // Tokens with unknown keys come all the time; they do not make it call more often.
    let calls = cluster.calls();
    for _ in 0..50 {
        ask().await;
    }
    assert!(cluster.calls() <= calls + 1, "{calls}, {}", cluster.calls());
    cluster.up.store(true, Ordering::Relaxed);
    until("the keys are there", async || ask().await.status == 200).await;
    cluster.up.store(false, Ordering::Relaxed);
    ask().await.expect(200);
    program.signal(Signal::HUP);
    program.err.says("was reloaded").await;
    ask().await.expect(200);
    let said = program.err.text() + &program.out.text();
    assert!(!said.contains(CLUSTER_TOKEN) && !said.contains(&good));
}

#[tokio::test]
async fn an_issuer_that_only_the_systems_authorities_vouch_for_is_not_shown_the_token() {
    tokenferry::trust::install_provider();
    let folder = tempfile::tempdir().unwrap();
    let (own, public) = (Authority::new(), Authority::new());
    let simulator = Simulator::start().await.unwrap();
    let stranger = Cluster::start(&public, &simulator.federated_keys().unwrap()).await;
    stranger.up.store(true, Ordering::Relaxed);
    fs::write(folder.path().join("ca.pem"), &own.pem).unwrap();
    fs::write(folder.path().join("public.pem"), &public.pem).unwrap();
    fs::write(folder.path().join("token"), CLUSTER_TOKEN).unwrap();
    let shown = folder.path().display().to_string();
    let config = stranger.configured(&shown);
    let roots = format!("{shown}/public.pem");
    let program = Program::within(simulator, &config, &[("SSL_CERT_FILE", &roots)]).await;
    let said = "the keys of the cluster cannot be used; none are known";
    let line = program.err.find("the failure", |line| {
        line.contains(said).then(|| line.to_owned())
    });
    let line = line.await;
    assert!(
        line.contains("401") && line.contains("kubernetes.ca_file"),
        "{line}"
    );
    assert!(stranger.calls() > 0 && !stranger.was_shown_something());
}

#[tokio::test]
async fn another_issuer_that_fails_for_the_same_reason_is_told_again() {
    tokenferry::trust::install_provider();
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let simulator = Simulator::start().await.unwrap();
    let keys = simulator.federated_keys().unwrap();
    let first = Cluster::start(&authority, &keys).await;
    let second = Cluster::start(&authority, &keys).await;
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    fs::write(folder.path().join("token"), CLUSTER_TOKEN).unwrap();
    let shown = folder.path().display().to_string();
    let program = Program::within(simulator, &first.configured(&shown), &[]).await;
    let told = async |times: usize| {
        let count = || program.err.text().matches("answered 503").count();
        until("it is told", async || count() == times).await;
    };
    told(1).await;
    program.rewrite(&second.configured(&shown));
    program.signal(Signal::HUP);
    told(2).await;
}
