//! Where an entry's tokens come from: a credential, seen as the few functions that a refresher
//! needs. Tests put scripted functions in its place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::credential::{AccessToken, Acquired, Credential, CredentialError, Stamp, TokenRequest};

type Called = Pin<Box<dyn Future<Output = Acquired> + Send>>;
type Stamped = Pin<Box<dyn Future<Output = Stamp> + Send>>;

/// Where tokens come from.
#[derive(Clone)]
pub struct Supplier {
    call: Arc<dyn Fn(TokenRequest) -> Called + Send + Sync>,
    stamp: Arc<dyn Fn() -> Stamped + Send + Sync>,
}

impl Supplier {
    /// A function that gets a token, without files.
    pub fn new<F, T>(call: F) -> Self
    where
        F: Fn(TokenRequest) -> T + Send + Sync + 'static,
        T: Future<Output = Result<AccessToken, CredentialError>> + Send + 'static,
    {
        Self::asking(move |request| {
            let call = call(request);
            async move { call.await.into() }
        })
    }

    /// The same of what may ask a fallback too.
    pub(super) fn asking<F, T>(call: F) -> Self
    where
        F: Fn(TokenRequest) -> T + Send + Sync + 'static,
        T: Future<Output = Acquired> + Send + 'static,
    {
        Self {
            call: Arc::new(move |request| Box::pin(call(request))),
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
        let call = move |request: TokenRequest| {
            let credential = caller.clone();
            async move { credential.acquire(&request).await }
        };
        let stamp = move || {
            let credential = files.clone();
            async move { credential.stamp().await }
        };
        Self::asking(call).with_stamp(stamp)
    }

    pub(super) async fn call(&self, request: TokenRequest) -> Acquired {
        (self.call)(request).await
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
