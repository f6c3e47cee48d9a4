//! The keys of the cluster by a clock that is set, and reloads in the midst.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue};
use tokio::runtime::Handle;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;
use crate::app::prepare::prepare;
use crate::caller::service_account::TokenError;
use crate::caller::{CallerError, RouteCallers};
use crate::clock::{Now, still};
use crate::config::{self, CallerProof, CallerSpec, Name, Source};
use crate::metrics::Metrics;
use crate::token::TokenCache;

/// An issuer that is asked by the clock alone, and what it was asked.
struct Issuer {
    in_force: InForce,
    readiness: Readiness,
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
        Self {
            in_force: InForce::new(generation(&spec)),
            readiness: Readiness::new(Now::read()),
            spec,
            key: RefCell::new(Some("k1".to_owned())),
            calls: Cell::new(0),
        }
    }

    fn load(&self) -> Result<KeySet, String> {
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
        let load = async |_, _, _| self.load();
        let ask = async {
            for _ in 0..seconds {
                clock::sleep(Duration::from_secs(1)).await;
                self.verdict(key);
            }
        };
        tokio::select! {
            () = follow(&self.in_force, &self.readiness, round, load) => {}
            () = ask => {}
        }
    }

    /// What a reload does with the keys.
    fn replace(&self, spec: &KubernetesSpec) {
        let generation = generation(spec);
        generation
            .callers
            .keep_keys_of(&self.in_force.load().callers);
        self.in_force.replace(generation);
    }

    /// Whether requests are kept waiting for the first look.
    fn is_awaited(&self) -> bool {
        let mut held = self.readiness.waiting_for(Now::read());
        held.any(|latch| latch == Latch::Keys)
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
        let generation = self.in_force.load();
        let asked = generation
            .callers
            .identify(&route, &headers, None, SystemTime::now());
        asked.unwrap_err()
    }
}

