//! Reads a certificate and its RSA key from PEM text. What is wrong is said precisely, with the
//! command or key that puts it right: this is the file that people get wrong most often.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::pkcs8;
use crate::secret::{Secret, pem};

/// A certificate with its key.
pub(super) struct KeyFile {
    /// The key.
    pub(super) key: RsaKeyPair,
    /// The certificates as they stand in the file.
    all: Vec<Link>,
    /// Those of the key, of which there is one at least.
    own: (Own, Vec<Own>),
    /// When the last of the key's certificates expires.
    pub(super) not_after: SystemTime,
}

/// A certificate of the file.
struct Link {
    der: Vec<u8>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    /// What the subject's key is known by, if that is said.
    key: Option<Vec<u8>>,
    /// The same of the issuer's, which tells it from one of its name with another key.
    issuer_key: Option<Vec<u8>>,
    not_after: SystemTime,
}

/// A certificate of the key.
pub(super) struct Own {
    /// Where it is in the file.
    at: usize,
    /// base64url of its SHA-256: `x5t#S256`.
    pub(super) thumbprint: String,
    not_before: SystemTime,
    not_after: SystemTime,
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
    #[error(
        "a PEM section or certificate is broken; copy it again, with its line breaks and nothing in front of each line, to"
    )]
    Broken,
    /// Not an RSA key.
    #[error("the key is not RSA, and Entra takes RSA only; make an RSA key and certificate for")]
    KeyKind,
    /// An RSA key that cannot be used.
    #[error("the RSA key is broken, or shorter than 2048 bits, in")]
    KeyUnusable,
    /// Certificate and key are not a pair.
    #[error(
        "no certificate belongs to the private key; append the one that was made for it, as PEM, to"
    )]
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
        let begun = text.windows(10).filter(|window| *window == b"-----BEGIN");
        let mut begun = begun.count();
        if begun == 0 {
            return Err(KeyFault::Binary);
        }
        // The old encrypted form has headers inside its section, which no PEM reader here takes.
        if text.windows(10).any(|window| window == b"Proc-Type:") {
            return Err(KeyFault::Encryption);
        }
        let mut certificates = Vec::new();
        let mut key = None;
        for section in pem::sections(text) {
            let section = section.map_err(|_| KeyFault::Broken)?;
            begun = begun.saturating_sub(1);
            let content = section.decode().map_err(|_| KeyFault::Broken)?;
            if section.label == "CERTIFICATE" {
                certificates.push(content.to_vec());
            } else if section.label.ends_with("PRIVATE KEY") && key.is_none() {
                key = Some(private_key(section.label, &content, password)?);
            }
        }
        // One that is indented, as from YAML, is passed over.
        if begun > 0 && (certificates.is_empty() || key.is_none()) {
            return Err(KeyFault::Broken);
        }
        if certificates.is_empty() {
            return Err(KeyFault::NoCertificate);
        }
        Self::pair(key.ok_or(KeyFault::NoKey)?, certificates)
    }

    /// Finds the key's own certificates, wherever in the file they are.
    fn pair(key: RsaKeyPair, certificates: Vec<Vec<u8>>) -> Result<Self, KeyFault> {
        let (mut all, mut own) = (Vec::new(), Vec::new());
        for (at, der) in certificates.into_iter().enumerate() {
            let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| KeyFault::Broken)?;
            let public = &certificate.public_key().subject_public_key.data;
            if **public == *key.public_key().as_ref() {
                let validity = certificate.validity();
                own.push(Own {
                    at,
                    thumbprint: BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &der)),
                    not_before: moment(validity.not_before),
                    not_after: moment(validity.not_after),
                });
            }
            let (mut own_key, mut issuer_key) = (None, None);
            for extension in certificate.extensions() {
                match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => own_key = Some(id.0.to_vec()),
                    ParsedExtension::AuthorityKeyIdentifier(authority) => {
                        issuer_key = authority.key_identifier.as_ref().map(|id| id.0.to_vec());
                    }
                    _ => {}
                }
            }
            all.push(Link {
                subject: certificate.subject().as_raw().to_vec(),
                issuer: certificate.issuer().as_raw().to_vec(),
                key: own_key,
                issuer_key,
                not_after: moment(certificate.validity().not_after),
                der,
            });
        }
        let not_after = own.iter().map(|own| own.not_after).max();
        let mut own = own.into_iter();
        let (first, not_after) = own.next().zip(not_after).ok_or(KeyFault::Mismatch)?;
        Ok(Self {
            key,
            all,
            own: (first, own.collect()),
            not_after,
        })
    }

    /// The key's certificate that counts: of several, as after a renewal that kept the key, the one
    /// that is valid longest. One that may be used only later, because it was made in good time, does
    /// not stand in the way of one that may be used now.
    pub(super) fn own(&self, now: SystemTime) -> &Own {
        let rank = |own: &Own| {
            let valid = (own.not_before..own.not_after).contains(&now);
            (valid, own.not_after)
        };
        let (first, others) = &self.own;
        others.iter().fold(first, |best, other| {
            if rank(best) < rank(other) {
                other
            } else {
                best
            }
        })
    }

    /// When the key can be used at all, if it cannot yet.
    pub(super) fn begins(&self, now: SystemTime) -> Option<SystemTime> {
        Some(self.own(now).not_before).filter(|begin| now < *begin)
    }

    /// This certificate in DER, and each that certifies the one before (RFC 7515 section 4.1.6), as
    /// far as the file has them. Of several for one authority, which was renewed or has two
    /// certificates, that of the right key counts, and of those the one that is valid longest.
    pub(super) fn chain<'a>(&'a self, own: &Own) -> impl Iterator<Item = &'a [u8]> {
        let mut left: Vec<&Link> = self.all.iter().collect();
        let next = move |last: &&Link| {
            let namesakes = left.iter().enumerate();
            let namesakes = namesakes.filter(|(_, it)| it.subject == last.issuer);
            let rank = |it: &Link| (it.key == last.issuer_key, it.not_after);
            let (at, _) = namesakes.max_by_key(|(_, it)| rank(it))?;
            (last.subject != last.issuer).then(|| left.remove(at))
        };
        std::iter::successors(Some(&self.all[own.at]), next).map(|it| it.der.as_slice())
    }

    /// Refuses certificates whose time is over.
    pub(super) fn check_expiry(&self, now: SystemTime) -> Result<(), KeyFault> {
        if now < self.not_after {
            return Ok(());
        }
        Err(KeyFault::Expired {
            on: httpdate::fmt_http_date(self.not_after),
        })
    }
}

fn moment(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(seconds)
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
