//! The admin listener: a handful of connections on the control runtime, apart from the data plane,
//! so that probes and scrapes are answered when the workers are busy.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::admin::Admin;
use crate::clock::Now;
use crate::lifeline;
use crate::policy::Refusal;
use crate::policy::browser;
use crate::policy::target::Target;
use crate::proxy::generation::InForce;
use crate::server::listener::Listener;
use crate::server::peers::{PeerPlace, Peers};

/// Probes, a scraper or two and a browser need a few; more is a mistake or an attack.
const CONNECTIONS: usize = 64;
/// How many of them one address may have, so that it cannot keep a kubelet's probes away.
const OF_ONE_ADDRESS: usize = 48;
/// For a head to arrive, and between two requests: Prometheus scrapes every 15 s to 60 s.
const PATIENCE: Duration = Duration::from_secs(75);

/// The open admin listeners.
pub(super) struct AdminServer {
    addresses: Vec<SocketAddr>,
    listening: Vec<String>,
    tasks: Vec<JoinHandle<()>>,
}

impl AdminServer {
    /// Serves on the listeners.
    pub(super) fn start(
        listeners: Vec<Listener>,
        admin: &Arc<Admin>,
        in_force: &Arc<InForce>,
    ) -> Self {
        let addresses = listeners.iter().filter_map(Listener::local_addr).collect();
        let listening = listeners.iter().map(ToString::to_string).collect();
        let tasks = listeners
            .into_iter()
            .map(|listener| {
                let desk = Desk {
                    admin: Arc::clone(admin),
                    in_force: Arc::clone(in_force),
                };
                tokio::spawn(lifeline::tie("the admin listener", accept(listener, desk)))
            })
            .collect();
        Self {
            addresses,
            listening,
            tasks,
        }
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(super) fn listening(&self) -> &[String] {
        &self.listening
    }

    pub(super) fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[derive(Clone)]
struct Desk {
    admin: Arc<Admin>,
    in_force: Arc<InForce>,
}

async fn accept(listener: Listener, desk: Desk) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let peers = Peers::new(OF_ONE_ADDRESS);
    let outcome = match &listener {
        Listener::Tcp(socket) => match socket
            .try_clone()
            .and_then(tokio::net::TcpListener::from_std)
        {
            Ok(socket) => loop {
                match socket.accept().await {
                    Ok((stream, peer)) => {
                        if let Some(place) = peers.place_for(peer.ip()) {
                            serve(stream, &desk, &places, Some(place));
                        }
                    }
                    Err(error) => rest(&error).await,
                }
            },
            Err(error) => error,
        },
        #[cfg(unix)]
        Listener::Unix(socket, _) => {
            match socket
                .try_clone()
                .and_then(tokio::net::UnixListener::from_std)
            {
                Ok(socket) => loop {
                    match socket.accept().await {
                        Ok((stream, _)) => serve(stream, &desk, &places, None),
                        Err(error) => rest(&error).await,
                    }
                },
                Err(error) => error,
            }
        }
    };
    tracing::error!(error = %outcome, %listener, "the admin listener cannot be used");
}

async fn rest(error: &std::io::Error) {
    tracing::warn!(%error, "accepting on the admin listener rests");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn serve<S>(stream: S, desk: &Desk, places: &Arc<Semaphore>, of_peer: Option<PeerPlace>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Beyond the bound the connection closes at once.
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        return;
    };
    let desk = desk.clone();
    tokio::spawn(async move {
        let service = service_fn(move |request| {
            let response = desk.answer(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), service);
        // A caller that breaks off is none of our business; one that never reads is cut.
        let _ = tokio::time::timeout(Duration::from_secs(3600), connection).await;
        drop((place, of_peer));
    });
}

impl Desk {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let now = Now::read();
        match self.admit(request) {
            Ok(target) => {
                let (path, query) = target;
                self.admin.answer(request.method(), path, query, now)
            }
            Err(refusal) => self.admin.refuse(refusal.code, &refusal.message, now),
        }
    }

    /// The same fence as on the data plane: a rebound name must not read the status page either.
    fn admit<'r>(
        &self,
        request: &'r Request<Incoming>,
    ) -> Result<(&'r str, Option<&'r str>), Refusal> {
        let target = Target::of(
            request.method(),
            request.uri(),
            request.headers(),
            request.version(),
        )?;
        let world = self.in_force.load();
        world.hosts.check(&target.authority.host)?;
        world.fence.judge(
            browser::Listener::Admin,
            request.method(),
            &target.authority,
            false,
            request.headers(),
        )?;
        Ok((target.path, target.query))
    }
}
