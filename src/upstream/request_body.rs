//! The body that goes up: none, one that is held, or the caller's as it comes.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;

use super::leftover::read_off;
use crate::alarm::Alarm;
use crate::executor::LocalExec;

/// What went wrong with a caller's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The caller stopped sending, or what it sent was not a body.
    #[error("the request body broke off")]
    Broken,
    /// Nothing came for `timeouts.request_body_idle`.
    #[error("the request body stalled")]
    Stalled,
    /// More than the route's `max_body_bytes`.
    #[error("the request body is larger than the route takes")]
    TooLarge,
}

/// Takes away from trailers what must not go up.
pub(super) type TrailerRule = Box<dyn Fn(&mut HeaderMap)>;

/// What is known about a caller's body while somebody else sends it.
pub struct Upload {
    bytes: Cell<u64>,
    limit: Cell<u64>,
    ended: Cell<bool>,
    fault: Cell<Option<BodyFault>>,
    trailers: RefCell<Option<TrailerRule>>,
    /// The bytes so far, while they are to be kept and are few enough.
    copy: RefCell<Option<Vec<u8>>>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("bytes", &self.bytes)
            .field("ended", &self.ended)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl Upload {
    fn new() -> Self {
        Self {
            bytes: Cell::new(0),
            limit: Cell::new(u64::MAX),
            ended: Cell::new(false),
            fault: Cell::new(None),
            trailers: RefCell::new(None),
            copy: RefCell::new(None),
        }
    }

    /// Sets the bound on the body; it ends in an error beyond.
    pub fn bound(&self, limit: u64) {
        self.limit.set(limit);
    }

    /// Lets trailers through, after this rule. Without one they are dropped.
    pub fn let_trailers_through(&self, rule: TrailerRule) {
        self.trailers.replace(Some(rule));
    }

    /// Keeps a copy of a body of this length as it passes.
    pub fn keep(&self, length: usize) {
        self.copy.replace(Some(Vec::with_capacity(length)));
    }

    /// The copy, once the whole body has passed.
    pub fn kept(&self) -> Option<Bytes> {
        let whole = self.ended.get() && self.fault.get().is_none();
        let copy = self.copy.borrow();
        let copy = copy.as_ref().filter(|_| whole)?;
        Some(Bytes::copy_from_slice(copy))
    }

    /// Counts bytes that pass, and copies them where that was asked for.
    fn passed(&self, data: &[u8]) -> u64 {
        if let Some(copy) = &mut *self.copy.borrow_mut() {
            copy.extend_from_slice(data);
        }
        let bytes = self.bytes.get() + data.len() as u64;
        self.bytes.set(bytes);
        bytes
    }

    /// What may go up of trailers.
    fn screened(&self, mut trailers: HeaderMap) -> Option<Frame<Bytes>> {
        self.trailers.borrow().as_ref()?(&mut trailers);
        (!trailers.is_empty()).then(|| Frame::trailers(trailers))
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether the body came to its end or to an error.
    pub fn ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether the caller may still be sending what nobody reads.
    pub fn is_unread(&self) -> bool {
        let given_up = [BodyFault::TooLarge, BodyFault::Stalled].map(Some);
        !self.ended.get() || given_up.contains(&self.fault.get())
    }

    /// What went wrong with it.
    pub fn fault(&self) -> Option<BodyFault> {
        self.fault.get()
    }
}

/// The caller's body as it comes, counted, bounded and timed.
#[derive(Debug)]
pub struct CallerBody {
    incoming: Option<Incoming>,
    upload: Rc<Upload>,
    alarm: Alarm,
    idle: Duration,
    lingers: bool,
}

impl CallerBody {
    /// Wraps a body that may pause for `idle`. `lingers`: what nobody reads of it is read off, beside
    /// the answer, as one stream among others needs it.
    pub fn new(incoming: Incoming, alarm: Alarm, idle: Duration, lingers: bool) -> Self {
        Self {
            incoming: Some(incoming),
            upload: Rc::new(Upload::new()),
            alarm,
            idle,
            lingers,
        }
    }

    /// What is known about it, for those who do not send it.
    pub fn upload(&self) -> Rc<Upload> {
        Rc::clone(&self.upload)
    }

    fn fail(&self, fault: BodyFault) -> BodyFault {
        self.upload.fault.set(Some(fault));
        self.upload.ended.set(true);
        self.alarm.clear();
        fault
    }

    /// The next frame. The alarm runs only while the caller is what is waited for.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Pending => {
                if self.alarm.has_rung(cx) {
                    return Poll::Ready(Some(Err(self.fail(BodyFault::Stalled))));
                }
                if !self.alarm.is_set() {
                    self.alarm.set(self.idle);
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                let ends = incoming.is_end_stream();
                self.alarm.clear();
                if let Some(data) = frame.data_ref()
                    && self.upload.passed(data) > self.upload.limit.get()
                {
                    return Poll::Ready(Some(Err(self.fail(BodyFault::TooLarge))));
                }
                // Nothing comes after trailers.
                if ends || frame.is_trailers() {
                    self.upload.ended.set(true);
                }
                match frame.into_trailers() {
                    Ok(trailers) => Poll::Ready(self.upload.screened(trailers).map(Ok)),
                    Err(frame) => Poll::Ready(Some(Ok(frame))),
                }
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.fail(BodyFault::Broken)))),
            Poll::Ready(None) => {
                self.alarm.clear();
                self.upload.ended.set(true);
                Poll::Ready(None)
            }
        }
    }
}

/// Whoever lets go of it, a refusal as well as an upstream that answered early, need not know that
/// the caller still sends.
impl Drop for CallerBody {
    fn drop(&mut self) {
        if self.lingers
            && self.upload.is_unread()
            && let Some(incoming) = self.incoming.take()
        {
            LocalExec.execute(read_off(incoming, self.alarm.another()));
        }
    }
}

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
            Self::Caller(body) => body.incoming.as_ref().is_none_or(Body::is_end_stream),
            Self::Empty => true,
            Self::Kept(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Caller(body) => {
                let incoming = body.incoming.as_ref();
                incoming.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
            }
            Self::Empty => SizeHint::with_exact(0),
            Self::Kept(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
