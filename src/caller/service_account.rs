//! Kubernetes service-account tokens: signed JWTs (RFC 7519) of the cluster's issuer, verified here
//! with the cluster's public keys, without asking anybody.
//!
//! Everything counts: algorithm and key, issuer, audience, expiry, and a subject that is a service
//! account. A token is for one audience, so one that a pod uses elsewhere is worth nothing here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::key_set::{Algorithm, KeySet};
use crate::config::KubernetesSpec;

/// Two clocks of one cluster may differ by this much.
const LEEWAY: Duration = Duration::from_secs(30);

/// Longer than any projected token, which has about 1 KiB; bounds the work for a stranger.
const MAX_LENGTH: usize = 16 * 1024;

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// For another audience.
    #[error(
        "the service-account token is for another audience; project one for kubernetes.audience"
    )]
    Audience,
    /// Past its expiry.
    #[error(
        "the service-account token has expired; read the projected file again before each call"
    )]
    Expired,
    /// Of another issuer.
    #[error(
        "the service-account token is of another issuer than kubernetes.issuer; call from that cluster, or correct the key"
    )]
    Issuer,
    /// Not a signed token of a shape that clusters make.
    #[error(
        "the bearer token is not a service-account token signed with RS256 or ES256; send the one that Kubernetes projects"
    )]
    Malformed,
    /// No key of the cluster was ever had, so that no token can be judged.
    #[error(
        "the keys of the cluster are not known here yet, so that no service-account token can be judged; ask again soon, and if that goes on see this proxy's log"
    )]
    NoKeys,
    /// Not valid yet.
    #[error("the service-account token is not valid yet; compare the clocks")]
    NotYet,
    /// The signature is wrong.
    #[error(
        "the signature of the service-account token does not match the cluster's key; send the projected token as it is, all three parts"
    )]
    Signature,
    /// For something other than a service account.
    #[error(
        "the subject of the token is not a service account; send one that is projected into a pod, not a person's"
    )]
    Subject,
    /// Signed with a key that is not known, perhaps a new one.
    #[error(
        "the key of the service-account token is not known here; it may be new, try again soon"
    )]
    UnknownKey,
}

/// A service account that has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Verifies a token.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(
    token: &str,
    spec: &KubernetesSpec,
    keys: &KeySet,
    now: SystemTime,
) -> Result<ServiceAccount, TokenError> {
    let claims = signed_claims(token, keys)?;
    if claims.iss != spec.issuer {
        return Err(TokenError::Issuer);
    }
    if !claims.aud.names(&spec.audience) {
        return Err(TokenError::Audience);
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if claims.exp <= now.saturating_sub(LEEWAY).as_secs_f64() {
        return Err(TokenError::Expired);
    }
    if claims
        .nbf
        .is_some_and(|begin| begin > (now + LEEWAY).as_secs_f64())
    {
        return Err(TokenError::NotYet);
    }
    let (namespace, name) = claims
        .sub
        .strip_prefix("system:serviceaccount:")
        .and_then(|account| account.split_once(':'))
        .ok_or(TokenError::Subject)?;
    Ok(ServiceAccount {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// The claims, once the signature over them has been verified (RFC 7515 section 5.2).
fn signed_claims(token: &str, keys: &KeySet) -> Result<Claims, TokenError> {
    if token.len() > MAX_LENGTH {
        return Err(TokenError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let header: Header = part(header)?;
    // An extension that must be understood (RFC 7515 section 4.1.11) is not.
    let algorithm = Algorithm::parse(&header.alg)
        .filter(|_| header.crit.is_none())
        .ok_or(TokenError::Malformed)?;
    if keys.is_empty() {
        return Err(TokenError::NoKeys);
    }
    let id = header.kid.as_deref();
    if !keys.has(id, algorithm) {
        return Err(TokenError::UnknownKey);
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| TokenError::Malformed)?;
    if !keys.verifies(id, algorithm, message.as_bytes(), &signature) {
        return Err(TokenError::Signature);
    }
    part(claims)
}

/// Decodes one part of a token.
fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// Times are seconds since 1970 and may have a fraction (RFC 7519 section 2, NumericDate).
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(name) => name == wanted,
            Self::Many(names) => names.iter().any(|name| name == wanted),
        }
    }
}
