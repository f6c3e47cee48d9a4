//! The body that comes down: pulled by whoever reads it, and nothing is read ahead.
//!
//! When it has ended properly the connection goes back to its pool; when it is dropped before that
//! the connection is closed (HTTP/1.1) or the stream reset (HTTP/2), which ends the request at the
//! upstream. A truncated body is an error here and never a polite end.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Upload;
use super::multiplex::Stream;
use super::pool::Lease;
use crate::alarm::Alarm;

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub enum ResponseBodyError {
    /// The upstream's connection ended too early, or its framing is wrong.
    #[error("the upstream's answer broke off")]
    Broken(#[source] hyper::Error),
    /// Nothing came for `timeouts.response_body_idle`.
    #[error("the upstream's answer stalled for timeouts.response_body_idle")]
    Stalled,
}

enum Source {
    One(Lease),
    Two { _stream: Stream, alarm: Alarm },
    Done,
}

/// The body of an upstream's response.
pub struct UpstreamBody {
    incoming: Incoming,
    source: Source,
    idle: Duration,
    /// The request body, where it may still be on its way.
    upload: Option<Rc<Upload>>,
    /// How much of it had gone up when the alarm was last set.
    sent: u64,
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamBody").finish_non_exhaustive()
    }
}

impl UpstreamBody {
    pub(super) fn one(
        incoming: Incoming,
        mut lease: Lease,
        idle: Duration,
        upload: Option<Rc<Upload>>,
    ) -> Self {
        lease.wire().alarm.set(idle);
        let mut body = Self {
            incoming,
            source: Source::One(lease),
            idle,
            sent: upload.as_ref().map_or(0, |upload| upload.bytes()),
            upload,
        };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    pub(super) fn two(incoming: Incoming, stream: Stream, alarm: Alarm, idle: Duration) -> Self {
        alarm.set(idle);
        Self {
            incoming,
            source: Source::Two {
                _stream: stream,
                alarm,
            },
            idle,
            upload: None,
            sent: 0,
        }
    }

    fn alarm(&mut self) -> Option<&Alarm> {
        match &mut self.source {
            Source::One(lease) => Some(&lease.wire().alarm),
            Source::Two { alarm, .. } => Some(alarm),
            Source::Done => None,
        }
    }

    /// The answer is complete. The connection can serve again unless the request is still on its
    /// way: an upstream that answers early does not want the rest of it.
    fn finish(&mut self) {
        let source = std::mem::replace(&mut self.source, Source::Done);
        if let Source::One(lease) = source
            && self.upload.as_ref().is_none_or(|upload| upload.ended())
        {
            lease.give_back();
        }
    }

    /// While the request is still on its way, its progress counts as well.
    fn note_upload(&mut self) {
        let sent = self.upload.as_ref().map_or(0, |upload| upload.bytes());
        if sent != self.sent {
            self.sent = sent;
            let idle = self.idle;
            if let Some(alarm) = self.alarm() {
                alarm.set(idle);
            }
        }
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.source {
            Source::One(lease) => lease.wire().poll_body(cx, &mut self.incoming),
            Source::Two { .. } | Source::Done => Pin::new(&mut self.incoming).poll_frame(cx),
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
                if this.alarm().is_some_and(|alarm| alarm.has_rung(cx)) {
                    this.source = Source::Done;
                    return Poll::Ready(Some(Err(ResponseBodyError::Stalled)));
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                if this.incoming.is_end_stream() {
                    this.finish();
                } else {
                    let idle = this.idle;
                    if let Some(alarm) = this.alarm() {
                        alarm.set(idle);
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.source = Source::Done;
                Poll::Ready(Some(Err(ResponseBodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
