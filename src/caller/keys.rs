//! Where the cluster's keys come from: a file, or the issuer's own documents (OpenID Connect
//! Discovery 1.0 section 4). The one part of this module that opens a socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use url::Position;

use super::key_set::{KeySet, KeySetError};
use crate::config::HostName;
use crate::forward_proxy::ForwardProxy;
use crate::http_client;
use crate::secret::{FilePath, Secret, SecretError, SecretSource, regular_file};

/// Discovery documents and key sets have a few KiB.
const MAX_BYTES: usize = 1024 * 1024;

/// For one call: an API server that is there answers within a second.
const LIMIT: Duration = Duration::from_secs(10);

/// When they are asked for again after a call that failed: soon, because callers are turned away
/// meanwhile, and not a storm.
pub const AGAIN: Duration = Duration::from_secs(10);

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
    /// The file of the token for the API server holds something else.
    #[error(
        "{path} does not hold a token alone; put the token for the issuer there, as Kubernetes projects it, or correct kubernetes.token_file"
    )]
    NotToken {
        /// The file.
        path: FilePath,
    },
    /// The token for the API server cannot be read.
    #[error("the token for the issuer cannot be read; check kubernetes.token_file")]
    Token(#[from] SecretError),
    /// Whoever asked for the token is not shown it, or cannot be reached again.
    #[error(
        "the issuer answered {status}, and kubernetes.token_file cannot be shown to it: that goes only to whom an authority of kubernetes.ca_file vouches for; check kubernetes.issuer and kubernetes.ca_file"
    )]
    Stranger {
        /// What was answered without the token.
        status: StatusCode,
        /// Why there is no connection that the token may go over.
        source: reqwest::Error,
    },
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
/// When it cannot be read, or no header can hold what is read: a token has no spaces and no line ends.
pub fn token(path: &FilePath) -> Result<Secret, KeysError> {
    let token = SecretSource::File(path.clone()).read()?;
    match token.expose().iter().all(u8::is_ascii_graphic) {
        true => Ok(token),
        false => Err(KeysError::NotToken { path: path.clone() }),
    }
}

/// How an issuer is reached.
#[derive(Clone, Debug)]
pub struct Egress {
    /// What is trusted with a call that carries nothing: the system's authorities and the cluster's.
    pub tls: rustls::ClientConfig,
    /// What is trusted with the token: the cluster's authorities alone.
    pub own: rustls::ClientConfig,
    /// Fixed addresses for `host:port`.
    pub resolve: BTreeMap<(HostName, u16), SocketAddr>,
    /// What it is reached through.
    pub forward_proxy: ForwardProxy,
}

impl Egress {
    /// What asks for a document, and follows nothing. The HTTP library takes the port from the URL
    /// where there is one; before a fixed address, which has its own, it is left out.
    fn get(
        &self,
        document: &str,
        tls: &rustls::ClientConfig,
    ) -> Result<RequestBuilder, reqwest::Error> {
        let client = http_client::builder(tls).timeout(LIMIT);
        let Ok(mut url) = Url::parse(document) else {
            // The library says what is wrong with it.
            return Ok(client.build()?.get(document));
        };
        let Some(address) = self.fixed(&url) else {
            let authority = &url[Position::BeforeHost..Position::AfterPort];
            let client = self.forward_proxy.lead(client, authority)?;
            return Ok(client.build()?.get(url));
        };
        let name = url.host_str().unwrap_or_default();
        let client = client.no_proxy().resolve(name, address).build()?;
        let authority = url[Position::BeforeHost..Position::AfterPort].to_owned();
        // An https URL with a host takes any port.
        let _ = url.set_port(None);
        Ok(client.get(url).header(HOST, authority))
    }

    /// The address of a name and port where there is a fixed one.
    fn fixed(&self, url: &Url) -> Option<SocketAddr> {
        let host = HostName::parse(url.host_str()?).ok()?;
        let place = (host, url.port_or_known_default()?);
        let address = self.resolve.get(&place).copied();
        address.filter(|_| !place.0.is_address())
    }
}

/// Fetches the keys from the issuer, which may ask for this token.
///
/// # Errors
/// What went wrong; the keys known so far stay good.
pub async fn fetch(egress: &Egress, issuer: &str, token: &Secret) -> Result<KeySet, KeysError> {
    // The discovery document says where the keys are.
    let issuer = issuer.trim_end_matches('/');
    let discovery = format!("{issuer}/.well-known/openid-configuration");
    let document = read_out(egress, &discovery, token).await?;
    let document: Discovery = serde_json::from_slice(&document).map_err(KeysError::Discovery)?;
    let keys = read_out(egress, &document.jwks_uri, token).await?;
    Ok(KeySet::parse(&keys)?)
}

#[derive(Deserialize)]
struct Discovery {
    jwks_uri: String,
}

/// Reads one document. The token is shown only where it is asked for, and only to whom the cluster's
/// own authorities vouch for: it is one for the API server, and issuers outside the cluster, or
/// whatever host a discovery document names, have no business with it.
async fn read_out(egress: &Egress, url: &str, token: &Secret) -> Result<Vec<u8>, KeysError> {
    if !url.starts_with("https://") {
        return Err(KeysError::Insecure);
    }
    let mut answer = egress.get(url, &egress.tls)?.send().await?;
    let status = answer.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        && let Some(token) = token.header("Bearer ")
    {
        let again = egress.get(url, &egress.own)?.header(AUTHORIZATION, token);
        let shown = again.send().await;
        answer = shown.map_err(|source| KeysError::Stranger { status, source })?;
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
