//! How to get one token once: the ways an organisation may hold a credential, and the exchange that
//! turns each into an access token. When to ask, and who shares the answer, is `token`'s business.
//!
//! `acquire` asks once (a fallback makes that at most two exchanges), reads secrets and files anew,
//! is bounded in time, and puts nothing secret into its errors.

pub mod aadsts;
mod answer;
mod claims;
mod client_secret;
mod endpoint;
mod error;
mod fallback;
mod guid;
mod refusal;
mod stamp;
mod workload;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use answer::AccessToken;
pub use claims::{ClaimsRequest, MAX_CLAIMS};
pub use endpoint::{Egress, TokenClient};
pub use error::{CredentialError, Flaw, Outage, Pace, Peer, Rejection};
pub use guid::guid;
pub use refusal::Refusal;
pub use stamp::Stamp;

use client_secret::ClientSecret;
use endpoint::Endpoint;
use fallback::Fallback;
use workload::FederatedToken;

use crate::clock::Now;
use crate::config::{AppIdentity, CredentialKind, CredentialSpec, IdentitySelector, Name, Scope};
use crate::secret::SecretSource;

/// An identity and how it proves itself.
pub struct Credential {
    name: Name,
    identity: Identity,
    kind: Kind,
    continuous_access: bool,
    expires: Option<u64>,
    fallback: Option<Fallback>,
}

/// The ways to prove an identity.
enum Kind {
    ClientSecret(ClientSecret),
    FederatedToken(FederatedToken),
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

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The resource.
    pub scope: &'a Scope,
    /// Claims that an upstream demanded.
    pub claims: Option<&'a ClaimsRequest>,
    /// The time limit of one exchange.
    pub within: Duration,
}

impl Credential {
    /// Builds every credential of a configuration, in its order. A fallback's own fallback does not
    /// count: there are two at most.
    ///
    /// # Errors
    /// When an HTTP client for a fixed address cannot be built.
    pub fn all(
        specs: &[CredentialSpec],
        client: &TokenClient,
    ) -> Result<Vec<Arc<Self>>, reqwest::Error> {
        specs
            .iter()
            .map(|spec| {
                let mut credential = Self::alone(spec, client)?;
                let second = specs
                    .iter()
                    .find(|s| spec.fallback.as_ref() == Some(&s.name));
                if let Some(second) = second {
                    credential.fallback = Some(Fallback::new(Self::alone(second, client)?));
                }
                Ok(Arc::new(credential))
            })
            .collect()
    }

