//! Who is asking, on routes that want to know: an API key, a client certificate or a Kubernetes
//! service account. Proofs are `X-Api-Key`, the certificate of the connection, and
//! `Authorization: Bearer`; none of them goes up.
//!
//! Only the callers of the route are tried, so a proof for one route is none for another.

pub mod api_keys;
pub mod certificate;
pub mod key_set;
pub mod keys;
pub mod service_account;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue};
use tokio::sync::Notify;

use self::api_keys::ApiKeyError;
use self::certificate::PeerNames;
use self::key_set::KeySet;
use self::service_account::{ServiceAccount, TokenError};
use crate::config::{CallerProof, CallerSpec, KubernetesKeys, KubernetesSpec, Name};
use crate::secret::Secret;

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A configured caller: its place in [`Config::callers`](crate::config::Config::callers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(pub usize);

/// The callers of a route; none means anybody, unasked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteCallers(Vec<CallerId>);

impl RouteCallers {
    /// Finds a route's callers among all. A name that is nobody's lets nobody in, where leaving it
    /// out could let in everybody.
    pub fn new(names: &[Name], callers: &[CallerSpec]) -> Self {
        let place = |name: &Name| {
            let found = callers.iter().position(|caller| caller.name == *name);
            CallerId(found.unwrap_or(callers.len()))
        };
        Self(names.iter().map(place).collect())
    }
}

/// Why a caller is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallerError {
    /// Nothing that proves anything came with the request.
    #[error(
        "this route asks who is calling; send X-Api-Key, a client certificate or a service-account token, as its callers are configured"
    )]
    Missing,
    /// Keys that came together; the right one may be among them.
    #[error("X-Api-Key came more than once, so that it is open which one counts; send it once")]
    Repeated,
    /// Neither the token nor what came beside it proves anything.
    #[error(
        "the key or certificate is not that of a caller of this route, and as for the token beside it: {0}"
    )]
    Neither(TokenError),
    /// The token proves nothing.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// What came does not belong to a caller of this route.
    #[error(
        "this caller is not one of the route's; check the key or certificate, and callers of the route"
    )]
    Unknown,
}

impl CallerError {
    /// Whether the caller may be a good one, and this proxy cannot tell: a token that is good lets in
    /// whatever comes beside it.
    pub fn is_ours(&self) -> bool {
        let (Self::Token(error) | Self::Neither(error)) = self else {
            return false;
        };
        *error == TokenError::NoKeys
    }
}

/// All configured callers with what is needed to recognise them.
#[derive(Debug)]
pub struct Callers {
    specs: Vec<CallerSpec>,
    kubernetes: Option<KubernetesSpec>,
    /// The API keys, by caller; `None` for callers of other kinds.
    api_keys: ArcSwap<Vec<Option<Secret>>>,
    cluster_keys: ArcSwap<KeySet>,
    /// Rung when a key was met that is not known.
    wanted: Notify,
}

impl Callers {
    /// Reads the API keys, and the cluster's where they are in a file. Those that are fetched are set
    /// once [`keys::fetch`] has them; until then no service account is known.
    ///
    /// # Errors
    /// The first key that cannot be read, or that two callers share.
    pub fn new(
        callers: &[CallerSpec],
        kubernetes: Option<&KubernetesSpec>,
    ) -> Result<Self, ApiKeyError> {
        let read = callers
            .iter()
            .map(api_keys::read)
            .collect::<Result<Vec<_>, _>>()?;
        api_keys::alone(callers, &read)?;
        let cluster_keys = match kubernetes.map(|spec| &spec.keys) {
            // Whoever follows the file tells what is wrong with it.
            Some(KubernetesKeys::File(path)) => keys::read(path).unwrap_or_default(),
            _ => KeySet::default(),
        };
        Ok(Self {
            specs: callers.to_vec(),
            kubernetes: kubernetes.cloned(),
            api_keys: ArcSwap::from_pointee(read),
            cluster_keys: ArcSwap::from_pointee(cluster_keys),
            wanted: Notify::new(),
        })
    }

    /// Whether a caller proves itself with an API key.
    pub fn have_api_keys(&self) -> bool {
        self.api_keys.load().iter().any(Option::is_some)
    }

    /// Reads the API keys again. One that cannot be read stays as it was and is reported; with one
    /// that two callers share, all do.
    pub fn refresh(&self) -> Vec<ApiKeyError> {
        let mut failures = Vec::new();
        let known = self.api_keys.load();
        let read = self.specs.iter().zip(known.iter()).map(|(spec, known)| {
            api_keys::read(spec).unwrap_or_else(|failure| {
                failures.push(failure);
                known.clone()
            })
        });
        let read: Vec<_> = read.collect();
        match api_keys::alone(&self.specs, &read) {
            Ok(()) => self.api_keys.store(Arc::new(read)),
            Err(shared) => failures.push(shared),
        }
        failures
    }

