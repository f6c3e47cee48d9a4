//! The HTTP/1.1 connections of one worker to one upstream.
//!
//! The last one used is used next, so that surplus ones grow old and go. Requests that find none
//! idle queue in order; a connection that comes free goes to the first in the queue. Up to
//! [`EAGER`] connections a waiting request dials at once; beyond that it first waits
//! [`PATIENCE`], because under load a connection comes free sooner than a new one is made, and a
//! thousand callers then need no thousand connections. Growth beyond [`EAGER`] is by a quarter at a
//! time: a thousand handshakes at once would take the core from the requests they are for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::ConnectError;
use super::wire::Wire;

/// Connections that are made without waiting: more than the 52 concurrent requests that Dataverse
/// takes from one user.
const EAGER: usize = 64;
/// How long a request waits for a used connection before it dials beyond [`EAGER`]: about what a
/// new one costs across a WAN (TCP and TLS are two to three round trips).
const PATIENCE: Duration = Duration::from_millis(100);
/// Beyond [`EAGER`], one connection is dialled for so many that are open.
const GROWTH: usize = 4;

/// What the pool tells its observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) open: usize,
    pub(super) idle: usize,
}

/// The pool.
pub(super) struct Pool {
    #[expect(
        clippy::vec_box,
        reason = "a wire moves between the pool, the queue and a lease: a pointer, not its bytes"
    )]
    idle: RefCell<Vec<Box<Wire>>>,
    queue: RefCell<VecDeque<Weak<Ticket>>>,
    open: Cell<usize>,
    dialling: Cell<usize>,
    /// More than this are never open: the bound on requests in flight.
    most: usize,
    observer: Box<dyn Fn(Census)>,
}

#[derive(Default)]
struct Ticket {
    served: RefCell<Option<Result<Box<Wire>, Rc<ConnectError>>>>,
    waker: RefCell<Option<Waker>>,
}

/// A connection in use. Dropped without [`Lease::give_back`], it is closed: that is what ends an
/// upstream request whose caller has left.
pub(super) struct Lease {
    wire: Option<Box<Wire>>,
    pool: Rc<Pool>,
}

const HELD: &str = "a lease holds its wire until it ends";

