//! The HTTP/2 connections of one worker to one upstream.
//!
//! Windows are fixed: 256 KiB for a stream, so that a slow reader holds no more than that, and for
//! the connection what all its streams may hold together, so that slow readers do not stall the
//! others. A further connection is opened when the streams that the peer allows are used up: one at
//! a time, and not before it is known what the peer of the last one allows; where that is none, a
//! little later. Who waits for it is served as well by a stream that ends, before who comes later, and
//! a dial that fails fails nobody whom one may serve in time.
//!
//! A connection on which a body is left whose exchange is over (`revocable_body`) takes no other
//! request, and is closed when it has no other stream. One that is idle is closed when one of
//! HTTP/1.1 would be.

mod capacity_notify;
mod connection;
mod revocable_body;
mod stream;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::ConnectError;
use super::pool::PATIENCE;
use super::stream::UpstreamStream;
use crate::alarm::AlarmClock;
use capacity_notify::CapacityNotify;
use connection::H2Connection;
pub(super) use stream::{Stream, is_malformed};

/// The open connections.
pub(super) struct Multiplex {
    clock: Rc<AlarmClock>,
    connections: RefCell<Vec<Rc<H2Connection>>>,
    /// More than this are never open.
    most: usize,
    /// How long a request waits for a connection.
    limit: Duration,
    dialling: Cell<bool>,
    /// The last dial, if it failed, and when.
    failed: RefCell<Option<(Instant, Rc<ConnectError>)>>,
    notify: Rc<CapacityNotify>,
}

/// What a request does that found no place.
pub(super) enum Step {
    /// It dials, and waits.
    Dial(Dialling),
    /// It waits for a change.
    Wait,
    /// It has waited long enough.
    GiveUp,
    /// It fails, as the dial that it waited for.
    Fail(Rc<ConnectError>),
}

/// A dial. Its end is told to those who wait: one that panics or is dropped comes to a fault.
pub(super) struct Dialling {
    multiplex: Rc<Multiplex>,
    outcome: Result<(), ConnectError>,
}

impl Multiplex {
    /// None yet.
    pub(super) fn new(clock: Rc<AlarmClock>, most: usize, limit: Duration) -> Rc<Self> {
        Rc::new(Self {
            clock,
            connections: RefCell::default(),
            most,
            limit,
            dialling: Cell::new(false),
            failed: RefCell::default(),
            notify: Rc::default(),
        })
    }

