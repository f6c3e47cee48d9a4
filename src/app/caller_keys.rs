//! What callers prove themselves against, kept current: API keys follow their files, the cluster's
//! keys their file or their issuer. Runs on the control side; requests only ever read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Client;

use crate::caller::Callers;
use crate::caller::keys::{self, KeysError};
use crate::chain::Chain;
use crate::config::{HostName, KubernetesKeys, KubernetesSpec};
use crate::proxy::generation::{Generation, InForce};
use crate::trust;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long fetched keys are good: clusters announce a new key well before they sign with it.
const FRESH: Duration = Duration::from_secs(600);
/// The least time between two calls to the issuer, whoever presents unknown keys.
const REST: Duration = Duration::from_secs(60);
/// After a failed call.
const RETRY: Duration = Duration::from_secs(10);
/// For one call.
const LIMIT: Duration = Duration::from_secs(10);

/// Follows the keys of whatever configuration is in force, for ever.
pub(super) async fn watch(in_force: Arc<InForce>) {
    let mut round = Round::default();
    loop {
        let world = in_force.load();
        round.look(&world).await;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => round.wanted = false,
            () = world.callers.keys_wanted() => round.wanted = true,
        }
    }
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Round {
    /// Whether a key was met that is not known.
    wanted: bool,
    /// The call for these keys: when, and whether it succeeded.
    last: Option<(KubernetesSpec, Instant, bool)>,
    /// What was complained about, so that it is said once.
    complaints: BTreeMap<String, String>,
}

impl Round {
    async fn look(&mut self, world: &Generation) {
        let failures = world.callers.refresh();
        let unread: Vec<String> = failures
            .iter()
            .map(|failure| Chain(failure).to_string())
            .collect();
        self.complain("API keys", &unread.join("; "));
        if let Some(spec) = &world.config.kubernetes
            && self.is_due(spec, &world.callers)
        {
            let outcome = load(spec, &world.config.resolve).await;
            self.last = Some((spec.clone(), Instant::now(), outcome.is_ok()));
            match outcome {
                Ok(keys) => {
                    world.callers.set_cluster_keys(keys);
                    self.complain("the keys of the cluster", "");
                }
                Err(error) => self.complain("the keys of the cluster", &error),
            }
        }
    }

    fn is_due(&self, spec: &KubernetesSpec, callers: &Callers) -> bool {
        let Some((known, at, fine)) = &self.last else {
            return true;
        };
        if known != spec || matches!(spec.keys, KubernetesKeys::File(_)) {
            return true;
        }
        let pause = match (fine, self.wanted || !callers.knows_cluster()) {
            (false, _) => RETRY,
            (true, true) => REST,
            (true, false) => FRESH,
        };
        at.elapsed() >= pause
    }

    /// Says what is wrong, once; empty words mean that it is right again.
    fn complain(&mut self, what: &str, words: &str) {
        if words.is_empty() {
            self.complaints.remove(what);
        } else if self.complaints.get(what).map(String::as_str) != Some(words) {
            tracing::error!(
                error = words,
                "{what} cannot be read; those known before stay in use"
            );
            self.complaints.insert(what.to_owned(), words.to_owned());
        }
    }
}

async fn load(
    spec: &KubernetesSpec,
    resolve: &BTreeMap<(HostName, u16), SocketAddr>,
) -> Result<crate::caller::key_set::KeySet, String> {
    let authority = match &spec.keys {
        KubernetesKeys::File(_) => None,
        KubernetesKeys::Fetch { ca_file, .. } => Some(ca_file.as_path()),
    };
    let client = client(authority, resolve)?;
    keys::load(&client, spec)
        .await
        .map_err(|error: KeysError| Chain(&error).to_string())
}

/// A client that trusts the cluster's authority besides the system's, and follows nothing.
fn client(
    authority: Option<&Path>,
    resolve: &BTreeMap<(HostName, u16), SocketAddr>,
) -> Result<Client, String> {
    let mut tls = trust::client_config(authority).map_err(|error| Chain(&error).to_string())?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .pool_max_idle_per_host(0)
        .timeout(LIMIT)
        .user_agent(concat!("tokenferry/", env!("CARGO_PKG_VERSION")));
    for ((host, port), address) in resolve {
        if *port == 443 {
            builder = builder.resolve(host.as_str(), *address);
        }
    }
    builder.build().map_err(|error| Chain(&error).to_string())
}
