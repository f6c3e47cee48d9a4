//! What callers prove themselves against, kept current: API keys follow their files, the cluster's
//! keys their file or their issuer. Runs on the control side; requests only ever read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::time::Instant;

use crate::caller::Callers;
use crate::caller::key_set::KeySet;
use crate::caller::keys::{self, KeysError};
use crate::chain::Chain;
use crate::config::{HostName, KubernetesKeys, KubernetesSpec};
use crate::proxy::generation::{Generation, InForce};
use crate::secret::FilePath;
use crate::secret::file_reader::FileReader;
use crate::trust;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long fetched keys are good: clusters announce a new key well before they sign with it.
const FRESH: Duration = Duration::from_secs(600);
/// The least time between two calls to the issuer, whoever presents unknown keys.
const REST: Duration = Duration::from_secs(60);
/// After a failed call: soon, because callers are turned away meanwhile, and not a storm.
const RETRY: Duration = Duration::from_secs(10);
/// For one call: an API server that is there answers within a second.
const LIMIT: Duration = Duration::from_secs(10);

/// What complaints are about, and what follows.
const CLUSTER: &str = "the keys of the cluster";
const KEPT: &str = "those known before stay in use";
const NONE: &str = "none are known, so no service account is let in";

/// Follows the keys of whatever configuration is in force, for ever.
pub(super) async fn watch(in_force: Arc<InForce>) {
    let mut round = Round::default();
    // One for each, so that what hangs for one does not keep the other from being read.
    let (keys, cluster) = (FileReader::default(), FileReader::default());
    loop {
        let world = in_force.load();
        let spec = world.config.kubernetes.as_ref();
        let load = async |spec: &KubernetesSpec| load(spec, &world.config.resolve, &cluster).await;
        let unread = api_keys(&world, &keys).await;
        round.complain("API keys", &unread.join("; "), KEPT);
        round.look(&world.callers, spec, load).await;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = in_force.replaced() => {}
            () = round.called_for(&world.callers, spec) => {}
        }
    }
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Round {
    /// Whether a key was met that is not known, since the last call.
    wanted: bool,
    /// The call for these keys: when, and whether it succeeded.
    last: Option<(KubernetesSpec, Instant, bool)>,
    /// What was complained about, so that it is said once.
    complaints: BTreeMap<String, String>,
}

impl Round {
    async fn look(
        &mut self,
        callers: &Callers,
        spec: Option<&KubernetesSpec>,
        load: impl AsyncFnOnce(&KubernetesSpec) -> Result<KeySet, String>,
    ) {
        if let Some(spec) = spec
            && self.is_due(spec, callers)
        {
            let outcome = load(spec).await;
            self.wanted = false;
            self.last = Some((spec.clone(), Instant::now(), outcome.is_ok()));
            match outcome {
                Ok(keys) => {
                    callers.set_cluster_keys(keys);
                    self.complain(CLUSTER, "", KEPT);
                }
                Err(error) if callers.knows_cluster() => self.complain(CLUSTER, &error, KEPT),
                Err(error) => self.complain(CLUSTER, &error, NONE),
            }
        }
    }

    /// Waits until a token with an unknown key makes a look worth while before its time. Whoever
    /// sends many such tokens must not make this a loop: it waits for ever where a look would not
    /// call the issuer, and a file is looked at often enough.
    async fn called_for(&mut self, callers: &Callers, spec: Option<&KubernetesSpec>) {
        callers.keys_wanted().await;
        self.wanted = true;
        let fetched = |spec: &&KubernetesSpec| matches!(spec.keys, KubernetesKeys::Fetch { .. });
        if !spec
            .filter(fetched)
            .is_some_and(|spec| self.is_due(spec, callers))
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
            (false, _) => RETRY,
            (true, true) => REST,
            (true, false) => FRESH,
        };
        at.elapsed() >= pause
    }

    /// Says what is wrong, once; empty words mean that it is right again.
    fn complain(&mut self, what: &str, words: &str, consequence: &str) {
        if words.is_empty() {
            self.complaints.remove(what);
        } else if self.complaints.get(what).map(String::as_str) != Some(words) {
            tracing::error!(error = words, "{what} cannot be used; {consequence}");
            self.complaints.insert(what.to_owned(), words.to_owned());
        }
    }
}

/// Reads the API keys of callers again; what is wrong with them.
async fn api_keys(world: &Arc<Generation>, reader: &FileReader) -> Vec<String> {
    if !world.callers.have_api_keys() {
        return Vec::new();
    }
    let world = Arc::clone(world);
    match reader.run(move || world.callers.refresh()).await {
        Ok(failures) => failures.iter().map(|one| Chain(one).to_string()).collect(),
        Err(slow) => vec![slow.to_string()],
    }
}

async fn load(
    spec: &KubernetesSpec,
    resolve: &BTreeMap<(HostName, u16), SocketAddr>,
    reader: &FileReader,
) -> Result<KeySet, String> {
    let words = |error: KeysError| Chain(&error).to_string();
    match spec.keys.clone() {
        KubernetesKeys::File(path) => reader
            .run(move || keys::read(&path))
            .await
            .map_err(|slow| slow.to_string())?
            .map_err(words),
        KubernetesKeys::Fetch {
            ca_file,
            token_file,
        } => {
            let resolve = resolve.clone();
            // Read each time: the kubelet replaces the token every hour.
            let (client, token) = reader
                .run(move || Ok((client(&ca_file, &resolve)?, keys::token(&token_file))))
                .await
                .map_err(|slow| slow.to_string())
                .flatten()?;
            let token = token.map_err(words)?;
            keys::fetch(&client, &spec.issuer, &token)
                .await
                .map_err(words)
        }
    }
}

