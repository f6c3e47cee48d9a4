//! The trust store and TLS settings that upstreams and token calls share.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

use crate::secret::{FilePath, regular_file};

/// Why the trust store cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The configured CA file cannot be read as PEM certificates.
    #[error(
        "the CA file {path} cannot be read as PEM certificates; name a readable file of CERTIFICATE blocks"
    )]
    Unreadable {
        /// The file.
        path: FilePath,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The configured CA file holds no certificate that can be a root.
    #[error("the CA file {0} holds no usable CA certificate; put the CA's PEM certificate there")]
    NoCertificate(FilePath),
    /// The provider does not carry the protocol versions.
    #[error("the TLS library refuses its own defaults")]
    Provider(#[from] rustls::Error),
}

/// Who is trusted, and the client settings that say so.
pub struct Trust {
    /// The settings.
    pub client: ClientConfig,
    /// What they are made of: equal stores trust the same authorities.
    pub roots: Arc<RootCertStore>,
}

/// Installs the one crypto provider of the process and spends its slow first call (jitter entropy,
/// about 30 ms of CPU) before the first request has to. Safe to call again.
pub fn install_provider() {
    // A second call finds the provider installed already, which is what was wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut byte = [0_u8];
    // Entropy that cannot be had will fail the first handshake with a proper error.
    let _ = aws_lc_rs::rand::fill(&mut byte);
}

/// Trusts the system's roots, the configured CA file added, Mozilla's roots when the system has none
/// (an image without a CA bundle). No revocation checks, as everywhere on Linux.
///
/// # Errors
/// When the CA file is unreadable or holds no certificate.
pub fn load(ca_file: Option<&FilePath>) -> Result<Trust, TrustError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "part of the system's trust store cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = ca_file {
        let unreadable = |source| TrustError::Unreadable {
            path: path.clone(),
            source,
        };
        let text = regular_file::read(path).map_err(|error| unreadable(pem::Error::Io(error)))?;
        let certificates = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable)?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(TrustError::NoCertificate(path.clone()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = Arc::new(roots);
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(&roots))
        .with_no_client_auth();
    Ok(Trust { client, roots })
}
