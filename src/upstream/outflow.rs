//! Sends one request: its head, and its body as it comes, in as few writes as that allows. Nothing
//! is pulled from the body before what was pulled last is written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Method;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::caller_body::BodyFault;
use super::framing::number;
use super::lead::Lead;
use super::{Breakage, RequestBody, RequestHead, request_head};

/// What stands in front of trailers.
const LAST_CHUNK: &[u8] = b"0\r\n";

/// The request that is being sent.
pub(super) struct Outflow {
    /// The head, the line before a chunk, or trailers, in memory that is borrowed. A head holds the
    /// token.
    lead: Lead,
    /// How much of it is written.
    led: usize,
    data: Bytes,
    tail: &'static [u8],
    body: RequestBody,
    coding: Coding,
    stage: Stage,
    /// Whether any of it was written, and whether any of the body was pulled.
    written: bool,
    pulled: bool,
    /// How far its body has come: grows with what is pulled of it and with what is written.
    progress: u64,
    /// Whether nothing but more of the body is waited for.
    waits: bool,
}

#[derive(Clone, Copy)]
enum Coding {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// More of the body is to come.
    Open,
    /// All that is left is to be written.
    Closing,
    /// All is written.
    Done,
}

impl Outflow {
    /// No request.
    pub(super) fn new() -> Self {
        Self {
            lead: Lead::default(),
            led: 0,
            data: Bytes::new(),
            tail: b"",
            body: RequestBody::Empty,
            coding: Coding::Length(0),
            stage: Stage::Done,
            written: false,
            pulled: false,
            progress: 0,
            waits: false,
        }
    }

    /// Begins with a request, whose framing is settled here: by its `Content-Length`, by the length
    /// that is known of the body, or in chunks.
    /// It is written into `lead`.
    pub(super) fn begin(&mut self, head: RequestHead<'_>, body: RequestBody, lead: Lead) {
        self.coding = Coding::Length(0);
        self.stage = Stage::Closing;
        let mut framing = None;
        let digits;
        if !body.is_end_stream() {
            self.stage = Stage::Open;
            let declared = head.fields.get(&CONTENT_LENGTH);
            let declared = declared.and_then(|length| number(length.as_bytes()));
            self.coding = match declared.or(body.size_hint().exact()) {
                Some(length) => Coding::Length(length),
                None => Coding::Chunked,
            };
            framing = match self.coding {
                Coding::Length(_) if declared.is_some() => None,
                Coding::Length(length) => {
                    digits = length.to_string();
                    Some((CONTENT_LENGTH, &*digits))
                }
                Coding::Chunked => Some((TRANSFER_ENCODING, "chunked")),
            };
        } else if expects_body(head.method) && head.fields.get(&CONTENT_LENGTH).is_none() {
            framing = Some((CONTENT_LENGTH, "0"));
        }
        let framing = framing
            .as_ref()
            .map(|(name, value)| (name.as_str(), *value));
        self.body = body;
        self.lead = lead;
        self.lead.clear();
        head.write(framing, &mut self.lead);
        (self.led, self.written, self.pulled) = (0, false, false);
        (self.progress, self.waits) = (0, false);
        (self.data, self.tail) = (Bytes::new(), b"");
    }

    /// Whether all of it is written.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// How far the body has come, in no unit: 0 as long as there is nothing of it. `None` while the
    /// upstream has taken all that there is, and more has to come from the caller.
    pub(super) fn progress(&self) -> Option<u64> {
        (!self.waits).then_some(self.progress)
    }

    /// What the head was written into, once all is written.
    pub(super) fn take_lead(&mut self) -> Lead {
        std::mem::take(&mut self.lead)
    }

    /// Gives up on what is left.
    pub(super) fn abandon(&mut self) {
        self.body = RequestBody::Empty;
        (self.data, self.tail, self.led) = (Bytes::new(), b"", self.lead.len());
        self.stage = Stage::Done;
        self.waits = false;
    }

    /// Whether nothing was written, and the body, unless some of it was pulled.
    pub(super) fn unsent(&mut self) -> (bool, Option<RequestBody>) {
        let whole = !self.written && !self.pulled;
        (!self.written, whole.then(|| std::mem::take(&mut self.body)))
    }

