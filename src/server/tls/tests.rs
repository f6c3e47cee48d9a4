//! What is offered to callers, and how it follows its files.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection};

use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

fn write_pair(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["gateway.corp".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    fs::write(folder.join("tls.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
}

fn spec(folder: &Path) -> TlsSpec {
    spec_with(folder, None)
}

fn spec_with(folder: &Path, client_ca_file: Option<FilePath>) -> TlsSpec {
    TlsSpec::Files {
        certificate_file: folder.join("tls.pem").into(),
        key_file: folder.join("tls.key").into(),
        client_ca_file,
    }
}

fn look(tls: &Tls, now: SystemTime) {
    let (spec, offered) = tls.due(now).unwrap();
    tls.take(
        &offered,
        load(&spec, now).map_err(|error| Chain(&error).to_string()),
    );
}

fn offered(tls: &Tls) -> Arc<ServerConfig> {
    tls.config.load_full().unwrap()
}

#[test]
fn a_new_certificate_is_taken_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path());
    let now = SystemTime::now();
    let tls = Tls::new(Some(load(&spec(folder.path()), now).unwrap()));
    let first = offered(&tls);
    look(&tls, now);
    assert!(Arc::ptr_eq(&first, &offered(&tls)), "nothing has changed");

    let key = fs::read(folder.path().join("tls.key")).unwrap();
    write_pair(folder.path());
    let next_key = fs::read(folder.path().join("tls.key")).unwrap();
    fs::write(folder.path().join("tls.key"), key).unwrap();
    look(&tls, now);
    assert!(
        Arc::ptr_eq(&first, &offered(&tls)),
        "half of a pair is not taken"
    );

    fs::write(folder.path().join("tls.key"), next_key).unwrap();
    look(&tls, now);
    let second = offered(&tls);
    assert!(!Arc::ptr_eq(&first, &second));

    fs::remove_file(folder.path().join("tls.pem")).unwrap();
    look(&tls, now);
    assert!(
        Arc::ptr_eq(&second, &offered(&tls)),
        "a missing file changes nothing"
    );
}

#[test]
fn what_was_read_before_a_reload_changes_nothing_after_it() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path());
    let now = SystemTime::now();
    let read = || load(&spec(folder.path()), now);
    let tls = Tls::new(Some(read().unwrap()));
    let (_, looked) = tls.due(now).unwrap();
    write_pair(folder.path());
    let slow = read().unwrap();
    write_pair(folder.path());
    tls.replace(Some(read().unwrap()));
    let reloaded = offered(&tls);
    tls.take(&looked, Ok(slow));
    assert!(Arc::ptr_eq(&reloaded, &offered(&tls)));
}

#[test]
fn files_that_do_not_serve_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let words = |spec: &TlsSpec| Chain(&load(spec, now).unwrap_err()).to_string();
    assert!(words(&spec(folder.path())).contains("tls.pem"));
    write_pair(folder.path());
    fs::write(folder.path().join("tls.key"), "no key").unwrap();
    assert!(words(&spec(folder.path())).contains("tls.key holds no PEM private key"));
    write_pair(folder.path());
    let key = fs::read(folder.path().join("tls.key")).unwrap();
    write_pair(folder.path());
    fs::write(folder.path().join("tls.key"), key).unwrap();
    assert!(words(&spec(folder.path())).contains("tls.key does not belong"));
    fs::write(folder.path().join("tls.pem"), "no certificate").unwrap();
    assert!(words(&spec(folder.path())).contains("tls.pem holds no PEM certificate"));
    write_pair(folder.path());
    let authority = folder.path().join("ca.pem");
    fs::write(&authority, "no authority").unwrap();
    let with_authority = spec_with(folder.path(), Some(authority.into()));
    assert!(words(&with_authority).contains("ca.pem holds no authority"));
}

/// Shakes hands twice and says how the second time went.
fn second_handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> HandshakeKind {
    let shake = || {
        let name = "gateway.corp".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        server.handshake_kind().unwrap()
    };
    shake();
    shake()
}

#[test]
fn who_may_show_a_certificate_shows_it_in_every_handshake() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path());
    let path = folder.path().join("tls.pem");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&path).unwrap())
        .unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = Arc::new(
            ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth(),
        );
        let (key, path) = (folder.path().join("tls.key").into(), (&path).into());
        let (server, ..) = files::load(&path, &key, None).unwrap();
        let kind = second_handshake(&Arc::new(server), &client);
        assert_eq!(kind, HandshakeKind::Resumed, "{version:?}");
        let (server, ..) = files::load(&path, &key, Some(&path)).unwrap();
        let kind = second_handshake(&Arc::new(server), &client);
        assert_eq!(kind, HandshakeKind::Full, "{version:?}");
    }
}

