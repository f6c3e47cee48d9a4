//! The body that goes up: none, one that is held, or the caller's as it comes.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;

use super::leftover::read_off;
use crate::alarm::Alarm;
use crate::executor::LocalExec;

/// The most that is given at once of a body that is held: those that are read for their links go in
/// one piece.
const KEPT_PIECE: usize = 64 * 1024;

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
    /// Where the rest comes from, of a body that is kept, when the upstream wants no more of it.
    rest: RefCell<Option<Inlet>>,
    /// Whoever waits for its end or for that rest.
    waiting: Cell<Option<Waker>>,
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
            rest: RefCell::new(None),
            waiting: Cell::new(None),
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

    fn keeps(&self) -> bool {
        self.copy.borrow().is_some()
    }

    /// Ends that: the copy goes, and what has not come yet is nobody's.
    pub fn keep_no_longer(&self) {
        self.copy.take();
        self.rest.take();
    }

    /// Waits until the whole body has passed. What the upstream does not want any more, because it has
    /// answered, is read here.
    ///
    /// # Errors
    /// When the body is faulty.
    pub async fn complete(self: &Rc<Self>) -> Result<(), BodyFault> {
        let mut rest = None;
        poll_fn(|cx| {
            while !self.ended.get() {
                if rest.is_none() {
                    rest = self.rest.take().map(|inlet| CallerBody {
                        inlet: Some(inlet),
                        upload: Rc::clone(self),
                    });
                }
                let Some(body) = &mut rest else {
                    self.waiting.set(Some(cx.waker().clone()));
                    return Poll::Pending;
                };
                let _ = ready!(body.poll_next(cx));
            }
            Poll::Ready(self.fault.get().map_or(Ok(()), Err))
        })
        .await
    }

    /// The whole body has passed, or failed.
    fn end(&self, fault: Option<BodyFault>) {
        self.fault.set(fault);
        self.ended.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
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
    inlet: Option<Inlet>,
    upload: Rc<Upload>,
}

/// Where the caller's body comes from.
#[derive(Debug)]
struct Inlet {
    incoming: Option<Incoming>,
    alarm: Alarm,
    idle: Duration,
    /// Whether it is one of HTTP/2's streams: what nobody reads of it is read off.
    is_stream: bool,
    /// Whether nothing more comes.
    over: bool,
}

impl CallerBody {
    /// Wraps a body that may pause for `idle`. `is_stream`: it is one of HTTP/2's, so what nobody
    /// reads of it is read off beside the answer.
    pub fn new(incoming: Incoming, alarm: Alarm, idle: Duration, is_stream: bool) -> Self {
        Self {
            inlet: Some(Inlet {
                incoming: Some(incoming),
                alarm,
                idle,
                is_stream,
                over: false,
            }),
            upload: Rc::new(Upload::new()),
        }
    }

    /// What is known about it, for those who do not send it.
    pub fn upload(&self) -> Rc<Upload> {
        Rc::clone(&self.upload)
    }

    fn incoming(&self) -> Option<&Incoming> {
        self.inlet.as_ref()?.incoming.as_ref()
    }

    /// The next frame.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(inlet) = &mut self.inlet else {
            return Poll::Ready(None);
        };
        let upload = &self.upload;
        let next = ready!(inlet.poll_next(cx));
        let passed = match &next {
            Some(Ok(frame)) => frame.data_ref().map_or(0, |data| upload.passed(data)),
            Some(Err(fault)) => {
                upload.end(Some(*fault));
                return Poll::Ready(next);
            }
            None => 0,
        };
        if passed > upload.limit.get() {
            upload.end(Some(BodyFault::TooLarge));
            return Poll::Ready(Some(Err(BodyFault::TooLarge)));
        }
        if inlet.over {
            upload.end(None);
        }
        match next.map(|next| next.map(Frame::into_trailers)) {
            Some(Ok(Ok(trailers))) => Poll::Ready(upload.screened(trailers).map(Ok)),
            Some(Ok(Err(frame))) => Poll::Ready(Some(Ok(frame))),
            Some(Err(fault)) => Poll::Ready(Some(Err(fault))),
            None => Poll::Ready(None),
        }
    }
}

impl Inlet {
    /// The next frame. The alarm runs only while the caller is what is waited for.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let Poll::Ready(next) = Pin::new(&mut *incoming).poll_frame(cx) else {
            if self.alarm.has_rung(cx) {
                self.alarm.clear();
                return Poll::Ready(Some(Err(BodyFault::Stalled)));
            }
            if !self.alarm.is_set() {
                self.alarm.set(self.idle);
            }
            return Poll::Pending;
        };
        self.alarm.clear();
        // hyper takes a stream that is reset without an error for one that has ended.
        if self.is_stream && !self.over && next.is_none() && !incoming.is_end_stream() {
            self.over = true;
            return Poll::Ready(Some(Err(BodyFault::Broken)));
        }
        // Nothing comes after trailers.
        self.over = match &next {
            Some(Ok(frame)) => frame.is_trailers() || incoming.is_end_stream(),
            Some(Err(_)) | None => true,
        };
        Poll::Ready(next.map(|next| next.map_err(|_| BodyFault::Broken)))
    }
}

/// Whoever lets go of it, a refusal as well as an upstream that answered early, need not know that
/// the caller still sends.
impl Drop for CallerBody {
    fn drop(&mut self) {
        if self.upload.keeps() && !self.upload.ended() {
            self.upload.rest.replace(self.inlet.take());
            self.upload.wake();
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        if self.is_stream
            && !self.over
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
            Self::Caller(body) => body.incoming().is_none_or(Body::is_end_stream),
            Self::Empty => true,
            Self::Kept(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Caller(body) => body
                .incoming()
                .map_or_else(|| SizeHint::with_exact(0), Body::size_hint),
            Self::Empty => SizeHint::with_exact(0),
            Self::Kept(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
