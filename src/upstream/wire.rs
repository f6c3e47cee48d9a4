//! One HTTP/1.1 connection to an upstream, for one exchange at a time.
//!
//! It has no task of its own: whoever waits for an answer polls it. A wire that nobody uses costs
//! nothing, and what happened to it meanwhile is found out when it is wanted again.
//!
//! hyper's client connection was here before. It talks to its user through channels and looks at
//! its socket seven times for an answer of 1 KB; this one does so three times, and 64 callers cost an
//! eighth less CPU (`benches/peers/run`). `httparse` reads heads, `framing` says where a body ends.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};

use super::framing::conclude;
use super::inflow::Inflow;
use super::memory::Memory;
use super::outflow::Outflow;
use super::stream::UpstreamStream;
use super::{Breakage, Failure, RequestBody, RequestHead, UpstreamError};
use crate::alarm::Alarm;
use crate::policy::response_header::Settled;
use crate::socket::PIECE;

/// Microsoft's front doors and Azure's balancers close idle connections after minutes; a wire that
/// is younger than this is not met half-closed.
pub const IDLE: Duration = Duration::from_secs(20);

/// How long the answer of an upstream that takes no more is waited for: it is in the socket already,
/// and only the news of it has to come.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// An open connection.
pub(super) struct Wire {
    stream: UpstreamStream,
    /// What was read and not used yet; its memory is borrowed.
    input: BytesMut,
    memory: Rc<Memory>,
    outflow: Outflow,
    inflow: Inflow,
    /// How much came until the head of the final answer was whole.
    came: usize,
    /// That the connection was reset, where writing met it.
    reset: Option<Breakage>,
    /// Whether it can serve another request once this one is over.
    persists: bool,
    /// After this moment it is not used for another request.
    retire_at: Instant,
    /// Since when it is idle; when it was made, until then.
    pub(super) idle_since: Instant,
    /// The deadline of the stage that the exchange is in.
    pub(super) alarm: Alarm,
}

