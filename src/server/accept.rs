//! Accepting: each connection goes to the worker with the fewest, the first of equals. So callers
//! that come one after the other meet warm pools, and many at once spread evenly.
//!
//! Beyond the limit of connections accepting pauses, and the system's backlog holds what comes. A
//! peer with too many is told so and closed. When descriptors run out accepting rests and goes on.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::listener::Listener;
use super::peers::{PeerPlace, Peers};
use super::turn_away::Surplus;
use super::worker::{Carried, Order, Worker};

/// The rest after an accept that failed for want of descriptors or memory.
const REST: Duration = Duration::from_millis(100);
/// Descriptors that are not for callers and upstreams: listeners, the admin side, token calls,
/// files that are read, event queues.
#[cfg(unix)]
const RESERVED: usize = 128;

/// An accepted socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

/// A connection on its way to a worker.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) peer: Option<IpAddr>,
    pub(super) permit: Permit,
}

/// The places that a connection takes while it lasts.
#[derive(Debug)]
pub(super) struct Permit {
    _total: OwnedSemaphorePermit,
    _peer: Option<PeerPlace>,
    _carried: Carried,
}

/// The bounds on connections.
#[derive(Debug)]
pub(super) struct Door {
    total: Arc<Semaphore>,
    peers: Peers,
}

impl Door {
    pub(super) fn new(connections: usize, per_peer: usize) -> Self {
        Self {
            total: Arc::new(Semaphore::new(
                affordable(connections).min(Semaphore::MAX_PERMITS),
            )),
            peers: Peers::new(per_peer),
        }
    }
}

/// At the most as many connections as there are descriptors for, with one to an upstream for each.
fn affordable(connections: usize) -> usize {
    #[cfg(unix)]
    {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| {
            usize::try_from(files).unwrap_or(usize::MAX)
        });
        let places = (files.saturating_sub(RESERVED) / 2).max(1);
        if places < connections {
            tracing::warn!(
                connections = places,
                "limits.connections is lowered to what the limit of open files allows; raise that limit to serve more callers at once"
            );
            return places;
        }
    }
    connections
}

/// Accepts for ever.
pub(super) async fn accept(listener: Arc<Listener>, door: Arc<Door>, workers: Arc<[Worker]>) {
    let incoming = match Incoming::new(&listener) {
        Ok(incoming) => incoming,
        Err(error) => {
            tracing::error!(%error, %listener, "the listener cannot be used");
            return;
        }
    };
    let mut resting = false;
    loop {
        // The semaphore is never closed.
        let Ok(total) = Arc::clone(&door.total).acquire_owned().await else {
            return;
        };
        match incoming.next().await {
            Ok((socket, peer)) => {
                resting = false;
                let place = peer.map(|peer| (peer, door.peers.place_for(peer)));
                match (socket, place) {
                    (Socket::Tcp(socket), Some((peer, None))) => {
                        give(&workers, |_| {
                            Order::TurnAway(Surplus {
                                socket,
                                peer,
                                _total: total,
                            })
                        });
                    }
                    (socket, place) => give(&workers, |worker| {
                        let permit = Permit {
                            _total: total,
                            _peer: place.and_then(|(_, place)| place),
                            _carried: Carried::by(worker),
                        };
                        Order::Serve(Arrival {
                            socket,
                            peer,
                            permit,
                        })
                    }),
                }
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                // Said once, not ten times a second for as long as it lasts.
                if !std::mem::replace(&mut resting, true) {
                    tracing::warn!(%error, "accepting rests; raise the limit of open files if this lasts");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Gives an order to the worker with the fewest connections.
fn give(workers: &[Worker], order: impl FnOnce(&Worker) -> Order) {
    let load = |worker: &&Worker| worker.load.load(std::sync::atomic::Ordering::Relaxed);
    if let Some(worker) = workers.iter().min_by_key(load) {
        // A worker that has ended cannot serve; the socket closes.
        let _ = worker.orders.send(order(worker));
    }
}

/// Errors of one connection that was gone before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// A listener registered with this runtime.
enum Incoming {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

impl Incoming {
    fn new(listener: &Listener) -> io::Result<Self> {
        match listener {
            Listener::Tcp(listener) => {
                tokio::net::TcpListener::from_std(listener.try_clone()?).map(Self::Tcp)
            }
            #[cfg(unix)]
            Listener::Unix(listener, _) => {
                tokio::net::UnixListener::from_std(listener.try_clone()?).map(Self::Unix)
            }
        }
    }

    async fn next(&self) -> io::Result<(Socket, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                // A peer that has gone already makes this fail; that is no failure of accepting.
                let _ = socket.set_nodelay(true);
                Ok((Socket::Tcp(socket.into_std()?), Some(peer.ip())))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok((Socket::Unix(socket.into_std()?), None))
            }
        }
    }
}