impl Pool {
    pub(super) fn new(most: usize, observer: Box<dyn Fn(Census)>) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            queue: RefCell::default(),
            open: Cell::new(0),
            dialling: Cell::new(0),
            most,
            observer,
        })
    }

    /// An idle connection, or `None`.
    pub(super) fn take_idle(self: &Rc<Self>, now: Instant) -> Option<Lease> {
        loop {
            let mut wire = self.idle.borrow_mut().pop()?;
            if wire.is_usable(now) {
                self.report();
                return Some(self.lease(wire));
            }
            drop(wire);
            self.closed();
        }
    }

    /// Waits for a connection: the next that comes free, or one that `dial` makes.
    pub(super) async fn wait<D, F>(self: &Rc<Self>, dial: D) -> Result<Lease, Rc<ConnectError>>
    where
        D: Fn() -> F,
        F: Future<Output = Result<Wire, ConnectError>> + 'static,
    {
        let ticket = Rc::new(Ticket::default());
        self.queue.borrow_mut().push_back(Rc::downgrade(&ticket));
        let mut turn = std::pin::pin!(self.turn(&ticket));
        if self.open.get() < EAGER {
            self.grow(&dial);
        }
        // It asks again: what was dialled for it may have gone to another, and may be gone.
        loop {
            tokio::select! {
                biased;
                served = &mut turn => return served,
                () = tokio::time::sleep(PATIENCE) => self.grow(&dial),
            }
        }
    }

    /// Dials for those who wait, unless enough is dialled already.
    fn grow<D, F>(self: &Rc<Self>, dial: &D)
    where
        D: Fn() -> F,
        F: Future<Output = Result<Wire, ConnectError>> + 'static,
    {
        let (open, dialling) = (self.open.get(), self.dialling.get());
        let paced = open < EAGER || dialling < open / GROWTH;
        if open < self.most && paced && dialling < self.waiting() {
            self.start(dial());
        }
    }

    /// A connection of one's own, made now: for the repeat of a request whose connection died.
    pub(super) async fn fresh<F>(self: &Rc<Self>, dial: F) -> Result<Lease, Rc<ConnectError>>
    where
        F: Future<Output = Result<Wire, ConnectError>>,
    {
        self.open.set(self.open.get() + 1);
        self.report();
        match dial.await {
            Ok(wire) => Ok(self.lease(Box::new(wire))),
            Err(error) => {
                self.closed();
                Err(Rc::new(error))
            }
        }
    }

    /// Closes what is idle for too long, old, or closed by the upstream.
    pub(super) fn sweep(&self, now: Instant) {
        let before = self.idle.borrow().len();
        self.idle
            .borrow_mut()
            .retain_mut(|wire| wire.is_usable(now));
        let gone = before - self.idle.borrow().len();
        if gone > 0 {
            self.open.set(self.open.get() - gone);
            self.report();
        }
    }

    fn lease(self: &Rc<Self>, wire: Box<Wire>) -> Lease {
        Lease {
            wire: Some(wire),
            pool: Rc::clone(self),
        }
    }

    fn waiting(&self) -> usize {
        let mut queue = self.queue.borrow_mut();
        queue.retain(|ticket| ticket.strong_count() > 0);
        queue.len()
    }

    /// Dials in a task of its own: a caller that leaves does not waste the handshake.
    fn start<F>(self: &Rc<Self>, dial: F)
    where
        F: Future<Output = Result<Wire, ConnectError>> + 'static,
    {
        self.open.set(self.open.get() + 1);
        self.dialling.set(self.dialling.get() + 1);
        self.report();
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let outcome = dial.await;
            let dialling = pool.dialling.get();
            pool.dialling.set(dialling - 1);
            match outcome {
                Ok(wire) => pool.hand_over(Box::new(wire)),
                Err(error) => {
                    pool.closed();
                    // Each dial stands for its share of those who wait.
                    let error = Rc::new(error);
                    for _ in 0..pool.waiting().div_ceil(dialling) {
                        pool.serve(Err(Rc::clone(&error)));
                    }
                }
            }
        });
    }

    fn hand_over(&self, wire: Box<Wire>) {
        if let Some(Ok(wire)) = self.serve(Ok(wire)) {
            self.idle.borrow_mut().push(wire);
        }
        self.report();
    }

    /// Gives an outcome to the first that waits; hands it back when nobody does.
    fn serve(
        &self,
        outcome: Result<Box<Wire>, Rc<ConnectError>>,
    ) -> Option<Result<Box<Wire>, Rc<ConnectError>>> {
        loop {
            let Some(ticket) = self.queue.borrow_mut().pop_front() else {
                return Some(outcome);
            };
            if let Some(ticket) = ticket.upgrade() {
                *ticket.served.borrow_mut() = Some(outcome);
                if let Some(waker) = ticket.waker.borrow_mut().take() {
                    waker.wake();
                }
                return None;
            }
        }
    }

    async fn turn(self: &Rc<Self>, ticket: &Rc<Ticket>) -> Result<Lease, Rc<ConnectError>> {
        let unused = Unused(self, ticket);
        let served = std::future::poll_fn(|cx| match ticket.served.borrow_mut().take() {
            Some(served) => Poll::Ready(served),
            None => {
                *ticket.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
        std::mem::forget(unused);
        served.map(|wire| self.lease(wire))
    }

    fn closed(&self) {
        self.open.set(self.open.get() - 1);
        self.report();
    }

    fn report(&self) {
        (self.observer)(Census {
            open: self.open.get(),
            idle: self.idle.borrow().len(),
        });
    }
}

/// Returns what was served to a request that went away before it looked.
struct Unused<'a>(&'a Rc<Pool>, &'a Rc<Ticket>);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if let Some(Ok(wire)) = self.1.served.borrow_mut().take() {
            self.0.hand_over(wire);
        }
    }
}

