//! Bodies of answers: streams of a given length, streams fed by a test, and streams that drip, break
//! off or hide their length.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::journal::{BodyEnd, Journal};
use super::wire::{Ending, Link, Turn};
use crate::clock;

/// The body of every answer.
pub(super) type Flow = UnsyncBoxBody<Bytes, Broken>;

/// A connection or stream that breaks off on purpose.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Without a word.
    #[error("the simulator was told to break the answer off here")]
    Here,
    /// HTTP/2: with this code.
    #[error("the simulator was told to reset this stream")]
    Coded(#[source] h2::Error),
}

/// A piece of a body, or its end before its time.
pub(super) type Piece = Result<Frame<Bytes>, Broken>;

type Polled = Poll<Option<Piece>>;

/// Another body whose length is not announced.
pub(super) struct Unmeasured<B>(B);

impl<B> Unmeasured<B> {
    pub(super) fn new(body: B) -> Self {
        Self(body)
    }
}

impl<B: Body<Data = Bytes, Error = Broken> + Unpin> Body for Unmeasured<B> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// The same piece over and over, up to a total length.
pub(super) struct Repeat {
    pub(super) piece: Bytes,
    pub(super) left: u64,
}

impl Body for Repeat {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(self.piece.len() as u64);
        self.left -= length;
        // At most the piece's own length, which is a usize.
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..length as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Pieces as they come out of a channel; ends when the sender is gone.
pub(super) struct Fed(pub(super) mpsc::Receiver<Piece>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        self.0.poll_recv(cx)
    }
}

/// Another body, a few bytes at a time with a pause after each piece.
pub(super) struct Drip {
    inner: Flow,
    size: usize,
    every: Duration,
    rest: Bytes,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Drip {
    pub(super) fn new(inner: Flow, size: usize, every: Duration) -> Self {
        Self {
            inner,
            size: size.max(1),
            every,
            rest: Bytes::new(),
            pause: None,
        }
    }
}

impl Body for Drip {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            }
        }
        let size = self.size.min(self.rest.len());
        let piece = self.rest.split_to(size);
        self.pause = Some(Box::pin(clock::sleep(self.every)));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        match self.inner.size_hint().exact() {
            Some(inner) => SizeHint::with_exact(inner + rest),
            None => SizeHint::default(),
        }
    }
}

/// Another body that breaks off after some bytes, and takes its connection with it.
pub(super) struct Cut {
    inner: Flow,
    left: usize,
    ending: Ending,
    link: Arc<Link>,
    flushing: bool,
}

impl Cut {
    pub(super) fn new(inner: Flow, after: usize, ending: Ending, link: &Arc<Link>) -> Self {
        Self {
            inner,
            left: after,
            ending,
            link: Arc::clone(link),
            flushing: false,
        }
    }

    fn poll_break(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.ending == Ending::Hang {
            return Poll::Pending;
        }
        if !self.flushing {
            // hyper flushes what it has when a body has nothing to give. Without this pause it
            // would throw the last pieces away together with the connection.
            self.flushing = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.link.end_with(self.ending);
        Poll::Ready(Some(Err(match self.ending {
            Ending::Notify => Broken::Coded(h2::Reason::NO_ERROR.into()),
            _ => Broken::Here,
        })))
    }
}

impl Body for Cut {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if self.left == 0 {
            return self.poll_break(cx);
        }
        let Some(Ok(frame)) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
            self.left = 0;
            return self.poll_break(cx);
        };
        let Ok(mut data) = frame.into_data() else {
            self.left = 0;
            return self.poll_break(cx);
        };
        data.truncate(self.left);
        self.left -= data.len();
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body that hyper gets: tells the journal how it ended, and ends the exchange.
pub(super) struct Outflow {
    flow: Flow,
    journal: Arc<Journal>,
    number: u64,
    end: BodyEnd,
    _turn: Turn,
}

impl Outflow {
    /// `bodiless`: an answer whose content stays here, as to HEAD.
    pub(super) fn new(
        flow: Flow,
        journal: &Arc<Journal>,
        number: u64,
        bodiless: bool,
        turn: Turn,
    ) -> Self {
        Self {
            flow,
            journal: Arc::clone(journal),
            number,
            end: if bodiless {
                BodyEnd::Whole
            } else {
                BodyEnd::Open
            },
            _turn: turn,
        }
    }
}

impl Body for Outflow {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let polled = Pin::new(&mut self.flow).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.end = BodyEnd::Whole,
            Poll::Ready(Some(Err(_))) => self.end = BodyEnd::Aborted,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.flow.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.flow.size_hint()
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        let end = match self.end {
            BodyEnd::Open if self.flow.is_end_stream() => BodyEnd::Whole,
            BodyEnd::Open | BodyEnd::Unread => BodyEnd::Aborted,
            decided => decided,
        };
        self.journal.answered(self.number, end);
    }
}
