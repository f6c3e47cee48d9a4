//! Managed identity: the platform vouches for the process, at an endpoint on the machine or its
//! host. Never through a proxy, never with claims (continuous access evaluation does not reach
//! managed identities), and with `resource` where Entra says `scope`.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};

use super::answer::{self, AccessToken};
use super::arc_key;
use super::endpoint::{Egress, Endpoint, Reply};
use super::error::{CredentialError, Flaw, Outage, Rejection};
use super::platform::{Platform, PlatformError, Source};
use super::refusal;
use crate::config::{IdentitySelector, Scope};
use crate::secret::Secret;
use crate::secret::file_reader::FileReader;

/// An updating IMDS answers 410 and is back within 70 s; Microsoft's libraries ask seven times, ten
/// seconds apart.
const GONE_AGAIN: Duration = Duration::from_secs(10);

/// The platform's identity.
pub(super) struct ManagedIdentity {
    selector: IdentitySelector,
    source: Source,
    /// Where it is asked.
    pub(super) endpoint: Endpoint,
}

impl ManagedIdentity {
    /// The identity of this platform.
    ///
    /// # Errors
    /// When this platform, or this identity of it, cannot be used.
    pub(super) fn new(
        selector: &IdentitySelector,
        platform: &Platform,
        egress: &Egress,
    ) -> Result<Self, PlatformError> {
        let source = platform.source()?.clone();
        let url = match &source {
            Source::Arc { .. } if *selector != IdentitySelector::System => {
                return Err(PlatformError::ArcSystemOnly);
            }
            Source::AppService { endpoint, .. }
            | Source::Arc { endpoint, .. }
            | Source::Imds { endpoint } => endpoint,
        };
        let endpoint = egress.metadata(&url.origin, url.prefix.as_str());
        let endpoint = endpoint.map_err(|_| PlatformError::Endpoint)?;
        Ok(Self {
            selector: selector.clone(),
            source,
            endpoint,
        })
    }

    pub(super) async fn acquire(
        &self,
        reader: &FileReader,
        scope: &Scope,
    ) -> Result<AccessToken, CredentialError> {
        let resource = scope.resource();
        let reply = match &self.source {
            Source::AppService { header, .. } => {
                let headers = one("x-identity-header", shown(header, "")?);
                self.ask("2019-08-01", resource, headers).await?
            }
            Source::Imds { .. } => self.ask("2018-02-01", resource, metadata()).await?,
            Source::Arc { keys, .. } => {
                let challenge = self.ask("2020-06-01", resource, metadata()).await?;
                let Some(file) = file_named_by(&challenge) else {
                    return challenge.read_of_platform();
                };
                let key = arc_key::read_aside(file, keys.clone(), reader).await?;
                let mut headers = metadata();
                headers.insert(AUTHORIZATION, shown(&key, "Basic ")?);
                self.ask("2020-06-01", resource, headers).await?
            }
        };
        reply.read_of_platform()
    }

    async fn ask(
        &self,
        version: &str,
        resource: &str,
        headers: HeaderMap,
    ) -> Result<Reply, CredentialError> {
        let mut query = vec![("api-version", version), ("resource", resource)];
        query.extend(self.selected());
        self.endpoint.get(&query, headers).await
    }

    /// The parameter that selects a user-assigned identity. IMDS and App Service spell the resource
    /// id differently.
    fn selected(&self) -> Option<(&'static str, &str)> {
        match &self.selector {
            IdentitySelector::ClientId(id) => Some(("client_id", id)),
            IdentitySelector::ObjectId(id) => Some(("object_id", id)),
            IdentitySelector::ResourceId(id) => match self.source {
                Source::AppService { .. } => Some(("mi_res_id", id)),
                Source::Arc { .. } | Source::Imds { .. } => Some(("msi_res_id", id)),
            },
            IdentitySelector::System => None,
        }
    }
}

impl Reply {
    /// The token that a platform's identity endpoint gave.
    ///
    /// # Errors
    /// Why there is none.
    pub fn read_of_platform(&self) -> Result<AccessToken, CredentialError> {
        match self.status {
            200 => answer::read(self),
            _ => Err(sort(self)),
        }
    }
}

/// Sorts an answer that is not a token, as "How to use managed identities on an Azure VM" says.
fn sort(reply: &Reply) -> CredentialError {
    let mut refusal = Box::new(refusal::read(reply, hint));
    match reply.status {
        429 => CredentialError::Throttled(refusal),
        410 => {
            refusal.retry_after.get_or_insert(GONE_AGAIN);
            Outage::Answer(refusal).into()
        }
        404 | 408 | 500.. => Outage::Answer(refusal).into(),
        400..=499 => Rejection::Identity(refusal).into(),
        status => CredentialError::Malformed {
            from: reply.from.clone(),
            flaw: Flaw::Status(status),
        },
    }
}

fn hint(status: u16, _error: Option<&str>) -> &'static str {
    match status {
        404 | 410 => "the endpoint is being updated, it is asked again",
        408 | 429 => "nothing needs to be changed, it is asked again",
        500.. => "it is asked again; a wrong identity or scope can look like this as well",
        _ => "check that the identity is assigned here, its id, and the route's scope",
    }
}

/// The key file that a 401 of the Arc agent names.
fn file_named_by(challenge: &Reply) -> Option<PathBuf> {
    if challenge.status != 401 {
        return None;
    }
    let lines = challenge.headers.get_all(WWW_AUTHENTICATE).iter();
    lines
        // `to_str` would refuse what is not ASCII, which names of folders may be.
        .filter_map(|line| std::str::from_utf8(line.as_bytes()).ok())
        .find_map(arc_key::named_by)
}

fn metadata() -> HeaderMap {
    one("metadata", HeaderValue::from_static("true"))
}

fn one(name: &'static str, value: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), value)])
}

/// The platform's key in a field.
fn shown(key: &Secret, scheme: &'static str) -> Result<HeaderValue, CredentialError> {
    let value = key.header(scheme).ok_or_else(|| Rejection::NotText {
        source_name: "the platform's identity key".to_owned(),
    })?;
    Ok(value)
}