impl Lease {
    /// The connection.
    pub(super) fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect(HELD)
    }

    /// The connection, to look at.
    pub(super) fn look(&self) -> &Wire {
        self.wire.as_ref().expect(HELD)
    }

    /// Ends the use of a connection whose exchange came to its proper end.
    pub(super) fn give_back(mut self) {
        let Some(mut wire) = self.wire.take() else {
            return;
        };
        wire.alarm.clear();
        wire.idle_since = wire.alarm.now();
        if wire.rest() {
            self.pool.hand_over(wire);
        } else {
            self.wire = Some(wire);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.wire.take().is_some() {
            self.pool.closed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::UpstreamStream;
    use super::super::wire::IDLE;
    use super::*;
    use crate::alarm::AlarmClock;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A listener whose backlog takes what is dialled, and a clock that stands.
    struct Upstream(tokio::net::TcpListener, Rc<AlarmClock>);

    impl Upstream {
        async fn open() -> Self {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            Self(listener, AlarmClock::new(Duration::from_millis(10)))
        }

        async fn wire(&self, lifetime: Duration) -> Result<Wire, ConnectError> {
            let address = self.0.local_addr().unwrap();
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let stream = UpstreamStream::Plain(stream.into());
            Ok(Wire::new(stream, Rc::default(), self.1.alarm(), lifetime))
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_old_or_was_idle_for_long_serves_no_other_request() {
        let upstream = Upstream::open().await;
        for (lifetime, after) in [(HOUR, IDLE), (Duration::from_secs(10), IDLE / 2)] {
            let pool = Pool::new(2, Box::new(|_| {}));
            let lease = pool.fresh(upstream.wire(lifetime)).await.unwrap();
            lease.give_back();
            let young = pool.take_idle(Instant::now());
            young.expect("it is young").give_back();
            let later = Instant::now() + after;
            assert!(pool.take_idle(later).is_none());
            assert_eq!(pool.open.get(), 0, "it is closed");
        }
    }

    #[tokio::test]
    async fn beyond_the_bound_a_request_waits_for_a_connection_that_comes_free() {
        let upstream = Upstream::open().await;
        let pool = Pool::new(1, Box::new(|_| {}));
        let only = pool.fresh(upstream.wire(HOUR)).await.unwrap();
        let dialled = Cell::new(0);
        let mut waiting = std::pin::pin!(pool.wait(|| {
            dialled.set(dialled.get() + 1);
            std::future::pending()
        }));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there is no second one"),
            () = tokio::task::yield_now() => {}
        }
        only.give_back();
        let _freed = waiting.await.expect("the first comes free");
        assert_eq!((dialled.get(), pool.open.get()), (0, 1));
    }

    #[tokio::test]
    async fn who_waits_is_served_even_when_what_was_dialled_for_it_went_to_another_and_died() {
        let upstream = Rc::new(Upstream::open().await);
        let local = tokio::task::LocalSet::new();
        let served = local.run_until(async {
            let pool = Pool::new(1, Box::new(|_| {}));
            let only = pool.fresh(upstream.wire(HOUR)).await.unwrap();
            let dial = || {
                let upstream = Rc::clone(&upstream);
                async move { upstream.wire(HOUR).await }
            };
            let (first, second) = (pool.wait(dial), pool.wait(dial));
            let (mut first, mut second) = (Box::pin(first), Box::pin(second));
            tokio::select! {
                biased;
                _ = &mut first => panic!("there is one connection only"),
                () = tokio::task::yield_now() => {}
            }
            drop(only);
            let (first, died) = tokio::join!(first, async {
                tokio::select! {
                    biased;
                    _ = &mut second => panic!("the first is served first"),
                    () = tokio::task::yield_now() => {}
                }
            });
            let () = died;
            drop(first.expect("it was dialled"));
            tokio::time::timeout(Duration::from_secs(20), second).await
        });
        served.await.expect("it is not forgotten").unwrap();
    }
}
