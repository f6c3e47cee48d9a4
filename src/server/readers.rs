//! The answers of one HTTP/2 connection, and whether anybody reads them.
//!
//! A socket that takes no more bytes is noticed below. A stream whose caller leaves its window shut
//! stops alone, while the others go on: hyper then asks for nothing more of the body, which would
//! hold its upstream connection and its place among the requests in flight for ever, and it holds
//! what it was given, which may be all of a short answer. So an exchange lasts until its answer is
//! sent, answers are looked at from time to time, and one that nobody has read within
//! `timeouts.write_stall` is let go. What hyper still holds of it keeps its place until the stream is
//! reset, which is when its caller comes back to it, or the connection ends: after as long again the
//! caller is told to make a new one. Not before, because python-h2, and so httpx, gives up all of its
//! streams when it is told.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::alarm::Alarm;
use crate::proxy::{InFlightPermit, ResponseBody};

/// How often bodies are looked at within the limit, so that it is kept to a quarter.
const LOOKS: u32 = 4;

/// Nobody read an answer.
#[derive(Debug, thiserror::Error)]
#[error("the caller did not read for timeouts.write_stall")]
struct Unread;

/// The answers that are on their way.
pub(super) struct Readers {
    passages: RefCell<Vec<Weak<Passage>>>,
    alarm: Alarm,
    pause: Duration,
    stuck: Cell<bool>,
}

/// An answer until the last of it is sent.
struct Passage {
    body: RefCell<Option<ResponseBody>>,
    /// The place of what was let go.
    permit: RefCell<Option<InFlightPermit>>,
    /// Whether it is the caller's turn: it was given something and has not asked for more.
    given: Cell<bool>,
    /// How often it was found so.
    found: Cell<u32>,
    readers: Rc<Readers>,
}

/// A body under watch.
pub(super) struct WatchedBody(Rc<Passage>);

/// A piece of it, until it is sent.
pub(super) struct WatchedPiece {
    bytes: Bytes,
    passage: Rc<Passage>,
}

impl Readers {
    /// Nobody reads yet. `alarm` is for looking, `limit` is `timeouts.write_stall`.
    pub(super) fn new(alarm: Alarm, limit: Duration) -> Rc<Self> {
        Rc::new(Self {
            passages: RefCell::default(),
            alarm,
            pause: limit / LOOKS,
            stuck: Cell::new(false),
        })
    }

    /// Watches a body until it is sent.
    pub(super) fn watch(self: &Rc<Self>, body: ResponseBody) -> WatchedBody {
        let passage = Rc::new(Passage {
            body: RefCell::new(Some(body)),
            permit: RefCell::default(),
            given: Cell::new(false),
            found: Cell::new(0),
            readers: Rc::clone(self),
        });
        self.passages.borrow_mut().push(Rc::downgrade(&passage));
        if !self.alarm.is_set() {
            self.alarm.set(self.pause);
        }
        WatchedBody(passage)
    }

    /// Lets go what nobody reads. Called whenever the connection is polled.
    pub(super) fn look(&self, cx: &Context<'_>) {
        while self.alarm.has_rung(cx) {
            let passages: Vec<_> = self.passages.borrow().clone();
            for passage in passages.iter().filter_map(Weak::upgrade) {
                let found = passage.look();
                // The first time it may have been given something just now.
                if found > LOOKS {
                    passage.let_go();
                }
                if found > 2 * LOOKS {
                    self.stuck.set(true);
                }
            }
            if passages.is_empty() {
                self.alarm.clear();
            } else {
                self.alarm.set(self.pause);
            }
        }
    }

    /// Whether an answer that was let go is held by the connection still, after as long again.
    pub(super) fn are_stuck(&self) -> bool {
        self.stuck.get()
    }
}

impl Passage {
    /// How often it was found unread by now.
    fn look(&self) -> u32 {
        let unread = u32::from(self.given.get());
        self.found.set(self.found.get() + unread);
        self.found.get()
    }

    fn let_go(&self) {
        if let Some(body) = self.body.take() {
            self.permit.replace(body.let_go());
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut passages = self.readers.passages.borrow_mut();
        let own = |passage: &Weak<Self>| std::ptr::eq(passage.as_ptr(), self);
        if let Some(at) = passages.iter().position(own) {
            passages.swap_remove(at);
        }
    }
}

impl Body for WatchedBody {
    type Data = WatchedPiece;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<WatchedPiece>, Self::Error>>> {
        let passage = &self.0;
        let mut body = passage.body.borrow_mut();
        let Some(body) = &mut *body else {
            return Poll::Ready(Some(Err(Unread.into())));
        };
        let next = Pin::new(body).poll_frame(cx);
        passage.given.set(next.is_ready());
        passage.found.set(0);
        let watched = |bytes| WatchedPiece {
            bytes,
            passage: Rc::clone(passage),
        };
        next.map(|next| match next? {
            Ok(frame) => Some(Ok(frame.map_data(watched))),
            Err(error) => Some(Err(error.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        let body = self.0.body.borrow();
        body.as_ref().is_some_and(ResponseBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.body.borrow();
        body.as_ref()
            .map_or_else(SizeHint::default, ResponseBody::size_hint)
    }
}

/// What was not given is not sent either.
impl Drop for WatchedBody {
    fn drop(&mut self) {
        let mut body = self.0.body.borrow_mut();
        let given_up = body.take_if(|body| !body.is_complete());
        drop((body, given_up));
    }
}

impl Buf for WatchedPiece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.passage.found.set(0);
    }
}
