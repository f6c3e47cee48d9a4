//! Where the cluster's keys come from: a file, or the issuer's own documents (OpenID Connect
//! Discovery 1.0 section 4). The one part of this module that opens a socket.

use reqwest::{Client, StatusCode};
use serde::Deserialize;

use super::key_set::{KeySet, KeySetError};
use crate::secret::{FilePath, Secret, SecretError, SecretSource, regular_file};

/// Discovery documents and key sets have a few KiB.
const MAX_BYTES: usize = 1024 * 1024;

/// Why the cluster's keys are not known.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The issuer's discovery document cannot be read.
    #[error("the discovery document of the issuer has no jwks_uri; check kubernetes.issuer")]
    Discovery(#[source] serde_json::Error),
    /// Keys over an open connection could be anybody's.
    #[error("the issuer's keys are not at an https address; use kubernetes.jwks_file")]
    Insecure,
    /// The file is no key set.
    #[error(
        "{path} cannot be used as kubernetes.jwks_file; put the cluster's keys there, as `kubectl get --raw /openid/v1/jwks` prints them"
    )]
    File {
        /// The file.
        path: FilePath,
        /// What is wrong with it.
        source: KeySetError,
    },
    /// The issuer's document is no key set.
    #[error("what the issuer serves as its keys cannot be used; check kubernetes.issuer")]
    KeySet(#[from] KeySetError),
    /// The answer does not end.
    #[error("the issuer's answer is larger than 1 MiB; check kubernetes.issuer")]
    TooLarge,
    /// The token for the API server cannot be read.
    #[error("the token for the issuer cannot be read; check kubernetes.token_file")]
    Token(#[from] SecretError),
    /// The issuer refused.
    #[error(
        "the issuer answered {0}; check kubernetes.issuer and the rights of kubernetes.token_file"
    )]
    Refused(StatusCode),
    /// The issuer cannot be reached.
    #[error("the issuer cannot be reached; check kubernetes.issuer and kubernetes.ca_file")]
    Unreachable(#[from] reqwest::Error),
    /// The file cannot be read.
    #[error("cannot read {path}; check kubernetes.jwks_file")]
    Unreadable {
        /// The file.
        path: FilePath,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Reads the keys from `kubernetes.jwks_file`.
///
/// # Errors
/// What went wrong; the keys known so far stay good.
pub fn read(path: &FilePath) -> Result<KeySet, KeysError> {
    let json = regular_file::read(path).map_err(|source| KeysError::Unreadable {
        path: path.clone(),
        source,
    })?;
    KeySet::parse(&json).map_err(|source| KeysError::File {
        path: path.clone(),
        source,
    })
}

/// Reads the token that the issuer may ask for, from `kubernetes.token_file`.
///
/// # Errors
/// When it cannot be read.
pub fn token(path: &FilePath) -> Result<Secret, KeysError> {
    Ok(SecretSource::File(path.clone()).read()?)
}

/// Fetches the keys from the issuer, which may ask for this token. `client` trusts
/// `ca_file`, follows no redirect and has time limits.
///
/// # Errors
/// What went wrong; the keys known so far stay good.
pub async fn fetch(client: &Client, issuer: &str, token: &Secret) -> Result<KeySet, KeysError> {
    // The discovery document says where the keys are.
    let issuer = issuer.trim_end_matches('/');
    let discovery = format!("{issuer}/.well-known/openid-configuration");
    let document = get(client, &discovery, token).await?;
    let document: Discovery = serde_json::from_slice(&document).map_err(KeysError::Discovery)?;
    let keys = get(client, &document.jwks_uri, token).await?;
    Ok(KeySet::parse(&keys)?)
}

#[derive(Deserialize)]
struct Discovery {
    jwks_uri: String,
}

/// Reads one document. The token is shown only where it is asked for: issuers outside the cluster
/// publish their keys, and have no business with it.
async fn get(client: &Client, url: &str, token: &Secret) -> Result<Vec<u8>, KeysError> {
    if !url.starts_with("https://") {
        return Err(KeysError::Insecure);
    }
    let mut answer = client.get(url).send().await?;
    if matches!(
        answer.status(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    ) && let Some(token) = token.expose_str()
    {
        answer = client.get(url).bearer_auth(token).send().await?;
    }
    if answer.status() != StatusCode::OK {
        return Err(KeysError::Refused(answer.status()));
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > MAX_BYTES {
            return Err(KeysError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
