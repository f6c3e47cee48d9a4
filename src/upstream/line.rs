//! A byte stream that can be hung up from outside: hyper keeps an HTTP/2 connection in a task of its
//! own until the last stream on it has ended, and one may never end.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream.
pub(super) struct Line<S> {
    stream: S,
    receiver: Receiver,
}

/// What hangs up.
#[derive(Clone, Default)]
pub(super) struct Receiver(Rc<State>);

#[derive(Default)]
struct State {
    hung_up: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

impl Receiver {
    /// Ends the connection: whoever reads from it is told that it broke off.
    pub(super) fn hang_up(&self) {
        self.0.hung_up.set(true);
        if let Some(reader) = self.0.reader.take() {
            reader.wake();
        }
    }
}

impl<S> Line<S> {
    pub(super) fn new(stream: S, receiver: Receiver) -> Self {
        Self { stream, receiver }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let state = &this.receiver.0;
        if state.hung_up.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_pending() {
            let mut reader = state.reader.borrow_mut();
            match &*reader {
                Some(known) if known.will_wake(cx.waker()) => {}
                _ => *reader = Some(cx.waker().clone()),
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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
