//! Chains of certificates that are made to be searched: many authorities of one name, none of which
//! anybody trusts, and thousands of certificates that are none. All of it fits into one handshake.

use std::sync::Arc;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::soon;
use crate::harness::stage::{AT_ONCE, Stage};
use crate::tls::{Authority, get, secure_stage, shake};

/// Authorities of one name: each order of six of them is a path to try.
const ALIKE: usize = 10;
/// Bytes that are no certificate, which are looked at in each step of each path.
const OTHERS: usize = 9000;

/// The chain, with the key of its first certificate.
fn labyrinth() -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Maze");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = || KeyPair::generate().expect("a key");
    let one = |key: &KeyPair| params.self_signed(key).expect("a certificate");
    let mut beside: Vec<_> = (0..ALIKE).map(|_| one(&key()).der().clone()).collect();
    beside.extend((0..OTHERS).map(|_| CertificateDer::from(vec![0x30])));
    let (own_key, issuer) = (key(), Issuer::new(params, key()));
    let own = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let own = own.signed_by(&own_key, &issuer).expect("a certificate");
    let own_key = own_key.serialize_der().try_into().expect("a key");
    (
        std::iter::once(own.der().clone()).chain(beside).collect(),
        own_key,
    )
}

#[tokio::test]
async fn a_callers_certificates_that_lead_nowhere_hold_up_nobody() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let stage = secure_stage(folder.path(), &authority, "workers: 1\n").await;
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_slice(authority.pem.as_bytes());
    roots.add(trusted.unwrap()).unwrap();
    let (chain, key) = labyrinth();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let begun = Instant::now();
    let socket = TcpStream::connect(stage.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let shaken = soon(TlsConnector::from(Arc::new(config)).connect(name, socket)).await;
    // The handshake of TLS 1.3 is over for the client before its certificate is looked at.
    let refused = soon(shaken.unwrap().read_u8()).await;
    assert!(refused.is_err(), "{refused:?}");
    let other = shake(stage.address(), &authority.pem, &[], None).await;
    let text = get(&mut other.unwrap(), "/graph/sim/bytes/1", "").await;
    assert!(text.unwrap().starts_with("HTTP/1.1 200 "));
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_upstreams_certificates_that_lead_nowhere_hold_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stage = Stage::with(&format!(
        "workers: 1\nroutes:\n\
         - {{name: a, path: /a, upstream: 'https://localhost:{port}', scope: 'https://GRAPH/.default'}}\n\
         - {{name: graph, path: /graph, upstream: 'https://GRAPH'}}\n"
    ))
    .await;
    let (chain, key) = labyrinth();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // Whether it is refused is seen at the other end.
            let _ = acceptor.accept(socket).await;
        }
    });
    let begun = Instant::now();
    let refused = stage.get("/a/x").await;
    assert_eq!(refused.refusal(), (502, "upstreamUnreachable".to_owned()));
    stage.get("/graph/sim/bytes/1").await.expect(200);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}
