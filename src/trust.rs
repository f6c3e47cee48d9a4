//! The trust store and TLS settings that upstreams and token calls share.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::{CertificateError, CipherSuite, ClientConfig, RootCertStore, SupportedCipherSuite};

use crate::certificate_path::Bounded;
use crate::descriptors::{REMEDY, ran_out, remedy};
use crate::secret::pem::{self, PemError};
use crate::secret::{FilePath, regular_file};

/// Why the trust store cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Part of the system's store was not opened, for want of a file descriptor, which says nothing of
    /// what it holds. Without that part an upstream might not be trusted any more.
    #[error("no file descriptor was left to read the system's trust store with; {REMEDY}")]
    Descriptors,
    /// The configured CA file cannot be read.
    #[error(
        "the CA file {path} cannot be read; {}",
        remedy(source, "check that it is there and that this user may read it")
    )]
    Unreadable {
        /// The file.
        path: FilePath,
        /// What the system says.
        source: std::io::Error,
    },
    /// Broken PEM.
    #[error(
        "a PEM section of the CA file {path} is broken; copy the file anew from where it was made"
    )]
    Pem {
        /// The file.
        path: FilePath,
        /// What is wrong with it.
        source: PemError,
    },
    /// The configured CA file holds no certificate that can be a root.
    #[error("the CA file {0} holds no usable CA certificate; put the CA's PEM certificate there")]
    NoCertificate(FilePath),
    /// The store that the environment names cannot be used. Another in its place would trust whom
    /// nobody asked to be trusted, and not whom was asked for.
    #[error(
        "{variable} names {path:?}, where no CA certificate can be read ({reason}); correct the variable, make the PEM file readable, or unset it"
    )]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it holds.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The provider does not carry the protocol versions, or nobody is trusted.
    #[error("the TLS library refuses its own defaults")]
    Provider(#[from] rustls::Error),
}

impl TrustError {
    /// Whether the environment is to blame, and not the configuration.
    pub fn is_of_environment(&self) -> bool {
        matches!(self, Self::Descriptors | Self::Variable { .. })
    }
}

/// The file of certificates that OpenSSL, and so everybody, takes in place of the system's.
const FILE: &str = "SSL_CERT_FILE";
/// The folders of such files.
const FOLDERS: &str = "SSL_CERT_DIR";

/// Who is trusted, and the client settings that say so.
pub struct Trust {
    /// The settings.
    pub client: ClientConfig,
    /// What they are made of: equal stores trust the same authorities.
    pub roots: Arc<RootCertStore>,
    /// What of the system's store could not be read, where that may be missed.
    pub doubt: Option<String>,
}

/// Installs the one crypto provider of the process and seeds its generator before the first request
/// has to: a build without this repository's `.cargo/config.toml` takes 30 ms for it. Safe to call again.
pub fn install_provider() {
    // A second call finds the provider installed already, which is what was wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut byte = [0_u8];
    // Entropy that cannot be had will fail the first handshake with a proper error.
    let _ = aws_lc_rs::rand::fill(&mut byte);
}

/// What to do about a server's certificate that is refused for its time alone: a machine whose clock is
/// wrong refuses every server.
pub fn remedy_of_age(refused: &CertificateError) -> Option<&'static str> {
    match refused {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Some("its certificate has expired: renew it there, or correct this machine's clock")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("its certificate is not valid yet; check this machine's clock")
        }
        _ => None,
    }
}

/// Trusts the system's roots, the configured CA file added, Mozilla's roots when the system has none
/// (an image without a CA bundle). No revocation checks, as everywhere on Linux.
///
/// # Errors
/// When the CA file, or the store that the environment names, is unreadable or holds no certificate.
pub fn load(ca_file: Option<&FilePath>) -> Result<Trust, TrustError> {
    let (mut roots, doubt) = system_roots()?;
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = ca_file {
        roots.extend(authorities(path)?.roots);
    }
    let roots = Arc::new(roots);
    Ok(Trust {
        client: client(&roots)?,
        roots,
        doubt,
    })
}

/// The client settings that trust the authorities of this file and nobody else.
///
/// # Errors
/// When it is unreadable or holds no certificate.
pub fn only(ca_file: &FilePath) -> Result<ClientConfig, TrustError> {
    client(&Arc::new(authorities(ca_file)?))
}

fn client(roots: &Arc<RootCertStore>) -> Result<ClientConfig, TrustError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // As Go and Chromium offer them. Nobody breaks either, and most of a page's cost is this cipher, ten
    // rounds of it in place of fourteen. A server that wants the other one takes it.
    provider.cipher_suites.sort_by_key(|it| !is_aes_128(it));
    let provider = Arc::new(provider);
    let roots = Arc::clone(roots);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    // "Dangerous" is any verifier but the library's; this one leaves everything to it and only shows it less.
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Bounded::new(verifier))
        .with_no_client_auth())
}

