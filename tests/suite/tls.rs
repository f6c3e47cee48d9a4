//! TLS towards callers: the handshake and its limits, the protocols, certificates that change.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use tokenferry::simulator::{Ending, Fault, GRAPH, Script};

use crate::cli::{desk, with_file};
use crate::harness::caller::Caller;
use crate::harness::program::{Program, command, run};
use crate::harness::stage::{AT_ONCE, Stage};
use crate::harness::{found, soon};

/// An authority for both ends.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate with its key, PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Identity {
    /// What shows the certificate and signs with the key, whether they belong together or not.
    pub(crate) fn shown(&self) -> Arc<SingleCertAndKey> {
        tokenferry::trust::install_provider();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let provider = CryptoProvider::get_default().expect("it is installed");
        let key = provider.key_provider.load_private_key(key).expect("a key");
        let pair = CertifiedKey::new(vec![certificate.expect("a certificate")], key);
        Arc::new(SingleCertAndKey::from(pair))
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "Office");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        self.identity_until(name, 4000)
    }

    /// One that ends with that year.
    pub(crate) fn identity_until(&self, name: &str, year: i32) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A stage with a certificate for `localhost` in `folder`, and these lines.
pub(crate) async fn secure_stage(folder: &Path, authority: &Authority, own: &str) -> Stage {
    write_identity(folder, &authority.identity("localhost"));
    fs::write(folder.join("clients.pem"), &authority.pem).expect("the folder can be written");
    let folder = folder.display();
    Stage::with(&format!(
        "tls: {{certificate_file: '{folder}/tls.pem', key_file: '{folder}/tls.key', client_ca_file: '{folder}/clients.pem'}}\n{own}"
    ))
    .await
}

pub(crate) fn write_identity(folder: &Path, identity: &Identity) {
    fs::write(folder.join("tls.key"), &identity.key).expect("the folder can be written");
    fs::write(folder.join("tls.pem"), &identity.certificate).expect("the folder can be written");
}

/// Shakes hands as a client that trusts this authority.
pub(crate) async fn shake(
    address: std::net::SocketAddr,
    ca_pem: &str,
    alpn: &[&str],
    identity: Option<&Identity>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = soon(TcpStream::connect(address)).await?;
    shake_on(socket, ca_pem, alpn, identity).await
}

/// The same on a connection that is there.
pub(crate) async fn shake_on(
    socket: TcpStream,
    ca_pem: &str,
    alpn: &[&str],
    identity: Option<&Identity>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = client(ca_pem, rustls::ALL_VERSIONS, identity);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    shake_as(socket, config).await
}

/// A client of these versions of TLS that trusts this authority.
pub(crate) fn client(
    ca_pem: &str,
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&Identity>,
) -> ClientConfig {
    tokenferry::trust::install_provider();
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate");
    roots.add(authority).expect("an authority");
    let builder =
        ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_cert_resolver(identity.shown()),
    }
}

