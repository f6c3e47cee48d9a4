//! A byte stream that can be closed from outside: hyper keeps an HTTP/2 connection in a task of its
//! own until the last stream on it has ended, and one may never end. It breaks off by itself when the
//! peer sends frames without end that bring nothing, for which hyper would do nothing else.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::alert;
use crate::frames::Frames;

/// The stream.
pub(super) struct Closable<S> {
    stream: S,
    closer: Closer,
    frames: Frames,
}

/// What closes it.
#[derive(Clone, Default)]
pub(super) struct Closer(Rc<State>);

#[derive(Default)]
struct State {
    closed: Cell<bool>,
    requests: Cell<u64>,
    reader: RefCell<Option<Waker>>,
    listener: Cell<Option<Waker>>,
    alert: Cell<Option<AlertDescription>>,
}

impl Closer {
    /// Ends the connection: whoever reads from it is told that it broke off.
    pub(super) fn close(&self) {
        self.0.closed.set(true);
        if let Some(reader) = self.0.reader.take() {
            reader.wake();
        }
    }

    /// Whether the connection is over: nothing more is read or written.
    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// The alert of TLS that ended it, of which hyper keeps no more than the words.
    pub(super) fn alert(&self) -> Option<AlertDescription> {
        self.0.alert.get()
    }

    /// A request is about to go up.
    pub(super) fn count_request(&self) {
        self.0.requests.set(self.0.requests.get() + 1);
    }

    /// Wakes somebody else when something was read, once.
    pub(super) fn wake_on_read(&self, listener: &Waker) {
        self.0.listener.set(Some(listener.clone()));
    }
}

impl<S> Closable<S> {
    pub(super) fn new(stream: S, closer: Closer) -> Self {
        Self {
            stream,
            closer,
            frames: Frames::of_upstream(Instant::now()),
        }
    }

    /// Counts what came.
    fn admit(&mut self, bytes: &[u8]) -> io::Result<()> {
        let requests = self.closer.0.requests.get();
        if self.frames.admit(bytes, requests, Instant::now) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "the upstream sent too many frames that bring nothing, such as PING, SETTINGS or interim answers",
        ))
    }

    /// Counts what was written.
    fn count(&mut self, outcome: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.frames.sent(*bytes);
        }
    }
}

impl<S> Drop for Closable<S> {
    fn drop(&mut self) {
        self.closer.0.closed.set(true);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Closable<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let state = &this.closer.0;
        if state.closed.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read {
            state.alert.set(alert(error));
        }
        if read.is_pending() {
            let mut reader = state.reader.borrow_mut();
            match &*reader {
                Some(known) if known.will_wake(cx.waker()) => {}
                _ => *reader = Some(cx.waker().clone()),
            }
        } else if let Some(listener) = state.listener.take() {
            listener.wake();
        }
        this.admit(&buf.filled()[before..])?;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Closable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