#[test]
fn the_local_certificate_is_kept_and_renewed_before_its_end_by_the_same_authority() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let now = SystemTime::now();
    let (_, first) = local::load(folder.path(), now).unwrap();
    let (authority, leaf) = (read("local-ca.pem"), read("localhost.pem"));
    assert!(leaf.contains(&authority), "the chain is whole");

    let (_, again) = local::load(folder.path(), now + Duration::from_secs(86_400)).unwrap();
    assert_eq!(first, again);
    assert_eq!(leaf, read("localhost.pem"));

    let MadeFrom::Local(until) = first else {
        panic!("it is local")
    };
    let (_, next) = local::load(folder.path(), until).unwrap();
    assert_ne!(next, first);
    assert_ne!(leaf, read("localhost.pem"));
    assert_eq!(authority, read("local-ca.pem"), "nobody has to trust anew");

    let old = now + Duration::from_secs(3600 * 86_400);
    local::load(folder.path(), old).unwrap();
    assert_ne!(
        authority,
        read("local-ca.pem"),
        "an old authority makes way in time"
    );
}

#[test]
fn broken_files_of_the_local_certificate_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    local::load(folder.path(), now).unwrap();
    for name in ["localhost.pem", "local-ca.pem", "local-ca-key.pem"] {
        fs::write(folder.path().join(name), "garbage").unwrap();
        local::load(folder.path(), now).unwrap();
    }
}

/// A loop of links stands for a disk that fails: the superuser, whom no mode stops, cannot read it either.
#[cfg(unix)]
#[test]
fn files_of_the_local_certificate_that_are_there_and_cannot_be_read_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    local::load(folder.path(), now).unwrap();
    let kept = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let authority = kept("local-ca.pem");
    for name in ["localhost.pem", "local-ca.pem", "local-ca-key.pem"] {
        let (path, aside) = (folder.path().join(name), folder.path().join("aside"));
        if name == "local-ca-key.pem" {
            // With a certificate nobody asks for the key of its authority.
            fs::remove_file(folder.path().join("localhost.pem")).unwrap();
        }
        fs::rename(&path, &aside).unwrap();
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let refused = local::load(folder.path(), now).unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
        fs::rename(&aside, &path).unwrap();
        local::load(folder.path(), now).unwrap();
        assert_eq!(kept("local-ca.pem"), authority, "{name}");
    }
}

#[test]
fn a_local_certificate_of_a_clock_that_was_ahead_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let ahead = now + Duration::from_secs(100 * 86_400);
    local::load(folder.path(), ahead).unwrap();
    local::load(folder.path(), now).unwrap();
    for name in ["localhost.pem", "local-ca.pem"] {
        let der = CertificateDer::from_pem_file(folder.path().join(name)).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert!(certificate.validity().is_valid(), "{name}");
    }
}

#[test]
fn a_local_certificate_belongs_to_the_authority_beside_it() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let read = |name: &str| fs::read_to_string(own.path().join(name)).unwrap();
    let copy = |name: &str| fs::copy(other.path().join(name), own.path().join(name)).unwrap();
    let now = SystemTime::now();
    for folder in [&own, &other] {
        local::load(folder.path(), now).unwrap();
    }
    // One that was put there as a whole is taken.
    for name in ["local-ca.pem", "local-ca-key.pem"] {
        copy(name);
    }
    local::load(own.path(), now).unwrap();
    assert!(read("localhost.pem").contains(&read("local-ca.pem")));
    // Without its key nothing can be made with it.
    local::load(own.path(), now).unwrap();
    fs::remove_dir_all(other.path()).unwrap();
    local::load(other.path(), now).unwrap();
    copy("local-ca.pem");
    let foreign = read("local-ca.pem");
    local::load(own.path(), now).unwrap();
    assert_ne!(read("local-ca.pem"), foreign);
}

#[cfg(unix)]
#[test]
fn only_the_user_reads_the_local_keys() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    local::load(folder.path(), SystemTime::now()).unwrap();
    for name in ["localhost.pem", "local-ca-key.pem"] {
        let mode = fs::metadata(folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_disk_that_cannot_be_written_is_not_told_as_a_file_that_is_absent() {
    use rustix::io::Errno;
    for (errno, words) in [
        (Errno::NOSPC, "make room"),
        (Errno::ROFS, "XDG_STATE_HOME"),
        (Errno::NOENT, "may use it"),
        (Errno::MFILE, "open files"),
    ] {
        let failed = TlsError::Unusable {
            key: "",
            path: Path::new("/home/a/local-ca.pem").into(),
            source: errno.into(),
        };
        let text = failed.to_string();
        assert!(text.contains(words), "{text}");
    }
}