pub(crate) async fn shake_as(
    socket: TcpStream,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    soon(TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

/// One GET over HTTP/1.1 on a connection that ends with it: everything that came.
pub(crate) async fn get(
    stream: &mut TlsStream<TcpStream>,
    target: &str,
    fields: &str,
) -> std::io::Result<String> {
    let head =
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    soon(stream.write_all(head.as_bytes())).await?;
    let mut text = Vec::new();
    soon(stream.read_to_end(&mut text)).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn both_protocols_are_offered_over_tls() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let stage = secure_stage(folder.path(), &authority, "").await;
    for alpn in [&["http/1.1"][..], &[]] {
        let mut stream = shake(stage.address(), &authority.pem, alpn, None)
            .await
            .unwrap();
        let text = get(&mut stream, "/graph/sim/bytes/10", "").await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    }
    let stream = shake(stage.address(), &authority.pem, &["h2", "http/1.1"], None)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/graph/sim/bytes/10")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    assert_eq!(
        soon(sender.send_request(request)).await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn a_connection_too_many_is_told_nothing_where_all_is_encrypted() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let own = "limits: {connections_per_peer: 1}\n";
    let stage = secure_stage(folder.path(), &authority, own).await;
    let _first = shake(stage.address(), &authority.pem, &[], None)
        .await
        .unwrap();
    let mut second = TcpStream::connect(stage.address()).await.unwrap();
    let mut said = String::new();
    soon(second.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "");
    let counted = [("reason", "overloaded")];
    stage
        .becomes("tokenferry_refused_total", &counted, 1.0)
        .await;
}

/// hyper leaves such a connection open for an upgrade; without close_notify its end looks like a cut.
#[tokio::test]
async fn a_connection_on_which_an_upgrade_was_asked_for_ends_properly() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let stage = secure_stage(folder.path(), &authority, "").await;
    let mut stream = shake(stage.address(), &authority.pem, &[], None)
        .await
        .unwrap();
    let text = get(&mut stream, "/graph/sim/bytes/10", "Upgrade: h2c\r\n").await;
    assert!(text.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_handshake_has_the_time_of_the_first_byte() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let own = "timeouts: {first_byte: 1500ms}\n";
    let stage = secure_stage(folder.path(), &authority, own).await;
    // Nothing, the beginning of a ClientHello, and one byte after the other.
    let begun = Instant::now();
    let mut silent = stage.caller().await;
    let mut half = stage.caller().await;
    half.send([0x16, 3, 1, 2, 0, 1, 0]).await;
    let mut slow = stage.caller().await;
    for byte in [0x16, 3, 1, 2] {
        slow.send([byte]).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for caller in [&mut silent, &mut half, &mut slow] {
        caller.expect_close().await;
    }
    assert!(begun.elapsed() < AT_ONCE);
    // After the handshake the first byte of a request has its time again, and no more.
    let begun = Instant::now();
    let mut stream = shake(stage.address(), &authority.pem, &[], None)
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty() && begun.elapsed() < AT_ONCE);
}

#[tokio::test]
async fn what_is_no_handshake_ends_that_connection_only() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let stage = secure_stage(folder.path(), &authority, "").await;
    for bytes in [
        &b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 512],
        &[0xff; 512],
        &[0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff],
    ] {
        let mut caller = Caller::connect(stage.address()).await;
        let _ = caller.try_send(bytes).await;
        let rest = caller.rest().await;
        assert!(!rest.starts_with(b"HTTP/"), "no answer in the clear");
    }
    let refused = shake(stage.address(), &authority.pem, &["spdy/3"], None).await;
    assert!(refused.is_err(), "an unknown protocol is not agreed on");
    let mut stream = shake(stage.address(), &authority.pem, &[], None)
        .await
        .unwrap();
    let text = get(&mut stream, "/graph/sim/bytes/1", "").await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_without_a_restart() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let stage = secure_stage(folder.path(), &authority, "").await;
    let successor = Authority::new();
    assert!(
        shake(stage.address(), &successor.pem, &[], None)
            .await
            .is_err()
    );
    write_identity(folder.path(), &successor.identity("localhost"));
    let mut stream = found("the new certificate is shown", || async {
        let shaken = shake(stage.address(), &successor.pem, &[], None).await;
        shaken.ok()
    })
    .await;
    let text = get(&mut stream, "/graph/sim/bytes/1", "").await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");

    // Another file in the configuration is shown by a reload, before anybody looks.
    let (other, next) = (tempfile::tempdir().unwrap(), Authority::new());
    write_identity(other.path(), &next.identity("localhost"));
    let path = other.path().display();
    stage.reload(&format!(
        "tls: {{certificate_file: '{path}/tls.pem', key_file: '{path}/tls.key'}}\n"
    ));
    let shaken = shake(stage.address(), &next.pem, &[], None).await;
    assert!(shaken.is_ok(), "{shaken:?}");
}

