//! When to get a token and who shares it: one entry per key, renewed ahead of need by a task of its
//! own, read by workers without waiting.
//!
//! A request that finds a usable token never waits, whatever happens to its renewal. At most one
//! call per key is in flight, made by the entry's task and by nobody else, so that a caller that
//! goes away cancels only itself and the renewal of one key never touches another.

mod backoff;
#[cfg(test)]
mod cache_tests;
pub mod challenge;
#[cfg(test)]
mod change_tests;
mod claims_quiet;
#[cfg(test)]
mod claims_quiet_tests;
#[cfg(test)]
mod claims_tests;
mod deadline;
mod entry;
mod error;
#[cfg(test)]
mod fallback_tests;
mod key;
mod lifetime;
mod phase;
mod reader;
mod refresh;
#[cfg(test)]
mod renew_tests;
mod resting;
#[cfg(test)]
mod script;
mod slot;
#[cfg(test)]
mod slot_clocks;
#[cfg(test)]
mod slot_corner_tests;
#[cfg(test)]
mod slot_model_tests;
#[cfg(test)]
mod slot_tests;
mod status;
#[cfg(test)]
mod successor_tests;
mod supplier;
mod telling;
mod waiters;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use entry::TokenEntry;
pub use error::{RenewError, TokenError};
pub use key::TokenKey;
pub use reader::{Bearer, TokenReader};
pub use slot::FORCED_PAUSE;
pub use status::{LastError, TokenState, TokenStatus};
pub use supplier::Supplier;

use crate::clock::Now;
use crate::config::{Name, Scope};
use crate::credential::Credential;
use crate::lifeline;
use crate::lock::locked;
use crate::metrics::RefreshCounts;

/// All tokens of the process. Cheap to clone; the last clone stops the refreshers.
#[derive(Clone)]
pub struct TokenCache {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Handle,
    refreshes: Arc<RefreshCounts>,
    kept: Mutex<BTreeMap<TokenKey, Kept>>,
}

/// An entry and the task that renews it, which ends with it.
struct Kept {
    entry: Arc<TokenEntry>,
    task: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.entry.retire();
        self.task.abort();
    }
}

impl TokenCache {
    /// An empty cache whose refreshers run on this runtime; their calls are counted here.
    pub fn new(runtime: Handle, refreshes: Arc<RefreshCounts>) -> Self {
        Self {
            shared: Arc::new(Shared {
                runtime,
                refreshes,
                kept: Mutex::default(),
            }),
        }
    }

    /// The token of a credential for a scope, counted under `label`. A new one is asked for at once,
    /// in the background. For one that is there already the credential is put in place: a valid token
    /// stays, and the next call uses the new secret.
    pub fn entry(
        &self,
        credential: &Arc<Credential>,
        scope: &Scope,
        label: &Name,
    ) -> Arc<TokenEntry> {
        let key = TokenKey::new(credential, scope);
        self.entry_from(key, label, Supplier::of(credential))
    }

    /// The same from any supplier.
    pub fn entry_from(&self, key: TokenKey, label: &Name, supplier: Supplier) -> Arc<TokenEntry> {
        let refreshes = &self.shared.refreshes;
        let refreshes = refreshes.of(label.as_str(), key.scope().as_str());
        let mut kept = locked(&self.shared.kept);
        if let Some(kept) = kept.get(&key) {
            kept.entry.repoint(label, refreshes, supplier, Now::read());
            return kept.entry.clone();
        }
        let entry = TokenEntry::new(key.clone(), label.clone(), refreshes, supplier);
        let entry = Arc::new(entry);
        // What a credential got before it had a fallback is its own. The other way round, or from
        // one fallback to another, it may be the fallback's.
        let before = key.without_fallback();
        if let Some(before) = before.and_then(|before| kept.get(&before)) {
            entry.inherit(&before.entry);
        }
        let task = self.shared.runtime.spawn({
            let entry = entry.clone();
            let scope = key.scope();
            // A process without it serves the token until that expires, and then nothing.
            let name = format!("the task that renews a token (credential {label}, scope {scope})");
            async move {
                lifeline::tie(&name, refresh::run(&entry)).await;
            }
        });
        let entry_kept = entry.clone();
        kept.insert(
            key,
            Kept {
                entry: entry_kept,
                task,
            },
        );
        entry
    }

    /// Stops and forgets every token that is not among these.
    pub fn retain(&self, keys: &BTreeSet<TokenKey>) {
        locked(&self.shared.kept).retain(|key, _| keys.contains(key));
    }

    /// Every token, in the order of keys.
    pub fn entries(&self) -> Vec<Arc<TokenEntry>> {
        locked(&self.shared.kept)
            .values()
            .map(|kept| kept.entry.clone())
            .collect()
    }
}

impl std::fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}