    /// A stream on an open connection, or `None`; with `since` only on one that is younger.
    pub(super) fn take_stream(&self, now: Instant, since: Option<Instant>) -> Option<Stream> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.is_idle() || connection.is_open(now));
        let has_room = |it: &Rc<H2Connection>| it.is_open(now) && it.has_room();
        let connection = connections
            .iter()
            .find(|it| since.is_none_or(|since| it.is_younger(since)) && has_room(it))?;
        let stream = Stream::on(Rc::clone(connection), self.clock.alarm());
        if self.is_awaited() && connections.iter().any(has_room) {
            self.notify.wake_one();
        }
        Some(stream)
    }

    /// What a request does now that waits since `begun`; with `since` only a younger connection is of
    /// use to it.
    pub(super) fn step(
        self: &Rc<Self>,
        begun: Instant,
        now: Instant,
        since: Option<Instant>,
    ) -> Step {
        let late = now.duration_since(begun) >= self.limit;
        let busy = self.is_busy(now);
        let failed = self.failed.borrow().clone();
        if let Some((at, error)) = &failed
            && *at >= begun
            && (late || !busy || since.is_some() || error.lacks_descriptors())
        {
            return Step::Fail(Rc::clone(error));
        }
        if self.dialling.get() {
            return Step::Wait;
        }
        // Who can be served otherwise does not press an upstream that takes no connection.
        let calm = failed.is_none_or(|(at, _)| now.duration_since(at) >= PATIENCE);
        if (calm || !busy) && !self.is_settling(now) && self.makes_room(now) {
            self.dialling.set(true);
            return Step::Dial(Dialling {
                multiplex: Rc::clone(self),
                outcome: Err(ConnectError::Fault),
            });
        }
        if late { Step::GiveUp } else { Step::Wait }
    }

    /// Whether others wait for a place already.
    pub(super) fn is_awaited(&self) -> bool {
        self.notify.is_awaited()
    }

    /// A number in the line of those who wait for a place.
    pub(super) fn number(&self) -> u64 {
        self.notify.number()
    }

    /// Waits in line for a place that comes free, or until something else is new; without a number,
    /// when no such place is of use, for that alone.
    pub(super) async fn turn(&self, number: Option<u64>) {
        match number {
            Some(number) => self.notify.notified(number).await,
            None => self.notify.news().await,
        }
    }

    /// Whether there is a place, and somebody in line before this number who was told of it.
    pub(super) fn is_for_others(&self, number: u64, now: Instant) -> bool {
        !self.notify.is_first(number) && self.has_open(now, H2Connection::has_room)
    }

    /// Speaks HTTP/2 on a connected stream and adds it.
    pub(super) async fn open(
        &self,
        stream: UpstreamStream,
        lifetime: Duration,
        target: &str,
    ) -> Result<(), ConnectError> {
        let opened = H2Connection::open(stream, lifetime, Rc::clone(&self.notify)).await;
        let connection = opened.map_err(|source| ConnectError::Broken {
            target: target.to_owned(),
            source,
        })?;
        self.connections.borrow_mut().push(connection);
        self.notify.wake_all();
        Ok(())
    }

    /// Whether another connection is not wanted for the moment.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.has_open(now, |connection| {
            connection.has_room() || connection.is_settling(now, self.limit)
        })
    }

    /// Forgets closed, retired and idle connections, and those on which nothing but bodies of
    /// exchanges that are over is left. One with a stream is open, and counted, until that ends.
    pub(super) fn sweep(&self, now: Instant) {
        self.connections.borrow_mut().retain(|connection| {
            let rested = connection.has_rested(now);
            !connection.is_idle() || (connection.is_open(now) && !connection.is_spoilt() && !rested)
        });
    }

    /// Closes those without a stream.
    pub(super) fn close_idle(&self) {
        self.connections
            .borrow_mut()
            .retain(|connection| !connection.is_idle());
    }

    /// Open connections and those without a stream.
    pub(super) fn census(&self) -> (usize, usize) {
        let connections = self.connections.borrow();
        let idle = connections.iter().filter(|it| it.is_idle()).count();
        (connections.len(), idle)
    }

    /// Whether a stream may end and leave its place.
    fn is_busy(&self, now: Instant) -> bool {
        self.has_open(now, H2Connection::is_busy)
    }

    fn is_settling(&self, now: Instant) -> bool {
        self.has_open(now, |connection| connection.is_settling(now, self.limit))
    }

    /// Whether one that is open is like this.
    fn has_open(&self, now: Instant, is_so: impl Fn(&H2Connection) -> bool) -> bool {
        let connections = self.connections.borrow();
        connections.iter().any(|it| it.is_open(now) && is_so(it))
    }

    /// Whether there may be another connection; closes an idle one if that is what it takes.
    fn makes_room(&self, now: Instant) -> bool {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.is_idle() || connection.is_open(now));
        if connections.len() >= self.most
            && let Some(idle) = connections.iter().position(|it| it.is_idle())
        {
            connections.remove(idle);
        }
        connections.len() < self.most
    }
}

impl Dialling {
    pub(super) fn come_to(&mut self, outcome: Result<(), ConnectError>) {
        self.outcome = outcome;
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        let multiplex = &self.multiplex;
        multiplex.dialling.set(false);
        let outcome = std::mem::replace(&mut self.outcome, Ok(()));
        let failed = outcome.err().map(|error| (Instant::now(), Rc::new(error)));
        multiplex.failed.replace(failed);
        multiplex.notify.wake_all();
    }
}

#[cfg(test)]
mod dial_tests;
#[cfg(test)]
mod flood_tests;
#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod spoilt_tests;
#[cfg(test)]
mod tests;
