//! What a request carries up: nothing, the caller's body as it streams, or a body that was read here.
//! A copy of a small one is kept until the answer begins, so that a request whose token is refused
//! can be sent again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::admission::Admission;
use super::allowance::{Allowance, Held};
use super::batch;
use super::call::Call;
use super::error::ProxyError;
use super::request::Outgoing;
use crate::clock;
use crate::config::BatchRule;
use crate::rewrite::decode::Coding;
use crate::rewrite::{is_json, request};
use crate::upstream::{BodyFault, CallerBody, RequestBody, Upload, expects_body};

/// The largest body that is kept.
const LARGEST: usize = 64 * 1024;
/// Room at first for a body of unknown length. Little, because whoever has sent a byte and stops keeps
/// it; more is a few doublings away.
pub(super) const FIRST: usize = 512;
/// What all kept bodies may hold together: 256 of the largest, where only those are kept whose answer
/// has not begun.
const KEPT: usize = 16 << 20;

/// A worker's memory for bodies.
#[derive(Debug)]
pub(super) struct BodyMemory {
    kept: Arc<Allowance>,
    batch_memory: Arc<Allowance>,
}

impl BodyMemory {
    /// A worker's share.
    pub(super) fn of(admission: &Admission) -> Self {
        Self {
            kept: Allowance::new(admission.share(KEPT)),
            batch_memory: Arc::clone(&admission.batch_memory),
        }
    }
}

/// A body, and how it may be sent again.
#[derive(Debug)]
pub(super) struct PreparedBody {
    /// For the first attempt.
    pub(super) body: RequestBody,
    /// For further ones.
    pub(super) replay: Replay,
}

/// What is there for another attempt.
#[derive(Debug)]
pub(super) enum Replay {
    /// The request has no body.
    Empty,
    /// It streams, and is gone.
    Gone,
    /// A copy grows while it streams.
    Streamed(Copied),
    /// It was read before it was sent.
    Whole(
        Bytes,
        #[expect(dead_code, reason = "held for its size")] Held,
    ),
}

/// A small body that is copied as it passes, for as long as it may be sent again.
#[derive(Debug)]
pub(super) struct Copied {
    upload: Rc<Upload>,
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.upload.keep_no_longer();
    }
}

impl Replay {
    /// Whether the request cannot be sent again, now or later.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Gone => true,
            Self::Streamed(copied) => !copied.upload.keeps(),
            Self::Empty | Self::Whole(..) => false,
        }
    }

    /// A body for another attempt, if the request can be sent again now.
    pub(super) fn body(&self) -> Option<RequestBody> {
        match self {
            Self::Empty => Some(RequestBody::Empty),
            Self::Gone => None,
            Self::Streamed(copied) => copied.upload.kept().map(RequestBody::Kept),
            Self::Whole(bytes, _) => Some(RequestBody::Kept(bytes.clone())),
        }
    }

    /// The same once an upstream has answered before all of a small body was there: the rest of that
    /// is waited for, at most for `limit`.
    pub(super) async fn whole(&self, limit: Duration) -> Result<Option<RequestBody>, BodyFault> {
        if let Self::Streamed(copied) = self
            && let Some(complete) = clock::within(limit, copied.upload.complete()).await
        {
            complete?;
        }
        Ok(self.body())
    }
}

impl PreparedBody {
    pub(super) fn whole(bytes: Bytes, held: Held) -> Self {
        Self {
            body: RequestBody::Kept(bytes.clone()),
            replay: Replay::Whole(bytes, held),
        }
    }

    fn streamed(body: Box<CallerBody>, replay: Replay) -> Self {
        Self {
            body: RequestBody::Caller(body),
            replay,
        }
    }
}

/// Decides what becomes of a body, and reads it where its links have to be rewritten.
pub(super) async fn prepare_body(
    call: &Call<'_>,
    body: RequestBody,
    outgoing: &mut Outgoing<'_>,
    memory: &BodyMemory,
) -> Result<PreparedBody, ProxyError> {
    match body {
        RequestBody::Caller(body) => {
            Box::pin(prepare_from_caller(call, body, outgoing, memory)).await
        }
        body => Ok(PreparedBody {
            body,
            replay: Replay::Empty,
        }),
    }
}

