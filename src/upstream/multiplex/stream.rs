//! One request on one HTTP/2 connection, and what its failure means.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use rustls::AlertDescription;

use super::super::{Breakage, Failure, RequestBody, UpstreamError};
use super::connection::H2Connection;
use super::revocable_body::{Handed, RevocableBody};
use crate::alarm::Alarm;
use crate::chain::causes;

/// One stream in use; its place is free again when this is dropped.
pub(in super::super) struct Stream {
    connection: Rc<H2Connection>,
    handed: Rc<Handed>,
}

impl Stream {
    /// Takes a place on a connection; `alarm` is that of the exchange.
    pub(super) fn on(connection: Rc<H2Connection>, alarm: Alarm) -> Self {
        connection.occupy();
        Self {
            connection,
            handed: Rc::new(Handed::new(alarm)),
        }
    }

    /// Begins a stage of the exchange, which has `limit` from now and from each progress of the
    /// request body.
    pub(in super::super) fn begin(&self, limit: Duration) {
        self.handed.limit.set(limit);
        self.handed.alarm.set(limit);
    }

    /// The deadline of that stage.
    pub(in super::super) fn alarm(&self) -> &Alarm {
        &self.handed.alarm
    }

    /// Sends a request and waits for the response head, `limit` counted from the last progress of
    /// the request body and not while the caller pauses in it.
    pub(in super::super) async fn send(
        &self,
        request: Request<RequestBody>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        let upload = request.body().upload();
        let request = request.map(|body| {
            self.handed.body.replace(Some(body));
            self.handed.untouched.set(true);
            RevocableBody(Rc::clone(&self.handed))
        });
        let mut sender = self.connection.sender.clone();
        let mut response = std::pin::pin!(sender.try_send_request(request));
        self.begin(limit);
        let outcome = std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = response.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            if self.alarm().has_rung(cx) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await;
        self.alarm().clear();
        match outcome {
            Some(Ok(response)) => {
                // One that hyper has let go is wanted by nobody.
                self.handed.untouched.set(false);
                if Rc::strong_count(&self.handed) == 1 {
                    self.handed.empty();
                }
                Ok(response)
            }
            None => Err(UpstreamError::HeadTimeout.into()),
            Some(Err(mut failure)) => {
                if upload.is_some_and(|upload| upload.fault().is_some()) {
                    return Err(UpstreamError::CallerBody.into());
                }
                let unsent = failure.take_message().is_some();
                let error = failure.into_error();
                // What waits there has not begun as long as the peer allows no stream. Where that says
                // goodbye it may allow one yet, and h2 sends what nobody wants any more.
                let connection = &self.connection;
                let waits = !self.handed.asked.get() && connection.allows_none();
                let waits = waits && connection.is_over();
                let unsent = unsent || (waits && was_let_go(&error));
                // Of a caller who has sent nothing yet nothing is lost, however large it is to be.
                let untouched = self.handed.untouched.get();
                let body = untouched.then(|| self.handed.body.take()).flatten();
                Err(explain(error, connection.alert(), unsent, body))
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let connection = &self.connection;
        if Rc::strong_count(&self.handed) > 1 {
            connection.left.set(connection.left.get() + 1);
            let place = (Rc::clone(&connection.left), Rc::clone(&connection.notify));
            self.handed.left.set(Some(place));
        }
        connection.vacate();
        self.handed.empty();
        if let Some(waker) = self.handed.waiting.take() {
            waker.wake();
        }
    }
}

/// What became of a request and its connection, which an `alert` may have ended; `unsent` is one that
/// hyper gave back, and `body` is there where nothing of it was taken.
fn explain(
    error: hyper::Error,
    alert: Option<AlertDescription>,
    unsent: bool,
    body: Option<RequestBody>,
) -> Failure {
    let cause = cause(&error);
    let reset = cause.is_some_and(h2::Error::is_reset);
    let unprocessed = unsent || cause.is_some_and(was_not_processed);
    Failure {
        error: match (reset, unprocessed) {
            (true, true) => UpstreamError::Refused(error),
            (true, false) => UpstreamError::Reset(error),
            (false, _) => {
                UpstreamError::Broken(alert.map_or_else(|| error.into(), Breakage::of_alert))
            }
        },
        unprocessed,
        begun: false,
        body,
    }
}

/// Whether hyper let a request go that waited in it for the peer to allow its stream, because the
/// connection has ended: it says so of no other, and something else where something panicked.
fn was_let_go(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let words = source.map(ToString::to_string);
    error.is_user() && words.is_some_and(|words| words == "runtime dropped the dispatch task")
}

/// Whether the peer broke the rules of the protocol.
pub(in super::super) fn is_malformed(error: &hyper::Error) -> bool {
    cause(error).is_some_and(h2::Error::is_library)
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// REFUSED_STREAM, and GOAWAY for a stream above its last id, promise that the request was not
/// processed (RFC 9113 section 8.7). Of GOAWAY only the graceful kind is believed: after another
/// one hyper reports streams alike whether the peer had seen them or not.
fn was_not_processed(error: &h2::Error) -> bool {
    error.reason() == Some(h2::Reason::REFUSED_STREAM)
        || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
}
