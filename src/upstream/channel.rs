//! Where a request is sent: on a connection that is there, or on a new one.
//!
//! With `auto`, the last dial tells what is spoken. Upstreams change their mind, and those behind one
//! name may differ, so that each dial offers both, and what comes of it is used as what it is.

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::multiplex::{Dialling, Step, Stream};
use super::pool::{Lease, PATIENCE};
use super::reach::Stage;
use super::wire::Wire;
use super::{ConnectError, Upstream};
use crate::clock;
use crate::config::UpstreamHttp;

/// Connections live five minutes, a fifth more or less, so that changes of DNS are followed and not
/// all are renewed at once.
const LIFETIME: Duration = Duration::from_secs(300);

/// What one request is sent on.
pub struct Channel(pub(super) Kind);

pub(super) enum Kind {
    /// A connection of HTTP/1.1.
    Http1(Lease),
    /// A stream of HTTP/2.
    Http2(Stream),
}

impl Channel {
    fn http1(lease: Lease) -> Self {
        Self(Kind::Http1(lease))
    }

    fn http2(stream: Stream) -> Self {
        Self(Kind::Http2(stream))
    }

    /// Gives it to others: nothing was sent on it.
    pub fn give_back_unused(self) {
        match self.0 {
            Kind::Http1(lease) => lease.give_back_unused(),
            // Its place is free as soon as it is dropped.
            Kind::Http2(_) => {}
        }
    }
}

impl Upstream {
    /// A channel that is there, and that nobody waits for.
    pub fn ready(&self, fresh: bool) -> Option<Channel> {
        let now = self.clock.coarse();
        match self.may_speak_h2() {
            _ if fresh => None,
            true if self.multiplex.is_awaited() => None,
            true => self.multiplex.take_stream(now, None).map(Channel::http2),
            false => self.pool.take_idle(now).map(Channel::http1),
        }
    }

    /// A channel, on a new connection if need be. A connection that was opened meanwhile is as
    /// fresh as any.
    ///
    /// # Errors
    /// There is none, and why.
    pub async fn acquire(&self, fresh: bool) -> Result<Channel, Rc<ConnectError>> {
        let since = fresh.then(Instant::now);
        loop {
            let channel = match self.may_speak_h2() {
                true => self.acquire_h2(since).await?,
                false => self.acquire_h1(since).await?,
            };
            // Else it turned out to be spoken what this did not wait for.
            if let Some(channel) = channel {
                return Ok(channel);
            }
        }
    }

    /// Whether HTTP/2 is or may be spoken.
    fn may_speak_h2(&self) -> bool {
        match self.spec.http {
            UpstreamHttp::Http1 => false,
            UpstreamHttp::Http2 => true,
            UpstreamHttp::Auto => self.speaks_h2.get().unwrap_or(true),
        }
    }

    /// A channel where HTTP/2 may be spoken; `None` when it turned out while this waited that it is
    /// not.
    async fn acquire_h2(
        &self,
        since: Option<Instant>,
    ) -> Result<Option<Channel>, Rc<ConnectError>> {
        let begun = Instant::now();
        // Who comes later goes later, and keeps its place in the line while it looks.
        let mut is_for_others = since.is_none() && self.multiplex.is_awaited();
        let number = since.is_none().then(|| self.multiplex.number());
        let mut turn = pin!(self.multiplex.turn(number));
        loop {
            if !is_for_others && let Some(found) = self.look_for_h2(begun, since) {
                return found;
            }
            is_for_others = match clock::within(PATIENCE, turn.as_mut()).await {
                Some(()) => {
                    turn.set(self.multiplex.turn(number));
                    false
                }
                // That it is late, and that it may dial again, nobody tells.
                None => number.is_some_and(|it| self.multiplex.is_for_others(it, Instant::now())),
            };
        }
    }

