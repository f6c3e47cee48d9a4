//! The HTTP/2 connections of one worker to one upstream.
//!
//! Windows are fixed: 256 KiB for a stream, so that a slow reader holds no more than that, and for
//! the connection what all its streams may hold together, so that slow readers do not stall the
//! others. A further connection is opened when the streams that the peer allows are used up.
//!
//! hyper sends the body of a request in a task of its own, which goes on after the answer has come
//! and waits for the peer's window as long as it takes. So the body is handed over in a shell that is
//! emptied when the answer has ended or nobody wants it: the caller's part is over then. A connection
//! on which such a shell is left takes no other request, and is closed when it has no other stream.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::closable::{Closable, Closer};
use super::stream::UpstreamStream;
use super::{BodyFault, ConnectError, Failure, RequestBody, UpstreamError};
use crate::alarm::Alarm;
use crate::executor::LocalExec;

/// The most that one stream's reader can leave unread.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Streams we open on one connection, however many the peer allows.
const STREAMS: usize = 100;
/// The largest head of an answer, as over HTTP/1.1.
const HEAD: u32 = 64 * 1024;
/// What hyper may hold of one request's body: RFC 9113's initial window.
const SEND_BUFFER: usize = 64 * 1024;
/// A dead connection is noticed within these: a PING every 15 s, its answer within 10 s.
const PING: Duration = Duration::from_secs(15);
const PONG: Duration = Duration::from_secs(10);

/// One HTTP/2 connection.
pub(super) struct Trunk {
    sender: http2::SendRequest<Shell>,
    closer: Closer,
    streams: Cell<usize>,
    /// Shells whose exchange is over.
    left: Rc<Cell<usize>>,
    /// What the peer allows at the moment.
    allowed: Rc<Cell<usize>>,
    opened: Instant,
    retire_at: Instant,
}

/// The open connections.
#[derive(Default)]
pub(super) struct Multiplex {
    trunks: RefCell<Vec<Rc<Trunk>>>,
    dialling: Arc<Mutex<()>>,
    /// Dials that have failed, and why the last one did.
    failures: Cell<u64>,
    last_failure: RefCell<Option<Rc<ConnectError>>>,
}

/// One stream in use; its place is free again when this is dropped.
pub(super) struct Stream {
    trunk: Rc<Trunk>,
    handed: Rc<Handed>,
}

/// The body of a request that hyper sends.
#[derive(Default)]
struct Handed {
    body: RefCell<Option<RequestBody>>,
    /// Bytes that hyper has taken.
    taken: Cell<u64>,
    /// Who waits for more of it.
    waiting: Cell<Option<Waker>>,
    /// Where its shell counts once the exchange is over.
    left: Cell<Option<Rc<Cell<usize>>>>,
}

/// What hyper holds of it.
struct Shell(Rc<Handed>);

/// Why no more of a body is sent.
#[derive(Debug, thiserror::Error)]
enum ShellError {
    /// Something is wrong with it.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// The exchange is over. hyper resets the stream with the reason in this.
    #[error(transparent)]
    Over(h2::Error),
}

impl Multiplex {
    /// A place on an open connection, or `None`; with `since` only on one that is younger.
    pub(super) fn place(&self, now: Instant, since: Option<Instant>) -> Option<Stream> {
        let mut trunks = self.trunks.borrow_mut();
        trunks.retain(|trunk| trunk.streams.get() > 0 || trunk.is_open(now));
        let trunk = trunks.iter().find(|trunk| {
            let most = trunk.allowed.get().min(STREAMS);
            let young = since.is_none_or(|since| trunk.opened >= since);
            let room = trunk.left.get() == 0 && trunk.streams.get() < most;
            young && trunk.is_open(now) && room
        })?;
        trunk.streams.set(trunk.streams.get() + 1);
        Some(Stream::on(Rc::clone(trunk)))
    }

    /// Lets one dial at a time; who waited looks again for a place first. When the dial that was
    /// waited for has failed, so has this one: nobody waits for several.
    pub(super) async fn dialling(&self) -> Result<OwnedMutexGuard<()>, Rc<ConnectError>> {
        let failures = self.failures.get();
        let turn = Arc::clone(&self.dialling).lock_owned().await;
        match &*self.last_failure.borrow() {
            Some(failure) if self.failures.get() != failures => Err(Rc::clone(failure)),
            _ => Ok(turn),
        }
    }

    /// Tells those who wait that a dial has failed.
    pub(super) fn dial_failed(&self, error: ConnectError) -> Rc<ConnectError> {
        let error = Rc::new(error);
        self.failures.set(self.failures.get() + 1);
        self.last_failure.replace(Some(Rc::clone(&error)));
        error
    }

