//! The body of a request that hyper sends: it can be taken away while hyper still holds it.
//!
//! hyper sends the body of a request in a task of its own, which goes on after the answer has come
//! and waits for the peer's window as long as it takes. So the body is handed over in a way that
//! lets it be taken back when the answer has ended or nobody wants it: the caller's part is over
//! then.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::super::{BodyFault, RequestBody};
use super::capacity_notify::CapacityNotify;
use crate::alarm::Alarm;

/// A count of what keeps others from a connection, and who is told when it becomes less.
pub(super) type Place = (Rc<Cell<usize>>, Rc<CapacityNotify>);

/// The body of a request that hyper sends.
pub(super) struct Handed {
    pub(super) body: RefCell<Option<RequestBody>>,
    /// The deadline of the stage that the exchange is in, and how far off it is put whenever hyper
    /// takes a piece, which nobody else is told of.
    pub(super) alarm: Alarm,
    pub(super) limit: Cell<Duration>,
    /// Whether hyper has asked for it: not before the stream has begun.
    pub(super) asked: Cell<bool>,
    /// Whether hyper has taken none of it, and it is wanted back if the upstream does not act on it.
    pub(super) untouched: Cell<bool>,
    /// Who waits for more of it.
    pub(super) waiting: Cell<Option<Waker>>,
    /// Where it counts once the exchange is over, for as long as hyper holds it, and who is told of
    /// the end of that.
    pub(super) left: Cell<Option<Place>>,
}

/// What hyper holds of it.
pub(super) struct RevocableBody(pub(super) Rc<Handed>);

/// Why no more of a body is sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum RevocableBodyError {
    /// Something is wrong with it.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// The exchange is over. hyper resets the stream with the reason in this.
    #[error("the exchange is over")]
    Over(#[source] h2::Error),
}

impl Handed {
    /// None yet.
    pub(super) fn new(alarm: Alarm) -> Self {
        Self {
            body: RefCell::default(),
            alarm,
            limit: Cell::default(),
            asked: Cell::default(),
            untouched: Cell::default(),
            waiting: Cell::default(),
            left: Cell::default(),
        }
    }

    pub(super) fn empty(&self) {
        let body = self.body.take();
        drop(body);
    }
}

impl Drop for RevocableBody {
    fn drop(&mut self) {
        if !self.0.untouched.get() {
            self.0.empty();
        }
        if let Some((left, notify)) = self.0.left.take() {
            left.set(left.get() - 1);
            notify.wake_all();
        }
    }
}

impl Body for RevocableBody {
    type Data = Bytes;
    type Error = RevocableBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RevocableBodyError>>> {
        let handed = &self.0;
        handed.asked.set(true);
        let Some(body) = &mut *handed.body.borrow_mut() else {
            let over = h2::Error::from(h2::Reason::CANCEL);
            return Poll::Ready(Some(Err(RevocableBodyError::Over(over))));
        };
        let next = Pin::new(&mut *body).poll_frame(cx);
        let mut limit = handed.limit.get();
        if next.is_pending() {
            // A pause of the caller is none of the upstream.
            limit = limit.saturating_add(body.longest_pause());
            handed.waiting.set(Some(cx.waker().clone()));
        } else {
            handed.untouched.set(false);
        }
        handed.alarm.set(limit);
        next.map_err(RevocableBodyError::Body)
    }

    fn is_end_stream(&self) -> bool {
        let body = self.0.body.borrow();
        body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.body.borrow();
        body.as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}
