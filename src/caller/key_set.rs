//! The keys of an issuer: a JSON Web Key Set (RFC 7517), of which RSA keys and P-256 keys that may
//! sign are used. Pure; [`keys`](super::keys) fetches it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// Why there are no keys in a document.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not a key set.
    #[error("this is not a JSON Web Key Set: reading ended at line {line}, column {column}")]
    Malformed {
        /// Where reading ended; not why, which may quote the document.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A key set without a key that can be used.
    #[error("this key set holds no RSA or P-256 key for signatures")]
    Unusable,
}

/// The signature algorithms (RFC 7518 section 3.1) that clusters sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// ECDSA, P-256, SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5, SHA-256.
    Rs256,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

/// The usable keys of a set.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    public: ParsedPublicKey,
}

impl KeySet {
    /// Reads a key set. Keys of other kinds and for other uses are passed over, and what is no key
    /// (RFC 7517 section 5).
    ///
    /// # Errors
    /// When the document is no key set, or holds no key that can be used.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let document: Document =
            serde_json::from_slice(json).map_err(|error| KeySetError::Malformed {
                line: error.line(),
                column: error.column(),
            })?;
        let raw = document
            .keys
            .iter()
            .filter_map(|key| RawKey::deserialize(key).ok());
        let keys: Vec<Key> = raw.filter_map(|key| key.usable()).collect();
        if keys.is_empty() {
            return Err(KeySetError::Unusable);
        }
        Ok(Self(keys))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key of this name and algorithm is here. A token that names none may be by any.
    pub(super) fn has(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        self.candidates(id, algorithm).next().is_some()
    }

    /// Whether `signature` over `message` is by one of these keys.
    pub(super) fn verifies(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.candidates(id, algorithm)
            .any(|key| key.public.verify_sig(message, signature).is_ok())
    }

    fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| {
            key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id)
        })
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// A key as RFC 7517 section 4 and RFC 7518 section 6 write it.
#[derive(Deserialize)]
struct RawKey {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl RawKey {
    fn usable(&self) -> Option<Key> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let (algorithm, public) = match self.kty.as_str() {
            "RSA" => (Algorithm::Rs256, self.rsa()?),
            "EC" if self.crv.as_deref() == Some("P-256") => (Algorithm::Es256, self.p256()?),
            _ => return None,
        };
        let other = |name: &String| Algorithm::parse(name) != Some(algorithm);
        if self.alg.as_ref().is_some_and(other) {
            return None;
        }
        Some(Key {
            id: self.kid.clone(),
            algorithm,
            public,
        })
    }

    fn rsa(&self) -> Option<ParsedPublicKey> {
        let components = RsaPublicKeyComponents {
            n: number(self.n.as_deref()?)?,
            e: number(self.e.as_deref()?)?,
        };
        components
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .ok()
    }

    fn p256(&self) -> Option<ParsedPublicKey> {
        // The uncompressed point of SEC 1 section 2.3.3.
        let mut point = vec![4];
        for coordinate in [&self.x, &self.y] {
            let bytes = URL_SAFE_NO_PAD.decode(coordinate.as_deref()?).ok()?;
            if bytes.len() != 32 {
                return None;
            }
            point.extend(bytes);
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()
    }
}

/// A big-endian number without the leading zeros that some issuers write.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    Some(bytes[zeros..].to_vec())
}