    /// What [`acquire_h2`](Self::acquire_h2) comes to, unless a request that waits since `begun` waits
    /// on.
    fn look_for_h2(
        &self,
        begun: Instant,
        since: Option<Instant>,
    ) -> Option<Result<Option<Channel>, Rc<ConnectError>>> {
        let now = Instant::now();
        if let Some(stream) = self.multiplex.take_stream(now, since) {
            return Some(Ok(Some(Channel::http2(stream))));
        }
        if let Some(lease) = self.pool.take_younger(now, since) {
            return Some(Ok(Some(Channel::http1(lease))));
        }
        if !self.may_speak_h2() {
            return Some(Ok(None));
        }
        match self.multiplex.step(begun, now, since) {
            Step::Fail(error) => return Some(Err(error)),
            Step::GiveUp => return Some(Err(Rc::new(self.timeout()))),
            // In a task of its own: a caller that leaves wastes no handshake.
            Step::Dial(dialling) => drop(tokio::task::spawn_local(self.dial_h2(dialling))),
            Step::Wait => {}
        }
        None
    }

    /// A channel where HTTP/1.1 is spoken; `None` when HTTP/2 is by now.
    async fn acquire_h1(
        &self,
        since: Option<Instant>,
    ) -> Result<Option<Channel>, Rc<ConnectError>> {
        let now = Instant::now();
        if let Some(lease) = self.pool.take_younger(now, since) {
            return Ok(Some(Channel::http1(lease)));
        }
        if let Some(stream) = self.multiplex.take_stream(now, since) {
            return Ok(Some(Channel::http2(stream)));
        }
        let lease = match since {
            Some(_) => self.pool.fresh(self.dial(true)).await,
            None => self.pool.wait(|| self.dial(false)).await,
        };
        lease.map(|lease| lease.map(Channel::http1))
    }

    /// Dials where HTTP/2 may be spoken.
    fn dial_h2(&self, mut dialling: Dialling) -> impl Future<Output = ()> + 'static {
        let (dial, pool) = (self.dial(true), Rc::clone(&self.pool));
        async move {
            let dialled = dial.await;
            dialling.come_to(dialled.map(|wire| {
                if let Some(wire) = wire {
                    pool.adopt(wire);
                }
            }));
        }
    }

    /// Dials; `None` when HTTP/2 is spoken: the connection is with its likes then, if it `is_needed`
    /// there or they have no place.
    fn dial(
        &self,
        is_needed: bool,
    ) -> impl Future<Output = Result<Option<Wire>, ConnectError>> + 'static {
        let (connector, multiplex) = (Rc::clone(&self.connector), Rc::clone(&self.multiplex));
        let speaks_h2 = Rc::clone(&self.speaks_h2);
        let (memory, alarm) = (Rc::clone(&self.memory), self.clock.alarm());
        async move {
            let (stream, h2) = connector.connect().await?;
            speaks_h2.set(Some(h2));
            if !h2 {
                return Ok(Some(Wire::new(stream, memory, alarm, lifetime(random()))));
            }
            // Of many that were dialled for HTTP/1.1 one will do.
            if !is_needed && multiplex.has_room(Instant::now()) {
                return Ok(None);
            }
            let opened = multiplex.open(stream, lifetime(random()), connector.target());
            opened.await.map(|()| None)
        }
    }

    fn timeout(&self) -> ConnectError {
        ConnectError::Timeout {
            target: self.spec.origin.authority(),
            stage: Stage::Turn,
        }
    }
}

/// How long a connection lives with this random number.
fn lifetime(random: u16) -> Duration {
    LIFETIME * 4 / 5 + LIFETIME * 2 / 5 * u32::from(random) / u32::from(u16::MAX)
}

fn random() -> u16 {
    let mut bytes = [0; 2];
    // Without randomness all are renewed after the same time, which costs a little and breaks nothing.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u16::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_lives_five_minutes_a_fifth_more_or_less() {
        assert_eq!(lifetime(0), Duration::from_secs(240));
        assert_eq!(lifetime(u16::MAX), Duration::from_secs(360));
        assert_eq!(lifetime(u16::MAX / 3), Duration::from_secs(280));
    }
}
