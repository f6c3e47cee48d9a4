//! The byte stream to a caller, which keeps the time limits of its connection: whoever reads or
//! writes through it is told when the other side has been waited for long enough. It sits above
//! TLS, whose handshake is timed by whoever shakes hands.
//!
//! Closing lingers (RFC 9112 section 9.6): when a request was answered before all of it was read, or
//! more has come behind it, what still comes is read and thrown away for a while, so that the caller
//! gets to read the answer before its system is told that nobody listened. Over HTTP/2 a caller that
//! reads says so all the time, and that lasts as long as it does.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

use super::heads::Heads;
use crate::alarm::Alarm;
use crate::frames::Frames;
use crate::proxy::conversation::{Conversation, Stage};
use crate::socket::PIECE;
use crate::upstream::{LINGER, LINGER_BYTES};

/// What is written in one piece, even if it comes in several: an entity, or a short page.
const SHORT: usize = 4096;

/// A caller's socket under its connection's time limits.
pub(super) struct Timed<S> {
    /// The socket, with the bound on one read: hyper makes its buffer as large as the longest head
    /// when that is filled again and again, and three of that size are on their way up.
    inner: Take<S>,
    conversation: Rc<Conversation>,
    /// Read ahead to see which protocol is spoken, or that somebody asks again.
    ahead: Vec<u8>,
    linger: Linger,
    alarm: Alarm,
    /// What comes, when it is HTTP/2.
    frames: Option<Box<(Frames, Rc<Heads>)>>,
}

enum Linger {
    No,
    Reading(usize),
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Timed<S> {
    /// Takes charge of a socket. `alarm` is for lingering.
    pub(super) fn new(inner: S, conversation: Rc<Conversation>, alarm: Alarm) -> Self {
        Self {
            inner: inner.take(PIECE as u64),
            conversation,
            ahead: Vec::new(),
            linger: Linger::No,
            alarm,
            frames: None,
        }
    }

    /// The socket.
    pub(super) fn into_inner(self) -> S {
        self.inner.into_inner()
    }

    /// HTTP/2 is spoken from the first byte on: its frames are counted, and what there is of heads
    /// together with those of other connections.
    pub(super) fn count_frames(&mut self, heads: &Rc<Heads>) {
        let frames = Frames::of_caller(Instant::now());
        self.frames = Some(Box::new((frames, Rc::clone(heads))));
    }

    /// Whether a connection that rests for too long ends with GOAWAY, which is written above.
    fn says_goodbye(&self) -> bool {
        self.frames.is_some() && self.conversation.stage() == Stage::Idle
    }

    /// Counts what was read into `buf` after `before`. Whether it says that the caller reads.
    fn admit(&mut self, buf: &ReadBuf<'_>, before: usize) -> io::Result<bool> {
        let Some((frames, _)) = self.frames.as_deref_mut() else {
            return Ok(false);
        };
        let (requests, unread) = (self.conversation.requests(), frames.unread());
        if frames.admit(&buf.filled()[before..], requests, Instant::now) {
            let reads = frames.unread() < unread;
            if reads {
                self.conversation.caller_reads();
            }
            return Ok(reads);
        }
        tracing::info!(
            peer = self.conversation.peer.map(tracing::field::display),
            "an HTTP/2 connection was closed: too many frames that bring nothing, such as PING or SETTINGS"
        );
        Err(io::ErrorKind::QuotaExceeded.into())
    }

    /// Whether what comes begins as HTTP/2's preface does (RFC 9113 section 3.4). No method of
    /// HTTP/1.1 begins so.
    pub(super) async fn begins_http2(&mut self) -> io::Result<bool> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0";
        let mut seen = Vec::with_capacity(PREFACE.len());
        let mut piece = [0_u8; PREFACE.len()];
        while PREFACE.starts_with(&seen) && seen.len() < PREFACE.len() {
            let wanted = PREFACE.len() - seen.len();
            let read = self.read(&mut piece[..wanted]).await?;
            if read == 0 {
                break;
            }
            seen.extend_from_slice(&piece[..read]);
        }
        let is_preface = seen == PREFACE;
        self.ahead = seen;
        Ok(is_preface)
    }

