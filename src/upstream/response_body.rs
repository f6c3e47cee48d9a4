//! The body that comes down: pulled by whoever reads it, and nothing is read ahead.
//!
//! When it has ended properly the connection goes back to its pool; when it is dropped before that
//! the connection is closed (HTTP/1.1) or the stream reset (HTTP/2), which ends the request at the
//! upstream. While hyper still holds some of an HTTP/2 request, the stream ends as `multiplex` says.
//! A truncated body is an error here and never a polite end.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::multiplex::{Stream, is_malformed};
use super::pool::Lease;
use super::{Breakage, Upload};
use crate::alarm::Alarm;
use crate::clock;
use crate::policy::response_header::Settled;

/// How long the frame that ends a stream may take after the last byte: it was to be sent right behind,
/// and a packet that is lost twice comes within this.
const LAST_FRAME: Duration = Duration::from_secs(5);

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub enum ResponseBodyError {
    /// The upstream's connection ended too early, or its framing is wrong.
    #[error("the upstream's answer broke off")]
    Broken(#[source] Breakage),
    /// Nothing came for `timeouts.response_body_idle`.
    #[error("the upstream's answer stalled for timeouts.response_body_idle")]
    Stalled,
}

enum Source {
    Http1(Lease),
    Http2 {
        incoming: Incoming,
        stream: Stream,
        /// The request body, where it may still be on its way.
        upload: Option<Rc<Upload>>,
    },
    /// This was read and given back, and stands in front of the rest.
    Unread(Bytes, Box<Self>),
    /// Likewise, and nothing follows.
    Trailers(Box<HeaderMap>),
    /// All of it was read.
    Ended,
    /// It broke off; that is not its end.
    Broken,
}

impl Source {
    fn alarm(&self) -> Option<&Alarm> {
        match self {
            Self::Http1(lease) => Some(&lease.look().alarm),
            Self::Http2 { stream, .. } => Some(stream.alarm()),
            Self::Unread(_, rest) => rest.alarm(),
            Self::Trailers(_) | Self::Ended | Self::Broken => None,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(lease) => lease.look().size_hint(),
            Self::Http2 { incoming, .. } => incoming.size_hint(),
            Self::Unread(bytes, rest) => match rest.size_hint().exact() {
                Some(length) => SizeHint::with_exact(length + bytes.len() as u64),
                None => SizeHint::new(),
            },
            Self::Ended => SizeHint::with_exact(0),
            Self::Trailers(_) | Self::Broken => SizeHint::new(),
        }
    }
}

/// The body of an upstream's response.
pub struct UpstreamBody {
    source: Source,
    idle: Duration,
    /// How far it had come over HTTP/1.1 when that was last looked at.
    sent: Option<u64>,
    /// Of the head that it came with.
    settled: Settled,
}

impl UpstreamBody {
    pub(super) fn http1(lease: Lease, idle: Duration, settled: Settled) -> Self {
        lease.look().alarm.set(idle);
        let mut body = Self {
            sent: lease.look().progress(),
            source: Source::Http1(lease),
            idle,
            settled,
        };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    pub(super) fn http2(
        incoming: Incoming,
        stream: Stream,
        idle: Duration,
        upload: Option<Rc<Upload>>,
        settled: Settled,
    ) -> Self {
        stream.begin(idle);
        Self {
            source: Source::Http2 {
                incoming,
                stream,
                upload,
            },
            idle,
            sent: None,
            settled,
        }
    }

    /// No body, whatever the upstream sends: its status has none (RFC 9110 section 6.4.1).
    pub(super) fn none(settled: Settled) -> Self {
        Self {
            source: Source::Ended,
            idle: Duration::ZERO,
            sent: None,
            settled,
        }
    }

    /// What the rules of a route need to know of the head that it came with, which is settled.
    pub fn settled(&self) -> Settled {
        self.settled
    }

    /// Gives back what was read of it last: it comes again.
    pub fn unread(&mut self, bytes: Bytes, trailers: Option<HeaderMap>) {
        if let Some(trailers) = trailers {
            self.source = Source::Trailers(Box::new(trailers));
        }
        if !bytes.is_empty() {
            let rest = std::mem::replace(&mut self.source, Source::Ended);
            self.source = Source::Unread(bytes, Box::new(rest));
        }
    }

    /// Waits by itself for the end of a stream that has given all of its declared length. A stream
    /// that is reset instead is one of those that servers count against a client, whose connection
    /// they end when there are many (CVE-2023-44487).
    pub fn end_alone(mut self) {
        let Source::Http2 { upload, .. } = &self.source else {
            return;
        };
        // The rest of a request that is not wanted is what a reset is for.
        let is_sent = upload.as_ref().is_none_or(|upload| upload.ended());
        if !is_sent || self.is_end_stream() {
            return;
        }
        drop(tokio::task::spawn_local(async move {
            let end = async {
                while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {}
            };
            let _ = clock::within(LAST_FRAME, end).await;
        }));
    }

    /// The answer is complete. The connection serves again unless the request is still on its way,
    /// which it knows: an upstream that answers early does not want the rest of it.
    fn finish(&mut self) {
        let source = std::mem::replace(&mut self.source, Source::Ended);
        if let Source::Http1(lease) = source {
            lease.give_back();
        }
    }

    /// While the request is still on its way, its progress counts as well. That of HTTP/2 is looked
    /// at where hyper takes it.
    fn note_upload(&mut self) {
        if let Source::Http1(lease) = &self.source {
            lease.look().note_progress(&mut self.sent, self.idle);
        }
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Breakage>>> {
        match &mut self.source {
            Source::Http1(lease) => lease.wire().poll_body(cx),
            Source::Http2 { incoming, .. } => {
                let next = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                // h2 forgets the end of an answer when the connection ends while the request is on
                // its way; the declared length tells it as well.
                let is_whole = || incoming.size_hint().exact() == Some(0);
                match next {
                    // hyper takes a reset without an error for the end.
                    None if !incoming.is_end_stream() && !is_whole() => {
                        Poll::Ready(Some(Err(Breakage::Ended)))
                    }
                    Some(Err(error)) if is_whole() && !is_malformed(&error) => Poll::Ready(None),
                    next => Poll::Ready(next.map(|next| next.map_err(Breakage::Http2))),
                }
            }
            Source::Unread(bytes, rest) => {
                let bytes = std::mem::take(bytes);
                self.source = std::mem::replace(&mut **rest, Source::Ended);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Trailers(trailers) => {
                let trailers = std::mem::take(&mut **trailers);
                self.source = Source::Ended;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Source::Ended => Poll::Ready(None),
            Source::Broken => Poll::Ready(Some(Err(Breakage::Ended))),
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = self.get_mut();
        match this.poll_incoming(cx) {
            Poll::Pending => {
                this.note_upload();
                if this.source.alarm().is_some_and(|alarm| alarm.has_rung(cx)) {
                    this.source = Source::Broken;
                    return Poll::Ready(Some(Err(ResponseBodyError::Stalled)));
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                if this.is_end_stream() {
                    this.finish();
                } else {
                    let idle = this.idle;
                    if let Some(alarm) = this.source.alarm() {
                        alarm.set(idle);
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.source = Source::Broken;
                Poll::Ready(Some(Err(ResponseBodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http1(lease) => lease.look().is_drained(),
            Source::Http2 { incoming, .. } => incoming.is_end_stream(),
            Source::Ended => true,
            Source::Unread(..) | Source::Trailers(_) | Source::Broken => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}
