//! The body that goes up: none, one that is held, or the caller's as it comes.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::caller_body::{BodyFault, CallerBody, Upload};

/// The most that is given at once of a body that is held: those that are read for their links go in
/// one piece.
const KEPT_PIECE: usize = 64 * 1024;

/// The body of one upstream request.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// The caller's, streamed.
    Caller(Box<CallerBody>),
    /// None.
    #[default]
    Empty,
    /// Held in memory, so it can be sent again.
    Kept(Bytes),
}

impl RequestBody {
    /// The caller's progress, when it is the caller who sends.
    pub(super) fn upload(&self) -> Option<Rc<Upload>> {
        match self {
            Self::Caller(body) => Some(body.upload()),
            Self::Empty | Self::Kept(_) => None,
        }
    }

    /// How long more of it may be waited for.
    pub(super) fn longest_pause(&self) -> Duration {
        match self {
            Self::Caller(body) => body.longest_pause(),
            Self::Empty | Self::Kept(_) => Duration::ZERO,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        match this {
            Self::Caller(body) => body.poll_next(cx),
            Self::Empty => Poll::Ready(None),
            // As it is sent piece by piece, it can be told how it comes on.
            Self::Kept(bytes) if bytes.len() > KEPT_PIECE => {
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(KEPT_PIECE)))))
            }
            Self::Kept(_) => {
                let Self::Kept(bytes) = std::mem::take(this) else {
                    return Poll::Ready(None);
                };
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Caller(body) => body.is_over(),
            Self::Empty => true,
            Self::Kept(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Caller(body) => body.size_hint(),
            Self::Empty => SizeHint::with_exact(0),
            Self::Kept(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
