//! A worker: one thread with a runtime, connections, pools and counters of its own.

use std::cell::Cell;
use std::hint::black_box;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

use super::Plan;
use super::accept::{Arrival, Permit};
use super::connection::{ConnectionContext, Drain, handshake, peer_names, serve_plain, serve_tls};
use super::incoming::Socket;
use super::turn_away::Surplus;
use crate::alarm::AlarmClock;
use crate::clock::{self, Timers};
use crate::descriptors::remedy_of_connections;
use crate::lifeline;
use crate::lock::locked;
use crate::proxy::Proxy;
use crate::proxy::conversation::Patience;
use crate::runtime;
use crate::socket::Tcp;

/// Threads for name resolution, the only blocking work. Each upstream looks up one name at a time, so
/// that others have to wait only when more names than these hang; threads are made as they are needed.
const BLOCKING_THREADS: usize = 128;
/// How often pools are swept and a reload is followed without a request.
const SWEEP: Duration = Duration::from_secs(1);

/// What a worker is told.
pub(super) enum Order {
    /// Close each connection after the exchange it is in; idle ones at once with `Drain::Now`.
    Drain(Drain),
    /// Serve a connection.
    Serve(Arrival),
    /// Refuse a connection.
    TurnAway(Surplus),
    /// End, whatever is in flight.
    Stop,
}

/// The control side of a worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) orders: mpsc::UnboundedSender<Order>,
    /// Its open connections.
    pub(super) load: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(index: usize, plan: &Plan, timers: &Arc<Timers>) -> io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        let (plan, timers) = (plan.clone(), Arc::clone(timers));
        // A runtime of one thread's own cannot be made elsewhere; whether it could be made is told.
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                timers.serve_this_thread();
                let (runtime, outcome) = match own_runtime() {
                    Ok(runtime) => (Some(runtime), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                // Whoever starts it waits for this.
                let _ = tell.send(outcome);
                if let Some(runtime) = runtime {
                    runtime.block_on(lifeline::tie("a worker", work(index, plan, inbox)));
                    // A name that is being looked up is not waited for: a resolver may hang.
                    runtime.shutdown_background();
                }
            })?;
        told.recv()
            .map_err(|_| io::Error::other("the thread ended at once"))??;
        Ok(Self {
            orders,
            load,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends the thread and waits for that.
    pub(super) fn stop(&self) {
        // A worker that has ended takes no orders.
        let _ = self.orders.send(Order::Stop);
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread {
            // A panic of the thread was logged and counted where it happened.
            let _ = thread.join();
        }
    }
}

fn own_runtime() -> io::Result<LocalRuntime> {
    let runtime = runtime::builder()
        .max_blocking_threads(BLOCKING_THREADS)
        .build_local(LocalOptions::default())?;
    runtime::keep_a_thread(runtime.handle())?;
    Ok(runtime)
}

/// Alarms may ring a tenth of the shortest limit late, at most 100 ms. The limits are those of the
/// start: a route that a reload brings with a shorter one waits up to 100 ms longer than it says.
fn tick(plan: &Plan) -> Duration {
    let timeouts = &plan.timeouts;
    let shortest = [
        timeouts.first_byte,
        timeouts.request_head,
        timeouts.keep_alive,
        timeouts.request_body_idle,
        timeouts.write_stall,
        timeouts.upstream.response_head,
        timeouts.upstream.response_body_idle,
    ]
    .into_iter()
    .chain(plan.in_force.load().routes.iter().flat_map(|route| {
        let timeouts = &route.spec.timeouts;
        [timeouts.response_head, timeouts.response_body_idle]
    }))
    .min()
    .unwrap_or(SWEEP);
    (shortest / 10).clamp(Duration::from_millis(1), Duration::from_millis(100))
}

async fn work(index: usize, plan: Plan, mut inbox: mpsc::UnboundedReceiver<Order>) {
    let clock = AlarmClock::new(tick(&plan));
    let ticking = Rc::clone(&clock).run();
    spawn_local(lifeline::tie("the task that keeps time limits", ticking));
    let proxy = Proxy::new(
        index,
        Arc::clone(&plan.in_force),
        Arc::clone(&plan.metrics),
        plan.access_log.lane(index),
        Arc::clone(&plan.admission),
        Rc::clone(&clock),
    );
    let context = Rc::new(ConnectionContext {
        proxy: Rc::clone(&proxy),
        clock: Rc::clone(&clock),
        limits: plan.limits.clone(),
        patience: Patience {
            first_byte: plan.timeouts.first_byte,
            request_head: plan.timeouts.request_head,
            keep_alive: plan.timeouts.keep_alive,
            write_stall: plan.timeouts.write_stall,
        },
        draining: Cell::new(Drain::No),
        heads: Rc::default(),
    });
    let sweeping = sweep(Rc::clone(&proxy));
    spawn_local(lifeline::tie("the task that sweeps pools", sweeping));
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Serve(arrival) => {
                let acceptor = plan.tls.acceptor();
                serve(Rc::clone(&context), arrival, acceptor);
            }
            Order::TurnAway(surplus) => surplus.turn_away(&proxy, plan.tls.acceptor().is_some()),
            Order::Drain(drain) => {
                // A request may have come while this thread did something else: the runtime looks at
                // its sockets first, so that none is taken for idle which has one.
                tokio::task::yield_now().await;
                context.draining.set(drain);
                proxy.say_goodbye();
                clock.wake_all();
            }
            Order::Stop => break,
        }
    }
    proxy.end();
}

