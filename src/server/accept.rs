//! Accepting: each connection goes to the worker with the fewest, the first of equals. So callers
//! that come one after the other meet warm pools, and many at once spread evenly.
//!
//! Beyond the limit of connections accepting pauses, and the system's backlog holds what comes but
//! for one at each listener. A peer with too many is told so and closed, as is at the end whom no
//! place is left for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::incoming::{Incoming, Socket};
use super::listener::{BACKLOG, Listener};
use super::peers::{PeerPlace, Peers};
use super::turn_away::{Surplus, Want};
use super::worker::{Carried, Order, Worker};
use crate::clock;

/// Descriptors that are not for callers and upstreams: listeners, the admin side, token calls,
/// files that are read.
#[cfg(unix)]
const RESERVED: usize = 128;
/// How many are turned away at a time at the end. They have no places, and take descriptors of those
/// that are reserved; all that wait can be more than there are.
const AT_THE_END: usize = 32;
/// How long that may take: the exchanges in flight have their own time after it.
const LAST: Duration = Duration::from_secs(1);
/// What each worker takes: its event queues and what wakes it.
#[cfg(unix)]
const OF_WORKER: usize = 4;

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
    at_the_end: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(connections: usize, per_peer: usize, workers: usize) -> Self {
        let connections = affordable(connections, workers);
        Self {
            total: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            peers: Peers::new(per_peer),
            at_the_end: Arc::new(Semaphore::new(AT_THE_END)),
        }
    }
}

/// At the most as many connections as there are descriptors for, with one to an upstream for each.
fn affordable(connections: usize, workers: usize) -> usize {
    #[cfg(unix)]
    {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| {
            usize::try_from(files).unwrap_or(usize::MAX)
        });
        let places = places(files, workers);
        if places < connections {
            tracing::warn!(
                connections = places,
                "limits.connections is lowered to what the limit of open files allows; raise that limit to serve more callers at once"
            );
            return places;
        }
    }
    #[cfg(not(unix))]
    let _ = workers;
    connections
}

/// How many connections so many descriptors are enough for.
#[cfg(unix)]
fn places(files: usize, workers: usize) -> usize {
    let others = RESERVED + OF_WORKER * workers;
    (files.saturating_sub(others) / 2).max(1)
}

/// Accepts until `closing` changes or ends, and then who has connected by then: the system resets
/// what waits in the queue of a listener that closes. Whom no place is left for is told so.
pub(super) async fn accept(
    listener: Arc<Listener>,
    door: Arc<Door>,
    workers: Arc<[Worker]>,
    mut closing: watch::Receiver<()>,
) {
    let mut incoming = Incoming::open(&listener);
    let mut waiting = None;
    let accepting = async {
        loop {
            // First the connection and then its place: a listener that nobody calls holds none.
            waiting = Some(incoming.next().await);
            // The semaphore is never closed.
            let Ok(total) = Arc::clone(&door.total).acquire_owned().await else {
                return;
            };
            if let Some(accepted) = waiting.take() {
                deal(accepted, total, &door, &workers);
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = closing.changed() => {}
    }
    // The runtime looks at its sockets, and hears of those that have come meanwhile.
    tokio::task::yield_now().await;
    let last = accept_last(waiting, &mut incoming, &door, &workers);
    // Whom a worker that has no time does not come to is reset with the listener.
    let _ = clock::within(LAST, tokio::task::coop::unconstrained(last)).await;
}

/// Accepts who has connected, and tells those for whom no place is left.
async fn accept_last(
    mut waiting: Option<(Socket, Option<IpAddr>)>,
    incoming: &mut Incoming,
    door: &Door,
    workers: &[Worker],
) {
    // No more than can wait, however fast they come.
    for _ in 0..=BACKLOG {
        let next = waiting.take().or_else(|| incoming.next().now_or_never());
        let Some((socket, peer)) = next else {
            return;
        };
        if let Ok(total) = Arc::clone(&door.total).try_acquire_owned() {
            deal((socket, peer), total, door, workers);
            continue;
        }
        // That semaphore is never closed either.
        let Ok(turn) = Arc::clone(&door.at_the_end).acquire_owned().await else {
            return;
        };
        turn_away(socket, peer, Want::AtTheEnd { _turn: turn }, workers);
    }
}

/// Gives a connection that has its place to a worker.
fn deal(
    (socket, peer): (Socket, Option<IpAddr>),
    total: OwnedSemaphorePermit,
    door: &Door,
    workers: &[Worker],
) {
    match peer.map(|peer| door.peers.place_for(peer)) {
        Some(None) => turn_away(socket, peer, Want::OfItsAddress { _total: total }, workers),
        place => give(workers, |worker| {
            let permit = Permit {
                _total: total,
                _peer: place.flatten(),
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

/// Has a worker refuse a connection.
fn turn_away(socket: Socket, peer: Option<IpAddr>, want: Want, workers: &[Worker]) {
    let surplus = Surplus { socket, peer, want };
    give(workers, |_| Order::TurnAway(surplus));
}

/// Gives an order to the worker with the fewest connections.
fn give(workers: &[Worker], order: impl FnOnce(&Worker) -> Order) {
    let load = |worker: &&Worker| worker.load.load(std::sync::atomic::Ordering::Relaxed);
    if let Some(worker) = workers.iter().min_by_key(load) {
        // A worker that has ended cannot serve; the socket closes.
        let _ = worker.orders.send(order(worker));
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_all_else_however_many_workers_there_are() {
        for (files, workers) in [(1024, 1), (1024, 64), (4096, 512), (1 << 20, 1024)] {
            let left = files - 2 * places(files, workers);
            assert!(left >= RESERVED + OF_WORKER * workers, "{workers}");
        }
        assert_eq!(places(100, 1), 1);
        assert_eq!(places(1024, 2), 444);
    }
}
