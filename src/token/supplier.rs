//! Where an entry's tokens come from: a credential, seen as the few functions that a refresher
//! needs. Tests put scripted functions in its place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Scope;
use crate::credential::{
    AccessToken, Acquired, ClaimsRequest, Credential, CredentialError, Stamp, TokenRequest,
};

/// What one call asks for.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The resource.
    pub scope: Scope,
    /// Claims that an upstream demanded.
    pub claims: Option<ClaimsRequest>,
    /// The time limit of one exchange.
    pub within: Duration,
    /// What the fallback failed with, whose server wants it left alone.
    pub resting: Option<Arc<CredentialError>>,
}

type Called = Pin<Box<dyn Future<Output = Acquired> + Send>>;
type Stamped = Pin<Box<dyn Future<Output = Stamp> + Send>>;

/// Where tokens come from.
#[derive(Clone)]
pub struct Supplier {
    call: Arc<dyn Fn(Demand) -> Called + Send + Sync>,
    stamp: Arc<dyn Fn() -> Stamped + Send + Sync>,
}

impl Supplier {
    /// A function that gets a token, without files.
    pub fn new<F, T>(call: F) -> Self
    where
        F: Fn(Demand) -> T + Send + Sync + 'static,
        T: Future<Output = Result<AccessToken, CredentialError>> + Send + 'static,
    {
        Self::asking(move |demand| {
            let call = call(demand);
            async move { call.await.into() }
        })
    }

    /// The same of what may ask a fallback too.
    pub(super) fn asking<F, T>(call: F) -> Self
    where
        F: Fn(Demand) -> T + Send + Sync + 'static,
        T: Future<Output = Acquired> + Send + 'static,
    {
        Self {
            call: Arc::new(move |demand| Box::pin(call(demand))),
            stamp: Arc::new(|| Box::pin(async { Stamp::default() })),
        }
    }

    /// The same with a function that tells what its files hold.
    pub fn with_stamp<F, T>(self, stamp: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Stamp> + Send + 'static,
    {
        Self {
            stamp: Arc::new(move || Box::pin(stamp())),
            ..self
        }
    }

    /// A credential.
    pub fn of(credential: &Arc<Credential>) -> Self {
        let (caller, files) = (credential.clone(), credential.clone());
        let call = move |demand: Demand| {
            let credential = caller.clone();
            async move {
                let request = TokenRequest {
                    scope: &demand.scope,
                    claims: demand.claims.as_ref(),
                    within: demand.within,
                    resting: demand.resting.as_ref(),
                };
                credential.acquire(request).await
            }
        };
        let stamp = move || {
            let credential = files.clone();
            async move { credential.stamp().await }
        };
        Self::asking(call).with_stamp(stamp)
    }

    pub(super) async fn call(&self, demand: Demand) -> Acquired {
        (self.call)(demand).await
    }

    pub(super) async fn stamp(&self) -> Stamp {
        (self.stamp)().await
    }
}

impl std::fmt::Debug for Supplier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supplier").finish_non_exhaustive()
    }
}
