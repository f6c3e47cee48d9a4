//! One HTTP/1.1 connection to an upstream.
//!
//! hyper's connection future is not spawned: whoever uses the wire polls it, in the same task as the
//! exchange. That saves two wake-ups and a task switch for each request, and a wire that nobody uses
//! costs nothing: what happened to it meanwhile is found out when it is wanted again.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::damper::Damper;
use super::stream::UpstreamStream;
use super::{Failure, RequestBody, UpstreamError};
use crate::alarm::Alarm;

/// Microsoft's front doors and Azure's balancers close idle connections after minutes; a wire that
/// is younger than this is not met half-closed.
pub(super) const IDLE: Duration = Duration::from_secs(20);
/// Response heads: as large as what callers may send.
const LARGEST_HEAD: usize = 64 * 1024;
/// Enough for a 64 KiB head; bodies pass in pieces of at most this.
const READ_BUFFER: usize = 128 * 1024;

/// An open connection.
pub(super) struct Wire {
    sender: http1::SendRequest<RequestBody>,
    driver: http1::Connection<TokioIo<UpstreamStream>, RequestBody>,
    done: bool,
    damper: Damper,
    /// After this moment it is not used for another request.
    retire_at: Instant,
    /// Since when it is idle; when it was made, until then.
    pub(super) idle_since: Instant,
    /// The deadline of the stage that the exchange is in.
    pub(super) alarm: Alarm,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    /// Speaks HTTP/1.1 on a connected stream.
    pub(super) async fn open(
        stream: UpstreamStream,
        alarm: Alarm,
        lifetime: Duration,
    ) -> Result<Self, hyper::Error> {
        let (sender, driver) = http1::Builder::new()
            .max_header_size(LARGEST_HEAD)
            .max_buf_size(READ_BUFFER)
            .handshake(TokioIo::new(stream))
            .await?;
        let now = Instant::now();
        Ok(Self {
            sender,
            driver,
            done: false,
            damper: Damper::new(),
            retire_at: now + lifetime,
            idle_since: now,
            alarm,
        })
    }

    /// Lets the connection do what it can while no exchange uses it.
    fn settle(&mut self) {
        if !self.done {
            let driver = &mut self.driver;
            self.done = self.damper.rest(|cx| Pin::new(driver).poll(cx).is_ready());
        }
    }

    /// The next piece of a response body, driven here.
    pub(super) fn poll_body(
        &mut self,
        cx: &Context<'_>,
        incoming: &mut Incoming,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self {
            damper,
            driver,
            done,
            ..
        } = self;
        damper.run(cx, |cx| {
            let first = Pin::new(&mut *incoming).poll_frame(cx);
            if first.is_ready() || *done {
                return first;
            }
            *done = Pin::new(&mut *driver).poll(cx).is_ready();
            Pin::new(&mut *incoming).poll_frame(cx)
        })
    }

    /// Whether another request may be sent: open, clean, young, not idle for too long.
    pub(super) fn is_usable(&mut self, now: Instant) -> bool {
        if now >= self.retire_at || now.duration_since(self.idle_since) >= IDLE {
            return false;
        }
        // What the upstream did meanwhile, closing for one, has stirred the damper.
        if self.damper.was_stirred() {
            self.settle();
        }
        !self.done && self.sender.is_ready()
    }

    /// Ends its use by an exchange; whether it can serve another.
    pub(super) fn rest(&mut self) -> bool {
        self.settle();
        self.is_usable(self.idle_since)
    }

    /// Sends a request and waits for the response head, `limit` counted from the last progress of
    /// the request body.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        let upload = request.body().upload();
        let sent = |upload: &Option<std::rc::Rc<super::Upload>>| {
            upload.as_ref().map_or(0, |upload| upload.bytes())
        };
        let mut progress = 0;
        self.alarm.set(limit);
        let mut response = pin!(self.sender.try_send_request(request));
        let outcome = std::future::poll_fn(|cx| {
            let outcome = self.damper.run(cx, |cx| {
                if !self.done && Pin::new(&mut self.driver).poll(cx).is_ready() {
                    self.done = true;
                }
                response.as_mut().poll(cx)
            });
            if let Poll::Ready(outcome) = outcome {
                return Poll::Ready(Some(outcome));
            }
            if upload.is_some() && sent(&upload) != progress {
                progress = sent(&upload);
                self.alarm.set(limit);
            }
            if self.alarm.has_rung(cx) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await;
        self.alarm.clear();
        match outcome {
            Some(Ok(response)) => Ok(response),
            Some(Err(mut failure)) => {
                if upload.is_some_and(|upload| upload.fault().is_some()) {
                    return Err(UpstreamError::CallerBody.into());
                }
                let unsent = failure.take_message();
                Err(Failure {
                    error: UpstreamError::Broken(failure.into_error()),
                    unprocessed: unsent.is_some(),
                    body: unsent.map(Request::into_body),
                })
            }
            None => Err(UpstreamError::HeadTimeout.into()),
        }
    }
}
