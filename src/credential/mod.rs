//! How to get one token once: the ways an organisation may hold a credential, and the exchange that
//! turns each into an access token. When to ask, and who shares the answer, is `token`'s business.
//!
//! `acquire` asks once (a fallback makes that at most two exchanges), reads secrets and files anew,
//! is bounded in time, and puts nothing secret into its errors.

pub mod aadsts;
mod acquired;
mod answer;
mod arc_key;
mod certificate;
#[cfg(test)]
mod certificate_tests;
mod claims;
mod ending;
mod endpoint;
mod error;
#[cfg(test)]
mod exchange_tests;
mod fallback;
#[cfg(test)]
mod fallback_quiet_tests;
#[cfg(test)]
mod fallback_tests;
mod key_file;
#[cfg(test)]
mod key_file_tests;
mod kind;
mod managed;
#[cfg(test)]
mod managed_tests;
mod members;
mod pkcs8;
mod platform;
mod proof;
mod reason;
mod refusal;
#[cfg(test)]
mod refusal_tests;
mod stamp;
#[cfg(test)]
mod stand_in;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use acquired::{Acquired, FirstFailure};
pub use answer::AccessToken;
pub use arc_key::ArcKeyError;
pub use certificate::CertificateError;
pub use claims::{ClaimsRequest, MAX_CLAIMS};
pub use ending::{beginning, ending};
pub use endpoint::{Egress, Reply};
pub use error::{CredentialError, Flaw, Outage, Pace, Peer, Rejection};
pub use fallback::FIRST_NEXT;
pub use key_file::KeyFault;
pub use kind::Identity;
pub use platform::{Platform, PlatformError};
pub use reason::Reason;
pub use refusal::Refusal;
pub use stamp::Stamp;

use fallback::Fallback;
use kind::Kind;

use crate::clock::{self, Now};
use crate::config::{CredentialSpec, Name, Scope};
use crate::secret::FilePath;
use crate::secret::file_reader::FileReader;

/// An identity and how it proves itself.
pub struct Credential {
    name: Name,
    identity: Identity,
    kind: Kind,
    reader: FileReader,
    continuous_access: bool,
    expires: Option<u64>,
    fallback: Option<Fallback>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The resource.
    pub scope: Scope,
    /// Claims that an upstream demanded.
    pub claims: Option<ClaimsRequest>,
    /// The time limit of one exchange.
    pub within: Duration,
    /// What the fallback failed with, whose server wants it left alone: it is not asked.
    pub resting: Option<Arc<CredentialError>>,
}

impl Credential {
    /// Builds every credential of a configuration, in its order. A fallback's own fallback does not
    /// count: there are two at most.
    ///
    /// # Errors
    /// When the HTTP library refuses the TLS configuration or a forward proxy's address.
    pub fn all(
        specs: &[CredentialSpec],
        egress: &Egress,
        platform: &Platform,
    ) -> Result<Vec<Arc<Self>>, reqwest::Error> {
        specs
            .iter()
            .map(|spec| {
                let mut credential = Self::alone(spec, egress, platform)?;
                let second = specs
                    .iter()
                    .find(|s| spec.fallback.as_ref() == Some(&s.name));
                if let Some(second) = second {
                    let second = Self::alone(second, egress, platform)?;
                    credential.fallback = Some(Fallback::new(second, Now::read().mono));
                }
                Ok(Arc::new(credential))
            })
            .collect()
    }

