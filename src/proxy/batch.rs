//! A `$batch` on its way up: read within a bound, every operation judged, and what was judged is what
//! is sent.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::allowance::{Allowance, Held};
use super::call::Call;
use super::error::ProxyError;
use super::load::{Load, turned};
use crate::code::Code;
use crate::policy::Refusal;
use crate::policy::batch::{self, Place};
use crate::upstream::CallerBody;

/// What the batches of a worker may hold together: as much as the largest `max_batch_bytes`.
pub(super) const HELD: usize = 64 << 20;

/// Reads a batch and judges it.
pub(super) async fn checked(
    call: &Call<'_>,
    body: &mut CallerBody,
    declared: Option<u64>,
    allowance: &Rc<Allowance>,
) -> Result<Load, ProxyError> {
    let route = call.route();
    let most = route.spec.max_batch_bytes;
    if declared.is_some_and(|length| length > most) {
        return Err(too_large().into());
    }
    let (bytes, held) = read(body, most, allowance).await?;
    let bytes = turned(call, bytes);
    let place = Place {
        upstream: &route.spec.upstream,
        path: call.rest,
    };
    let operations = batch::read(&place, &call.parts.headers, &bytes)?;
    batch::check(&operations, &route.allow, &route.request_rules)?;
    Ok(Load::whole(bytes, held))
}

/// Reads a body of at most this many bytes to its end.
async fn read(
    body: &mut CallerBody,
    most: u64,
    allowance: &Rc<Allowance>,
) -> Result<(Bytes, Held), ProxyError> {
    let mut bytes = BytesMut::new();
    let mut held = allowance.take(0).ok_or(FULL)?;
    while let Some(frame) = std::future::poll_fn(|cx| body.poll_next(cx)).await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if (bytes.len() + data.len()) as u64 > most {
            return Err(too_large().into());
        }
        if !held.grow(data.len()) {
            return Err(FULL);
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), held))
}

const FULL: ProxyError = ProxyError::Overloaded(
    "too many large batches are being read; ask again in a moment, or send smaller ones",
);

fn too_large() -> Refusal {
    Refusal::new(
        Code::BodyTooLarge,
        "the batch is larger than the route's max_batch_bytes; split it, or raise the limit",
    )
}