#[tokio::test]
async fn a_local_certificate_is_made_kept_and_trusted_by_its_authority() {
    let program = Program::start("tls: local\n", "").await;
    let ca_file = program
        .err
        .find("how to trust it", |line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            let text = event.to_string();
            let at = text.find("local-ca.pem\"")?;
            let start = text[..at].rfind('"')? + 1;
            Some(text[start..at + "local-ca.pem".len()].to_owned())
        })
        .await;
    let authority = fs::read_to_string(&ca_file).unwrap();
    let mut stream = shake(program.address, &authority, &["http/1.1"], None)
        .await
        .unwrap();
    let text = get(&mut stream, "/graph/v1.0/users?$top=2", "")
        .await
        .unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[tokio::test]
async fn a_check_tells_that_a_local_certificate_has_no_place_to_be_kept() {
    let (_simulator, folder) = desk("tls: local\n").await;
    let words = "`tls: local` has no folder to keep its authority in; set HOME or XDG_STATE_HOME";
    for word in ["check", "run"] {
        let (code, _, err) = run(with_file(&[word], folder.path())).await;
        let told = err.contains(words) && err.contains(" | tls: local");
        assert!(code == 2 && told, "{word}: {code} {err}");
    }
    let mut with_home = with_file(&["check"], folder.path());
    with_home.env("HOME", folder.path());
    // A pipeline without secrets has another home than the program.
    let without_secrets = with_file(&["check", "--allow-missing-env"], folder.path());
    for command in [with_home, without_secrets] {
        let (code, _, err) = run(command).await;
        assert!(code == 0 && !err.contains(words), "{code} {err}");
    }
    assert!(!folder.path().join(".local").exists(), "it is made");
}

#[tokio::test]
async fn a_certificate_that_callers_refuse_for_its_age_is_told_by_check_and_log() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    write_identity(folder.path(), &authority.identity_until("localhost", 2025));
    let shown = folder.path().display();
    let own =
        format!("tls: {{certificate_file: '{shown}/tls.pem', key_file: '{shown}/tls.key'}}\n");
    let program = Program::start(&own, "").await;
    let wanted = "it expired at 2025-12-31T00:00:00.000Z; put a new one and its key in place";
    let told = |line: &str| line.contains(wanted).then(|| line.to_owned());
    let line = program.err.find(wanted, told).await;
    assert!(!line.contains(": warning: "), "it is told twice: {line}");
    let mut command = command();
    command.arg("check").arg("-c").arg(program.file());
    let (code, _, words) = run(command).await;
    assert_eq!(code, 0, "{words}");
    assert!(words.contains(wanted), "{words}");
    assert!(words.contains(": warning: "), "{words}");
}

#[tokio::test]
async fn a_caller_who_neither_reads_nor_leaves_is_let_go_with_its_upload() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let own = "limits: {connections: 1}\ntimeouts: {write_stall: 300ms}\n";
    let stage = secure_stage(folder.path(), &authority, own).await;
    // More than the buffers on the way take, before all of the request has come.
    let mut half = b"HTTP/1.1 200 OK\r\nContent-Length: 64000000\r\n\r\n".to_vec();
    half.resize(32_000_000, b'x');
    let fault = Fault::Raw(half, Ending::Hang);
    stage
        .simulator
        .script(Script::on(GRAPH, fault).early().times(1));
    let mut idle = shake(stage.address(), &authority.pem, &[], None)
        .await
        .unwrap();
    let head = "PUT /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n";
    soon(idle.write_all(head.as_bytes())).await.unwrap();
    soon(idle.write_all(&vec![b'x'; 100_000])).await.unwrap();

    let mut next = shake(stage.address(), &authority.pem, &[], None)
        .await
        .unwrap();
    let text = get(&mut next, "/graph/sim/bytes/1", "").await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    drop(idle);
}