fn generation(spec: &KubernetesSpec) -> Generation {
    let source = Source {
        allow_missing_env: true,
        ..Source::alone("routes: [{name: a, path: /a, upstream: 'https://a.com'}]")
    };
    let mut config = config::load(&source).unwrap().config;
    // A route would ask for a token.
    config.routes.clear();
    config.callers = vec![job()];
    config.kubernetes = Some(spec.clone());
    let now = SystemTime::now();
    let tokens = TokenCache::new(Handle::current(), Metrics::new(now).refreshes());
    prepare(config, now).unwrap().build(&tokens).1
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

/// How often something was told.
#[derive(Clone, Default)]
struct Told(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Told {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn fetched() -> Issuer {
    Issuer::new(KubernetesKeys::Fetch {
        ca_file: "unused".into(),
        token_file: "unused".into(),
    })
}

const UNKNOWN: CallerError = CallerError::Token(TokenError::UnknownKey);
const NO_KEYS: CallerError = CallerError::Token(TokenError::NoKeys);
/// The key is known: it is the signature that is wrong.
const KNOWN: CallerError = CallerError::Token(TokenError::Signature);

#[test]
fn keys_are_fetched_at_once_and_then_every_ten_minutes() {
    still::run(async {
        let issuer = fetched();
        let mut round = Round::default();
        issuer.pass(&mut round, 1, "k1").await;
        assert_eq!((issuer.verdict("k1"), issuer.calls.get()), (KNOWN, 1));
        issuer.pass(&mut round, 598, "k1").await;
        issuer.pass(&mut round, 1, "k1").await;
        assert_eq!(issuer.calls.get(), 1);
        // It looks as soon as it is followed again.
        issuer.pass(&mut round, 1, "k1").await;
        assert_eq!(issuer.calls.get(), 2);
    });
}

#[test]
fn a_new_key_is_fetched_when_it_is_met_and_strangers_cause_one_call_a_minute() {
    still::run(async {
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
        issuer.pass(&mut round, 300, "k2").await;
        let more = issuer.calls.get() - calls;
        assert!(more <= 2, "only strangers before this caused any: {more}");
    });
}

#[test]
fn an_outage_of_the_issuer_keeps_the_keys_that_are_known() {
    still::run(async {
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
    });
}

#[test]
fn requests_wait_until_the_first_look_has_ended_and_not_until_it_succeeds() {
    still::run(async {
        let issuer = fetched();
        issuer.key.replace(None);
        let load = async |_, _, _| {
            assert!(issuer.is_awaited());
            clock::sleep(Duration::from_secs(1)).await;
            issuer.load()
        };
        let mut round = Round::default();
        tokio::select! {
            () = follow(&issuer.in_force, &issuer.readiness, &mut round, load) => {}
            () = clock::sleep(Duration::from_secs(2)) => {}
        }
        assert_eq!((issuer.is_awaited(), issuer.calls.get()), (false, 1));
    });
}

#[test]
fn an_outage_is_told_once_for_each_issuer_and_again_when_something_else_follows() {
    let told = Told::default();
    let heard = tracing_subscriber::registry().with(told.clone());
    // With one subscriber alone, a test beside this one might decide that nobody listens.
    let _another = Dispatch::new(tracing_subscriber::registry());
    let _told_here = tracing::subscriber::set_default(heard);
    still::run(async {
        let issuer = fetched();
        let other = KubernetesSpec {
            issuer: "https://other.corp".to_owned(),
            ..issuer.spec.clone()
        };
        let mut round = Round::default();
        for (spec, key, times) in [
            (&issuer.spec, None, 1),
            (&other, None, 1),
            (&other, Some("k1"), 0),
            (&other, None, 1),
            (&issuer.spec, None, 1),
        ] {
            issuer.key.replace(key.map(str::to_owned));
            issuer.replace(spec);
            issuer.pass(&mut round, 1800, "k1").await;
            assert_eq!(told.0.swap(0, Ordering::Relaxed), times, "{key:?}");
        }
    });
}

#[test]
fn a_file_is_read_every_five_seconds_whether_strangers_come_or_not() {
    still::run(async {
        let issuer = Issuer::new(KubernetesKeys::File("unused".into()));
        let mut round = Round::default();
        issuer.pass(&mut round, 100, "nobody's").await;
        let calls = issuer.calls.get();
        assert!((20..=21).contains(&calls), "{calls}");
    });
}

#[test]
fn keys_that_come_while_the_configuration_is_replaced_are_those_of_the_new_one() {
    still::run(async {
        let issuer = fetched();
        let mut round = Round::default();
        issuer.pass(&mut round, 1, "k1").await;
        clock::sleep(FRESH).await;
        issuer.key.replace(Some("k2".to_owned()));
        let load = async |_, _, _| {
            issuer.replace(&issuer.spec);
            issuer.load()
        };
        round.look(&issuer.in_force, load).await;
        assert_eq!(issuer.verdict("k2"), KNOWN);
        assert_eq!(issuer.verdict("k1"), UNKNOWN, "it is withdrawn");
    });
}

#[test]
fn keys_that_nobody_asks_for_any_more_are_asked_for_again_when_somebody_does() {
    still::run(async {
        let issuer = fetched();
        let mut round = Round::default();
        let other = KubernetesSpec {
            issuer: "https://other.corp".to_owned(),
            ..issuer.spec.clone()
        };
        let load = async |_, _, _| {
            issuer.replace(&other);
            issuer.load()
        };
        round.look(&issuer.in_force, load).await;
        assert_eq!(issuer.verdict("k1"), NO_KEYS, "it is another issuer's");
        issuer.replace(&issuer.spec);
        issuer.pass(&mut round, 1, "k1").await;
        assert_eq!(issuer.verdict("k1"), KNOWN);
    });
}

#[test]
fn keys_that_two_reloads_at_once_have_lost_are_fetched_soon() {
    still::run(async {
        let issuer = fetched();
        let mut round = Round::default();
        issuer.pass(&mut round, 1, "k1").await;
        issuer.replace(&KubernetesSpec {
            issuer: "https://other.corp".to_owned(),
            ..issuer.spec.clone()
        });
        issuer.replace(&issuer.spec);
        assert_eq!(issuer.verdict("k1"), NO_KEYS, "none are known");
        issuer.pass(&mut round, 15, "k1").await;
        assert_eq!((issuer.verdict("k1"), issuer.calls.get()), (KNOWN, 2));
    });
}

#[test]
fn another_way_to_the_same_issuer_is_tried_at_once() {
    still::run(async {
        for (ca_file, token_file) in [("corrected", "unused"), ("unused", "corrected")] {
            let issuer = fetched();
            let mut round = Round::default();
            issuer.key.replace(None);
            issuer.pass(&mut round, 2, "k1").await;
            assert_eq!((issuer.verdict("k1"), issuer.calls.get()), (NO_KEYS, 1));
            issuer.key.replace(Some("k1".to_owned()));
            issuer.replace(&KubernetesSpec {
                keys: KubernetesKeys::Fetch {
                    ca_file: ca_file.into(),
                    token_file: token_file.into(),
                },
                ..issuer.spec.clone()
            });
            issuer.pass(&mut round, 1, "k1").await;
            assert_eq!((issuer.verdict("k1"), issuer.calls.get()), (KNOWN, 2));
        }
    });
}

#[test]
fn an_issuer_that_hangs_does_not_hold_up_the_one_that_replaces_it() {
    still::run(async {
        let issuer = fetched();
        let good = KubernetesSpec {
            issuer: "https://good.corp".to_owned(),
            ..issuer.spec.clone()
        };
        let load = async |_, spec: KubernetesSpec, _| {
            if spec != good {
                std::future::pending::<()>().await;
            }
            issuer.load()
        };
        let mut round = Round::default();
        let correct = async {
            clock::sleep(Duration::from_secs(1)).await;
            issuer.replace(&good);
            clock::sleep(Duration::from_millis(1)).await;
        };
        tokio::select! {
            () = follow(&issuer.in_force, &issuer.readiness, &mut round, load) => {}
            () = correct => {}
        }
        assert_eq!(issuer.verdict("k1"), KNOWN);
    });
}

#[tokio::test]
async fn a_file_that_hangs_does_not_hold_up_those_that_replace_it() {
    let issuer = fetched();
    let mut round = Round::default();
    let (_release, hangs) = std::sync::mpsc::channel::<()>();
    let hang = async |_, _, reader: FileReader| {
        // Given up, as after its time.
        let read = reader.run(move || hangs.recv());
        let limit = Duration::from_millis(20);
        assert!(tokio::time::timeout(limit, read).await.is_err());
        Err("it hangs".to_owned())
    };
    round.look(&issuer.in_force, hang).await;
    issuer.replace(&KubernetesSpec {
        keys: KubernetesKeys::File("corrected".into()),
        ..issuer.spec.clone()
    });
    let read = async |_, _, reader: FileReader| {
        let read = reader.run(|| ()).await;
        read.map_err(|slow| slow.to_string())?;
        issuer.load()
    };
    round.look(&issuer.in_force, read).await;
    assert_eq!(issuer.verdict("k1"), KNOWN);
}
