//! Decrypts a private key of the PEM label `ENCRYPTED PRIVATE KEY`: PBES2 of RFC 8018 with PBKDF2
//! and AES-CBC, which is what OpenSSL writes. Older and rarer schemes are refused by name of the
//! command that converts them.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use x509_parser::asn1_rs::{Any, FromDer, Oid, Tag};
use zeroize::Zeroizing;

use super::key_file::KeyFault;
use crate::secret::Secret;

/// OpenSSL's default is 2048, careful people take hundreds of thousands; more would be an attempt to
/// keep this machine busy.
const MOST_ITERATIONS: u32 = 10_000_000;

/// The parameters of PBES2.
struct Scheme<'a> {
    salt: &'a [u8],
    iterations: NonZeroU32,
    prf: pbkdf2::Algorithm,
    cipher: &'static Algorithm,
    key_length: usize,
    iv: [u8; 16],
}

/// Decrypts to the DER of PKCS#8.
///
/// # Errors
/// [`KeyFault::Encryption`] when the scheme is not known, [`KeyFault::PasswordWrong`] when the
/// padding is not what the password should have brought to light.
pub(super) fn decrypt(der: &[u8], password: &Secret) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let (scheme, encrypted) = read(der).ok_or(KeyFault::Encryption)?;
    let mut key = Zeroizing::new(vec![0; scheme.key_length]);
    let (salt, secret) = (scheme.salt, password.expose());
    pbkdf2::derive(scheme.prf, scheme.iterations, salt, secret, &mut key);
    let wrong = |_| KeyFault::PasswordWrong;
    let key = UnboundCipherKey::new(scheme.cipher, &key).map_err(wrong)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(wrong)?;
    let mut text = Zeroizing::new(encrypted.to_vec());
    let iv = DecryptionContext::Iv128(FixedLength::from(scheme.iv));
    let length = key.decrypt(&mut text, iv).map_err(wrong)?.len();
    text.truncate(length);
    Ok(text)
}

/// `EncryptedPrivateKeyInfo` (RFC 5958 section 3) with `PBES2-params` (RFC 8018 appendix A.4).
fn read(der: &[u8]) -> Option<(Scheme<'_>, &[u8])> {
    let (outer, _) = take(der, Tag::Sequence)?;
    let (pbes2, rest) = algorithm(outer)?;
    let (encrypted, _) = take(rest, Tag::OctetString)?;
    let (parameters, _) = take(pbes2.of(PBES2)?, Tag::Sequence)?;
    let (pbkdf2, rest) = algorithm(parameters)?;
    let (cipher, _) = algorithm(rest)?;
    let (pbkdf2, _) = take(pbkdf2.of(PBKDF2)?, Tag::Sequence)?;
    let (salt, rest) = take(pbkdf2, Tag::OctetString)?;
    let (_, iterations) = u32::from_der(rest).ok()?;
    let (_, rest) = take(rest, Tag::Integer)?;
    // The key length is optional, and implied by the cipher.
    let rest = take(rest, Tag::Integer).map_or(rest, |(_, rest)| rest);
    let (iv, _) = take(cipher.parameters, Tag::OctetString)?;
    let (cipher, key_length) = cipher_named(&cipher.name)?;
    let scheme = Scheme {
        salt,
        iterations: NonZeroU32::new(iterations).filter(|n| n.get() <= MOST_ITERATIONS)?,
        prf: prf(rest)?,
        cipher,
        key_length,
        iv: iv.try_into().ok()?,
    };
    Some((scheme, encrypted))
}

const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";

/// An `AlgorithmIdentifier`.
struct Identifier<'a> {
    name: String,
    parameters: &'a [u8],
}

impl<'a> Identifier<'a> {
    fn of(&self, name: &str) -> Option<&'a [u8]> {
        (self.name == name).then_some(self.parameters)
    }
}

fn algorithm(der: &[u8]) -> Option<(Identifier<'_>, &[u8])> {
    let (inner, rest) = take(der, Tag::Sequence)?;
    let (parameters, name) = Oid::from_der(inner).ok()?;
    let name = name.to_id_string();
    Some((Identifier { name, parameters }, rest))
}

/// The contents of the next element, if it is of this type, and what follows it.
fn take(der: &[u8], tag: Tag) -> Option<(&[u8], &[u8])> {
    let (rest, any) = Any::from_der(der).ok()?;
    (any.tag() == tag).then_some((any.data, rest))
}

/// HMAC with SHA-1 when it is not stated (RFC 8018 appendix A.2).
fn prf(der: &[u8]) -> Option<pbkdf2::Algorithm> {
    if der.is_empty() {
        return Some(pbkdf2::PBKDF2_HMAC_SHA1);
    }
    match algorithm(der)?.0.name.as_str() {
        "1.2.840.113549.2.7" => Some(pbkdf2::PBKDF2_HMAC_SHA1),
        "1.2.840.113549.2.9" => Some(pbkdf2::PBKDF2_HMAC_SHA256),
        "1.2.840.113549.2.10" => Some(pbkdf2::PBKDF2_HMAC_SHA384),
        "1.2.840.113549.2.11" => Some(pbkdf2::PBKDF2_HMAC_SHA512),
        _ => None,
    }
}

fn cipher_named(name: &str) -> Option<(&'static Algorithm, usize)> {
    match name {
        "2.16.840.1.101.3.4.1.2" => Some((&AES_128, 16)),
        "2.16.840.1.101.3.4.1.22" => Some((&AES_192, 24)),
        "2.16.840.1.101.3.4.1.42" => Some((&AES_256, 32)),
        _ => None,
    }
}

/// `rsaEncryption` (RFC 8017 appendix A.1).
pub(super) const RSA: &str = "1.2.840.113549.1.1.1";

/// The algorithm of a decrypted key (RFC 5958 section 2); `None` when it is no PKCS#8 at all.
pub(super) fn key_algorithm(der: &[u8]) -> Option<String> {
    let (inner, _) = take(der, Tag::Sequence)?;
    let (_version, rest) = take(inner, Tag::Integer)?;
    Some(algorithm(rest)?.0.name)
}