impl Wire {
    /// Speaks HTTP/1.1 on a connected stream.
    pub(super) fn new(
        stream: UpstreamStream,
        memory: Rc<Memory>,
        alarm: Alarm,
        lifetime: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            input: BytesMut::new(),
            memory,
            outflow: Outflow::new(),
            inflow: Inflow::done(),
            came: 0,
            reset: None,
            persists: true,
            retire_at: now + lifetime,
            idle_since: now,
            alarm,
        }
    }

    /// Whether another request may be sent: open, clean, young, not idle for too long.
    pub(super) fn is_usable(&mut self, now: Instant) -> bool {
        if now >= self.retire_at || now >= self.idle_since + IDLE {
            return false;
        }
        if self.stream.is_quiet() {
            return true;
        }
        // Without budget tokio answers "nothing" to every read, even of a connection that has ended.
        if !tokio::task::coop::has_budget_remaining() {
            return false;
        }
        // An end, or bytes that nobody asked for; or a session ticket, which is neither.
        let mut cx = Context::from_waker(Waker::noop());
        let mut one = BytesMut::with_capacity(1);
        self.stream.poll_next(&mut cx, &mut one).is_pending()
    }

    /// Ends its use by an exchange; whether it can serve another.
    pub(super) fn rest(&mut self) -> bool {
        let clean = self.inflow.is_done() && self.outflow.is_done() && self.input.is_empty();
        self.memory.return_input(&mut self.input);
        self.memory.return_lead(self.outflow.take_lead());
        clean && self.persists
    }

    /// Whether the body of the answer is read.
    pub(super) fn is_drained(&self) -> bool {
        self.inflow.is_done()
    }

    /// What is known of the body's length.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.inflow.size_hint()
    }

    /// Sends a request and waits for the head of the answer, `limit` counted from the last progress
    /// of the request body and not while the caller pauses in it. What is left of that body goes up
    /// while the answer's is read.
    pub(super) async fn send(
        &mut self,
        head: RequestHead<'_>,
        body: RequestBody,
        limit: Duration,
    ) -> Result<Response<Settled>, Failure> {
        self.outflow.begin(head, body, self.memory.lend_lead());
        self.alarm.set(limit);
        self.came = 0;
        let (mut sent, mut lost) = (Some(0), None);
        let outcome = std::future::poll_fn(|cx| {
            let outcome = self.poll_send(cx, &head, &mut lost);
            if outcome.is_ready() {
                return outcome.map(Some);
            }
            if lost.is_none() {
                self.note_progress(&mut sent, limit);
            }
            if self.alarm.has_rung(cx) {
                let lost = lost.take().map(|error| Err(Breakage::Io(error)));
                return Poll::Ready(lost);
            }
            Poll::Pending
        })
        .await;
        self.alarm.clear();
        match outcome {
            Some(Ok(response)) => Ok(response),
            Some(Err(Breakage::Coding)) => Err(UpstreamError::Coding.into()),
            Some(Err(Breakage::Body(_))) => Err(UpstreamError::CallerBody.into()),
            Some(Err(breakage)) => {
                let (unprocessed, body) = self.outflow.unsent();
                Err(Failure {
                    error: UpstreamError::Broken(breakage),
                    unprocessed,
                    begun: self.came > 0,
                    body,
                })
            }
            None => Err(UpstreamError::HeadTimeout.into()),
        }
    }

    /// Gives the upstream `limit` from the last progress of the request body. While more of that has
    /// to come first there is none: the caller has a limit of its own (`CallerBody`).
    pub(super) fn note_progress(&self, sent: &mut Option<u64>, limit: Duration) {
        let progress = self.progress();
        match progress {
            None => self.alarm.clear(),
            Some(_) if progress != *sent => self.alarm.set(limit),
            Some(_) => {}
        }
        *sent = progress;
    }

    /// How far the request body has come; `None` while the caller pauses in it.
    pub(super) fn progress(&self) -> Option<u64> {
        self.outflow.progress()
    }

    /// Sends what can be sent, and reads the head of the answer. An upstream that refuses a body may
    /// have answered before it stopped reading: the answer is here then, but news of it may come after
    /// that of the connection, which is left in `lost` meanwhile.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &RequestHead<'_>,
        lost: &mut Option<io::Error>,
    ) -> Poll<Result<Response<Settled>, Breakage>> {
        if lost.is_none() {
            match self.outflow.poll(&mut self.stream, cx) {
                Poll::Ready(Err(Breakage::Io(error))) => {
                    self.alarm.set(LAST_WORDS);
                    *lost = Some(error);
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Ready(Ok(())) => self.memory.return_lead(self.outflow.take_lead()),
                Poll::Pending => {}
            }
        }
        match (ready!(self.poll_head(cx, head)), lost.take()) {
            (Ok(response), Some(error)) => {
                self.stop_sending(error);
                Poll::Ready(Ok(response))
            }
            (Err(_), Some(error)) => Poll::Ready(Err(Breakage::Io(error))),
            (outcome, None) => Poll::Ready(outcome),
        }
    }

    /// The upstream does not want the rest; its answer may still be whole. A reset that is met here is
    /// an end to who reads; behind a proper end it is a broken pipe.
    fn stop_sending(&mut self, error: io::Error) {
        self.outflow.abandon();
        self.persists = false;
        let is_reset = error.kind() == io::ErrorKind::ConnectionReset;
        self.reset = is_reset.then_some(Breakage::Io(error));
    }

    /// The head of the final answer; interim ones are for this connection alone.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &RequestHead<'_>,
    ) -> Poll<Result<Response<Settled>, Breakage>> {
        loop {
            let heads = &self.memory.heads;
            let read = heads.borrow_mut().read(&mut self.input, head.rewrites)?;
            if let Some((response, known)) = read {
                let status = response.status();
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    continue;
                }
                let (response, framing, persists) = conclude(head.method, response, known)?;
                // After a 503 Microsoft's gateways want another connection: its server may be well.
                self.persists = persists && status != StatusCode::SERVICE_UNAVAILABLE;
                self.inflow = Inflow::new(framing);
                return Poll::Ready(Ok(response));
            }
            ready!(self.stream.poll_news(cx)).map_err(Breakage::Io)?;
            self.memory.lend_input(&mut self.input);
            let read = self.stream.poll_next(cx, &mut self.input);
            if self.input.is_empty() {
                self.memory.return_input(&mut self.input);
            }
            match ready!(read).map_err(Breakage::Io)? {
                0 => return Poll::Ready(Err(Breakage::Ended)),
                read => self.came += read,
            }
            super::answer_head::within_reason(self.came)?;
        }
    }

    /// The next piece of the answer's body.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Breakage>>> {
        match self.outflow.poll(&mut self.stream, cx) {
            Poll::Ready(Err(Breakage::Io(error))) => self.stop_sending(error),
            Poll::Ready(Err(failure)) => return Poll::Ready(Some(Err(failure))),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        loop {
            if let Some(frame) = self.inflow.next(&mut self.input)? {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.inflow.is_done() {
                return Poll::Ready(None);
            }
            if ready!(self.poll_fill(cx)).map_err(Breakage::Io)? == 0 {
                self.reset.take().map_or(Ok(()), Err)?;
                self.inflow.end()?;
            }
        }
    }

    /// Reads what is there of a body, at most a piece; the number of bytes.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let left = self.inflow.size_hint().exact().unwrap_or(u64::MAX);
        let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        self.input.reserve(room);
        let before = self.input.len();
        while self.input.len() - before < room {
            match self.stream.poll_next(cx, &mut self.input) {
                Poll::Ready(Ok(read)) if read > 0 => {
                    // A failure behind these bytes would be mistaken for the end.
                    if self.inflow.ends_with_connection() {
                        break;
                    }
                }
                Poll::Pending if self.input.len() > before => break,
                // What was read comes first. An end is met again; a failure of TLS need not be.
                Poll::Ready(_) if self.input.len() > before => {
                    self.persists = false;
                    break;
                }
                outcome => return outcome,
            }
        }
        Poll::Ready(Ok(self.input.len() - before))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::{Method, uri::PathAndQuery};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::alarm::AlarmClock;
    use crate::fields::Fields;

    const HOUR: Duration = Duration::from_hours(1);

    /// A wire on which this head of an answer to a request with this body has come, and its other end.
    async fn answered(answer: &[u8], body: RequestBody) -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
        let stream = UpstreamStream::Plain(stream.unwrap().into());
        let (mut other, _) = listener.accept().await.unwrap();
        let mut wire = Wire::new(stream, Rc::default(), AlarmClock::new(HOUR).alarm(), HOUR);
        let head = RequestHead {
            method: &Method::GET,
            target: &PathAndQuery::from_static("/v1.0/me").into(),
            fields: &Fields::default(),
            id: None,
            authorization: None,
            rewrites: false,
        };
        let answers = async {
            assert!(other.read(&mut [0; 1024]).await.unwrap() > 0);
            other.write_all(answer).await.unwrap();
        };
        let sent = wire.send(head, body, HOUR);
        let (response, ()) = tokio::join!(sent, answers);
        response.unwrap();
        (wire, other)
    }

    #[tokio::test]
    async fn a_failure_behind_bytes_that_came_with_it_is_not_taken_for_the_end() {
        let (mut wire, mut other) = answered(b"HTTP/1.1 200 OK\r\n\r\n", RequestBody::Empty).await;
        other.write_all(b"half").await.unwrap();
        other.set_zero_linger().unwrap();
        drop(other);
        poll_fn(|cx| wire.poll_body(cx)).await.unwrap().unwrap();
        let end = poll_fn(|cx| wire.poll_body(cx)).await;
        assert!(matches!(end, Some(Err(Breakage::Io(_)))), "{end:?}");
    }

    #[tokio::test]
    async fn a_reset_that_is_met_in_writing_is_not_taken_for_the_end() {
        for has_read in [true, false] {
            // More than both systems take.
            let body = RequestBody::Kept(Bytes::from(vec![b'x'; 32 << 20]));
            let (mut wire, mut other) = answered(b"HTTP/1.1 200 OK\r\n\r\n", body).await;
            other.write_all(b"half").await.unwrap();
            if has_read {
                poll_fn(|cx| wire.poll_body(cx)).await.unwrap().unwrap();
            }
            other.set_zero_linger().unwrap();
            drop(other);
            // Whoever writes once more behind the reset meets a broken pipe, which is a proper end.
            if !has_read {
                poll_fn(|cx| wire.poll_body(cx)).await.unwrap().unwrap();
            }
            let end = poll_fn(|cx| wire.poll_body(cx)).await;
            assert!(matches!(end, Some(Err(Breakage::Io(_)))), "{end:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_took_no_more_of_a_request_serves_no_other() {
        let head = b"HTTP/1.1 204 No Content\r\n\r\n";
        let (mut wire, _other) = answered(head, RequestBody::Empty).await;
        wire.stop_sending(io::ErrorKind::OutOfMemory.into());
        assert!(wire.is_drained() && !wire.rest());
    }

    #[tokio::test]
    async fn a_connection_whose_end_came_with_that_of_a_body_serves_no_other_request() {
        for ends in [true, false] {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let (mut wire, mut other) = answered(head, RequestBody::Empty).await;
            other.write_all(b"2\r\nhi\r\n0\r\n\r\n").await.unwrap();
            if ends {
                other.shutdown().await.unwrap();
            }
            while let Some(frame) = poll_fn(|cx| wire.poll_body(cx)).await {
                frame.unwrap();
            }
            assert_eq!(wire.rest(), !ends);
        }
    }
}