/// Sweeps for ever. What a standstill of the process left out (a container that was paused for a day)
/// is not made up for.
async fn sweep(proxy: Rc<Proxy>) {
    loop {
        proxy.sweep();
        give_memory_back();
        clock::sleep(SWEEP).await;
    }
}

/// mimalloc returns free memory to the system when it makes or frees a page. While nobody asks for
/// anything it does neither, and what a wave of callers needed would be kept. So it makes one here: a
/// block of more than 512 KiB has a page of its own. Nothing is written to it, and where it cannot be
/// had nothing is lost.
fn give_memory_back() {
    let mut block = Vec::<u8>::new();
    let _ = block.try_reserve_exact(1024 * 1024);
    black_box(block);
}

/// Serves a connection in a task of its own, which has no room for TLS where there is none.
fn serve(context: Rc<ConnectionContext>, arrival: Arrival, acceptor: Option<TlsAcceptor>) {
    let Arrival {
        socket,
        peer,
        permit,
    } = arrival;
    let served = match socket {
        Socket::Tcp(socket) => TcpStream::from_std(socket).map(|socket| {
            let socket = Tcp::from(socket);
            match acceptor {
                None => spawn_local(serve_tcp(context, peer, socket, permit)),
                Some(acceptor) => spawn_local(accept_tls(context, peer, socket, acceptor, permit)),
            }
        }),
        #[cfg(unix)]
        Socket::Unix(socket) => tokio::net::UnixStream::from_std(socket).map(|socket| {
            spawn_local(async move {
                let conversation = context.conversation(peer);
                serve_plain(context, socket, Rc::new(conversation)).await;
                drop(permit);
            })
        }),
    };
    if let Err(error) = served {
        let remedy = remedy_of_connections(&error);
        tracing::warn!(%error, "an accepted connection cannot be used; if this goes on, {remedy}");
    }
}

async fn serve_tcp(
    context: Rc<ConnectionContext>,
    peer: Option<IpAddr>,
    socket: Tcp,
    permit: Permit,
) {
    let conversation = context.conversation(peer);
    if let Some(socket) = serve_plain(context, socket, Rc::new(conversation)).await {
        socket.reset();
    }
    drop(permit);
}

async fn accept_tls(
    context: Rc<ConnectionContext>,
    peer: Option<IpAddr>,
    socket: Tcp,
    acceptor: TlsAcceptor,
    permit: Permit,
) {
    // In a box: what shaking hands takes is not kept afterwards.
    let shaken = Box::pin(handshake(&context, peer, acceptor, socket)).await;
    if let Some(socket) = shaken {
        let conversation = context.conversation(peer).over_tls(peer_names(&socket));
        serve_tls(context, socket, Rc::new(conversation)).await;
    }
    drop(permit);
}