    fn alone(spec: &CredentialSpec, client: &TokenClient) -> Result<Self, reqwest::Error> {
        let (identity, kind) = Kind::of(&spec.kind, client)?;
        Ok(Self {
            name: spec.name.clone(),
            identity,
            kind,
            continuous_access: spec.continuous_access,
            expires: spec.expires,
            fallback: None,
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Who is asked for.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the capability `cp1` is declared.
    pub fn continuous_access(&self) -> bool {
        self.continuous_access
    }

    /// The credential that stands by.
    pub fn fallback(&self) -> Option<&Self> {
        self.fallback.as_ref().map(|fallback| &*fallback.second)
    }

    /// The credential whose turn it is: this one, or its fallback after this one was refused.
    pub fn active(&self) -> &Self {
        match &self.fallback {
            Some(fallback) if fallback.is_active() => &fallback.second,
            _ => self,
        }
    }

    /// Asks for a token once; with a fallback, the second as well when the first is refused.
    ///
    /// # Errors
    /// Why there is none. Of two refusals, the second's.
    pub async fn acquire(&self, request: TokenRequest<'_>) -> Result<AccessToken, CredentialError> {
        let Some(fallback) = &self.fallback else {
            return self.acquire_alone(request).await;
        };
        let stamp = self.own_stamp();
        if fallback.first_is_due(&stamp, Now::read().mono) {
            match self.acquire_alone(request).await {
                Err(error) if error.refuses_credential() => {
                    if fallback.first_refused(stamp, Now::read().mono) {
                        let (first, second) = (&self.name, &fallback.second.name);
                        tracing::warn!(credential = %first, fallback = %second, reason = error.words(), "credential refused, its fallback takes over");
                    }
                }
                outcome => {
                    if outcome.is_ok() && fallback.first_accepted() {
                        tracing::info!(credential = %self.name, "credential works again, its fallback steps back");
                    }
                    return outcome;
                }
            }
        }
        let mut token = fallback.second.acquire_alone(request).await?;
        let renew = token.refresh_in.unwrap_or(fallback::RENEW_WITHIN);
        token.refresh_in = Some(renew.min(fallback::RENEW_WITHIN));
        Ok(token)
    }

    async fn acquire_alone(
        &self,
        request: TokenRequest<'_>,
    ) -> Result<AccessToken, CredentialError> {
        let claims = claims::form_field(self.continuous_access, request.claims);
        let exchange = self.kind.acquire(request.scope, claims.as_deref());
        match tokio::time::timeout(request.within, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Outage::Timeout {
                to: self.kind.endpoint().peer().clone(),
                within: request.within,
            }
            .into()),
        }
    }

    /// Loads secrets and files once, without asking anybody.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), CredentialError> {
        match &self.kind {
            Kind::ClientSecret(kind) => kind.check().map(drop),
            Kind::FederatedToken(kind) => kind.check().map(drop),
        }
        .map_err(CredentialError::from)
    }

    /// When the credential itself runs out: as declared, or as its certificate says once it has been
    /// loaded.
    pub fn expiry(&self) -> Option<SystemTime> {
        let declared = self.expires.map(Duration::from_secs);
        declared.and_then(|since| UNIX_EPOCH.checked_add(since))
    }

    /// What the files of this credential and of its fallback hold now.
    pub fn stamp(&self) -> Stamp {
        match &self.fallback {
            Some(fallback) => self.own_stamp().and(fallback.second.own_stamp()),
            None => self.own_stamp(),
        }
    }

    fn own_stamp(&self) -> Stamp {
        Stamp::of(self.kind.files().into_iter().flatten())
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Kind {
    fn of(kind: &CredentialKind, client: &TokenClient) -> Result<(Identity, Self), reqwest::Error> {
        Ok(match kind {
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
            CredentialKind::Certificate { .. } | CredentialKind::ManagedIdentity(_) => todo!(),
        })
    }

    async fn acquire(
        &self,
        scope: &Scope,
        claims: Option<&str>,
    ) -> Result<AccessToken, CredentialError> {
        match self {
            Self::ClientSecret(kind) => kind.acquire(scope, claims).await,
            Self::FederatedToken(kind) => kind.acquire(scope, claims).await,
        }
    }

    fn endpoint(&self) -> &Endpoint {
        match self {
            Self::ClientSecret(kind) => &kind.endpoint,
            Self::FederatedToken(kind) => &kind.endpoint,
        }
    }

    fn files(&self) -> [Option<&Path>; 2] {
        match self {
            Self::ClientSecret(kind) => [kind.source.file(), None],
            Self::FederatedToken(kind) => [kind.file.file(), None],
        }
    }
}

/// `{authority}/{tenant}/oauth2/v2.0/token`.
fn token_endpoint(app: &AppIdentity, client: &TokenClient) -> Result<Endpoint, reqwest::Error> {
    let path = token_path(app);
    client.entra(&app.authority.origin, &path)
}

fn token_path(app: &AppIdentity) -> String {
    let prefix = app.authority.prefix.as_str();
    let tenant = percent_encoding::utf8_percent_encode(&app.tenant_id, SEGMENT);
    format!("{prefix}/{tenant}/oauth2/v2.0/token")
}

/// A tenant is a GUID or a domain; whatever else it were must stay one path segment.
const SEGMENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');
