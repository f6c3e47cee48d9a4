//! A certificate from files that somebody else keeps.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::key::{self, Key};
use super::validity::Validity;
use super::{MadeFrom, TlsError, offer_protocols};
use crate::certificate_path::Bounded;
use crate::secret::{FilePath, pem, regular_file};

/// Reads the files. Callers are asked for a certificate when there is an authority to judge it by,
/// and may go without; a route decides whether it needs one.
pub(super) fn load(
    certificate: &FilePath,
    key: &FilePath,
    client_ca: Option<&FilePath>,
) -> Result<(ServerConfig, MadeFrom, Option<Validity>), TlsError> {
    let chain_text = read("certificate_file", certificate)?;
    let key_text = read("key_file", key)?;
    let authority_text = client_ca.map(|path| read("client_ca_file", path));
    let authority_text = authority_text.transpose()?;
    let texts = [Some(&chain_text), Some(&key_text), authority_text.as_ref()];
    let sum = sum_of(texts.into_iter().flatten());

    let chain = certificates("certificate_file", certificate, &chain_text)?;
    let Some(first) = chain.first() else {
        return Err(TlsError::NoCertificate(certificate.clone()));
    };
    let validity = Validity::of(first);
    let private = private_key(key, &key_text)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match client_ca.zip(authority_text) {
        None => builder.with_no_client_auth(),
        Some((path, text)) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates("client_ca_file", path, &text)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|source| TlsError::ClientAuthority {
                    path: path.clone(),
                    source,
                })?;
            builder.with_client_cert_verifier(Bounded::new(verifier))
        }
    };
    let pair = key::pair(chain, &private).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            certificate: certificate.clone(),
            key: key.clone(),
        },
        other => TlsError::Certificate(other),
    })?;
    let mut config = builder.with_cert_resolver(pair);
    if client_ca.is_some() {
        // A resumed session shows no certificate: one that has expired since would go on counting.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    offer_protocols(&mut config);
    Ok((config, MadeFrom::Files(sum), validity))
}

/// What these files say, to see whether others say something else.
fn sum_of<'a>(texts: impl Iterator<Item = &'a Zeroizing<Vec<u8>>>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in texts {
        context.update(&text.len().to_be_bytes());
        context.update(text);
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

fn read(key: &'static str, path: &FilePath) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    regular_file::read(path).map_err(|source| TlsError::Unusable {
        key,
        path: path.clone(),
        source,
    })
}

fn certificates(
    key: &'static str,
    path: &FilePath,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    pem::certificates(text).map_err(|source| TlsError::Pem {
        key,
        path: path.clone(),
        source,
    })
}

fn private_key(path: &FilePath, text: &[u8]) -> Result<Key, TlsError> {
    let key = key::read(text).map_err(|source| TlsError::Pem {
        key: "key_file",
        path: path.clone(),
        source,
    })?;
    key.ok_or_else(|| TlsError::NoKey(path.clone()))
}