    /// Speaks HTTP/2 on a connected stream and adds it.
    pub(super) async fn open(
        &self,
        stream: UpstreamStream,
        lifetime: Duration,
    ) -> Result<Stream, hyper::Error> {
        let closer = Closer::default();
        let window = STREAM_WINDOW * u32::try_from(STREAMS).unwrap_or(1);
        let (sender, mut connection) = http2::Builder::new(LocalExec)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window)
            .max_header_list_size(HEAD)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .handshake(TokioIo::new(Closable::new(stream, closer.clone())))
            .await?;
        let allowed = Rc::new(Cell::new(connection.current_max_send_streams()));
        let known = Rc::clone(&allowed);
        tokio::task::spawn_local(async move {
            let driven = std::future::poll_fn(move |cx| {
                known.set(connection.current_max_send_streams());
                Pin::new(&mut connection).poll(cx)
            });
            if let Err(error) = driven.await {
                tracing::debug!(%error, "an HTTP/2 connection to an upstream ended");
            }
        });
        let opened = Instant::now();
        let trunk = Rc::new(Trunk {
            sender,
            closer,
            streams: Cell::new(1),
            left: Rc::default(),
            allowed,
            opened,
            retire_at: opened + lifetime,
        });
        self.trunks.borrow_mut().push(Rc::clone(&trunk));
        Ok(Stream::on(trunk))
    }

    /// Forgets closed and retired connections, and those on which nothing but shells is left; open
    /// streams keep theirs alive.
    pub(super) fn sweep(&self, now: Instant) {
        let spoilt = |trunk: &Trunk| trunk.left.get() > 0 && trunk.streams.get() == 0;
        self.trunks
            .borrow_mut()
            .retain(|trunk| trunk.is_open(now) && !spoilt(trunk));
    }

    /// Closes those without a stream.
    pub(super) fn close_idle(&self) {
        let mut trunks = self.trunks.borrow_mut();
        trunks.retain(|trunk| trunk.streams.get() > 0);
    }

    /// Open connections and those without a stream.
    pub(super) fn census(&self) -> (usize, usize) {
        let trunks = self.trunks.borrow();
        let idle = trunks.iter().filter(|t| t.streams.get() == 0).count();
        (trunks.len(), idle)
    }
}

impl Trunk {
    fn is_open(&self, now: Instant) -> bool {
        now < self.retire_at && !self.sender.is_closed()
    }
}

/// Nobody waits for a connection to say goodbye on which a body is stuck.
impl Drop for Trunk {
    fn drop(&mut self) {
        if self.left.get() > 0 {
            self.closer.close();
        }
    }
}

impl Stream {
    fn on(trunk: Rc<Trunk>) -> Self {
        Self {
            trunk,
            handed: Rc::default(),
        }
    }

    /// Sends a request and waits for the response head, `limit` counted from the last progress of
    /// the request body.
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
        alarm: &Alarm,
        limit: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        let upload = request.body().upload();
        let taken = &self.handed.taken;
        let request = request.map(|body| {
            self.handed.body.replace(Some(body));
            Shell(Rc::clone(&self.handed))
        });
        let mut sender = self.trunk.sender.clone();
        let mut response = std::pin::pin!(sender.try_send_request(request));
        let mut progress = 0;
        alarm.set(limit);
        let outcome = std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = response.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            if taken.get() != progress {
                progress = taken.get();
                alarm.set(limit);
            }
            if alarm.has_rung(cx) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await;
        alarm.clear();
        match outcome {
            Some(Ok(response)) => Ok(response),
            None => Err(UpstreamError::HeadTimeout.into()),
            Some(Err(mut failure)) => {
                if upload.is_some_and(|upload| upload.fault().is_some()) {
                    return Err(UpstreamError::CallerBody.into());
                }
                let unsent = failure.take_message();
                let body = unsent.map(|request| request.body().0.body.take());
                Err(explain(failure.into_error(), body))
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let trunk = &self.trunk;
        trunk.streams.set(trunk.streams.get() - 1);
        if Rc::strong_count(&self.handed) > 1 {
            trunk.left.set(trunk.left.get() + 1);
            self.handed.left.set(Some(Rc::clone(&trunk.left)));
        }
        self.handed.empty();
        if let Some(waker) = self.handed.waiting.take() {
            waker.wake();
        }
    }
}

impl Handed {
    fn empty(&self) {
        let body = self.body.take();
        drop(body);
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.0.empty();
        if let Some(left) = self.0.left.take() {
            left.set(left.get() - 1);
        }
    }
}

impl Body for Shell {
    type Data = Bytes;
    type Error = ShellError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ShellError>>> {
        let handed = &self.0;
        let Some(body) = &mut *handed.body.borrow_mut() else {
            let over = h2::Error::from(h2::Reason::CANCEL);
            return Poll::Ready(Some(Err(ShellError::Over(over))));
        };
        let next = Pin::new(body).poll_frame(cx).map_err(ShellError::Body);
        match &next {
            Poll::Pending => handed.waiting.set(Some(cx.waker().clone())),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                handed.taken.set(handed.taken.get() + bytes as u64);
            }
            Poll::Ready(_) => {}
        }
        next
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

/// What became of a request and its connection; `unsent` holds the body of one that hyper gave back.
fn explain(error: hyper::Error, unsent: Option<Option<RequestBody>>) -> Failure {
    let cause = cause(&error);
    let reset = cause.is_some_and(h2::Error::is_reset);
    let unprocessed = unsent.is_some() || cause.is_some_and(was_not_processed);
    Failure {
        error: match (reset, unprocessed) {
            (true, true) => UpstreamError::Refused(error),
            (true, false) => UpstreamError::Reset(error),
            (false, _) => UpstreamError::Broken(error.into()),
        },
        unprocessed,
        begun: false,
        body: unsent.flatten(),
    }
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        source = error.source();
    }
    None
}

/// REFUSED_STREAM, and GOAWAY for a stream above its last id, promise that the request was not
/// processed (RFC 9113 section 8.7). Of GOAWAY only the graceful kind is believed: after another
/// one hyper reports streams alike whether the peer had seen them or not.
fn was_not_processed(error: &h2::Error) -> bool {
    error.reason() == Some(h2::Reason::REFUSED_STREAM)
        || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
}
