//! What is known of one caller's connection while it lasts: who is at the other end, and which
//! stage it is in, so that the byte stream below can keep the time limits and the exchanges above
//! need no timers of their own.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use super::known_host::LastHost;
use crate::alarm::{Alarm, AlarmClock};
use crate::caller::certificate::PeerNames;
use crate::socket::PIECE;

/// Who has asked for nothing for so long rests: what hyper keeps for a connection, 17 KiB, is given back
/// and made anew with the next request, in a microsecond or two. Whoever asks again and again does not
/// come to that.
const REST: Duration = Duration::from_secs(1);

/// As much of a body is written before more of it is made: half a piece, because links cut a piece
/// into several, and each of those would be a write of its own.
const ENOUGH: usize = PIECE / 2;

/// The time limits of a caller's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To the first byte.
    pub first_byte: Duration,
    /// From the first byte of a head to its end.
    pub request_head: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// Without progress while writing.
    pub write_stall: Duration,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// At least one exchange is open.
    Exchange,
    /// Nothing has come yet.
    FirstByte,
    /// Part of a request head has come.
    Head,
    /// Between two requests.
    Idle,
    /// The same for so long that nothing is kept for the next one. Not over HTTP/2.
    Resting,
}

/// One caller's connection.
#[derive(Debug)]
pub struct Conversation {
    /// The address at the other end; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    /// Whether it is TLS.
    pub secure: bool,
    /// The names in the caller's certificate, which TLS has verified.
    pub certificate: Option<Box<PeerNames>>,
    /// The host that its last request named.
    pub(super) last_host: LastHost,
    patience: Patience,
    stage: Cell<Stage>,
    open: Cell<usize>,
    /// Requests so far.
    requests: Cell<u64>,
    streams: Cell<bool>,
    unread: Cell<bool>,
    reads: Cell<bool>,
    cut_short: Cell<bool>,
    upgrade: Cell<bool>,
    /// What stands before a `#` in the request line that is coming.
    fragment: RefCell<Option<Vec<u8>>>,
    /// Bytes of an answer's body that are on their way to the socket.
    unwritten: Cell<usize>,
    /// Whether the next piece waits for them.
    waits: Cell<bool>,
    read: Alarm,
    write: Alarm,
}

impl Conversation {
    /// A connection that was just accepted.
    pub fn new(clock: &Rc<AlarmClock>, patience: Patience, peer: Option<IpAddr>) -> Self {
        let read = clock.alarm();
        read.set(patience.first_byte);
        Self {
            peer,
            secure: false,
            certificate: None,
            last_host: LastHost::default(),
            patience,
            stage: Cell::new(Stage::FirstByte),
            open: Cell::new(0),
            requests: Cell::new(0),
            streams: Cell::new(false),
            unread: Cell::new(false),
            reads: Cell::new(false),
            cut_short: Cell::new(false),
            upgrade: Cell::new(false),
            fragment: RefCell::default(),
            unwritten: Cell::new(0),
            waits: Cell::new(false),
            read,
            write: clock.alarm(),
        }
    }

    /// The same over TLS, with the names in the caller's certificate if it has shown one.
    pub fn over_tls(self, certificate: Option<PeerNames>) -> Self {
        Self {
            secure: true,
            certificate: certificate.map(Box::new),
            ..self
        }
    }

    /// HTTP/2 is spoken: frames come between requests too, and are no request head.
    pub fn speaks_http2(&self) {
        self.streams.set(true);
    }

    /// Whether HTTP/2 is spoken.
    pub fn has_streams(&self) -> bool {
        self.streams.get()
    }

    /// How long a caller may leave what is sent to it unread.
    pub fn write_stall(&self) -> Duration {
        self.patience.write_stall
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Whether an exchange is open, or something waits to be written.
    pub fn is_busy(&self) -> bool {
        self.stage.get() == Stage::Exchange || !self.write.is_off()
    }

    /// Bytes arrived.
    pub fn bytes_arrived(&self) {
        let begins_head = match self.stage.get() {
            Stage::FirstByte | Stage::Resting => true,
            Stage::Idle => !self.streams.get(),
            Stage::Exchange | Stage::Head => false,
        };
        if begins_head {
            self.stage.set(Stage::Head);
            self.read.set(self.patience.request_head);
        }
    }

    /// The caller says over HTTP/2 that it has read more of an answer (WINDOW_UPDATE, RFC 9113 section
    /// 6.9).
    pub fn caller_reads(&self) {
        self.reads.set(true);
    }

    /// Whether it has said so since this was asked last.
    pub fn has_read(&self) -> bool {
        self.reads.take()
    }

    /// A request head is complete.
    pub fn exchange_began(&self) {
        self.open.set(self.open.get() + 1);
        self.requests.set(self.requests.get() + 1);
        self.unwritten.set(0);
        self.stage.set(Stage::Exchange);
        self.read.clear();
    }

    /// The line that is coming has a `#`, behind this.
    pub fn saw_fragment(&self, before: Vec<u8>) {
        self.fragment.replace(Some(before));
    }

    /// Whether the line of this request had one; asked once for each. Below, where it was seen, nobody
    /// knows for sure where a request begins that follows another without a pause.
    pub fn had_fragment(&self, method: &str) -> bool {
        let Some(before) = self.fragment.take() else {
            return false;
        };
        let rest = before.strip_prefix(method.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b" "))
    }

