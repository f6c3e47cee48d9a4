//! The private key of a certificate for callers, from PEM text to what signs. Nothing of it is left in
//! memory that is given back: the library that signs wipes its own.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys};
use zeroize::Zeroizing;

use crate::secret::pem::{self, PemError};

/// A key as it stands in its file.
pub(super) type Key = Zeroizing<PrivateKeyDer<'static>>;

/// The first key of a text.
///
/// # Errors
/// When a section before it, or its own, cannot be read.
pub(super) fn read(text: &[u8]) -> Result<Option<Key>, PemError> {
    for section in pem::sections(text) {
        let section = section?;
        // The names of RFC 5958, RFC 8017 and RFC 5915.
        let kind: fn(Vec<u8>) -> PrivateKeyDer<'static> = match section.label {
            "PRIVATE KEY" => |der| PrivateKeyDer::Pkcs8(der.into()),
            "RSA PRIVATE KEY" => |der| PrivateKeyDer::Pkcs1(der.into()),
            "EC PRIVATE KEY" => |der| PrivateKeyDer::Sec1(der.into()),
            _ => continue,
        };
        let mut der = section.decode()?;
        return Ok(Some(Zeroizing::new(kind(std::mem::take(&mut *der)))));
    }
    Ok(None)
}

/// A certificate with its chain and the key that signs for it.
///
/// # Errors
/// When the key cannot be used, or is another's.
pub(super) fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: &Key,
) -> Result<Arc<SingleCertAndKey>, Error> {
    let pair = CertifiedKey::new(chain, any_supported_type(key)?);
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(error) => return Err(error),
    }
    Ok(Arc::new(SingleCertAndKey::from(pair)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_key_is_left_in_memory_that_was_given_back() {
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            let (text, mut trace) = crate::secret::memory::section(label);
            let key = read(&text).unwrap().unwrap();
            assert!(pair(Vec::new(), &key).is_err(), "it is no key");
            drop(text);
            assert!(trace.is_left(), "it is there while it is used");
            drop(key);
            assert!(!trace.is_left(), "{label}");
        }
    }
}
