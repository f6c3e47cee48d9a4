//! The HTTP/2 connections of one worker to one upstream.
//!
//! Windows are fixed: 256 KiB for a stream, so that a slow reader holds no more than that, and for
//! the connection what all its streams may hold together, so that slow readers do not stall the
//! others. A further connection is opened when the streams that the peer allows are used up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::stream::UpstreamStream;
use super::{ConnectError, Failure, RequestBody, UpstreamError};
use crate::alarm::Alarm;
use crate::executor::LocalExec;

/// The most that one stream's reader can leave unread.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Streams we open on one connection, however many the peer allows.
const STREAMS: usize = 100;
/// A dead connection is noticed within these: a PING every 15 s, its answer within 10 s.
const PING: Duration = Duration::from_secs(15);
const PONG: Duration = Duration::from_secs(10);

/// One HTTP/2 connection.
pub(super) struct Trunk {
    sender: http2::SendRequest<RequestBody>,
    streams: Cell<usize>,
    /// What the peer allows at the moment.
    allowed: Rc<Cell<usize>>,
    opened: Instant,
    retire_at: Instant,
}

/// The open connections.
#[derive(Default)]
pub(super) struct Multiplex {
    trunks: RefCell<Vec<Rc<Trunk>>>,
    dialling: tokio::sync::Mutex<()>,
    /// Dials that have failed, and why the last one did.
    failures: Cell<u64>,
    last_failure: RefCell<Option<Rc<ConnectError>>>,
}

/// One stream in use; its place is free again when this is dropped.
pub(super) struct Stream(Rc<Trunk>);

impl Multiplex {
    /// A place on an open connection, or `None`; with `since` only on one that is younger.
    pub(super) fn place(&self, now: Instant, since: Option<Instant>) -> Option<Stream> {
        let mut trunks = self.trunks.borrow_mut();
        trunks.retain(|trunk| trunk.streams.get() > 0 || trunk.is_open(now));
        let trunk = trunks.iter().find(|trunk| {
            let most = trunk.allowed.get().min(STREAMS);
            let young = since.is_none_or(|since| trunk.opened >= since);
            young && trunk.is_open(now) && trunk.streams.get() < most
        })?;
        trunk.streams.set(trunk.streams.get() + 1);
        Some(Stream(Rc::clone(trunk)))
    }

    /// Lets one dial at a time; who waited looks again for a place first. When the dial that was
    /// waited for has failed, so has this one: nobody waits for several.
    pub(super) async fn dialling(
        &self,
    ) -> Result<tokio::sync::MutexGuard<'_, ()>, Rc<ConnectError>> {
        let failures = self.failures.get();
        let turn = self.dialling.lock().await;
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
        let window = STREAM_WINDOW * u32::try_from(STREAMS).unwrap_or(1);
        let (sender, mut connection) = http2::Builder::new(LocalExec)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window)
            .max_header_list_size(64 * 1024)
            .max_send_buf_size(64 * 1024)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .handshake(TokioIo::new(stream))
            .await?;
        let allowed = Rc::new(Cell::new(connection.current_max_send_streams()));
        let known = Rc::clone(&allowed);
        tokio::task::spawn_local(async move {
            let driven = std::future::poll_fn(move |cx| {
                known.set(connection.current_max_send_streams());
                std::pin::Pin::new(&mut connection).poll(cx)
            });
            if let Err(error) = driven.await {
                tracing::debug!(%error, "an HTTP/2 connection to an upstream ended");
            }
        });
        let opened = Instant::now();
        let trunk = Rc::new(Trunk {
            sender,
            streams: Cell::new(1),
            allowed,
            opened,
            retire_at: opened + lifetime,
        });
        self.trunks.borrow_mut().push(Rc::clone(&trunk));
        Ok(Stream(trunk))
    }

    /// Forgets closed and retired connections; open streams keep theirs alive.
    pub(super) fn sweep(&self, now: Instant) {
        self.trunks.borrow_mut().retain(|trunk| trunk.is_open(now));
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

impl Stream {
    /// Sends a request and waits for the response head, `limit` counted from the last progress of
    /// the request body.
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
        alarm: &Alarm,
        limit: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        let upload = request.body().upload();
        let mut sender = self.0.sender.clone();
        let mut response = std::pin::pin!(sender.try_send_request(request));
        let mut progress = 0;
        alarm.set(limit);
        let outcome = std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(outcome) = response.as_mut().poll(cx) {
                return std::task::Poll::Ready(Some(outcome));
            }
            if let Some(upload) = &upload
                && upload.bytes() != progress
            {
                progress = upload.bytes();
                alarm.set(limit);
            }
            if alarm.has_rung(cx) {
                return std::task::Poll::Ready(None);
            }
            std::task::Poll::Pending
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
                let unprocessed = unsent.is_some() || was_not_processed(failure.error());
                Err(Failure {
                    error: UpstreamError::Broken(failure.into_error().into()),
                    unprocessed,
                    begun: false,
                    body: unsent.map(Request::into_body),
                })
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

/// REFUSED_STREAM, and GOAWAY for a stream above its last id, promise that the request was not
/// processed (RFC 9113 section 8.7). Of GOAWAY only the graceful kind is believed: after another
/// one hyper reports streams alike whether the peer had seen them or not.
fn was_not_processed(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (error.is_go_away()
                    && error.is_remote()
                    && error.reason() == Some(h2::Reason::NO_ERROR));
        }
        source = error.source();
    }
    false
}
