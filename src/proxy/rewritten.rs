//! An upstream's body with its links rewritten to lead here, as it streams: every chunk is scanned
//! and passed on before the next one is asked for. One that is short and there as a whole goes down
//! with its length; nothing is waited for to find that out.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::body::{BodyError, Source};
use crate::metrics::RouteCells;
use crate::rewrite::{Rewriter, without_digests};
use crate::upstream::{ResponseBodyError, UpstreamBody};

/// The longest body that is sent with its length: what comes in one TLS record beside the head.
const SHORT: usize = 16 * 1024;

/// A body that is rewritten.
pub(super) struct Rewritten {
    body: UpstreamBody,
    rewriter: Rewriter,
    /// Which links are counted in.
    cells: Arc<RouteCells>,
    /// What was read to see whether it is all.
    ahead: VecDeque<Frame<Bytes>>,
    /// The failure behind that.
    broken: Option<BodyError>,
    /// The end of the text, until it is told.
    held: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// Whether the upstream's body has ended: what was held back comes now, and the trailers.
    ended: bool,
}

impl Rewritten {
    /// Rewrites a body; the number of its links goes to `cells`.
    pub(super) fn begin(
        mut body: UpstreamBody,
        mut rewriter: Rewriter,
        cells: &Arc<RouteCells>,
    ) -> Source {
        if body.size_hint().lower() > SHORT as u64 {
            return Source::Rewritten(Box::new(Self::new(body, rewriter, cells)));
        }
        // Whoever gets the body asks it again before it waits, and is woken then.
        let cx = &mut Context::from_waker(Waker::noop());
        let first = Pin::new(&mut body).poll_frame(cx);
        // Most short bodies are one piece, for which nothing is kept.
        if let Poll::Ready(Some(Ok(frame))) = &first
            && let Some(data) = frame.data_ref()
            && data.len() <= SHORT
            && body.is_end_stream()
            && let Some(whole) = rewriter.whole(data)
        {
            cells.links_rewritten(rewriter.links());
            return Source::Own(whole);
        }
        let mut this = Box::new(Self::new(body, rewriter, cells));
        if let Poll::Ready(first) = first {
            match this.read(first) {
                Ok(()) => {
                    if let Some(whole) = this.whole(cx) {
                        return Source::Own(whole);
                    }
                }
                Err(error) => this.broken = Some(error),
            }
        }
        Source::Rewritten(this)
    }

    fn new(body: UpstreamBody, rewriter: Rewriter, cells: &Arc<RouteCells>) -> Self {
        Self {
            body,
            rewriter,
            cells: Arc::clone(cells),
            ahead: VecDeque::new(),
            broken: None,
            held: None,
            trailers: None,
            ended: false,
        }
    }

    /// All of a short body, if it is there already; else it goes on as a stream.
    fn whole(&mut self, cx: &mut Context<'_>) -> Option<Bytes> {
        let mut length = 0;
        // Most short bodies are one piece, for which no queue is made.
        let mut only = None;
        while length <= SHORT {
            match self.poll_stream(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.ahead.extend(only.take());
                    let data = frame.data_ref().map(Bytes::len);
                    if length == 0 && data.is_some() {
                        only = Some(frame);
                    } else {
                        self.ahead.push_back(frame);
                    }
                    // Trailers need a body in chunks.
                    length += data?;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.broken = Some(error);
                    break;
                }
                Poll::Ready(None) => {
                    return Some(match only.map(Frame::into_data) {
                        Some(Ok(data)) => data,
                        _ => self.joined(length),
                    });
                }
                Poll::Pending => break,
            }
        }
        self.ahead.extend(only);
        None
    }

    /// The next frame.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match self.broken.take() {
            Some(error) => Poll::Ready(Some(Err(error))),
            None => self.poll_stream(cx),
        }
    }

    fn joined(&mut self, length: usize) -> Bytes {
        let mut all = Vec::with_capacity(length);
        for data in self.ahead.drain(..).flat_map(Frame::into_data) {
            all.extend_from_slice(&data);
        }
        all.into()
    }

    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(piece) = self.rewriter.next()? {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.ended {
                return Poll::Ready(self.last().map(Ok));
            }
            let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
            self.read(next)?;
        }
    }

    /// The text is complete: what was held back, because a link might have begun there, is known.
    fn end(&mut self) -> Result<(), BodyError> {
        self.ended = true;
        self.held = self.rewriter.finish()?;
        Ok(())
    }

    fn last(&mut self) -> Option<Frame<Bytes>> {
        let held = self.held.take().map(Frame::data);
        held.or_else(|| self.trailers.take().map(Frame::trailers))
    }

    fn read(
        &mut self,
        next: Option<Result<Frame<Bytes>, ResponseBodyError>>,
    ) -> Result<(), BodyError> {
        match next {
            None => self.end(),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.rewriter.push(data);
                    Ok(())
                }
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    if let Some(trailers) = &mut self.trailers {
                        without_digests(trailers);
                    }
                    self.end()
                }
            },
        }
    }
}

impl Drop for Rewritten {
    fn drop(&mut self) {
        self.cells.links_rewritten(self.rewriter.links());
    }
}