    fn alone(
        spec: &CredentialSpec,
        egress: &Egress,
        platform: &Platform,
    ) -> Result<Self, reqwest::Error> {
        let (identity, kind) = Kind::of(&spec.kind, egress, platform)?;
        Ok(Self {
            name: spec.name.clone(),
            identity,
            kind,
            reader: FileReader::default(),
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

    /// Who is asked.
    pub fn peer(&self) -> Peer {
        self.kind.peer()
    }

    /// Whether the capability `cp1` is declared.
    pub fn continuous_access(&self) -> bool {
        self.continuous_access
    }

    /// The credential that stands by.
    pub fn fallback(&self) -> Option<&Self> {
        self.fallback.as_ref().map(|fallback| &*fallback.second)
    }

    /// Why it is refused, in words, as long as its fallback is asked in its place.
    pub fn refused(&self) -> Option<String> {
        let why = self.fallback.as_ref()?.why()?;
        Some(why.words().to_owned())
    }

    /// Asks for a token once; with a fallback, the second as well when the first is refused, or was
    /// and now does not answer.
    pub async fn acquire(&self, request: &TokenRequest) -> Acquired {
        let Some(fallback) = &self.fallback else {
            return self.acquire_alone(request).await.into();
        };
        let asked = Now::read().mono;
        let mut stamp = self.own_stamp().await;
        let mut first = None;
        if fallback.first_is_due(&stamp, Now::read().mono) {
            let began = Now::read().mono;
            let outcome = self.acquire_alone(request).await;
            let ended = Now::read().mono;
            let error = match outcome {
                Ok(token) => {
                    if fallback.first_accepted(ended) {
                        tracing::info!(credential = %self.name, "credential works again, its fallback steps back");
                    }
                    return Ok(token).into();
                }
                Err(error) => error,
            };
            if error.refuses_credential() {
                if !error.is_unread() {
                    let after = self.own_stamp().await;
                    let (known, changed) =
                        Stamp::after_failure(stamp, after, error.is_of_endpoint());
                    // They count as changed at the next look, whatever they hold.
                    stamp = if changed { Stamp::default() } else { known };
                }
                fallback.first_refused(stamp.clone(), &error, ended);
            } else if !fallback.is_active() {
                return Err(error).into();
            }
            let took = ended.saturating_duration_since(began);
            first = Some(FirstFailure { error, took });
        }
        let failed = first.as_ref().map(|first| &first.error);
        let second = match &request.resting {
            Some(error) => Err(error.clone()),
            None => fallback
                .second
                .acquire_alone(request)
                .await
                .map_err(Arc::new),
        };
        let outcome = match second {
            Ok(mut token) => {
                self.stays_back(fallback, stamp, failed);
                let within = fallback.renew_within(asked);
                token.refresh_in = Some(token.refresh_in.map_or(within, |asked| asked.min(within)));
                token.fallback = Some(fallback.second.name.clone());
                Ok(token)
            }
            Err(error) => Err(fallback.both_failed(stamp, failed, error, Now::read().mono)),
        };
        Acquired { outcome, first }
    }

    /// The second gave a token, after the first failed or without it being asked. Whatever keeps a
    /// first that was refused from being accepted again, the second goes on.
    fn stays_back(&self, fallback: &Fallback, stamp: Stamp, failed: Option<&CredentialError>) {
        let (first, second) = (&self.name, &fallback.second.name);
        let unanswered = failed.filter(|error| !error.refuses_credential());
        let stays =
            unanswered.filter(|error| fallback.first_unanswered(stamp, error, Now::read().mono));
        if let Some(reason) = fallback.second_replaces() {
            let reason = reason.words();
            tracing::warn!(credential = %first, fallback = %second, reason, "credential refused, its fallback takes over");
        } else if let Some(error) = stays {
            tracing::warn!(credential = %first, fallback = %second, reason = error.words(), "credential was refused and cannot be tried again for now, its fallback stays");
        }
    }

    /// Asks for a token once, and leaves the fallback alone.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn acquire_alone(
        &self,
        request: &TokenRequest,
    ) -> Result<AccessToken, CredentialError> {
        let claims = claims::form_field(self.continuous_access, request.claims.as_ref());
        let exchange = self
            .kind
            .acquire(&self.reader, &request.scope, claims.as_deref());
        match clock::within(request.within, exchange).await {
            Some(outcome) => outcome.map_err(CredentialError::of_this_moment),
            None => Err(Outage::Timeout {
                to: self.kind.peer(),
                within: request.within,
            }
            .into()),
        }
    }

    /// Loads secrets and files once, without asking anybody. Waits for file systems.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), CredentialError> {
        let checked = self.kind.check().map_err(CredentialError::from);
        checked.map_err(CredentialError::of_this_moment)
    }

    /// The same aside and in time, for a runtime that must not wait.
    ///
    /// # Errors
    /// What is wrong with them, or that they could not be read in time.
    pub async fn check_aside(self: &Arc<Self>) -> Result<(), CredentialError> {
        let this = Arc::clone(self);
        let checked = self.reader.run(move || this.check()).await;
        checked.unwrap_or_else(|why| {
            let files: Vec<String> = self.files().map(ToString::to_string).collect();
            Err(CredentialError::unread(&files.join(" or "), why))
        })
    }

    /// When the credential itself runs out: as declared, or as its certificates say once they have been
    /// loaded.
    pub fn expiry(&self) -> Option<SystemTime> {
        match self.expires {
            Some(declared) => UNIX_EPOCH.checked_add(Duration::from_secs(declared)),
            None => self.kind.certificate()?.not_after(),
        }
    }

    /// When its certificate, once it has been loaded, can be used, if it cannot at `now`. Whether it is
    /// refused before that is for Entra to say, whose clock may be another.
    pub fn begins(&self, now: SystemTime) -> Option<SystemTime> {
        self.kind.certificate()?.begins(now)
    }

    /// What the files of this credential and of its fallback hold now, and since when this one has
    /// been accepted. Files that cannot be read in time count as such that cannot be read.
    pub async fn stamp(&self) -> Stamp {
        let own = self.own_stamp().await;
        match &self.fallback {
            Some(fallback) => {
                let second = fallback.second.own_stamp().await;
                own.of_pair(second, fallback.accepted())
            }
            None => own,
        }
    }

    async fn own_stamp(&self) -> Stamp {
        let files: Vec<_> = self.files().cloned().collect();
        let unread = Stamp::of_unread(files.len());
        let read = self.reader.run(move || Stamp::of(&files));
        read.await.unwrap_or(unread)
    }

    /// The files that are read at each call.
    fn files(&self) -> impl Iterator<Item = &FilePath> {
        self.kind.files().into_iter().flatten()
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
