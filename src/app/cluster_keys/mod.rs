//! The keys of the cluster that service accounts are proved with, kept current: they follow their
//! file or their issuer. Runs on the control side; requests only ever read.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::complaint::Complaint;
use crate::admin::{Latch, Readiness};
use crate::caller::Callers;
use crate::caller::key_set::KeySet;
use crate::caller::keys::{self, Egress, KeysError};
use crate::chain::Chain;
use crate::clock;
use crate::config::{HostName, KubernetesKeys, KubernetesSpec};
use crate::forward_proxy::ForwardProxy;
use crate::proxy::generation::{Generation, InForce};
use crate::secret::FilePath;
use crate::secret::file_reader::{FileReader, Successive};
use crate::trust::{self, TrustError};

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long fetched keys are good: clusters announce a new key well before they sign with it.
const FRESH: Duration = Duration::from_mins(10);
/// The least time between two calls to the issuer, whoever presents unknown keys.
const REST: Duration = Duration::from_secs(60);

/// What is complained of.
const KEYS: &str = "the keys of the cluster";
/// What follows where they cannot be used.
const KEPT: &str = "those known before stay in use";
const NONE: &str = "none are known, so no service account is let in";

/// Follows the keys of whatever configuration is in force, for ever.
pub(super) async fn watch(in_force: Arc<InForce>, readiness: Arc<Readiness>) {
    let load = |generation: Arc<Generation>, spec: KubernetesSpec, reader: FileReader| async move {
        load(spec, &generation, &reader).await
    };
    follow(&in_force, &readiness, &mut Round::default(), load).await;
}

async fn follow<L: Future<Output = Loaded>>(
    in_force: &InForce,
    readiness: &Readiness,
    round: &mut Round,
    load: impl Fn(Arc<Generation>, KubernetesSpec, FileReader) -> L,
) {
    loop {
        let step = async {
            round.look(in_force, &load).await;
            readiness.release(Latch::Keys);
            let generation = in_force.load();
            tokio::select! {
                () = clock::sleep(LOOK) => {}
                () = round.called_for(&generation) => {}
            }
        };
        // An issuer that is slow to answer, and perhaps the wrong one, is not waited for when
        // another configuration may name a better one.
        tokio::select! {
            () = in_force.replaced() => {}
            () = step => {}
        }
    }
}

/// Keys, or why there are none.
type Loaded = Result<KeySet, String>;

/// What is remembered from one look to the next.
struct Round {
    /// Whether a key was met that is not known, since the last call.
    wanted: bool,
    /// The call for these keys: when, and whether it succeeded.
    last: Option<(KubernetesSpec, Instant, bool)>,
    complaint: Complaint,
    readers: Successive<KubernetesSpec>,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            wanted: false,
            last: None,
            complaint: Complaint::of(KEYS),
            readers: Successive::default(),
        }
    }
}

impl Round {
    async fn look<L: Future<Output = Loaded>>(
        &mut self,
        in_force: &InForce,
        load: impl FnOnce(Arc<Generation>, KubernetesSpec, FileReader) -> L,
    ) {
        let generation = in_force.load();
        let Some(spec) = spec_of(&generation).filter(|spec| self.is_due(spec, &generation.callers))
        else {
            return;
        };
        let reader = self.readers.reader(spec);
        let outcome = load(Arc::clone(&generation), spec.clone(), reader).await;
        // Another generation may be in force by now, with a copy of what was known before. The
        // thread that puts it there is this one, so none comes between here and the end.
        let after = in_force.load();
        if spec_of(&after) != Some(spec) {
            // It wants other keys, and so this was no call for them.
            return;
        }
        if self.last.as_ref().is_some_and(|(known, ..)| known != spec) {
            // Words that fit both do not say that they are about another now.
            self.complaint = Complaint::of(KEYS);
        }
        self.wanted = false;
        self.last = Some((spec.clone(), clock::now(), outcome.is_ok()));
        match outcome {
            Ok(keys) => {
                after.callers.set_cluster_keys(keys);
                self.complaint.renew("", KEPT);
            }
            Err(error) if after.callers.knows_cluster() => self.complaint.renew(&error, KEPT),
            Err(error) => self.complaint.renew(&error, NONE),
        }
    }

    /// Waits until a token with an unknown key makes a look worth while before its time. Whoever
    /// sends many such tokens must not make this a loop: it waits for ever where a look would not
    /// call the issuer, and a file is looked at often enough.
    async fn called_for(&mut self, generation: &Generation) {
        generation.callers.keys_wanted().await;
        self.wanted = true;
        let fetched = |spec: &&KubernetesSpec| matches!(spec.keys, KubernetesKeys::Fetch { .. });
        if !spec_of(generation)
            .filter(fetched)
            .is_some_and(|spec| self.is_due(spec, &generation.callers))
        {
            std::future::pending::<()>().await;
        }
    }

    fn is_due(&self, spec: &KubernetesSpec, callers: &Callers) -> bool {
        let Some((known, at, fine)) = &self.last else {
            return true;
        };
        if known != spec || matches!(spec.keys, KubernetesKeys::File(_)) {
            return true;
        }
        let pause = match (*fine && callers.knows_cluster(), self.wanted) {
            (false, _) => keys::AGAIN,
            (true, true) => REST,
            (true, false) => FRESH,
        };
        clock::since(*at) >= pause
    }
}

fn spec_of(generation: &Generation) -> Option<&KubernetesSpec> {
    generation.config.kubernetes.as_ref()
}

async fn load(spec: KubernetesSpec, generation: &Generation, reader: &FileReader) -> Loaded {
    let words = |error: KeysError| Chain(&error).to_string();
    match spec.keys {
        KubernetesKeys::File(path) => reader
            .run(move || keys::read(&path))
            .await
            .map_err(|slow| slow.to_string())?
            .map_err(words),
        KubernetesKeys::Fetch {
            ca_file,
            token_file,
        } => {
            let resolve = generation.config.resolve.clone();
            let forward_proxy = generation.egress.forward_proxy().clone();
            // Read each time: the kubelet replaces the token every hour.
            let (egress, token) = reader
                .run(move || {
                    Ok((
                        egress(&ca_file, resolve, forward_proxy)?,
                        keys::token(&token_file),
                    ))
                })
                .await
                .map_err(|slow| slow.to_string())
                .flatten()?;
            let token = token.map_err(words)?;
            keys::fetch(&egress, &spec.issuer, &token)
                .await
                .map_err(words)
        }
    }
}

/// The cluster's authority is trusted besides the system's, and alone with the token.
fn egress(
    authority: &FilePath,
    resolve: BTreeMap<(HostName, u16), SocketAddr>,
    forward_proxy: ForwardProxy,
) -> Result<Egress, String> {
    let words = |error: TrustError| Chain(&error).to_string();
    Ok(Egress {
        tls: trust::load(Some(authority)).map_err(words)?.client,
        own: trust::only(authority).map_err(words)?,
        resolve,
        forward_proxy,
    })
}
