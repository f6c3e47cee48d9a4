//! What housekeeping closes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};

use super::generation::Generation;
use super::*;
use crate::access_log::AccessLog;
use crate::caller::Callers;
use crate::clock;
use crate::config::{self, Source};
use crate::credential::{self, Credential, Platform};
use crate::forward_proxy::ForwardProxy;
use crate::token::TokenCache;
use crate::trust;
use crate::upstream::Egress;

/// One route to this upstream; tokens are asked for on the runtime of `tokens`.
fn proxy(upstream: SocketAddr, tokens: &Handle) -> Rc<Proxy> {
    trust::install_provider();
    let text = format!("routes: [{{name: a, path: /a, upstream: 'http://{upstream}'}}]");
    let source = Source {
        allow_missing_env: true,
        ..Source::alone(&text)
    };
    let config = config::load(&source).unwrap().config;
    let trust = trust::load(None).unwrap();
    let for_tokens = credential::Egress {
        tls: trust.client.clone(),
        resolve: BTreeMap::new(),
        forward_proxy: ForwardProxy::none(),
    };
    let platform = Platform::detect(|_| None);
    let credentials = Credential::all(&config.credentials, &for_tokens, &platform).unwrap();
    let (first, scope) = (&credentials[0], &config.routes[0].scope);
    let token = TokenCache::new(tokens.clone(), Arc::default()).entry(first, scope, first.name());
    let egress = Egress::new(trust, BTreeMap::new(), ForwardProxy::none());
    let callers = Callers::new(&[], None).unwrap();
    let generation = Generation::new(config, callers, egress, credentials, vec![token]);
    Proxy::new(
        0,
        Arc::new(InForce::new(generation)),
        Metrics::new(SystemTime::now()),
        AccessLog::off().lane(0),
        Admission::new(1, 1),
        AlarmClock::new(Duration::from_millis(10)),
    )
}

/// Sweeps as if the machine had been suspended for so long since the last time.
fn sweep_after(proxy: &Proxy, suspension: Duration) {
    let now = Now::read();
    let wall = now.wall - suspension;
    proxy.swept.set(Now { wall, ..now });
    proxy.sweep();
}

#[test]
fn a_suspension_ends_the_connections_that_were_idle_for_that_long() {
    // Nothing runs on it, so that no token is asked for.
    let asleep = Builder::new_current_thread().build().unwrap();
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = proxy(listener.local_addr().unwrap(), asleep.handle());
        // Who does not wait for a connection leaves it idle.
        let lane = proxy.lane();
        let dialled = lane.routes[0].upstream.acquire(false).now_or_never();
        assert!(dialled.is_none());
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        let mut closed = async |patience| {
            let end = clock::within(patience, connection.read(&mut byte)).await;
            end.is_some_and(|end| end.unwrap() == 0)
        };
        for _ in 0..10 {
            sweep_after(&proxy, IDLE / 2);
            assert!(!closed(Duration::from_millis(1)).await, "it is young");
        }
        let ends = async {
            // It is made before it is idle, and closed before it has been so for long.
            while !closed(Duration::from_millis(1)).await {
                sweep_after(&proxy, 2 * IDLE);
            }
        };
        clock::within(IDLE / 2, ends).await.expect("it is closed");
    });
}