async fn prepare_from_caller(
    call: &Call<'_>,
    mut body: Box<CallerBody>,
    outgoing: &mut Outgoing<'_>,
    memory: &BodyMemory,
) -> Result<PreparedBody, ProxyError> {
    let declared = call.declared_length();
    if call.batch && call.route().spec.batch == BatchRule::Check {
        return batch::checked(call, &mut body, outgoing, &memory.batch_memory).await;
    }
    // A body that trailers follow is not read for what it could be sent again without.
    if declared.is_some_and(|length| length > LARGEST as u64) || call.announces_trailers() {
        return Ok(PreparedBody::streamed(body, Replay::Gone));
    }
    // One in chunks, or in frames of HTTP/2, may not say how long it is: it may be small.
    let most = declared.map_or(LARGEST, |length| length as usize);
    let first = declared.map_or(FIRST, |_| most);
    if may_hold_links(call) {
        let held = memory.kept.take(first);
        let bytes = read(&mut body, first).await?;
        if bytes.len() > LARGEST {
            body.unread(bytes);
            return Ok(PreparedBody::streamed(body, Replay::Gone));
        }
        let more = bytes.len().saturating_sub(first);
        let held = held.and_then(|mut held| held.grow(more).then_some(held));
        let bytes = rewrite_body(call, &call.parts.headers, bytes, outgoing);
        return Ok(match held {
            Some(held) => PreparedBody::whole(bytes, held),
            // Links are rewritten all the same: a body this short is among what an exchange may
            // hold.
            None => PreparedBody {
                body: RequestBody::Kept(bytes),
                replay: Replay::Gone,
            },
        });
    }
    let upload = body.upload();
    let replay = match memory.kept.take(first) {
        Some(mut held) => {
            upload.keep(first, most, move |more| held.grow(more));
            Replay::Streamed(Copied { upload })
        }
        None => Replay::Gone,
    };
    // HTTP/2 may end a request in a frame of its own. That is no body (RFC 9113 section 8.1), and an
    // empty one in chunks is refused by some servers where they expect none.
    if declared.is_none() && !expects_body(&call.parts.method) && !begins(&mut body).await? {
        return Ok(PreparedBody {
            body: RequestBody::Empty,
            replay: Replay::Empty,
        });
    }
    Ok(PreparedBody::streamed(body, replay))
}

/// Whether there may be links of this proxy in the body: it is JSON or a batch, not compressed, no
/// file, and the route rewrites links.
fn may_hold_links(call: &Call<'_>) -> bool {
    let headers = &call.parts.headers;
    content_type(headers).is_some_and(|kind| call.batch || is_json(kind))
        && Coding::of(headers) == Some(Coding::Identity)
        && call.rewrites_links()
        && !call.sends_file()
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// The body with its links of this proxy rewritten to lead to the upstream.
pub(super) fn rewrite_body(
    call: &Call<'_>,
    headers: &HeaderMap,
    bytes: Bytes,
    outgoing: &mut Outgoing<'_>,
) -> Bytes {
    let Some(links) = call.links() else {
        return bytes;
    };
    if Coding::of(headers) != Some(Coding::Identity) {
        return bytes;
    }
    let kind = content_type(headers).unwrap_or_default();
    let rewritten = if !call.batch {
        request::body(&bytes, &links)
    } else if is_json(kind) {
        request::json_batch(&bytes, call.batch_root(), &links)
    } else {
        request::multipart_batch(&bytes, kind, &links)
    };
    match rewritten {
        Some(rewritten) => {
            outgoing.change_body();
            rewritten
        }
        None => bytes,
    }
}

/// Waits for the first byte of a body; whether it has one.
async fn begins(body: &mut CallerBody) -> Result<bool, BodyFault> {
    while let Some(frame) = std::future::poll_fn(|cx| body.poll_next(cx)).await {
        let data = frame?.into_data().unwrap_or_default();
        if !data.is_empty() {
            body.unread(data);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads a body to its end, or to more than is kept.
async fn read(body: &mut CallerBody, likely: usize) -> Result<Bytes, BodyFault> {
    let mut bytes = BytesMut::with_capacity(likely);
    while bytes.len() <= LARGEST
        && let Some(frame) = std::future::poll_fn(|cx| body.poll_next(cx)).await
    {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}
