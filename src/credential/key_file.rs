//! Reads a certificate and its RSA key from PEM text. What is wrong is said precisely, with the
//! command or key that puts it right: this is the file that people get wrong most often.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::pkcs8;
use crate::secret::Secret;

/// A certificate with its key.
pub(super) struct KeyFile {
    /// The key.
    pub(super) key: RsaKeyPair,
    /// The certificates in DER, the key's own first.
    pub(super) chain: Vec<Vec<u8>>,
    /// base64url of the SHA-256 of the key's certificate: `x5t#S256`.
    pub(super) thumbprint: String,
    /// When the key's certificate expires.
    pub(super) not_after: SystemTime,
}

/// What is wrong with a file, to be followed by its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The certificate's time is over.
    #[error(
        "the certificate expired on {on}; upload a new one to the app and put it, with its key, in"
    )]
    Expired {
        /// As an HTTP date.
        on: String,
    },
    /// An encryption that is not read here.
    #[error(
        "the key is encrypted in a way that is not read here; convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc` in"
    )]
    Encryption,
    /// Binary, most likely PKCS#12.
    #[error(
        "not PEM text; if it is PKCS#12 (.pfx, .p12), convert it with `openssl pkcs12 -in FILE -out FILE.pem`:"
    )]
    Binary,
    /// A PEM section that cannot be decoded.
    #[error("a PEM section or certificate is broken in")]
    Broken,
    /// Not an RSA key.
    #[error("the key is not RSA, and Entra takes RSA only; make an RSA key and certificate for")]
    KeyKind,
    /// An RSA key that cannot be used.
    #[error("the RSA key is broken, or shorter than 2048 bits, in")]
    KeyUnusable,
    /// Certificate and key are not a pair.
    #[error("no certificate belongs to the private key in")]
    Mismatch,
    /// Certificate only.
    #[error("no private key; append it, as PEM, to")]
    NoKey,
    /// Key only.
    #[error("no certificate; append it, as PEM, to")]
    NoCertificate,
    /// Encrypted, and there is no password.
    #[error("the key is encrypted; set certificate_password, or certificate_password_file, for")]
    PasswordMissing,
    /// The password does not decrypt it.
    #[error("certificate_password does not decrypt the key in")]
    PasswordWrong,
}

impl KeyFile {
    /// Reads PEM text.
    ///
    /// # Errors
    /// What is wrong with it. Expiry is not looked at.
    pub(super) fn parse(text: &[u8], password: Option<&Secret>) -> Result<Self, KeyFault> {
        if !text.windows(10).any(|window| window == b"-----BEGIN") {
            return Err(KeyFault::Binary);
        }
        // The old encrypted form has headers inside its section, which no PEM reader here takes.
        if text.windows(10).any(|window| window == b"Proc-Type:") {
            return Err(KeyFault::Encryption);
        }
        let mut certificates = Vec::new();
        let mut key = None;
        for section in Pem::iter_from_buffer(text) {
            let section = section.map_err(|_| KeyFault::Broken)?;
            if section.label == "CERTIFICATE" {
                certificates.push(section.contents);
            } else if section.label.ends_with("PRIVATE KEY") && key.is_none() {
                let der = Zeroizing::new(section.contents);
                key = Some(private_key(&section.label, &der, password)?);
            }
        }
        if certificates.is_empty() {
            return Err(KeyFault::NoCertificate);
        }
        Self::pair(key.ok_or(KeyFault::NoKey)?, certificates)
    }

    /// Finds the key's own certificate and puts it first, wherever in the file it was. Of several, as
    /// after a renewal that kept the key, it is the one that is valid longest.
    fn pair(key: RsaKeyPair, mut chain: Vec<Vec<u8>>) -> Result<Self, KeyFault> {
        let mut own: Option<(usize, SystemTime)> = None;
        for (at, der) in chain.iter().enumerate() {
            let (_, certificate) = X509Certificate::from_der(der).map_err(|_| KeyFault::Broken)?;
            let public = &certificate.public_key().subject_public_key.data;
            if **public == *key.public_key().as_ref() {
                let seconds = certificate.validity().not_after.timestamp();
                let seconds = u64::try_from(seconds).unwrap_or_default();
                let end = UNIX_EPOCH + Duration::from_secs(seconds);
                if own.is_none_or(|(_, known)| known < end) {
                    own = Some((at, end));
                }
            }
        }
        let (at, not_after) = own.ok_or(KeyFault::Mismatch)?;
        let leaf = chain.remove(at);
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &leaf));
        chain.insert(0, leaf);
        Ok(Self {
            key,
            chain,
            thumbprint,
            not_after,
        })
    }

    /// Refuses a certificate whose time is over.
    pub(super) fn check_expiry(&self, now: SystemTime) -> Result<(), KeyFault> {
        if now < self.not_after {
            return Ok(());
        }
        Err(KeyFault::Expired {
            on: httpdate::fmt_http_date(self.not_after),
        })
    }
}

fn private_key(label: &str, der: &[u8], password: Option<&Secret>) -> Result<RsaKeyPair, KeyFault> {
    match label {
        "RSA PRIVATE KEY" => RsaKeyPair::from_der(der).map_err(|_| KeyFault::KeyUnusable),
        "PRIVATE KEY" => plain_key(der),
        "ENCRYPTED PRIVATE KEY" => {
            let password = password.ok_or(KeyFault::PasswordMissing)?;
            let der = pkcs8::decrypt(der, password)?;
            // One wrong password in 256 leaves padding that looks right, and noise before it.
            plain_key(&der).map_err(|fault| match pkcs8::key_algorithm(&der) {
                Some(_) => fault,
                None => KeyFault::PasswordWrong,
            })
        }
        _ => Err(KeyFault::KeyKind),
    }
}

/// PKCS#8.
fn plain_key(der: &[u8]) -> Result<RsaKeyPair, KeyFault> {
    RsaKeyPair::from_pkcs8(der).map_err(|_| match pkcs8::key_algorithm(der).as_deref() {
        Some(pkcs8::RSA) | None => KeyFault::KeyUnusable,
        Some(_) => KeyFault::KeyKind,
    })
}