    /// Replaces the cluster's keys.
    pub fn set_cluster_keys(&self, keys: KeySet) {
        self.cluster_keys.store(Arc::new(keys));
    }

    /// Takes over what is known of the same issuer, unless its keys are there already. They prove the
    /// same, wherever they came from, until they have been read or fetched anew.
    pub fn keep_keys_of(&self, other: &Self) {
        let issuer = |callers: &Self| callers.kubernetes.as_ref().map(|spec| spec.issuer.clone());
        if !self.knows_cluster() && issuer(self) == issuer(other) {
            self.cluster_keys.store(other.cluster_keys.load_full());
        }
    }

    /// Whether the cluster's keys are there.
    pub fn knows_cluster(&self) -> bool {
        !self.cluster_keys.load().is_empty()
    }

    /// Waits until a token came whose key is not known; newer keys may help then.
    pub async fn keys_wanted(&self) {
        self.wanted.notified().await;
    }

    /// The name of a caller, for the log and the metrics.
    pub fn name(&self, id: CallerId) -> Option<&Name> {
        self.specs.get(id.0).map(|spec| &spec.name)
    }

    /// Finds out which of a route's callers is asking; `None` when the route does not ask.
    ///
    /// Keys are compared in constant time. `peer` is the certificate of the connection, verified.
    ///
    /// # Errors
    /// When no caller of the route has proved itself.
    pub fn identify(
        &self,
        route: &RouteCallers,
        headers: &HeaderMap,
        peer: Option<&PeerNames>,
        now: SystemTime,
    ) -> Result<Option<CallerId>, CallerError> {
        if route.0.is_empty() {
            return Ok(None);
        }
        let key = alone(headers, &X_API_KEY).map(HeaderValue::as_bytes);
        let is_account = |proof: &_| matches!(proof, CallerProof::ServiceAccount { .. });
        let asks_token = self.asks(route, is_account);
        let bearer = asks_token.then(|| bearer(headers)).flatten();
        let account = bearer.map(|token| self.account(token, now));
        let known = self.api_keys.load();
        let proved = |id: &CallerId| match self.specs.get(id.0).map(|spec| &spec.proof) {
            Some(CallerProof::ApiKey(_)) => key
                .zip(known.get(id.0).and_then(Option::as_ref))
                .is_some_and(|(key, known)| known.matches(key)),
            Some(CallerProof::ClientCertificate(wanted)) => {
                peer.is_some_and(|names| certificate::has(names, wanted))
            }
            Some(CallerProof::ServiceAccount { namespace, name }) => {
                matches!(&account, Some(Ok(a)) if a.namespace == *namespace && a.name == *name)
            }
            None => false,
        };
        let Some(id) = route.0.iter().copied().find(proved) else {
            return Err(self.refusal(route, headers, peer, account.as_ref()));
        };
        Ok(Some(id))
    }

    /// What to tell whoever has not proved itself on a route.
    fn refusal(
        &self,
        route: &RouteCallers,
        headers: &HeaderMap,
        peer: Option<&PeerNames>,
        account: Option<&Result<ServiceAccount, TokenError>>,
    ) -> CallerError {
        if let Some(Err(TokenError::NoKeys | TokenError::UnknownKey)) = account {
            self.wanted.notify_one();
        }
        let asks_key = self.asks(route, |proof| matches!(proof, CallerProof::ApiKey(_)));
        let certificate = |proof: &_| matches!(proof, CallerProof::ClientCertificate(_));
        let asks_certificate = self.asks(route, certificate);
        let keys = headers.get_all(&X_API_KEY).iter().count();
        match account {
            _ if asks_key && keys > 1 => CallerError::Repeated,
            Some(Err(error)) if asks_key && keys > 0 || asks_certificate && peer.is_some() => {
                CallerError::Neither(*error)
            }
            Some(Err(error)) => CallerError::Token(*error),
            None if keys != 1 && peer.is_none() => CallerError::Missing,
            _ => CallerError::Unknown,
        }
    }

    fn asks(&self, route: &RouteCallers, kind: impl Fn(&CallerProof) -> bool) -> bool {
        let mut proofs = route.0.iter().filter_map(|id| self.specs.get(id.0));
        proofs.any(|spec| kind(&spec.proof))
    }

    fn account(&self, token: &str, now: SystemTime) -> Result<ServiceAccount, TokenError> {
        let spec = self.kubernetes.as_ref().ok_or(TokenError::UnknownKey)?;
        service_account::verify(token, spec, &self.cluster_keys.load(), now)
    }
}

/// The value of a header that came exactly once: two leave open which one counts.
fn alone<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = alone(headers, &AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}
