//! The admin listener: a handful of connections on the control runtime, apart from the data plane,
//! so that probes and scrapes are answered when the workers are busy.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinHandle};

use crate::admin::Admin;
use crate::clock::{self, HyperTimer, Now};
use crate::lifeline;
use crate::policy::Refusal;
use crate::policy::browser;
use crate::policy::target::Target;
use crate::proxy::generation::InForce;
use crate::server::incoming::{Incoming, Socket};
use crate::server::listener::Listener;
use crate::server::peers::Peers;

/// Probes, a scraper or two and a browser need a few; more is a mistake or an attack, and the one that
/// was asked longest ago makes way: one that was asked just now may be in the middle of a scrape.
const CONNECTIONS: usize = 64;
/// How many of them one address may have, so that it cannot keep a kubelet's probes away.
const OF_ONE_ADDRESS: usize = 48;
/// For a head to arrive, and between two requests: Prometheus scrapes every 15 s to 60 s.
const PATIENCE: Duration = Duration::from_secs(75);
/// One connection, whatever is asked on it: whoever never reads an answer gives its place back.
const AT_MOST: Duration = Duration::from_hours(1);

/// The open admin listeners.
pub(super) struct AdminServer {
    tasks: Vec<JoinHandle<()>>,
}

impl AdminServer {
    /// Serves on the listeners.
    pub(super) fn start(
        listeners: Vec<Listener>,
        admin: &Arc<Admin>,
        in_force: &Arc<InForce>,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(1));
        let tasks = listeners
            .into_iter()
            .map(|listener| {
                let context = ConnectionContext {
                    admin: Arc::clone(admin),
                    in_force: Arc::clone(in_force),
                    uses: Arc::default(),
                    turns: Arc::clone(&turns),
                };
                tokio::spawn(lifeline::tie(
                    "the admin listener",
                    accept(listener, context),
                ))
            })
            .collect();
        Self { tasks }
    }

    pub(super) fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[derive(Clone)]
struct ConnectionContext {
    admin: Arc<Admin>,
    in_force: Arc<InForce>,
    /// Counts connections and requests of this listener.
    uses: Arc<AtomicU64>,
    /// One page is made at a time, and first come, first served. What accepts callers and renews tokens
    /// runs between two of them, however many are asked for at once.
    turns: Arc<Semaphore>,
}

/// A connection that is served.
struct Open {
    task: AbortHandle,
    /// Which of the listener's uses was its last.
    used: Arc<AtomicU64>,
}

async fn accept(listener: Listener, context: ConnectionContext) {
    let peers = Peers::new(OF_ONE_ADDRESS);
    let mut open: Vec<Open> = Vec::new();
    let mut incoming = Incoming::open(&listener);
    loop {
        let (socket, peer) = incoming.next().await;
        let place = peer.map(|peer| peers.place_for(peer));
        // Beyond the bound of its address it closes at once.
        if let Some(None) = place {
            continue;
        }
        open.retain(|one| !one.task.is_finished());
        // A probe that comes anew is not kept away by those who hold on to what they have.
        if open.len() >= CONNECTIONS {
            let last_use = |at: &usize| open[*at].used.load(Ordering::Relaxed);
            if let Some(at) = (0..open.len()).min_by_key(last_use) {
                open.swap_remove(at).task.abort();
            }
        }
        // A socket that has gone already cannot be watched.
        let serving = match socket {
            Socket::Tcp(socket) => {
                tokio::net::TcpStream::from_std(socket).map(|socket| serve(socket, &context, place))
            }
            #[cfg(unix)]
            Socket::Unix(socket) => tokio::net::UnixStream::from_std(socket)
                .map(|socket| serve(socket, &context, place)),
        };
        open.extend(serving);
    }
}