    /// Sends what can be sent now; ready when all is. It fails with the body, or with the connection
    /// ([`Breakage::Io`]): an answer may be there all the same.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Breakage>> {
        self.waits = false;
        while !self.is_done() {
            // The first piece of a body goes in one write with the head.
            let waits = self.stage == Stage::Open && self.data.is_empty() && self.tail.is_empty();
            let pending = waits && self.pull(cx)?.is_pending();
            if self.has_output() {
                ready!(self.write(stream, cx)).map_err(Breakage::Io)?;
            } else if pending {
                let flushed = Pin::new(&mut *stream).poll_flush(cx);
                self.waits = flushed.map_err(Breakage::Io)?.is_ready();
                return Poll::Pending;
            } else if self.stage == Stage::Closing {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(Breakage::Io)?;
                self.stage = Stage::Done;
                self.body = RequestBody::Empty;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn has_output(&self) -> bool {
        self.led < self.lead.len() || !self.data.is_empty() || !self.tail.is_empty()
    }

    fn write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let lead = &self.lead[self.led..];
        let stream = Pin::new(stream);
        let written = if self.data.is_empty() && self.tail.is_empty() {
            // TLS makes a list of several pieces.
            ready!(stream.poll_write(cx, lead))?
        } else {
            let pieces = [lead, &self.data, self.tail].map(IoSlice::new);
            let written = ready!(stream.poll_write_vectored(cx, &pieces))?;
            self.progress += written as u64;
            written
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written = true;
        let mut left = written;
        let mut of = |length: usize| {
            let part = left.min(length);
            left -= part;
            part
        };
        self.led += of(self.lead.len() - self.led);
        self.data.advance(of(self.data.len()));
        self.tail = &self.tail[of(self.tail.len())..];
        if self.led == self.lead.len() {
            self.lead.clear();
            self.led = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the body.
    fn pull(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Breakage> {
        let next = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(next) => next,
        };
        self.pulled = true;
        let frame = next.transpose().map_err(Breakage::Body)?;
        let trailers = match frame.map(http_body::Frame::into_data) {
            Some(Ok(data)) => return self.take(data).map(Poll::Ready),
            Some(Err(frame)) => frame.into_trailers().ok(),
            None => None,
        };
        self.stage = Stage::Closing;
        match (self.coding, trailers) {
            (Coding::Length(0), _) => {}
            (Coding::Length(_), _) => return Err(Breakage::Body(BodyFault::Broken)),
            (Coding::Chunked, None) => self.tail = b"0\r\n\r\n",
            (Coding::Chunked, Some(trailers)) => {
                self.lead.append(LAST_CHUNK);
                request_head::write_trailers(&trailers, &mut self.lead);
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Frames a piece of the body.
    fn take(&mut self, data: Bytes) -> Result<(), Breakage> {
        let last = self.body.is_end_stream();
        self.progress += data.len() as u64;
        match &mut self.coding {
            Coding::Length(left) => {
                *left = left
                    .checked_sub(data.len() as u64)
                    .filter(|left| !last || *left == 0)
                    .ok_or(Breakage::Body(BodyFault::Broken))?;
            }
            // An empty chunk would be the last one.
            Coding::Chunked if data.is_empty() => {}
            Coding::Chunked => {
                let size = format!("{:x}\r\n", data.len());
                self.lead.append(size.as_bytes());
                self.tail = if last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
            }
        }
        if last {
            if data.is_empty() && matches!(self.coding, Coding::Chunked) {
                self.tail = b"0\r\n\r\n";
            }
            self.stage = Stage::Closing;
        }
        self.data = data;
        Ok(())
    }
}

/// Whether servers expect a body of this method, and some refuse a request with 411 that does not say
/// that it has none (RFC 9110 section 8.6).
pub fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;

    use super::*;
    use crate::fields::Fields;

    #[tokio::test]
    async fn a_body_of_which_a_piece_was_pulled_is_not_given_back() {
        let small = RequestBody::Kept(Bytes::from_static(b"{}"));
        for (body, is_whole) in [(RequestBody::Empty, true), (small, false)] {
            let head = RequestHead {
                method: &Method::POST,
                target: &PathAndQuery::from_static("/v1.0/me").into(),
                fields: &Fields::default(),
                id: None,
                authorization: None,
                rewrites: false,
            };
            let mut outflow = Outflow::new();
            outflow.begin(head, body, Lead::default());
            // Nobody is at its other end.
            let (mut stream, _) = tokio::io::duplex(9);
            let sent = std::future::poll_fn(|cx| outflow.poll(&mut stream, cx)).await;
            assert!(matches!(sent, Err(Breakage::Io(_))), "{sent:?}");
            let (is_unsent, body) = outflow.unsent();
            assert_eq!((is_unsent, body.is_some()), (true, is_whole));
        }
    }
}
