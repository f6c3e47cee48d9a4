//! The body that goes to the caller: an upstream's as it comes, or one of our own. It carries the
//! exchange, which is over when the body is.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::exchange::Exchange;
use crate::access_log::Outcome;
use crate::upstream::{ResponseBodyError, UpstreamBody};

/// The body of an answer.
#[derive(Debug)]
pub struct ResponseBody {
    source: Source,
    exchange: Option<Exchange>,
}

#[derive(Debug)]
enum Source {
    /// Ours, or what is left of it.
    Own(Bytes),
    /// Streamed.
    Upstream(UpstreamBody),
}

impl ResponseBody {
    /// A text of our own.
    pub fn own(text: String, exchange: Exchange) -> Self {
        Self::new(Source::Own(Bytes::from(text)), exchange)
    }

    /// What the upstream sends.
    pub fn upstream(body: UpstreamBody, exchange: Exchange) -> Self {
        Self::new(Source::Upstream(body), exchange)
    }

    fn new(source: Source, exchange: Exchange) -> Self {
        let mut body = Self {
            source,
            exchange: Some(exchange),
        };
        if body.is_end_stream() {
            body.close(Outcome::Complete);
        }
        body
    }

    fn close(&mut self, outcome: Outcome) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.outcome = outcome;
        }
    }

    fn passed(&mut self, frame: &mut Frame<Bytes>) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        if let Some(data) = frame.data_ref() {
            exchange.response_bytes += data.len() as u64;
        } else if let (Some(trailers), Some(route)) = (frame.trailers_mut(), exchange.route) {
            exchange.lane.route(route).response_rules.trailers(trailers);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = self.get_mut();
        let next = match &mut this.source {
            Source::Own(text) if text.is_empty() => Poll::Ready(None),
            Source::Own(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Source::Upstream(body) => Pin::new(body).poll_frame(cx),
        };
        match next {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(mut frame))) => {
                this.passed(&mut frame);
                if frame.is_trailers() || this.is_end_stream() {
                    this.close(Outcome::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.close(Outcome::Complete);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.close(Outcome::Failed);
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(text) => text.is_empty(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(text) => SizeHint::with_exact(text.len() as u64),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}
