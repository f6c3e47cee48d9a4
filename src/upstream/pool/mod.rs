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

/// What the pool tells its observer: connections that have been made.
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
    /// Those in use, idle ones, and those that are being made.
    open: Cell<usize>,
    dialling: Cell<usize>,
    /// Dials of [`Pool::fresh`], which serve nobody else.
    apart: Cell<usize>,
    /// More than this are never open: the bound on requests in flight.
    most: usize,
    observer: Box<dyn Fn(Census)>,
}

#[derive(Default)]
struct Ticket {
    served: RefCell<Option<Result<Box<Wire>, Rc<ConnectError>>>>,
    /// What came free for it was of no use: it may dial.
    lost: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Ticket {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
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
            apart: Cell::new(0),
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
        let mut turn = std::pin::pin!(self.turn(&ticket, &dial));
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
        self.apart.set(self.apart.get() + 1);
        // Counted as long as this is waited for, and no longer: the caller may leave meanwhile.
        let mut counted = Counted {
            pool: self,
            made: false,
        };
        let wire = dial.await?;
        counted.made = true;
        drop(counted);
        Ok(self.lease(Box::new(wire)))
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

    /// Closes all that are idle.
    pub(super) fn close_idle(&self) {
        let gone = self.idle.take().len();
        self.open.set(self.open.get() - gone);
        self.report();
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
        let mut dialled = Dialled {
            pool: Rc::clone(self),
            outcome: Err(ConnectError::Fault),
        };
        tokio::task::spawn_local(async move {
            dialled.come_to(dial.await);
        });
    }

    /// Gives a connection that comes free to the first that waits, if it can serve: nothing may lie
    /// in it that would be taken for the next answer.
    fn come_free(&self, mut wire: Box<Wire>) {
        if self.queue.borrow().is_empty() || wire.is_usable(wire.idle_since) {
            return self.hand_over(wire);
        }
        drop(wire);
        self.closed();
        let queue = self.queue.borrow();
        let mut waiting = queue.iter().filter_map(Weak::upgrade);
        if let Some(first) = waiting.find(|ticket| !ticket.lost.get()) {
            first.lost.set(true);
            first.wake();
        }
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
                ticket.wake();
                return None;
            }
        }
    }

    async fn turn<D, F>(
        self: &Rc<Self>,
        ticket: &Rc<Ticket>,
        dial: &D,
    ) -> Result<Lease, Rc<ConnectError>>
    where
        D: Fn() -> F,
        F: Future<Output = Result<Wire, ConnectError>> + 'static,
    {
        let unused = Unused(self, ticket);
        let served = std::future::poll_fn(|cx| {
            if let Some(served) = ticket.served.borrow_mut().take() {
                return Poll::Ready(served);
            }
            if ticket.lost.take() {
                self.grow(dial);
            }
            *ticket.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
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
            open: self.open.get() - self.dialling.get() - self.apart.get(),
            idle: self.idle.borrow().len(),
        });
    }
}

/// What a dial comes to, told when its task ends: one that panics or is dropped comes to a fault, for
/// else those who wait for it would wait for ever.
struct Dialled {
    pool: Rc<Pool>,
    outcome: Result<Box<Wire>, ConnectError>,
}

impl Dialled {
    fn come_to(&mut self, outcome: Result<Wire, ConnectError>) {
        self.outcome = outcome.map(Box::new);
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        let pool = &self.pool;
        let dialling = pool.dialling.get();
        pool.dialling.set(dialling - 1);
        match std::mem::replace(&mut self.outcome, Err(ConnectError::Fault)) {
            Ok(wire) => pool.hand_over(wire),
            Err(error) => {
                pool.closed();
                // Each dial stands for its share of those who wait.
                let error = Rc::new(error);
                for _ in 0..pool.waiting().div_ceil(dialling) {
                    pool.serve(Err(Rc::clone(&error)));
                }
            }
        }
    }
}

/// Takes back the place of a connection that was not made.
struct Counted<'a> {
    pool: &'a Pool,
    made: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.pool.apart.set(self.pool.apart.get() - 1);
        if self.made {
            self.pool.report();
        } else {
            self.pool.closed();
        }
    }
}

/// What is idle at the end of a pool is closed with it.
impl Drop for Pool {
    fn drop(&mut self) {
        self.idle.get_mut().clear();
        for count in [&self.open, &self.dialling, &self.apart] {
            count.set(0);
        }
        self.report();
    }
}

/// Returns what was served to a request that went away before it looked.
struct Unused<'a>(&'a Rc<Pool>, &'a Rc<Ticket>);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if let Some(Ok(wire)) = self.1.served.borrow_mut().take() {
            self.0.come_free(wire);
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
            self.pool.come_free(wire);
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
mod tests;
