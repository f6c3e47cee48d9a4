//! What one turn of an HTTP/2 connection writes to its caller, gathered and written out at the turn's
//! end. h2 writes each DATA frame of 1 KB and more out before it takes the next one: eight answers
//! that are ready together would be eight or sixteen system calls, and one such call costs more than
//! all else that a short answer needs. (tokio's `BufWriter` obeys each flush, and keeps its room while a
//! connection rests.)

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered: what h2 itself gathers of short frames, and one TLS record.
const MOST: usize = 16 * 1024;

/// A socket of which hyper has one handle, and whoever polls hyper the other. Nothing that is written
/// goes out for certain before `poll_write_out` says so; hyper's own flushes do nothing.
pub(super) struct Gathered<S>(Rc<RefCell<Gathering<S>>>);

struct Gathering<S> {
    socket: S,
    /// No room is kept while nothing waits: most connections rest.
    waiting: Vec<u8>,
    /// How much of it is written.
    written: usize,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Gathers what is written to this socket.
    pub(super) fn new(socket: S) -> Self {
        Self(Rc::new(RefCell::new(Gathering {
            socket,
            waiting: Vec::new(),
            written: 0,
        })))
    }

    /// Writes out what was gathered. To be called after each turn, and when `cx` is woken.
    pub(super) fn poll_write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.0.borrow_mut();
        ready!(this.poll_empty(cx, &[]))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Writes until nothing waits; how much was written of `more`, which comes after it.
    fn poll_empty(&mut self, cx: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        let mut beyond = 0;
        while self.written < self.waiting.len() {
            let waiting = &self.waiting[self.written..];
            let pieces = [IoSlice::new(waiting), IoSlice::new(more)];
            let bytes = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, &pieces))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            beyond = bytes.saturating_sub(waiting.len());
            self.written += bytes - beyond;
        }
        self.waiting = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(beyond))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut this = self.0.borrow_mut();
        if this.waiting.len() + buf.len() <= MOST {
            if this.waiting.capacity() == 0 {
                this.waiting.reserve_exact(MOST);
            }
            this.waiting.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(this.poll_empty(cx, buf))?;
        if written > 0 {
            return Poll::Ready(Ok(written));
        }
        Pin::new(&mut this.socket).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.0.borrow_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;

    /// Takes so many bytes with each call, and none with a call for which nothing is said.
    #[derive(Default)]
    struct Socket {
        takes: Vec<usize>,
        calls: Vec<Vec<u8>>,
        closed: bool,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let Some(most) = self.takes.pop() else {
                return Poll::Pending;
            };
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            let taken = all[..most.min(all.len())].to_vec();
            self.calls.push(taken);
            Poll::Ready(Ok(most.min(all.len())))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.closed = true;
            Poll::Ready(Ok(()))
        }
    }

    fn socket(takes: Vec<usize>) -> (Gathered<Socket>, Context<'static>) {
        let socket = Gathered::new(Socket {
            takes,
            ..Socket::default()
        });
        (socket, Context::from_waker(Waker::noop()))
    }

    fn write(gathered: &mut Gathered<Socket>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(gathered).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
    }

    fn calls(gathered: &Gathered<Socket>) -> Vec<Vec<u8>> {
        gathered.0.borrow().socket.calls.clone()
    }

    #[test]
    fn the_answers_of_one_turn_are_written_in_one_call() {
        let (mut gathered, mut cx) = socket(vec![usize::MAX]);
        for answer in [&b"one"[..], b"two", b"three"] {
            assert!(write(&mut gathered, answer).is_ready());
            assert!(Pin::new(&mut gathered).poll_flush(&mut cx).is_ready());
        }
        assert!(calls(&gathered).is_empty());
        assert!(gathered.poll_write_out(&mut cx).is_ready());
        assert_eq!(calls(&gathered), [b"onetwothree"]);
        assert_eq!(
            gathered.0.borrow().waiting.capacity(),
            0,
            "a connection that rests keeps none"
        );
    }

    #[test]
    fn a_large_frame_goes_out_behind_what_waits_and_with_it() {
        let (mut gathered, _) = socket(vec![usize::MAX]);
        let large = vec![b'x'; MOST];
        assert!(write(&mut gathered, b"head").is_ready());
        let written = write(&mut gathered, &large);
        assert!(matches!(written, Poll::Ready(Ok(MOST))));
        assert_eq!(calls(&gathered), [[&b"head"[..], &large].concat()]);
    }

    #[test]
    fn no_more_than_a_bound_is_gathered_for_a_caller_that_does_not_read() {
        let (mut gathered, mut cx) = socket(Vec::new());
        for _ in 0..4 {
            let frame = vec![b'x'; MOST / 4];
            assert!(write(&mut gathered, &frame).is_ready());
            assert!(gathered.poll_write_out(&mut cx).is_pending());
        }
        assert!(write(&mut gathered, b"x").is_pending());
        assert_eq!(gathered.0.borrow().waiting.capacity(), MOST);
    }

    #[test]
    fn what_waits_is_written_before_the_end() {
        let (mut gathered, mut cx) = socket(Vec::new());
        assert!(write(&mut gathered, b"GOAWAY").is_ready());
        assert!(Pin::new(&mut gathered).poll_shutdown(&mut cx).is_pending());
        assert!(!gathered.0.borrow().socket.closed);
        gathered.0.borrow_mut().socket.takes = vec![3, 3];
        assert!(Pin::new(&mut gathered).poll_shutdown(&mut cx).is_ready());
        assert!(gathered.0.borrow().socket.closed);
        assert_eq!(calls(&gathered).concat(), b"GOAWAY");
    }

    #[test]
    fn a_socket_that_takes_nothing_is_an_error() {
        let (mut gathered, mut cx) = socket(vec![0]);
        assert!(write(&mut gathered, b"x").is_ready());
        let Poll::Ready(Err(error)) = gathered.poll_write_out(&mut cx) else {
            panic!("it would be asked for ever");
        };
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }

    proptest! {
        #[test]
        fn every_byte_goes_out_once_and_in_order_whatever_the_socket_takes(
            lengths in prop::collection::vec(1..3 * MOST, 1..12),
            takes in prop::collection::vec(1..2 * MOST, 1..60),
        ) {
            let (mut gathered, mut cx) = socket(takes);
            let all: Vec<u8> = (0..lengths.iter().sum()).map(|at: usize| (at % 251) as u8).collect();
            let mut given = 0;
            for length in lengths {
                let end = given + length;
                while given < end {
                    match write(&mut gathered, &all[given..end]) {
                        Poll::Ready(written) => given += written.unwrap(),
                        // It had no room for a moment.
                        Poll::Pending => gathered.0.borrow_mut().socket.takes = vec![700, usize::MAX],
                    }
                }
                let _ = gathered.poll_write_out(&mut cx);
            }
            gathered.0.borrow_mut().socket.takes = vec![usize::MAX; 2];
            prop_assert!(gathered.poll_write_out(&mut cx).is_ready());
            prop_assert!(calls(&gathered).concat() == all);
        }
    }
}