/// Serves one connection; its `place` is given back when it ends.
fn serve<S, P>(stream: S, context: &ConnectionContext, place: P) -> Open
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Send + 'static,
{
    let context = context.clone();
    let next_use = |uses: &AtomicU64| uses.fetch_add(1, Ordering::Relaxed);
    let used = Arc::new(AtomicU64::new(next_use(&context.uses)));
    let last_use = Arc::clone(&used);
    let task = tokio::spawn(async move {
        let service = service_fn(move |request| {
            last_use.store(next_use(&context.uses), Ordering::Relaxed);
            let context = context.clone();
            async move { Ok::<_, Infallible>(context.answer_in_turn(&request).await) }
        });
        let connection = http1::Builder::new()
            .timer(HyperTimer)
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), service);
        // A caller that breaks off is none of our business; one that never reads is cut.
        let _ = clock::within(AT_MOST, connection).await;
        drop(place);
    });
    let task = task.abort_handle();
    Open { task, used }
}

impl ConnectionContext {
    async fn answer_in_turn(&self, request: &Request<Body>) -> Response<Full<Bytes>> {
        // Nobody closes it.
        let _turn = self.turns.acquire().await;
        tokio::task::yield_now().await;
        self.answer(request)
    }

    fn answer(&self, request: &Request<Body>) -> Response<Full<Bytes>> {
        let now = Now::read();
        match self.admit(request) {
            Ok(target) => {
                let (path, query) = target;
                self.admin.answer(request.method(), path, query, now)
            }
            Err(refusal) => self.admin.refuse(refusal.code, &refusal.message, now),
        }
    }

    /// The same policy as on the data plane: a rebound name must not read the status page either.
    fn admit<'r>(&self, request: &'r Request<Body>) -> Result<(&'r str, Option<&'r str>), Refusal> {
        let target = Target::of(
            request.method(),
            request.uri(),
            request.headers(),
            request.version(),
        )?;
        let generation = self.in_force.load();
        generation.hosts.check(&target.authority.host)?;
        generation.browser_policy.judge(
            browser::Listener::Admin,
            request.method(),
            &target.authority,
            false,
            request.headers(),
        )?;
        Ok((target.path, target.asked.query()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::SystemTime;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::runtime::Handle;

    use super::*;
    use crate::admin::{Readiness, Report};
    use crate::app::prepare::prepare;
    use crate::config::{self, Source};
    use crate::metrics::Metrics;
    use crate::token::TokenCache;

    fn context() -> ConnectionContext {
        let source = Source {
            allow_missing_env: true,
            ..Source::alone("routes: [{name: a, path: /a, upstream: 'https://a.com'}]")
        };
        let config = config::load(&source).unwrap().config;
        let now = Now::read();
        let metrics = Metrics::new(now.wall);
        let tokens = TokenCache::new(Handle::current(), metrics.refreshes());
        let generation = prepare(config, SystemTime::now()).unwrap().build(&tokens).1;
        let readiness = Arc::new(Readiness::new(now));
        let report = || -> Report { unreachable!("nobody asks for it") };
        ConnectionContext {
            admin: Arc::new(Admin::new(metrics, readiness, Box::new(report))),
            in_force: Arc::new(InForce::new(generation)),
            uses: Arc::default(),
            turns: Arc::new(Semaphore::new(1)),
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_between_two_pages() {
        const PAGES: usize = 100;
        let context = context();
        let (mut caller, served) = tokio::io::duplex(1 << 20);
        let asked = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(PAGES - 1)
            + "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        caller.write_all(asked.as_bytes()).await.unwrap();
        let turns = Rc::new(Cell::new(0));
        let others = async {
            loop {
                turns.set(turns.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        let _open = serve(served, &context, ());
        let mut answers = String::new();
        tokio::select! {
            read = caller.read_to_string(&mut answers) => read.unwrap(),
            () = others => unreachable!("it goes on for ever"),
        };
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), PAGES);
        assert!(turns.get() >= PAGES, "{} turns", turns.get());
    }
}
