//! The caller's body as it comes: counted, bounded, timed, and copied while it is small.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
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

/// A copy of a body that is small so far.
struct KeptCopy {
    bytes: Vec<u8>,
    most: usize,
    grow: Box<dyn FnMut(usize) -> bool>,
}

impl KeptCopy {
    /// Adds to it, unless it is too much. It grows by doubling, up to the most that it may need: what
    /// counts is the memory that it takes.
    fn add(&mut self, data: &[u8]) -> bool {
        let needed = self.bytes.len() + data.len();
        if needed > self.most {
            return false;
        }
        let room = self.bytes.capacity();
        if needed > room {
            let wanted = (room * 2).min(self.most).max(needed);
            if !(self.grow)(wanted - room) {
                return false;
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        true
    }
}

/// What is known about a caller's body while somebody else sends it.
pub struct Upload {
    bytes: Cell<u64>,
    limit: Cell<u64>,
    ended: Cell<bool>,
    fault: Cell<Option<BodyFault>>,
    /// Whether it ended with a section of trailers over HTTP/1.1.
    ended_in_lines: Cell<bool>,
    trailers: RefCell<Option<TrailerRule>>,
    /// The bytes so far, while they are to be kept and are few enough.
    copy: RefCell<Option<KeptCopy>>,
    /// Where the rest comes from, of a body that is kept, when the upstream wants no more of it.
    rest: RefCell<Option<Inlet>>,
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
            ended_in_lines: Cell::new(false),
            trailers: RefCell::new(None),
            copy: RefCell::new(None),
            rest: RefCell::new(None),
        }
    }

    /// Sets the bound on the body, in bytes; beyond it the body ends in [`BodyFault::TooLarge`].
    pub fn bound(&self, limit: u64) {
        self.limit.set(limit);
    }

    /// Lets trailers through, after this rule. Without one they are dropped.
    pub fn let_trailers_through(&self, rule: TrailerRule) {
        self.trailers.replace(Some(rule));
    }

    /// Keeps a copy of the body as it passes, if it has no more than `most` bytes, with room for
    /// `first` from the start. `grow` is asked whether there is room for so many more, and is dropped
    /// with the copy.
    pub fn keep(&self, first: usize, most: usize, grow: impl FnMut(usize) -> bool + 'static) {
        self.copy.replace(Some(KeptCopy {
            bytes: Vec::with_capacity(first),
            most,
            grow: Box::new(grow),
        }));
    }

    /// Whether a copy is kept, of what has come so far.
    pub fn keeps(&self) -> bool {
        self.copy.borrow().is_some()
    }

    /// Ends that: the copy goes, and what has not come yet is nobody's.
    pub fn keep_no_longer(&self) {
        self.copy.take();
        self.rest.take();
    }

    /// Waits until the whole body has passed, or more of it than is kept: what the upstream does not
    /// want any more, because it has answered, is read here. Nobody else may be sending it.
    ///
    /// # Errors
    /// When the body is faulty.
    pub async fn complete(self: &Rc<Self>) -> Result<(), BodyFault> {
        let mut rest = self.rest.take().map(|inlet| CallerBody {
            ahead: None,
            inlet: Some(inlet),
            upload: Rc::clone(self),
        });
        while let Some(body) = &mut rest
            && !self.ended.get()
            && self.keeps()
        {
            let _ = poll_fn(|cx| body.poll_next(cx)).await;
        }
        self.fault.get().map_or(Ok(()), Err)
    }

    /// The whole body has passed, or failed.
    fn end(&self, fault: Option<BodyFault>) {
        self.fault.set(fault);
        self.ended.set(true);
    }

    /// The copy, once the whole body has passed.
    pub fn kept(&self) -> Option<Bytes> {
        let whole = self.ended.get() && self.fault.get().is_none();
        let copy = self.copy.borrow();
        let copy = copy.as_ref().filter(|_| whole)?;
        Some(Bytes::copy_from_slice(&copy.bytes))
    }

    /// Counts bytes that pass, and copies them where that was asked for.
    fn passed(&self, data: &[u8]) -> u64 {
        let bytes = self.bytes.get() + data.len() as u64;
        self.bytes.set(bytes);
        let mut copy = self.copy.borrow_mut();
        if copy.as_mut().is_some_and(|copy| !copy.add(data)) {
            *copy = None;
        }
        bytes
    }

    /// What may go up of trailers.
    fn screened(&self, mut trailers: HeaderMap) -> Option<Frame<Bytes>> {
        self.trailers.borrow().as_ref()?(&mut trailers);
        (!trailers.is_empty()).then(|| Frame::trailers(trailers))
    }

    /// Bytes of data that have passed so far, without the framing and trailers.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether the body came to its end or to an error.
    pub fn ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether the caller may still be sending what nobody reads.
    pub fn is_unread(&self) -> bool {
        // Where a malformed one ends is not known either. And hyper reads on over a line of trailers that
        // ends with a bare LF, so that the next request may have gone with them.
        !self.ended.get() || self.fault.get().is_some() || self.ended_in_lines.get()
    }

    /// What went wrong with it.
    pub fn fault(&self) -> Option<BodyFault> {
        self.fault.get()
    }
}

/// The caller's body as it comes, counted, bounded and timed.
#[derive(Debug)]
pub struct CallerBody {
    /// What was read ahead and goes first.
    ahead: Option<Bytes>,
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
            ahead: None,
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

    /// Takes back what was read ahead: it comes first, and does not count again.
    pub fn unread(&mut self, bytes: Bytes) {
        self.ahead = Some(bytes);
    }

    /// An alarm of the same clock, for those who wait for all of it; none once it has gone.
    pub fn alarm(&self) -> Option<Alarm> {
        self.inlet.as_ref().map(|inlet| inlet.alarm.another())
    }

    fn incoming(&self) -> Option<&Incoming> {
        self.inlet.as_ref()?.incoming.as_ref()
    }

    /// How long more of it may be waited for.
    pub(super) fn longest_pause(&self) -> Duration {
        let inlet = self.inlet.as_ref();
        inlet.map_or(Duration::ZERO, |inlet| inlet.idle)
    }

    /// Whether nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        self.ahead.is_none() && self.incoming().is_none_or(Body::is_end_stream)
    }

    /// How much comes, as far as that is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.incoming() {
            // Only bodies of unknown length are read ahead.
            _ if self.ahead.is_some() => SizeHint::default(),
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }

    /// The next frame.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(bytes) = self.ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
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
            Some(Ok(Ok(trailers))) => {
                upload.ended_in_lines.set(!inlet.is_stream);
                Poll::Ready(upload.screened(trailers).map(Ok))
            }
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
        // Where there were lines and no trailers in them, it was something else.
        if let Some(Ok(frame)) = &next
            && !self.is_stream
            && frame.trailers_ref().is_some_and(HeaderMap::is_empty)
        {
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
