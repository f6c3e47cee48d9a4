//! Callers' connections: listeners, workers, and the end of both.
//!
//! Each worker is a thread with a current-thread runtime that owns its connections, upstream pools,
//! token copies and counters. An accepting task for each listener, on the runtime of the
//! control plane, deals connections out.

mod accept;
mod answering;
mod connection;
mod gathered;
mod heads;
mod http1;
pub mod incoming;
pub mod listener;
pub mod peers;
mod plain_answer;
mod readers;
mod timed;
pub mod tls;
mod turn_away;
mod worker;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use connection::Drain;
use listener::Listener;
use tls::Tls;
use worker::{Order, Worker};

use crate::access_log::AccessLog;
use crate::clock::{self, Timers};
use crate::config::{Limits, Timeouts};
use crate::lifeline;
use crate::lock::locked;
use crate::metrics::Metrics;
use crate::proxy::Admission;
use crate::proxy::generation::InForce;

/// What the workers are made with.
#[derive(Clone)]
pub struct Plan {
    /// The number of worker threads.
    pub workers: usize,
    /// The configuration in force.
    pub in_force: Arc<InForce>,
    /// Where they count.
    pub metrics: Arc<Metrics>,
    /// Where they log requests.
    pub access_log: Arc<AccessLog>,
    /// The bound on requests in flight.
    pub admission: Arc<Admission>,
    /// The bounds of connections.
    pub limits: Limits,
    /// The time limits of connections.
    pub timeouts: Timeouts,
    /// Which certificate is shown to callers on TCP, if any.
    pub tls: Arc<Tls>,
}

/// The running data plane.
pub struct Server {
    workers: Arc<[Worker]>,
    accepting: Mutex<Vec<JoinHandle<()>>>,
    closing: watch::Sender<()>,
}

impl Server {
    /// Starts the workers and accepts on the listeners, on the runtime that this is called on.
    ///
    /// # Errors
    /// When the system gives no thread or event queue.
    pub fn start(listeners: Vec<Listener>, plan: &Plan) -> io::Result<Self> {
        let timers = Timers::start()?;
        let workers: Arc<[Worker]> = (0..plan.workers)
            .map(|index| Worker::start(index, plan, &timers))
            .collect::<io::Result<_>>()?;
        let door = Arc::new(accept::Door::new(
            plan.limits.connections,
            plan.limits.connections_per_peer,
            plan.workers,
        ));
        let (closing, closes) = watch::channel(());
        let accepting = listeners
            .into_iter()
            .map(|listener| {
                let (door, workers) = (Arc::clone(&door), Arc::clone(&workers));
                let accept = accept::accept(Arc::new(listener), door, workers, closes.clone());
                tokio::spawn(lifeline::tie("the task that accepts connections", accept))
            })
            .collect();
        Ok(Self {
            workers,
            accepting: Mutex::new(accepting),
            closing,
        })
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        let load = |worker: &Worker| worker.load.load(Ordering::Relaxed);
        self.workers.iter().map(load).sum()
    }

    /// From now on each connection closes after the exchange it is in.
    pub fn announce_drain(&self) {
        self.order(Drain::Soon);
    }

    /// Accepts who has connected and no more, closes idle connections and waits for exchanges in flight, at most this
    /// long. Returns the number of connections that are still open.
    pub async fn drain(&self, limit: Duration) -> usize {
        let accepting = std::mem::take(&mut *locked(&self.accepting));
        // Nobody listens where no task was left to accept.
        let _ = self.closing.send(());
        for task in accepting {
            // Whatever it came to, its listener is closed now.
            let _ = task.await;
        }
        self.order(Drain::Now);
        let all_closed = async {
            while self.connections() > 0 {
                clock::sleep(Duration::from_millis(10)).await;
            }
        };
        // Whether it ended or ran out is in the number below.
        let _ = clock::within(limit, all_closed).await;
        self.connections()
    }

    fn order(&self, drain: Drain) {
        for worker in self.workers.iter() {
            // A worker that has ended takes no orders.
            let _ = worker.orders.send(Order::Drain(drain));
        }
    }
}

/// Ends the workers, whatever is in flight.
impl Drop for Server {
    fn drop(&mut self) {
        for task in locked(&self.accepting).drain(..) {
            task.abort();
        }
        for worker in self.workers.iter() {
            worker.stop();
        }
    }
}
