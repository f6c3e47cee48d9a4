//! An upstream's body with its links turned here, as it streams: every chunk is scanned and passed
//! on before the next one is asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::body::BodyError;
use crate::metrics::RouteCells;
use crate::rewrite::Rewriter;
use crate::upstream::{ResponseBodyError, UpstreamBody};

/// A body that is rewritten.
#[derive(Debug)]
pub(super) struct Rewritten {
    body: UpstreamBody,
    rewriter: Rewriter,
    /// Which links are counted in.
    cells: Arc<RouteCells>,
    /// The end of the text, until it is told.
    held: Option<Bytes>,
    trailers: Option<HeaderMap>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The upstream's body is read.
    Reading,
    /// It has ended; what was held back comes now, and the trailers.
    Ending,
}

impl Rewritten {
    /// Rewrites a body; the number of its links goes to `cells`.
    pub(super) fn new(body: UpstreamBody, rewriter: Rewriter, cells: Arc<RouteCells>) -> Self {
        Self {
            body,
            rewriter,
            cells,
            held: None,
            trailers: None,
            stage: Stage::Reading,
        }
    }

    /// The next frame.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(piece) = self.rewriter.next()? {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match self.stage {
                Stage::Reading => {
                    let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
                    self.read(next)?;
                }
                Stage::Ending => return Poll::Ready(self.last().map(Ok)),
            }
        }
    }

    /// The text is complete: what was held back, because a link might have begun there, is known.
    fn end(&mut self) -> Result<(), BodyError> {
        self.stage = Stage::Ending;
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
