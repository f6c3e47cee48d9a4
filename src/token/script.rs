//! A supplier that tests answer by hand, call by call.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_local};

use super::{
    Bearer, RenewError, Supplier, TokenCache, TokenEntry, TokenError, TokenKey, TokenReader,
};
use crate::clock::{self, Now};
use crate::config::{IdentitySelector, Name, Scope};
use crate::credential::{
    AccessToken, ClaimsRequest, CredentialError, Identity, Outage, Peer, Refusal, Rejection, Stamp,
    TokenRequest,
};
use crate::secret::{FilePath, Secret};

/// Returns when every other task waits for something: only then does paused time move.
pub(super) async fn settle() {
    clock::sleep(Duration::from_millis(1)).await;
}

/// A cache without a token.
pub(super) fn cache() -> TokenCache {
    TokenCache::new(Handle::current(), Arc::default())
}

/// Waits until the first call of every token that is there now has ended, well or not.
pub(super) async fn all_attempted(cache: &TokenCache) {
    for entry in cache.entries() {
        let mut phase = entry.watch();
        // An error would mean that the entry is gone, which this one is not.
        let _ = phase
            .wait_for(|phase| phase.ended > 0 || phase.retired)
            .await;
    }
}

/// How long tests wait for a token at the most.
pub(super) const LIMIT: Duration = Duration::from_secs(15);

/// A token that was got at first, and its reader.
pub(super) async fn warm(
    script: &mut Script,
    expires_in: u64,
) -> (TokenCache, TokenReader, Bearer) {
    let cache = cache();
    let reader = TokenReader::new(script.entry(&cache));
    script.next().await.grant(token("token-1", expires_in));
    let bearer = reader.wait(Now::read(), LIMIT).await.unwrap();
    (cache, reader, bearer)
}

/// Waits for a token, beside the test.
pub(super) fn wait(entry: &Arc<TokenEntry>) -> JoinHandle<Result<Bearer, TokenError>> {
    let reader = TokenReader::new(entry.clone());
    spawn_local(async move { reader.wait(Now::read(), LIMIT).await })
}

/// Asks for another token than the refused one, beside the test.
pub(super) fn renew(
    reader: &TokenReader,
    refused: &Bearer,
    claims: Option<ClaimsRequest>,
) -> JoinHandle<Result<Bearer, RenewError>> {
    let (reader, refused) = (TokenReader::new(reader.entry().clone()), refused.clone());
    spawn_local(async move { reader.renew(&refused, claims.as_ref(), LIMIT).await })
}

/// Calls of one token.
pub(super) struct Script {
    scope: Scope,
    supplier: Supplier,
    calls: mpsc::UnboundedReceiver<Asked>,
}

/// A call that waits for its answer.
pub(super) struct Asked {
    /// What it asks for.
    pub(super) request: TokenRequest,
    answer: oneshot::Sender<Result<AccessToken, CredentialError>>,
}

impl Script {
    /// Calls for Graph.
    pub(super) fn new() -> Self {
        Self::for_scope("https://graph.test/.default")
    }

    /// The entry of calls that this function makes.
    pub(super) fn entry_of(cache: &TokenCache, supplier: Supplier) -> Arc<TokenEntry> {
        let script = Self {
            supplier,
            ..Self::new()
        };
        script.entry(cache)
    }

    /// Calls for this scope.
    pub(super) fn for_scope(scope: &str) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let supplier = Supplier::new(move |request| {
            let (answer, answered) = oneshot::channel();
            let _ = sender.send(Asked { request, answer });
            async move {
                match answered.await {
                    Ok(answer) => answer,
                    Err(_) => std::future::pending().await,
                }
            }
        });
        Self {
            scope: Scope::parse(scope).unwrap(),
            supplier,
            calls,
        }
    }

    /// Calls with a secret in this file.
    pub(super) fn watching(file: &Path) -> Self {
        let file = FilePath::from(file);
        Self::stamped(move || Stamp::of([&file]))
    }

    /// The same, with a file that cannot be read now and then: of so many looks in a row, of which the
    /// first is that at `first`, so many fail.
    pub(super) fn watching_at_times(
        file: &Path,
        (fails, of): (usize, usize),
        first: usize,
    ) -> Self {
        let (file, looks) = (FilePath::from(file), AtomicUsize::new(first));
        Self::stamped(
            move || match looks.fetch_add(1, Ordering::Relaxed) % of < fails {
                true => Stamp::of([&FilePath::unknown("absent")]),
                false => Stamp::of([&file]),
            },
        )
    }

    /// Calls with files of which this is seen.
    pub(super) fn stamped(look: impl Fn() -> Stamp + Send + Sync + 'static) -> Self {
        let mut script = Self::new();
        let stamp = move || std::future::ready(look());
        script.supplier = script.supplier.with_stamp(stamp);
        script
    }

    /// Its entry in a cache.
    pub(super) fn entry(&self, cache: &TokenCache) -> Arc<TokenEntry> {
        cache.entry_from(self.key(None), &label(), self.supplier.clone())
    }

    /// Its entry as the first credential of a pair.
    pub(super) fn entry_with_fallback(&self, cache: &TokenCache) -> Arc<TokenEntry> {
        let second = IdentitySelector::ClientId("second".to_owned());
        cache.entry_from(self.key(Some(second)), &label(), self.supplier.clone())
    }

    /// Its entry, for which nobody makes calls.
    pub(super) fn entry_alone(&self) -> Arc<TokenEntry> {
        let supplier = self.supplier.clone();
        TokenEntry::new(self.key(None), label(), Arc::default(), supplier).into()
    }

    fn key(&self, second: Option<IdentitySelector>) -> TokenKey {
        let identity = Identity::ManagedIdentity(IdentitySelector::System);
        let second = second.map(Identity::ManagedIdentity);
        TokenKey::plain(identity, second, self.scope.clone())
    }

    /// The next call, whenever it comes.
    pub(super) async fn next(&mut self) -> Asked {
        self.calls.recv().await.unwrap()
    }

    /// Whether no call waits.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }
}

fn label() -> Name {
    Name::parse("contoso").unwrap()
}

impl Asked {
    /// Answers with a token.
    pub(super) fn grant(self, token: AccessToken) {
        let _ = self.answer.send(Ok(token));
    }

    /// Answers with an error.
    pub(super) fn refuse(self, error: CredentialError) {
        let _ = self.answer.send(Err(error));
    }
}

/// A token that lives this long.
pub(super) fn token(text: &str, expires_in: u64) -> AccessToken {
    AccessToken {
        secret: Secret::new(text.as_bytes().to_vec()),
        expires_in: Duration::from_secs(expires_in),
        refresh_in: None,
        fallback: None,
    }
}

/// An outage.
pub(super) fn unavailable() -> CredentialError {
    Outage::Timeout {
        to: Peer::new("login.test"),
        within: Duration::from_secs(10),
    }
    .into()
}

/// A refusal that only a person can heal, with a file name in its words.
pub(super) fn rejected() -> CredentialError {
    Rejection::NotText {
        source_name: "/run/secrets/graph".to_owned(),
    }
    .into()
}

/// Asked too often, with the quiet that is wanted.
pub(super) fn throttled(seconds: u64) -> CredentialError {
    CredentialError::Throttled(Box::new(Refusal {
        retry_after: Some(Duration::from_secs(seconds)),
        ..Refusal::bare(429)
    }))
}
