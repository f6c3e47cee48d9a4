//! The ways to prove an identity, as one closed set.

use std::sync::{Arc, Mutex};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::AccessToken;
use super::certificate::Certificate;
use super::endpoint::{Egress, Endpoint, Form};
use super::error::{CredentialError, Peer, Rejection};
use super::managed::ManagedIdentity;
use super::platform::{Platform, PlatformError};
use super::proof::Proof;
use crate::config::{AppIdentity, CredentialKind, IdentitySelector, Scope};
use crate::secret::file_reader::FileReader;
use crate::secret::{FilePath, SecretSource};

/// The ways to prove an identity.
pub(super) enum Kind {
    App {
        client_id: String,
        /// Its token endpoint.
        endpoint: Endpoint,
        proof: Proof,
    },
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
        egress: &Egress,
        platform: &Platform,
    ) -> Result<(Identity, Self), reqwest::Error> {
        let of_app = |app: &AppIdentity, proof| {
            Ok(Self::App {
                client_id: app.client_id.clone(),
                endpoint: egress.entra(&app.authority.origin, &token_path(app))?,
                proof,
            })
        };
        Ok(match kind {
            CredentialKind::Certificate {
                app,
                file,
                password,
                send_chain,
            } => {
                let certificate = Certificate {
                    client_id: app.client_id.clone(),
                    audience: format!("{}{}", app.authority.origin, token_path(app)),
                    file: file.clone(),
                    password: password.clone(),
                    send_chain: *send_chain,
                    parsed: Mutex::new(None),
                };
                let proof = Proof::Certificate(Arc::new(certificate));
                (Identity::Certificate(app.clone()), of_app(app, proof)?)
            }
            CredentialKind::ClientSecret { app, secret } => {
                let proof = Proof::ClientSecret(secret.clone());
                (Identity::ClientSecret(app.clone()), of_app(app, proof)?)
            }
            CredentialKind::FederatedToken { app, file } => {
                let proof = Proof::FederatedToken(SecretSource::File(file.clone()));
                (Identity::FederatedToken(app.clone()), of_app(app, proof)?)
            }
            CredentialKind::ManagedIdentity(selector) => {
                let managed = ManagedIdentity::new(selector, platform, egress);
                let identity = Identity::ManagedIdentity(selector.clone());
                (identity, Self::ManagedIdentity(managed))
            }
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
            Self::App {
                client_id,
                endpoint,
                proof,
            } => {
                let form = Form::new(client_id, scope.as_str(), claims);
                let form = proof.add_to(form, reader).await?;
                let federated = matches!(proof, Proof::FederatedToken(_));
                endpoint.exchange(form, federated).await
            }
            Self::ManagedIdentity(Ok(managed)) => managed.acquire(reader, scope).await,
            Self::ManagedIdentity(Err(error)) => Err(Rejection::from(error.clone()).into()),
        }
    }

    /// Loads secrets and files once, and waits for file systems.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        match self {
            Self::App { proof, .. } => proof.check(),
            Self::ManagedIdentity(Ok(_)) => Ok(()),
            Self::ManagedIdentity(Err(error)) => Err(error.clone().into()),
        }
    }

    /// Who is asked, in words.
    pub(super) fn peer(&self) -> Peer {
        match self {
            Self::App { endpoint, .. } => endpoint.peer().clone(),
            Self::ManagedIdentity(Ok(managed)) => managed.endpoint.peer().clone(),
            Self::ManagedIdentity(Err(_)) => Peer::new("managed identity"),
        }
    }

    /// The files that are read at each call.
    pub(super) fn files(&self) -> [Option<&FilePath>; 2] {
        match self {
            Self::App { proof, .. } => proof.files(),
            Self::ManagedIdentity(_) => [None, None],
        }
    }

    /// The certificate that proves it.
    pub(super) fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::App {
                proof: Proof::Certificate(certificate),
                ..
            } => Some(certificate),
            Self::App { .. } | Self::ManagedIdentity(_) => None,
        }
    }
}

fn token_path(app: &AppIdentity) -> String {
    let prefix = app.authority.prefix.as_str();
    let tenant = utf8_percent_encode(&app.tenant_id, SEGMENT);
    format!("{prefix}/{tenant}/oauth2/v2.0/token")
}

/// A tenant is a GUID or a domain; whatever else it were must stay one path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
