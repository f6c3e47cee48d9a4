//! Which authorities vouch for upstreams and for those who issue tokens, and when they change; and
//! upstreams that want somebody to vouch for this proxy.

use std::fs;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls::{CipherSuite, RootCertStore, ServerConfig};
use tokenferry::simulator::{CLIENT_ID, Simulator, TENANT_ID};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use crate::check::{assert_told, problems, write_pair};
use crate::cli::{desk, with_file};
use crate::harness::program::run;
use crate::harness::stage::Stage;
use crate::tls::{Authority, Identity};

#[tokio::test]
async fn what_the_authorities_file_holds_counts_after_a_reload_not_only_its_name() {
    let stage = Stage::cold("workers: 1\n", |_| {}).await;
    let file = stage.folder().join("own.pem");
    let own = format!("workers: 1\ntrust: {{ca_file: '{}'}}\n", file.display());
    let put = |pem: &str| fs::write(&file, pem).expect("the folder can be written");
    let first = stage.simulator.ca_pem().to_owned();
    put(&first);
    stage.reload(&own);
    stage.attempted().await;
    stage.get("/graph/sim/bytes/1").await.expect(200);

    put(&Authority::new().pem);
    stage.reload(&own);
    let withdrawn = stage.get("/graph/sim/bytes/1").await;
    assert_eq!(withdrawn.refusal(), (502, "upstreamUnreachable".to_owned()));

    put(&first);
    stage.reload(&own);
    stage.get("/graph/sim/bytes/1").await.expect(200);
}

#[tokio::test]
async fn variables_that_lead_to_no_certificate_are_refused_and_not_passed_over() {
    let (simulator, folder) = desk("").await;
    let at = |name: &str| folder.path().join(name);
    fs::write(at("good.pem"), simulator.ca_pem()).expect("the folder can be written");
    fs::write(at("other.pem"), "not a certificate").expect("the folder can be written");
    fs::create_dir(at("empty")).expect("the folder can be written");
    // Nobody will ever write to it.
    let made = std::process::Command::new("mkfifo")
        .arg(at("pipe"))
        .status();
    assert!(made.expect("the folder can be written").success());
    let (file, folders) = ("SSL_CERT_FILE", "SSL_CERT_DIR");
    for (variables, code, words) in [
        (vec![(file, "good.pem")], 0, ""),
        (
            vec![(file, "typo.pem")],
            2,
            "typo.pem\", where no CA certificate",
        ),
        (
            vec![(file, "other.pem")],
            2,
            "other.pem\", where no CA certificate",
        ),
        (vec![(file, "pipe")], 2, "only a regular file is read"),
        (
            vec![(folders, "typo")],
            2,
            "typo\", where no CA certificate",
        ),
        (
            vec![(folders, "empty")],
            2,
            "empty\", where no CA certificate",
        ),
        (
            vec![(file, "typo.pem"), (folders, "empty")],
            2,
            "typo.pem\", where",
        ),
        (
            vec![(file, "good.pem"), (folders, "typo")],
            0,
            "what cannot is not trusted",
        ),
    ] {
        let mut command = with_file(&["check"], folder.path());
        command.envs(variables.iter().map(|(name, path)| (name, at(path))));
        let (own, out, err) = run(command).await;
        assert_eq!(own, code, "{variables:?}: {out}{err}");
        assert!(err.contains(words), "{variables:?}: {err}");
        let told = err.matches("No such file").count();
        assert!(told < 2, "{variables:?}: {err}");
        assert_eq!(
            err.contains("warning"),
            code == 0 && !words.is_empty(),
            "{err}"
        );
    }
}

