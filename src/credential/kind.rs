//! The ways to prove an identity, as one closed set.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::AccessToken;
use super::certificate::Certificate;
use super::client_secret::ClientSecret;
use super::endpoint::{Endpoint, TokenClient};
use super::error::{CredentialError, Peer, Rejection};
use super::managed::ManagedIdentity;
use super::platform::{Platform, PlatformError};
use super::workload::FederatedToken;
use crate::config::{AppIdentity, CredentialKind, IdentitySelector, Scope};
use crate::secret::file_reader::FileReader;
use crate::secret::{FilePath, SecretSource};

/// The ways to prove an identity.
pub(super) enum Kind {
    Certificate(Arc<Certificate>),
    ClientSecret(ClientSecret),
    FederatedToken(FederatedToken),
    /// Or why this platform's cannot be used, to be said when somebody asks.
    ManagedIdentity(Result<ManagedIdentity, PlatformError>),
}

/// Who is asked for, and by which kind of proof; never the proof itself. Part of the cache key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// An app with a certificate.
    Certificate(AppIdentity),
    /// An app with a secret.
    ClientSecret(AppIdentity),
    /// An app with a token of another issuer.
    FederatedToken(AppIdentity),
    /// The platform's identity.
    ManagedIdentity(IdentitySelector),
}

impl Kind {
    /// What a configuration describes.
    pub(super) fn of(
        kind: &CredentialKind,
        client: &TokenClient,
        platform: &Platform,
    ) -> Result<(Identity, Self), reqwest::Error> {
        Ok(match kind {
            CredentialKind::Certificate {
                app,
                file,
                password,
                send_chain,
            } => (
                Identity::Certificate(app.clone()),
                Self::Certificate(Arc::new(Certificate {
                    client_id: app.client_id.clone(),
                    endpoint: token_endpoint(app, client)?,
                    audience: format!("{}{}", app.authority.origin, token_path(app)),
                    file: file.clone(),
                    password: password.clone(),
                    send_chain: *send_chain,
                    parsed: Mutex::new(None),
                })),
            ),
            CredentialKind::ClientSecret { app, secret } => (
                Identity::ClientSecret(app.clone()),
                Self::ClientSecret(ClientSecret {
                    client_id: app.client_id.clone(),
                    endpoint: token_endpoint(app, client)?,
                    source: secret.clone(),
                }),
            ),
            CredentialKind::FederatedToken { app, file } => (
                Identity::FederatedToken(app.clone()),
                Self::FederatedToken(FederatedToken {
                    client_id: app.client_id.clone(),
                    endpoint: token_endpoint(app, client)?,
                    file: SecretSource::File(file.clone()),
                }),
            ),
            CredentialKind::ManagedIdentity(selector) => (
                Identity::ManagedIdentity(selector.clone()),
                Self::ManagedIdentity(ManagedIdentity::new(selector, platform, client)),
            ),
        })
    }

    /// Asks for a token once. Managed identity knows no claims.
    pub(super) async fn acquire(
        &self,
        reader: &FileReader,
        scope: &Scope,
        claims: Option<&str>,
    ) -> Result<AccessToken, CredentialError> {
        match self {
            Self::Certificate(kind) => kind.acquire(reader, scope, claims).await,
            Self::ClientSecret(kind) => kind.acquire(reader, scope, claims).await,
            Self::FederatedToken(kind) => kind.acquire(reader, scope, claims).await,
            Self::ManagedIdentity(Ok(kind)) => kind.acquire(reader, scope).await,
            Self::ManagedIdentity(Err(error)) => Err(Rejection::from(error.clone()).into()),
        }
    }

    /// Loads secrets and files once, and waits for file systems.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        match self {
            Self::Certificate(kind) => kind.load(SystemTime::now()).map(drop),
            Self::ClientSecret(kind) => kind.check(),
            Self::FederatedToken(kind) => kind.check(),
            Self::ManagedIdentity(Ok(_)) => Ok(()),
            Self::ManagedIdentity(Err(error)) => Err(error.clone().into()),
        }
    }

    /// Who is asked, in words.
    pub(super) fn peer(&self) -> Peer {
        match self {
            Self::Certificate(kind) => kind.endpoint.peer().clone(),
            Self::ClientSecret(kind) => kind.endpoint.peer().clone(),
            Self::FederatedToken(kind) => kind.endpoint.peer().clone(),
            Self::ManagedIdentity(Ok(kind)) => kind.endpoint.peer().clone(),
            Self::ManagedIdentity(Err(_)) => Peer::new("managed identity"),
        }
    }

    /// The files that are read at each call.
    pub(super) fn files(&self) -> [Option<&FilePath>; 2] {
        match self {
            Self::Certificate(kind) => [
                Some(&kind.file),
                kind.password.as_ref().and_then(SecretSource::file),
            ],
            Self::ClientSecret(kind) => [kind.source.file(), None],
            Self::FederatedToken(kind) => [kind.file.file(), None],
            Self::ManagedIdentity(_) => [None, None],
        }
    }

    /// When a certificate that has been read can be used, if it cannot yet.
    pub(super) fn begins(&self, now: SystemTime) -> Option<SystemTime> {
        match self {
            Self::Certificate(kind) => kind.begins(now),
            Self::ClientSecret(_) | Self::FederatedToken(_) | Self::ManagedIdentity(_) => None,
        }
    }

    /// How long a certificate that has been read can be used.
    pub(super) fn good_until(&self) -> Option<SystemTime> {
        match self {
            Self::Certificate(kind) => kind.good_until(SystemTime::now()),
            Self::ClientSecret(_) | Self::FederatedToken(_) | Self::ManagedIdentity(_) => None,
        }
    }
}

/// `{authority}/{tenant}/oauth2/v2.0/token`.
fn token_endpoint(app: &AppIdentity, client: &TokenClient) -> Result<Endpoint, reqwest::Error> {
    client.entra(&app.authority.origin, &token_path(app))
}

fn token_path(app: &AppIdentity) -> String {
    let prefix = app.authority.prefix.as_str();
    let tenant = utf8_percent_encode(&app.tenant_id, SEGMENT);
    format!("{prefix}/{tenant}/oauth2/v2.0/token")
}

/// A tenant is a GUID or a domain; whatever else it were must stay one path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