    /// An exchange is over; `unread` when some of its request body was not read.
    pub fn exchange_ended(&self, unread: bool) {
        self.open.set(self.open.get() - 1);
        self.unread.set(self.unread.get() || unread);
        if self.open.get() == 0 {
            self.stage.set(Stage::Idle);
            self.await_request();
        }
    }

    /// The next request is waited for from now on.
    fn await_request(&self) {
        let limit = self.patience.keep_alive;
        let first = if self.may_rest() {
            limit.min(REST)
        } else {
            limit
        };
        self.read.set(first);
    }

    /// Whether it may come to rest: not over HTTP/2, nor where something of a request may still come.
    fn may_rest(&self) -> bool {
        !(self.streams.get() || self.unread.get())
    }

    /// Lets it rest from now on when it is time and nothing is left to be read or written. What has come
    /// unseen ends that.
    pub fn rest_if_due(&self) {
        let left = self.patience.keep_alive.saturating_sub(REST);
        let rests = self.stage.get() == Stage::Idle
            && !self.read.is_set()
            && self.write.is_off()
            && self.may_rest()
            && !left.is_zero();
        if rests {
            self.stage.set(Stage::Resting);
            self.read.set(left);
        }
    }

    /// Something came, or is about to, that nobody reads.
    pub fn leave_unread(&self) {
        self.unread.set(true);
    }

    /// Whether the caller may still be sending what nobody reads.
    pub fn has_unread(&self) -> bool {
        self.unread.get()
    }

    /// An answer broke off that only the end of the connection ends.
    pub fn cut_short(&self) {
        self.cut_short.set(true);
    }

    /// Whether an answer broke off.
    pub fn is_cut_short(&self) -> bool {
        self.cut_short.get()
    }

    /// A request asked for an upgrade (RFC 9110 section 7.8); there never is one.
    pub fn asks_for_upgrade(&self) {
        self.upgrade.set(true);
    }

    /// Whether one has.
    pub fn has_asked_for_upgrade(&self) -> bool {
        self.upgrade.get()
    }

    /// Whether what has to arrive in this stage is overdue. It is not waited for before the answer is
    /// written.
    pub fn is_overdue(&self, cx: &Context<'_>) -> bool {
        self.read.has_rung(cx) && self.write.is_off()
    }

    /// Writing made progress after it had waited.
    pub fn write_progressed(&self) {
        // Also where it has rung and nobody had looked yet.
        if !self.write.is_off() {
            self.write.clear();
            // Not in HTTP/2: answers are part of their exchanges there until they are sent, and what
            // is written between those must not keep a connection.
            if self.stage.get() == Stage::Idle && !self.streams.get() {
                self.await_request();
            }
        }
    }

    /// A piece of an answer's body is on its way to the socket.
    pub fn gave(&self, bytes: usize) {
        self.unwritten.set(self.unwritten.get() + bytes);
    }

    /// So much was written, of heads too; whether the next piece of a body has waited for that.
    pub fn wrote(&self, bytes: usize) -> bool {
        let left = self.unwritten.get().saturating_sub(bytes);
        self.unwritten.set(left);
        left < ENOUGH && self.waits.take()
    }

    /// Whether the next piece of a body has to wait until those before are written, so that a caller
    /// who does not read holds no more than one and a half. The streams of HTTP/2 have windows for
    /// that.
    pub fn writes_first(&self) -> bool {
        let waits = self.unwritten.get() >= ENOUGH && !self.streams.get();
        self.waits.set(waits);
        waits
    }

    /// Writing waits; whether it has for too long.
    pub fn write_stalls(&self, cx: &Context<'_>) -> bool {
        if self.write.has_rung(cx) {
            return true;
        }
        if self.write.is_off() {
            self.write.set(self.patience.write_stall);
        }
        false
    }
}