fn is_aes_128(suite: &SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// Those of a CA file.
fn authorities(path: &FilePath) -> Result<RootCertStore, TrustError> {
    let text = regular_file::read(path).map_err(|source| TrustError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let certificates = pem::certificates(&text).map_err(|source| TrustError::Pem {
        path: path.clone(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(TrustError::NoCertificate(path.clone()));
    }
    Ok(roots)
}

/// The roots of the system or of the variables, and what of them could not be read.
fn system_roots() -> Result<(RootCertStore, Option<String>), TrustError> {
    let holds_path =
        |paths: &OsString| std::env::split_paths(paths).any(|path| path != Path::new(""));
    let (file, folders) = (
        std::env::var_os(FILE),
        std::env::var_os(FOLDERS).filter(holds_path),
    );
    if let Some(file) = &file {
        // The library waits for who writes to a pipe, and reads all that a device gives.
        regular_file::read(file).map_err(|error| match ran_out(&error) {
            true => TrustError::Descriptors,
            false => TrustError::Variable {
                variable: FILE,
                path: file.into(),
                reason: error.to_string(),
            },
        })?;
        let found = rustls_native_certs::load_certs_from_paths(Some(Path::new(file)), None);
        usable(FILE, file, found)?;
    }
    let native = rustls_native_certs::load_native_certs();
    if native.errors.iter().any(is_want) {
        return Err(TrustError::Descriptors);
    }
    if let (None, Some(folders)) = (&file, &folders) {
        let (roots, error) = usable(FOLDERS, folders, native)?;
        return Ok((roots, error.map(|error| partial(&error))));
    }
    let (roots, error) = roots_of(native);
    let doubt = error.and_then(|error| match (file.is_some(), roots.is_empty()) {
        (true, _) => Some(partial(&error)),
        (false, true) => Some(format!(
            "the system's trust store cannot be read, and Mozilla's roots are trusted in its place: make it readable, or name another by {FILE} ({error})"
        )),
        // A store of many files has one that cannot be read on many a machine.
        (false, false) => {
            tracing::debug!(%error, "part of the system's trust store cannot be read");
            None
        }
    });
    Ok((roots, doubt))
}

/// Whether it is a want of file descriptors.
fn is_want(error: &rustls_native_certs::Error) -> bool {
    match &error.kind {
        rustls_native_certs::ErrorKind::Io { inner, .. } => ran_out(inner),
        rustls_native_certs::ErrorKind::Pem(rustls::pki_types::pem::Error::Io(inner)) => {
            ran_out(inner)
        }
        _ => false,
    }
}

fn partial(error: &rustls_native_certs::Error) -> String {
    format!(
        "not all that {FILE} and {FOLDERS} name can be read, and what cannot is not trusted: correct or unset them ({error})"
    )
}

/// What was found where a variable leads, which has to be something.
fn usable(
    variable: &'static str,
    path: &OsStr,
    found: rustls_native_certs::CertificateResult,
) -> Result<(RootCertStore, Option<rustls_native_certs::Error>), TrustError> {
    let (roots, error) = roots_of(found);
    if roots.is_empty() {
        let nothing = || "there is none".to_owned();
        return Err(TrustError::Variable {
            variable,
            path: path.into(),
            reason: error.map_or_else(nothing, |error| error.to_string()),
        });
    }
    Ok((roots, error))
}

/// The certificates that can be roots, and the first error.
fn roots_of(
    found: rustls_native_certs::CertificateResult,
) -> (RootCertStore, Option<rustls_native_certs::Error>) {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    (roots, found.errors.into_iter().next())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs::{self, File};
    use std::process::Command;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    /// Runs in a process of its own, which has one descriptor left; asked for by the test below.
    const CHILD: &str = "TRUST_CHILD";

    #[test]
    fn a_store_that_no_descriptor_is_left_for_is_not_taken_in_part() {
        if std::env::var_os(CHILD).is_some() {
            assert!(load(None).is_ok());
            // The lowest that is free, so that all below are taken: the folder of the store is opened,
            // and none of the files in it.
            let last = File::open("/dev/null").unwrap();
            let most = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&last)).unwrap() + 1;
            let files = getrlimit(Resource::Nofile);
            let few = Rlimit {
                current: Some(most),
                ..files
            };
            setrlimit(Resource::Nofile, few).unwrap();
            drop(last);
            let refused = load(None).map(|_| ());
            setrlimit(Resource::Nofile, files).unwrap();
            let refused = refused.unwrap_err();
            assert!(matches!(refused, TrustError::Descriptors), "{refused}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (file, more) = (folder.path().join("one.pem"), folder.path().join("more"));
        fs::create_dir(&more).unwrap();
        for path in [&file, &more.join("two.pem")] {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            fs::write(path, params.self_signed(&key).unwrap().pem()).unwrap();
        }
        let name = "trust::tests::a_store_that_no_descriptor_is_left_for_is_not_taken_in_part";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .env(FILE, &file)
            .env(FOLDERS, &more)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }
}
