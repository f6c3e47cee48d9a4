//! The HTTP/1.1 connections of one worker to one upstream.
//!
//! The last one used is used next, so that surplus ones grow old and go. Requests that find none
//! idle queue in order; a connection that comes free goes to the first in the queue. Up to
//! [`EAGER`] connections a waiting request dials at once; beyond that it first waits
//! [`PATIENCE`], because under load a connection comes free sooner than a new one is made, and a
//! thousand callers then need no thousand connections. Growth beyond [`EAGER`] is by a quarter at a
//! time: a thousand handshakes at once would take the core from the requests they are for.
//!
//! A dial that fails fails those who wait for it, unless connections are in use: one of them may come
//! free in time.

mod dial;
mod lease;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::wire::Wire;
use super::{ConnectError, Observer};
use crate::clock;
pub(super) use lease::Lease;

/// Connections that are made without waiting: more than the 52 concurrent requests that Dataverse
/// takes from one user.
const EAGER: usize = 64;
/// How long a request waits for a used connection before it dials beyond [`EAGER`]: about what a
/// new one costs across a WAN (TCP and TLS are two to three round trips).
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// The pool.
pub(super) struct Pool {
    #[expect(
        clippy::vec_box,
        reason = "a wire moves between the pool, the queue and a lease: a pointer, not its bytes"
    )]
    idle: RefCell<Vec<Box<Wire>>>,
    queue: RefCell<VecDeque<Weak<Waiter>>>,
    /// Those in use, idle ones, and those that are being made.
    open: Cell<usize>,
    dialling: Cell<usize>,
    /// Dials of [`Pool::fresh`], which serve nobody else.
    apart: Cell<usize>,
    /// More than this are never open: the bound on requests in flight.
    most: usize,
    /// How long a request waits for a connection once a dial has failed.
    limit: Duration,
    /// The last dial, if it failed while connections were in use, and when.
    failed: RefCell<Option<(Instant, Rc<ConnectError>)>>,
    observer: Observer,
}

/// What a request gets; no connection when what was dialled speaks HTTP/2.
type Served = Result<Option<Box<Wire>>, Rc<ConnectError>>;

#[derive(Default)]
struct Waiter {
    served: Cell<Option<Served>>,
    /// What came free for it was of no use: it may dial.
    lost: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Waiter {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Pool {
    pub(super) fn new(most: usize, limit: Duration, observer: Observer) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            queue: RefCell::default(),
            open: Cell::new(0),
            dialling: Cell::new(0),
            apart: Cell::new(0),
            most,
            limit,
            failed: RefCell::default(),
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

    /// An idle connection; with `since` only one that has been made or has brought an answer since.
    pub(super) fn take_younger(
        self: &Rc<Self>,
        now: Instant,
        since: Option<Instant>,
    ) -> Option<Lease> {
        let last = self.idle.borrow().last().map(|wire| wire.idle_since);
        let fits = last.is_some_and(|last| since.is_none_or(|since| last >= since));
        fits.then(|| self.take_idle(now)).flatten()
    }

    /// Takes in a connection that was dialled elsewhere.
    pub(super) fn adopt(&self, wire: Wire) {
        self.open.set(self.open.get() + 1);
        self.hand_over(Box::new(wire));
    }

    /// Waits for a connection: the next that comes free, or one that `dial` makes. `None` when what
    /// was dialled speaks HTTP/2.
    pub(super) async fn wait<D, F>(
        self: &Rc<Self>,
        dial: D,
    ) -> Result<Option<Lease>, Rc<ConnectError>>
    where
        D: Fn() -> F,
        F: Future<Output = Result<Option<Wire>, ConnectError>> + 'static,
    {
        let begun = clock::now();
        let waiter = Rc::new(Waiter::default());
        self.queue.borrow_mut().push_back(Rc::downgrade(&waiter));
        let mut turn = std::pin::pin!(self.turn(&waiter, &dial));
        if self.open.get() < EAGER {
            self.grow(&dial);
        }
        // It asks again: what was dialled for it may have gone to another, and may be gone.
        loop {
            tokio::select! {
                biased;
                served = &mut turn => return served,
                () = clock::sleep(PATIENCE) => {}
            }
            if let Some(failure) = self.failure(begun) {
                return Err(failure);
            }
            self.grow(&dial);
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

    /// Closes all that are idle.
    pub(super) fn close_idle(&self) {
        let gone = self.idle.take().len();
        self.open.set(self.open.get() - gone);
        self.report();
    }

    fn waiting(&self) -> usize {
        let mut queue = self.queue.borrow_mut();
        queue.retain(|waiter| waiter.strong_count() > 0);
        queue.len()
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
        if let Some(first) = waiting.find(|waiter| !waiter.lost.get()) {
            first.lost.set(true);
            first.wake();
        }
    }

    fn hand_over(&self, wire: Box<Wire>) {
        if let Some(Ok(Some(wire))) = self.serve(Ok(Some(wire))) {
            self.idle.borrow_mut().push(wire);
        }
        self.report();
    }

    /// Gives an outcome to the first that waits; hands it back when nobody does.
    fn serve(&self, outcome: Served) -> Option<Served> {
        loop {
            let Some(waiter) = self.queue.borrow_mut().pop_front() else {
                return Some(outcome);
            };
            if let Some(waiter) = waiter.upgrade() {
                waiter.served.set(Some(outcome));
                waiter.wake();
                return None;
            }
        }
    }

    async fn turn<D, F>(
        self: &Rc<Self>,
        waiter: &Rc<Waiter>,
        dial: &D,
    ) -> Result<Option<Lease>, Rc<ConnectError>>
    where
        D: Fn() -> F,
        F: Future<Output = Result<Option<Wire>, ConnectError>> + 'static,
    {
        let unused = Unused(self, waiter);
        let served = std::future::poll_fn(|cx| {
            if let Some(served) = waiter.served.take() {
                return Poll::Ready(served);
            }
            if waiter.lost.take() {
                self.grow(dial);
            }
            waiter.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        std::mem::forget(unused);
        served.map(|wire| wire.map(|wire| self.lease(wire)))
    }

    fn closed(&self) {
        self.open.set(self.open.get() - 1);
        self.report();
    }

    /// Tells the observer of connections that have been made.
    pub(super) fn report(&self) {
        let open = self.open.get() - self.dialling.get() - self.apart.get();
        (self.observer)(open, self.idle.borrow().len());
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
struct Unused<'a>(&'a Rc<Pool>, &'a Rc<Waiter>);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if let Some(Ok(Some(wire))) = self.1.served.take() {
            self.0.come_free(wire);
        }
    }
}

#[cfg(test)]
mod dial_tests;
#[cfg(test)]
mod pace_tests;
#[cfg(test)]
mod tests;