/// Counts a connection with its worker while it lasts.
#[derive(Debug)]
pub(super) struct Carried(Arc<AtomicUsize>);

impl Carried {
    pub(super) fn by(worker: &Worker) -> Self {
        worker.load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&worker.load))
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::watch;

    use super::super::accept::{Door, accept};
    use super::super::listener::Listener;
    use super::*;
    use crate::access_log::AccessLog;
    use crate::caller::Callers;
    use crate::config::{self, Source};
    use crate::forward_proxy::ForwardProxy;
    use crate::metrics::Metrics;
    use crate::proxy::Admission;
    use crate::proxy::generation::{Generation, InForce};
    use crate::upstream::Egress;

    const ASKS: &[u8] = b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const PATIENT: Duration = Duration::from_secs(20);

    /// Of one worker, without a route.
    fn plan() -> Plan {
        let source = Source {
            allow_missing_env: true,
            ..Source::alone("routes: [{name: a, path: /a, upstream: 'https://a.com'}]")
        };
        let mut config = config::load(&source).unwrap().config;
        config.routes.clear();
        let trust = crate::trust::load(None).unwrap();
        let egress = Egress::new(trust, BTreeMap::new(), ForwardProxy::none());
        let (limits, timeouts) = (config.limits.clone(), config.timeouts.clone());
        let callers = Callers::new(&[], None).unwrap();
        let generation = Generation::new(config, callers, egress, Vec::new(), Vec::new());
        Plan {
            workers: 1,
            in_force: Arc::new(InForce::new(generation)),
            metrics: Metrics::new(SystemTime::now()),
            access_log: Arc::new(AccessLog::off()),
            admission: Admission::new(limits.in_flight, 1),
            limits,
            timeouts,
            tls: Arc::default(),
        }
    }

    /// A worker of a test, whose orders nobody takes but the test.
    fn worker(orders: mpsc::UnboundedSender<Order>) -> Worker {
        Worker {
            orders,
            load: Arc::default(),
            thread: Mutex::default(),
        }
    }

    #[tokio::test(flavor = "local")]
    async fn a_worker_that_has_no_time_to_turn_anybody_away_holds_up_no_end() {
        let (orders, mut inbox) = mpsc::unbounded_channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (closing, closes) = watch::channel(());
        drop(closing);
        let callers: Vec<_> = (0..99)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        let listener = Arc::new(Listener::Tcp(listener));
        let door = Arc::new(Door::new(1, 9, 1));
        let accepts = accept(listener, door, [worker(orders)].into(), closes);
        tokio::time::timeout(PATIENT, accepts).await.unwrap();
        assert!(matches!(inbox.recv().await, Some(Order::Serve(_))));
        let mut turned_away = Vec::new();
        while let Some(order) = inbox.recv().await {
            turned_away.push(order);
        }
        assert!(turned_away.len() < callers.len() / 2);
    }

    #[tokio::test(flavor = "local")]
    async fn what_has_come_while_a_worker_was_busy_is_answered_before_its_connection_is_closed() {
        let (orders, inbox) = mpsc::unbounded_channel();
        let worker = worker(orders.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (_closing, closes) = watch::channel(());
        let listener = Arc::new(Listener::Tcp(listener));
        let door = Arc::new(Door::new(9, 9, 1));
        spawn_local(accept(listener, door, [worker].into(), closes));
        spawn_local(work(0, plan(), inbox));
        let test = async {
            let mut caller = TcpStream::connect(address).await.unwrap();
            caller.write_all(ASKS).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}}") {
                assert!(caller.read_buf(&mut answer).await.unwrap() > 0);
            }
            for _ in 0..9 {
                tokio::task::yield_now().await;
            }
            // Until this waits the worker does something else, and nobody looks at its sockets.
            assert_eq!(caller.try_write(ASKS).unwrap(), ASKS.len());
            orders.send(Order::Drain(Drain::Now)).unwrap();
            let mut last = String::new();
            caller.read_to_string(&mut last).await.unwrap();
            assert!(last.starts_with("HTTP/1.1 404 "), "{last:?}");
        };
        tokio::time::timeout(PATIENT, test).await.unwrap();
    }
}
