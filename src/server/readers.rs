//! The answers of one HTTP/2 connection, and whether anybody reads them.
//!
//! A socket that takes no more bytes is noticed below. A stream whose caller leaves its window shut
//! stops alone, while the others go on: hyper then asks for nothing more of the body, which would
//! hold its upstream connection and its place among the requests in flight for ever. So bodies are
//! looked at from time to time, and one that nobody has asked for anything within
//! `timeouts.write_stall` is let go; the stream is reset when its caller comes back to it.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::alarm::Alarm;
use crate::proxy::ResponseBody;

/// How often bodies are looked at within the limit, so that it is kept to a quarter.
const LOOKS: u32 = 4;

/// Nobody read an answer.
#[derive(Debug, thiserror::Error)]
#[error("the caller did not read for timeouts.write_stall")]
struct Unread;

/// The bodies that are on their way.
#[derive(Debug)]
pub(super) struct Readers {
    bodies: RefCell<Vec<Rc<Passage>>>,
    alarm: Alarm,
    pause: Duration,
}

/// A body that may be let go while hyper holds it.
#[derive(Debug)]
struct Passage {
    body: RefCell<Option<ResponseBody>>,
    /// Whether it is the caller's turn: it was given something and has not asked for more.
    given: Cell<bool>,
    /// How often it was found so.
    found: Cell<u32>,
}

/// A body under watch.
#[derive(Debug)]
pub(super) struct WatchedBody {
    passage: Rc<Passage>,
    readers: Rc<Readers>,
}

impl Readers {
    /// Nobody reads yet. `alarm` is for looking, `limit` is `timeouts.write_stall`.
    pub(super) fn new(alarm: Alarm, limit: Duration) -> Rc<Self> {
        Rc::new(Self {
            bodies: RefCell::default(),
            alarm,
            pause: limit / LOOKS,
        })
    }

    /// Watches a body until it has ended.
    pub(super) fn watch(self: &Rc<Self>, body: ResponseBody) -> WatchedBody {
        let passage = Rc::new(Passage {
            body: RefCell::new(Some(body)),
            given: Cell::new(false),
            found: Cell::new(0),
        });
        self.bodies.borrow_mut().push(Rc::clone(&passage));
        if !self.alarm.is_set() {
            self.alarm.set(self.pause);
        }
        WatchedBody {
            passage,
            readers: Rc::clone(self),
        }
    }

    /// Lets go what nobody reads. Called whenever the connection is polled.
    pub(super) fn look(&self, cx: &Context<'_>) {
        while self.alarm.has_rung(cx) {
            let bodies = self.bodies.borrow().clone();
            for passage in &bodies {
                passage.look();
            }
            if bodies.is_empty() {
                self.alarm.clear();
            } else {
                self.alarm.set(self.pause);
            }
        }
    }
}

impl Passage {
    fn look(&self) {
        if !self.given.get() {
            return;
        }
        self.found.set(self.found.get() + 1);
        // The first time it may have been given something just now.
        if self.found.get() > LOOKS {
            self.body.take();
        }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let passage = &self.passage;
        let mut body = passage.body.borrow_mut();
        let Some(body) = &mut *body else {
            return Poll::Ready(Some(Err(Unread.into())));
        };
        let next = Pin::new(body).poll_frame(cx);
        passage.given.set(next.is_ready());
        passage.found.set(0);
        next.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        let body = self.passage.body.borrow();
        body.as_ref().is_some_and(ResponseBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.passage.body.borrow();
        body.as_ref()
            .map_or_else(SizeHint::default, ResponseBody::size_hint)
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        let mut bodies = self.readers.bodies.borrow_mut();
        let own = |passage: &Rc<Passage>| Rc::ptr_eq(passage, &self.passage);
        if let Some(at) = bodies.iter().position(own) {
            bodies.swap_remove(at);
        }
    }
}