/// An upstream that lets nobody in who has no certificate, and may wait for them to leave; its port.
async fn suspicious(authority: &Authority, http: &str, patient: bool) -> u16 {
    tokenferry::trust::install_provider();
    let own = authority.identity("localhost");
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("one");
    let mut roots = RootCertStore::empty();
    roots
        .add(certificate(&authority.pem))
        .expect("an authority");
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier.expect("a verifier"))
        .with_single_cert(vec![certificate(&own.certificate)], key)
        .expect("a pair");
    if http == "2" {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let accepted = acceptor.accept(stream).into_fallible();
            tokio::spawn(async move {
                if let Err((_, mut stream)) = accepted.await
                    && patient
                {
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn an_upstream_that_wants_a_certificate_of_this_proxy_is_told_as_one() {
    let authority = Authority::new();
    // hyper may meet the end of a connection before it reads what came last.
    for (http, patient) in [("1", true), ("1", false), ("2", true)] {
        let port = suspicious(&authority, http, patient).await;
        let route = format!(
            "routes: [{{name: a, path: /a, upstream: 'https://localhost:{port}', scope: 'https://GRAPH/.default', upstream_http: {http}}}]\n"
        );
        let trust = |simulator: &Simulator, file: &std::path::Path| {
            let both = format!("{}{}", simulator.ca_pem(), authority.pem);
            fs::write(file, both).expect("the folder can be written");
        };
        let words = "without a certificate of the caller";
        let stage = Stage::with(&route).await;
        let file = stage.folder().join("both.pem");
        trust(&stage.simulator, &file);
        stage.reload(&format!(
            "trust: {{ca_file: '{}'}}\n{route}",
            file.display()
        ));
        for _ in 0..10 {
            let answer = stage.get("/a/sim/bytes/1").await;
            assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
            let message = answer.message();
            assert!(message.contains(words), "HTTP/{http}: {message}");
            let status = answer.field("proxy-status");
            assert!(status.ends_with("tls_alert_received"), "{status}");
        }
        let (simulator, folder) = desk(&route).await;
        trust(&simulator, &folder.path().join("ca.pem"));
        let (_, out, err) = run(with_file(&["doctor"], folder.path())).await;
        assert!(out.contains(words), "{out}{err}");
    }
}

/// An upstream that answers 200 to everything with a certificate that vouches for itself; its port
/// and that certificate.
async fn vouching_for_itself(is_ca: IsCa) -> (u16, String) {
    tokenferry::trust::install_provider();
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.is_ca = is_ca;
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .expect("a pair");
    (answering(config).await, certificate.pem())
}

/// An upstream that answers 200 to everything; its port.
async fn answering(config: ServerConfig) -> u16 {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let accepted = acceptor.accept(stream);
            tokio::spawn(async move {
                let Ok(mut stream) = accepted.await else {
                    return;
                };
                while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    drop(stream.write_all(answer).await);
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn an_upstream_that_shows_a_certificate_without_its_key_gets_nothing() {
    let authority = Authority::new();
    let (own, other) = (
        authority.identity("localhost"),
        authority.identity("localhost"),
    );
    let thief = Identity {
        certificate: own.certificate.clone(),
        key: other.key,
    };
    for version in rustls::ALL_VERSIONS {
        for (identity, status) in [(&own, 200), (&thief, 502)] {
            let shown = identity.shown();
            let config = ServerConfig::builder_with_protocol_versions(&[version])
                .with_no_client_auth()
                .with_cert_resolver(shown);
            let port = answering(config).await;
            let stage = Stage::cold("workers: 1\n", |_| {}).await;
            let file = stage.folder().join("both.pem");
            let both = format!("{}{}", stage.simulator.ca_pem(), authority.pem);
            fs::write(&file, both).expect("the folder can be written");
            stage.reload(&format!(
                "trust: {{ca_file: '{}'}}\nroutes: [{{name: a, path: /a, upstream: 'https://localhost:{port}', scope: 'https://GRAPH/.default'}}]\n",
                file.display()
            ));
            let answer = stage.get("/a/x").await;
            assert_eq!(answer.status, status, "{version:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_of_another_time_has_the_clock_looked_at_whoever_shows_it() {
    let authority = Authority::new();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(authority.identity_until("localhost", 2025).shown());
    let origin = format!("https://localhost:{}", answering(config).await);
    let own = |entra: &str, upstream: &str| {
        format!(
            "credentials: {{a: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret_file: SECRET_FILE{entra}}}}}\n\
             routes: [{{name: a, path: /a, upstream: 'https://{upstream}', scope: 'https://GRAPH/.default'}}]\n"
        )
    };
    let host = origin.trim_start_matches("https://");
    for own in [
        own(&format!(", authority: '{origin}'"), "GRAPH"),
        own("", host),
    ] {
        let (simulator, folder) = desk(&own).await;
        let both = format!("{}{}", simulator.ca_pem(), authority.pem);
        fs::write(folder.path().join("ca.pem"), both).expect("the folder can be written");
        let (code, out, err) = run(with_file(&["doctor"], folder.path())).await;
        let words = "its certificate has expired: renew it there, or correct this machine's clock";
        assert!(code == 1 && out.contains(words), "{out}{err}");
        assert!(!out.contains("HTTPS_PROXY"), "{out}{err}");
    }
}

#[tokio::test]
async fn a_server_that_vouches_for_itself_is_taken_unless_its_certificate_is_an_authoritys() {
    for (is_ca, words) in [
        (IsCa::ExplicitNoCa, ""),
        (IsCa::NoCa, ""),
        (
            IsCa::Ca(BasicConstraints::Unconstrained),
            "its certificate is that of an authority (CA:TRUE)",
        ),
    ] {
        let (port, pem) = vouching_for_itself(is_ca).await;
        let route = format!(
            "routes: [{{name: a, path: /a, upstream: 'https://localhost:{port}', scope: 'https://GRAPH/.default'}}]\n"
        );
        let (simulator, folder) = desk(&route).await;
        let both = format!("{}{pem}", simulator.ca_pem());
        fs::write(folder.path().join("ca.pem"), both).expect("the folder can be written");
        let (code, out, err) = run(with_file(&["doctor"], folder.path())).await;
        assert_eq!(code, i32::from(!words.is_empty()), "{out}{err}");
        assert!(out.contains(words), "{out}{err}");
        assert!(!out.contains("private CA"), "{out}{err}");
    }
}

#[tokio::test]
async fn an_upstream_is_offered_aes_128_before_aes_256() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let stage = Stage::with(&format!(
        "routes: [{{name: a, path: /a, upstream: 'https://localhost:{port}', scope: 'https://GRAPH/.default'}}]\n"
    ))
    .await;
    let offered = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a caller");
        let greeted = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
        greeted
            .expect("a ClientHello")
            .client_hello()
            .cipher_suites()
            .to_vec()
    });
    let left = stage.get("/a").await;
    assert_eq!(left.refusal(), (502, "upstreamUnreachable".to_owned()));
    let offered = offered.await.expect("no panic");
    let at = |suite| offered.iter().position(|it| *it == suite).expect("offered");
    for (light, heavy) in [
        (
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_AES_256_GCM_SHA384,
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ),
    ] {
        assert!(at(light) < at(heavy), "{offered:?}");
    }
}

#[tokio::test]
async fn an_authority_for_callers_that_cannot_be_used_is_told_beside_a_right_certificate() {
    for (authority, told) in [
        ("${NONE}", "environment variable NONE is not set"),
        ("FOLDER/none.pem", "cannot read"),
        ("FOLDER/tls.key", "tls.key holds no PEM certificate"),
    ] {
        let own = format!(
            "tls:
  certificate_file: FOLDER/tls.pem
  key_file: FOLDER/tls.key
  client_ca_file: {authority}
credentials:
  app:
    client_secret_file: FOLDER/secret
    APP
routes: [{{name: a, path: /a, upstream: 'https://a.com'}}]
"
        );
        let all = problems(&own, |folder| write_pair(folder, "tls.pem", "tls.key")).await;
        assert_told(&all, &[&format!("4:19: {told}")]);
    }
}
