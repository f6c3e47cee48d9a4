//! Where an entry's tokens come from: a credential, seen as the few functions that a refresher
//! needs. Tests put scripted functions in its place.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use crate::credential::{Acquired, Credential, Stamp, TokenRequest};

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
    pub fn new<F, T, A>(call: F) -> Self
    where
        F: Fn(TokenRequest) -> T + Send + Sync + 'static,
        T: Future<Output = A> + Send + 'static,
        A: Into<Acquired>,
    {
        let call = move |request| -> Called {
            let called = call(request);
            Box::pin(async move { called.await.into() })
        };
        Self {
            call: Arc::new(call),
            stamp: Arc::new(|| Box::pin(ready(Stamp::default()))),
        }
    }

    /// The same with a function that tells what its files hold.
    pub(super) fn with_stamp<F, T>(self, stamp: F) -> Self
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
    pub(super) fn of(credential: &Arc<Credential>) -> Self {
        let (caller, files) = (credential.clone(), credential.clone());
        let call = move |request: TokenRequest| {
            let credential = caller.clone();
            async move { credential.acquire(&request).await }
        };
        let stamp = move || {
            let credential = files.clone();
            async move { credential.stamp().await }
        };
        Self::new(call).with_stamp(stamp)
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