    /// Waits for what comes next but for empty lines, and keeps it for whoever reads then; `false` at
    /// the end.
    pub(super) async fn reads_ahead(&mut self) -> io::Result<bool> {
        poll_fn(|cx| {
            while self.ahead.is_empty() {
                // Not in the task, where it would be kept while nothing comes.
                let mut room = [const { MaybeUninit::uninit() }; SHORT];
                let mut piece = ReadBuf::uninit(&mut room);
                ready!(Pin::new(&mut *self).poll_read(cx, &mut piece))?;
                if piece.filled().is_empty() {
                    return Poll::Ready(Ok(false));
                }
                self.put_back(piece.filled());
            }
            Poll::Ready(Ok(true))
        })
        .await
    }

    /// Whoever has read this leaves it to the next reader. Empty lines are nothing to either.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        if begins_request(bytes) {
            self.ahead.extend_from_slice(bytes);
            self.conversation.bytes_arrived();
        }
    }

    /// Whether a caller whose connection is closed may be sending still.
    fn awaits_more(&self) -> bool {
        self.conversation.has_unread() || self.frames.is_some()
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waste = [0_u8; 16 * 1024];
        while let Linger::Reading(budget) = self.linger {
            let mut buffer = ReadBuf::new(&mut waste);
            self.inner.set_limit(PIECE as u64);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && budget > 0 => {
                    self.linger = Linger::Reading(budget.saturating_sub(buffer.filled().len()));
                    self.conversation.leave_unread();
                    match self.admit(&buffer, 0) {
                        Ok(true) => self.alarm.set(LINGER),
                        Ok(false) => {}
                        Err(_) => self.linger = Linger::Over,
                    }
                }
                Poll::Pending if self.awaits_more() && !self.alarm.has_rung(cx) => {
                    return Poll::Pending;
                }
                Poll::Ready(_) | Poll::Pending => self.linger = Linger::Over,
            }
        }
        Poll::Ready(())
    }

    /// Counts what was written.
    fn count(&mut self, cx: &Context<'_>, outcome: &Poll<io::Result<usize>>) {
        let Poll::Ready(Ok(bytes)) = outcome else {
            return;
        };
        if let Some((frames, _)) = self.frames.as_deref_mut() {
            frames.sent(*bytes);
        } else if self.conversation.wrote(*bytes) {
            cx.waker().wake_by_ref();
        }
    }

    fn written<T>(&self, cx: &Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Ready(Ok(done)) => {
                self.conversation.write_progressed();
                Poll::Ready(Ok(done))
            }
            Poll::Pending if self.conversation.write_stalls(cx) => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            other => other,
        }
    }
}

/// Whether there is more than empty lines, which begin no request (RFC 9112 section 2.2).
fn begins_request(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let fits = this.ahead.len().min(buf.remaining());
            let before = buf.filled().len();
            buf.put_slice(&this.ahead[..fits]);
            this.ahead.drain(..fits);
            if this.ahead.is_empty() {
                this.ahead = Vec::new();
            }
            return Poll::Ready(this.admit(buf, before).map(drop));
        }
        if let Some((_, heads)) = this.frames.as_deref() {
            ready!(heads.poll_room(cx));
        }
        let before = buf.filled().len();
        this.inner.set_limit(PIECE as u64);
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if begins_request(&buf.filled()[before..]) {
                    this.conversation.bytes_arrived();
                }
                this.admit(buf, before)?;
                // What is read in lingering nobody decodes: it takes no room.
                if let Some((frames, heads)) = this.frames.as_deref_mut() {
                    heads.count(frames.take_heads());
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending if this.conversation.is_overdue(cx) && !this.says_goodbye() => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            other => other,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(this.inner.get_mut()).poll_write(cx, buf);
        this.count(cx, &outcome);
        this.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A short answer comes as head and body, and `writev` costs the kernel 0.1 µs more than
        // `send`: more than to put them together.
        let mut room = [const { MaybeUninit::uninit() }; SHORT];
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        if (1..=SHORT).contains(&length) {
            let mut joined = ReadBuf::uninit(&mut room);
            bufs.iter().for_each(|buf| joined.put_slice(buf));
            return self.poll_write(cx, joined.filled());
        }
        let this = self.get_mut();
        let outcome = Pin::new(this.inner.get_mut()).poll_write_vectored(cx, bufs);
        this.count(cx, &outcome);
        this.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.get_ref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(this.inner.get_mut()).poll_flush(cx);
        this.written(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Linger::No = this.linger {
            let outcome = Pin::new(this.inner.get_mut()).poll_shutdown(cx);
            ready!(this.written(cx, outcome))?;
            this.alarm.set(LINGER);
            this.linger = Linger::Reading(LINGER_BYTES);
        }
        this.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests;
