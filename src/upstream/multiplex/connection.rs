//! One HTTP/2 connection, which hyper drives in a task.
//!
//! Until the peer's SETTINGS have come it takes one request only: how many it allows is not known.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;

use super::super::closable::{Closable, Closer};
use super::super::pool::PATIENCE;
use super::super::stream::UpstreamStream;
use super::super::wire::IDLE;
use super::capacity_notify::CapacityNotify;
use super::revocable_body::RevocableBody;
use crate::clock::HyperTimer;
use crate::executor::LocalExec;

/// The most that one stream's reader can leave unread.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Streams we open on one connection, however many the peer allows.
const STREAMS: usize = 100;
/// The largest head of an answer, as over HTTP/1.1.
const HEAD: u32 = 64 * 1024;
/// What hyper may hold of one request's body: RFC 9113's initial window.
const SEND_BUFFER: usize = 64 * 1024;
/// A dead connection is noticed within these: a PING every 15 s, its answer within 10 s.
const PING: Duration = Duration::from_secs(15);
const PONG: Duration = Duration::from_secs(10);
/// What `allowed` is until the peer's SETTINGS have come: a number that they cannot name, and hyper
/// does not put in place of one that they leave out.
const UNKNOWN: usize = usize::MAX - 1;

/// One HTTP/2 connection.
pub(super) struct H2Connection {
    pub(super) sender: http2::SendRequest<RevocableBody>,
    closer: Closer,
    streams: Cell<usize>,
    /// Bodies that hyper still holds although their exchange is over.
    pub(super) left: Rc<Cell<usize>>,
    /// What the peer allows at the moment.
    allowed: Rc<Cell<usize>>,
    pub(super) notify: Rc<CapacityNotify>,
    opened: Instant,
    retire_at: Instant,
    /// Whether it took a request since the last sweep, and the last sweep that found it in use.
    used: Cell<bool>,
    rests_since: Cell<Instant>,
}

impl H2Connection {
    /// Speaks HTTP/2 on a connected stream.
    pub(super) async fn open(
        stream: UpstreamStream,
        lifetime: Duration,
        notify: Rc<CapacityNotify>,
    ) -> Result<Rc<Self>, hyper::Error> {
        let closer = Closer::default();
        let window = STREAM_WINDOW * u32::try_from(STREAMS).unwrap_or(1);
        let (sender, mut connection) = http2::Builder::new(LocalExec)
            .timer(HyperTimer)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window)
            .initial_max_send_streams(UNKNOWN)
            .max_header_list_size(HEAD)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .handshake(TokioIo::new(Closable::new(stream, closer.clone())))
            .await?;
        let allowed = Rc::new(Cell::new(UNKNOWN));
        let (known, waiters, reader) = (Rc::clone(&allowed), Rc::clone(&notify), closer.clone());
        tokio::task::spawn_local(async move {
            let driven = std::future::poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                let allows = connection.current_max_send_streams();
                if known.replace(allows) != allows {
                    waiters.wake_all();
                }
                // hyper reads in another task, and what comes may be SETTINGS that allow more or less.
                reader.wake_on_read(cx.waker());
                polled
            });
            if let Err(error) = driven.await {
                tracing::debug!(%error, "an HTTP/2 connection to an upstream ended");
            }
            waiters.wake_all();
        });
        let opened = Instant::now();
        Ok(Rc::new(Self {
            sender,
            closer,
            streams: Cell::new(0),
            left: Rc::default(),
            allowed,
            notify,
            opened,
            retire_at: opened + lifetime,
            used: Cell::new(true),
            rests_since: Cell::new(opened),
        }))
    }

    pub(super) fn is_open(&self, now: Instant) -> bool {
        now < self.retire_at && !self.sender.is_closed()
    }

    /// Whether it takes another request now.
    pub(super) fn has_room(&self) -> bool {
        let most = match self.allowed.get() {
            UNKNOWN => 1,
            allowed => allowed.min(STREAMS),
        };
        self.left.get() == 0 && self.streams.get() < most
    }

    /// Whether the peer allows no stream at the moment.
    pub(super) fn allows_none(&self) -> bool {
        self.allowed.get() == 0
    }

    /// Whether nothing more goes up on it.
    pub(super) fn is_over(&self) -> bool {
        self.closer.is_closed()
    }

    /// The alert of TLS that ended it.
    pub(super) fn alert(&self) -> Option<AlertDescription> {
        self.closer.alert()
    }

    /// Whether one that it has may end and leave its place to another.
    pub(super) fn is_busy(&self) -> bool {
        self.left.get() == 0 && !self.is_idle()
    }

    /// Whether nothing but bodies of exchanges that are over is left on it.
    pub(super) fn is_spoilt(&self) -> bool {
        self.left.get() > 0 && self.is_idle()
    }

    pub(super) fn is_younger(&self, since: Instant) -> bool {
        self.opened >= since
    }

    /// Whether the peer's SETTINGS may come yet, `limit` after it was opened at the latest. Those that
    /// allow no stream are for short (RFC 9113 section 6.5.2), and another server may allow some.
    pub(super) fn is_settling(&self, now: Instant, limit: Duration) -> bool {
        let limit = match self.allowed.get() {
            UNKNOWN => limit,
            0 => limit.min(PATIENCE),
            _ => return false,
        };
        now < self.opened + limit
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    /// Looks whether it is idle for too long. Time is not read when a request ends; this is called
    /// about once a second.
    pub(super) fn has_rested(&self, now: Instant) -> bool {
        if self.used.take() || !self.is_idle() {
            self.rests_since.set(now);
        }
        now.duration_since(self.rests_since.get()) >= IDLE
    }

    pub(super) fn occupy(&self) {
        self.used.set(true);
        self.streams.set(self.streams.get() + 1);
        self.closer.count_request();
    }

    pub(super) fn vacate(&self) {
        self.streams.set(self.streams.get() - 1);
        self.notify.wake_one();
    }
}

/// Nobody waits for a connection to say goodbye on which a body is stuck.
impl Drop for H2Connection {
    fn drop(&mut self) {
        if self.left.get() > 0 {
            self.closer.close();
        }
    }
}
