//! The body that goes to the caller: an upstream's as it comes or with its links rewritten to lead
//! here, or one of our own. It carries the exchange, which is over when the body is.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::exchange::{Exchange, InFlightPermit};
use super::rewritten::Rewritten;
use crate::access_log::Outcome;
use crate::chain::Chain;
use crate::rewrite::DecodeError;
use crate::upstream::{ResponseBodyError, UpstreamBody};

/// Why the body of an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It could not be decoded, so its links could not be rewritten.
    #[error(transparent)]
    Coding(#[from] DecodeError),
    /// The upstream's did.
    #[error(transparent)]
    Upstream(#[from] ResponseBodyError),
}

/// The body of an answer.
pub struct ResponseBody {
    source: Source,
    exchange: Option<Box<Exchange>>,
    /// The failure that is told next time.
    broken: Option<BodyError>,
}

/// Where a body comes from.
pub(super) enum Source {
    /// Ours or complete, or what is left of it.
    Own(Bytes),
    /// Streamed and rewritten.
    Rewritten(Box<Rewritten>),
    /// Streamed. In a box as well: an answer is moved some fifteen times until hyper has it, and most
    /// are whole by then.
    Upstream(Box<UpstreamBody>),
}

impl ResponseBody {
    /// A body from anywhere.
    pub(super) fn new(source: Source, exchange: Box<Exchange>) -> Self {
        // In HTTP/2 nobody below leaves it out, and a caller takes it for a broken connection.
        let has_none = exchange.asks_for_head();
        let mut body = Self {
            source,
            exchange: Some(exchange),
            broken: None,
        };
        if has_none || body.is_end_stream() || body.is_whole() {
            body.finish();
        }
        body
    }

    /// All of it was given, or it broke off. The exchange is over with that, or with this body where
    /// the end may not be sent yet.
    fn close(&mut self, outcome: Outcome) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.outcome = outcome;
            if exchange.ends_when_sent() {
                // The upstream's part is over.
                exchange.place = None;
                self.exchange = Some(exchange);
            }
        }
    }

    /// Whether all of it was given.
    pub fn is_complete(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_none_or(|exchange| exchange.outcome == Outcome::Complete)
    }

    /// Ends it, because nobody reads it.
    pub fn let_go(mut self) -> Option<InFlightPermit> {
        self.exchange.take()?.let_go()
    }

    /// The status went out already: nothing but this line says why.
    fn note(&self, error: &BodyError) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        let upload = exchange.upload.as_ref();
        if upload.is_some_and(|upload| upload.fault().is_some()) {
            return;
        }
        tracing::warn!(
            route = exchange.route.map(|route| exchange.lane.name(route)),
            request_id = exchange.request_id.as_str(),
            reason = %Chain(error),
            "an answer broke off"
        );
    }

    /// Whether all of a declared length was given, and the caller's HTTP/1.1 asks for nothing behind
    /// it: a stream of HTTP/2 may end in a frame of its own, after that.
    fn is_whole(&self) -> bool {
        let streams = self.exchange.as_ref().is_some_and(|it| it.ends_when_sent());
        !streams && self.size_hint().exact() == Some(0)
    }

    /// The caller gets no more of it.
    fn finish(&mut self) {
        let rest = std::mem::replace(&mut self.source, Source::Own(Bytes::new()));
        if let Source::Upstream(body) = rest {
            body.end_alone();
        }
        self.close(Outcome::Complete);
    }

    fn passed(&mut self, frame: &mut Frame<Bytes>) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        if let Some(data) = frame.data_ref() {
            exchange.gave(data.len());
            exchange.note_operations(data);
        } else if let (Some(trailers), Some(route)) = (frame.trailers_mut(), exchange.route) {
            exchange.lane.route(route).response_rules.trailers(trailers);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(error) = this.broken.take() {
            this.close(Outcome::Failed);
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(exchange) = &this.exchange
            && exchange.writes_first()
        {
            // Whoever writes it wakes this task, which is its own.
            return Poll::Pending;
        }
        let next = match &mut this.source {
            Source::Own(text) if text.is_empty() => Poll::Ready(None),
            Source::Own(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Source::Rewritten(body) => body.poll_frame(cx),
            Source::Upstream(body) => Pin::new(&mut **body)
                .poll_frame(cx)
                .map_err(BodyError::Upstream),
        };
        match next {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(mut frame))) => {
                this.passed(&mut frame);
                if frame.is_trailers() || this.is_end_stream() || this.is_whole() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.close(Outcome::Complete);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                // An error makes hyper throw away what it has not written. So it first gets the
                // chance to write: a caller that saw no head would take the request for unsent.
                this.note(&error);
                this.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(text) => text.is_empty(),
            // Known when it is asked for the next frame.
            Source::Rewritten(_) => false,
            Source::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(text) => SizeHint::with_exact(text.len() as u64),
            // Links become longer or shorter.
            Source::Rewritten(_) => SizeHint::new(),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}