/// A client that trusts the cluster's authority besides the system's, and follows nothing.
fn client(
    authority: &FilePath,
    resolve: &BTreeMap<(HostName, u16), SocketAddr>,
) -> Result<Client, String> {
    let trust = trust::load(Some(authority)).map_err(|error| Chain(&error).to_string())?;
    let mut tls = trust.client;
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

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::SystemTime;

    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::caller::service_account::TokenError;
    use crate::caller::{CallerError, RouteCallers};
    use crate::config::{CallerProof, CallerSpec, Name};

    /// An issuer that is asked by the clock alone, and what it was asked.
    struct Issuer {
        callers: Callers,
        spec: KubernetesSpec,
        /// The name of its key; `None` while it is down.
        key: RefCell<Option<String>>,
        calls: Cell<usize>,
    }

    impl Issuer {
        fn new(keys: KubernetesKeys) -> Self {
            let spec = KubernetesSpec {
                issuer: "https://issuer.corp".to_owned(),
                audience: "tokenferry".to_owned(),
                keys,
            };
            let callers = Callers::new(&[job()], Some(&spec)).unwrap();
            Self {
                callers,
                spec,
                key: RefCell::new(Some("k1".to_owned())),
                calls: Cell::new(0),
            }
        }

        async fn load(&self) -> Result<KeySet, String> {
            self.calls.set(self.calls.get() + 1);
            let key = self.key.borrow();
            let name = key.as_ref().ok_or("down")?;
            // The base point of the curve is a key as good as any.
            let set = format!(
                r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"{name}","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}}]}}"#
            );
            KeySet::parse(set.as_bytes()).map_err(|error| error.to_string())
        }

        /// Follows it for this long, while a token with this key comes every second.
        async fn pass(&self, round: &mut Round, seconds: u64, key: &str) {
            let spec = Some(&self.spec);
            let follow = async {
                loop {
                    round
                        .look(&self.callers, spec, async |_: &KubernetesSpec| {
                            self.load().await
                        })
                        .await;
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        () = round.called_for(&self.callers, spec) => {}
                    }
                }
            };
            let ask = async {
                for _ in 0..seconds {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    self.verdict(key);
                }
            };
            tokio::select! {
                () = follow => {}
                () = ask => {}
            }
        }

        /// What becomes of a forged token with this key.
        fn verdict(&self, key: &str) -> CallerError {
            use base64::Engine;
            use base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let header = format!(r#"{{"alg":"ES256","kid":"{key}"}}"#);
            let token = format!("Bearer {}.e30.AAAA", URL_SAFE_NO_PAD.encode(header));
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_str(&token).unwrap());
            let route = RouteCallers::new(&[job().name], &[job()]);
            self.callers
                .identify(&route, &headers, None, SystemTime::now())
                .unwrap_err()
        }
    }

    fn job() -> CallerSpec {
        CallerSpec {
            name: Name::parse("job").unwrap(),
            proof: CallerProof::ServiceAccount {
                namespace: "tools".to_owned(),
                name: "job".to_owned(),
            },
        }
    }

    fn fetched() -> Issuer {
        Issuer::new(KubernetesKeys::Fetch {
            ca_file: "unused".into(),
            token_file: "unused".into(),
        })
    }

    const UNKNOWN: CallerError = CallerError::Token(TokenError::UnknownKey);
    /// The key is known: it is the signature that is wrong.
    const KNOWN: CallerError = CallerError::Token(TokenError::Signature);

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_at_once_and_then_every_ten_minutes() {
        let issuer = fetched();
        let mut round = Round::default();
        issuer.pass(&mut round, 1, "k1").await;
        assert_eq!((issuer.verdict("k1"), issuer.calls.get()), (KNOWN, 1));
        issuer.pass(&mut round, 590, "k1").await;
        assert_eq!(issuer.calls.get(), 1);
        issuer.pass(&mut round, 20, "k1").await;
        assert_eq!(issuer.calls.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_key_is_fetched_when_it_is_met_and_strangers_cause_one_call_a_minute() {
        let issuer = fetched();
        let mut round = Round::default();
        issuer.pass(&mut round, 100, "k1").await;
        issuer.key.replace(Some("k2".to_owned()));
        assert_eq!(issuer.verdict("k2"), UNKNOWN);
        issuer.pass(&mut round, 2, "k2").await;
        assert_eq!((issuer.verdict("k2"), issuer.calls.get()), (KNOWN, 2));
        assert_eq!(issuer.verdict("k1"), UNKNOWN, "the old key is withdrawn");
        issuer.pass(&mut round, 600, "nobody's").await;
        let calls = issuer.calls.get();
        assert!((11..=12).contains(&calls), "{calls}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_the_issuer_keeps_the_keys_that_are_known() {
        let issuer = fetched();
        let mut round = Round::default();
        issuer.pass(&mut round, 1, "k1").await;
        issuer.key.replace(None);
        issuer.pass(&mut round, 3600, "k1").await;
        assert_eq!(issuer.verdict("k1"), KNOWN);
        let calls = issuer.calls.get();
        assert!((200..=320).contains(&calls), "{calls}");
        issuer.key.replace(Some("k2".to_owned()));
        issuer.pass(&mut round, 20, "k2").await;
        assert_eq!(issuer.verdict("k2"), KNOWN);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_do_not_make_a_file_be_read_more_often() {
        let issuer = Issuer::new(KubernetesKeys::File("unused".into()));
        let mut round = Round::default();
        issuer.pass(&mut round, 100, "nobody's").await;
        let calls = issuer.calls.get();
        assert!(calls <= 21, "{calls}");
    }
}
