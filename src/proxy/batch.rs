//! A `$batch` on its way up: read within a bound, every operation judged, and what was judged is what
//! is sent.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;

use super::allowance::{Allowance, Held};
use super::call::Call;
use super::error::ProxyError;
use super::request::Outgoing;
use super::request_body::{FIRST, PreparedBody, rewrite_body};
use crate::code::Code;
use crate::config::MOST_BATCH_BYTES;
use crate::policy::Refusal;
use crate::policy::batch::{self, BatchContext};
use crate::rewrite::decode::{Coding, DecodeError, Decoder};
use crate::upstream::CallerBody;

/// What all batches may hold together: as much as the largest `max_batch_bytes`.
pub(super) const HELD: usize = MOST_BATCH_BYTES as usize;

/// How many pauses of `request_body_idle` a batch may take in all: whoever lets it trickle in keeps
/// others from room that they need.
const PAUSES: u32 = 4;

/// Reads a batch and judges it.
pub(super) async fn checked(
    call: &Call<'_>,
    body: &mut CallerBody,
    outgoing: &mut Outgoing<'_>,
    allowance: &Arc<Allowance>,
) -> Result<PreparedBody, ProxyError> {
    let route = call.route();
    let most = route.spec.max_batch_bytes;
    if call.declared_length().is_some_and(|length| length > most) {
        return Err(too_large().into());
    }
    let idle = call.lane.generation.config.timeouts.request_body_idle;
    let (mut bytes, mut held) = read(body, most, idle.saturating_mul(PAUSES), allowance).await?;
    let mut headers = Cow::Borrowed(&call.parts.headers);
    if let Some(decoder) = Coding::of(&headers).and_then(Decoder::new) {
        // SDKs compress by default. What goes up is what was read.
        bytes = decoded(decoder, bytes, most, &mut held)?;
        headers.to_mut().remove(CONTENT_ENCODING);
        outgoing.undo_coding();
        outgoing.change_body();
    }
    let bytes = rewrite_body(call, &headers, bytes, outgoing);
    let context = BatchContext {
        upstream: &route.spec.upstream,
        path: call.rest,
    };
    let operations = batch::read(&context, &headers, &bytes)?;
    batch::check(&operations, &route.allow, &route.request_rules)?;
    Ok(PreparedBody::whole(bytes, held))
}

/// Reads a body of at most this many bytes to its end, for so long.
async fn read(
    body: &mut CallerBody,
    most: u64,
    limit: Duration,
    allowance: &Arc<Allowance>,
) -> Result<(Bytes, Held), ProxyError> {
    let mut bytes = Vec::new();
    let mut held = allowance.take(0).ok_or(FULL)?;
    // Only a batch that is not there at once needs one.
    let mut alarm = None;
    loop {
        let next = std::future::poll_fn(|cx| {
            if let Poll::Ready(next) = body.poll_next(cx) {
                return Poll::Ready(Ok(next));
            }
            if alarm.is_none() {
                alarm = body.alarm().inspect(|alarm| alarm.set(limit));
            }
            match &alarm {
                Some(alarm) if alarm.has_rung(cx) => Poll::Ready(Err(too_slow())),
                _ => Poll::Pending,
            }
        });
        let Some(frame) = next.await? else {
            return Ok((bytes.into(), held));
        };
        if let Ok(data) = frame?.into_data() {
            add(&mut bytes, &data, most, &mut held)?;
        }
    }
}

/// Undoes a coding, within the same bounds.
fn decoded(
    mut decoder: Decoder,
    mut coded: Bytes,
    most: u64,
    held: &mut Held,
) -> Result<Bytes, ProxyError> {
    let mut bytes = Vec::new();
    while let Some(piece) = decoder
        .decode(&mut coded)
        .map_err(|error| undecoded(&error))?
    {
        add(&mut bytes, &piece, most, held)?;
    }
    decoder.finish().map_err(|error| undecoded(&error))?;
    Ok(bytes.into())
}

fn undecoded(error: &DecodeError) -> Refusal {
    let problem = match error {
        DecodeError::Bomb { .. } => "it expands beyond reason; send it without Content-Encoding",
        DecodeError::Corrupt(_) => "it is not what its Content-Encoding says",
        DecodeError::Trailing => "compressed as it is, it goes on after its end",
        DecodeError::Truncated => "it ends before its Content-Encoding says so",
    };
    let message = format!("the batch cannot be read: {problem}");
    Refusal::new(Code::BadRequest, message)
}

/// Adds to what is held, within the bounds. It grows by doubling, up to the most that it may need:
/// what counts is the memory that it takes.
fn add(bytes: &mut Vec<u8>, data: &[u8], most: u64, held: &mut Held) -> Result<(), ProxyError> {
    let needed = bytes.len() + data.len();
    if needed as u64 > most {
        return Err(too_large().into());
    }
    let room = bytes.capacity();
    if needed > room {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let wanted = (room * 2).max(FIRST).min(most).max(needed);
        if !held.grow(wanted - room) {
            return Err(FULL);
        }
        bytes.reserve_exact(wanted - bytes.len());
    }
    bytes.extend_from_slice(data);
    Ok(())
}

const FULL: ProxyError = ProxyError::Overloaded(
    "too many large batches are being read; ask again in a moment, or send smaller ones",
);

fn too_slow() -> Refusal {
    Refusal::new(
        Code::RequestTimeout,
        "the batch took more than four times timeouts.request_body_idle to come; send it faster, or in smaller ones",
    )
}

fn too_large() -> Refusal {
    Refusal::new(
        Code::BodyTooLarge,
        "the batch is larger than the route's max_batch_bytes; split it, or raise the limit",
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn told(coding: Coding, coded: &[u8]) -> String {
        let decoder = Decoder::new(coding).expect("a coding");
        let allowance = Allowance::new(HELD);
        let mut held = allowance.take(0).expect("nothing is little");
        let most = MOST_BATCH_BYTES;
        let read = decoded(decoder, Bytes::copy_from_slice(coded), most, &mut held);
        let answer = read.expect_err("a fault").answer();
        assert_eq!(answer.code, Code::BadRequest);
        answer.message.into_owned()
    }

    #[test]
    fn what_is_wrong_with_a_coding_is_told_as_it_is() {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&vec![b' '; 20 << 20]).unwrap();
        let bomb = told(Coding::Gzip, &packer.finish().unwrap());
        assert!(bomb.contains("expands"), "{bomb}");
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(b"{}").unwrap();
        let mut whole = packer.finish().unwrap();
        let cut = told(Coding::Deflate, &whole[..whole.len() - 1]);
        assert!(cut.contains("Content-Encoding"), "{cut}");
        whole.push(b'x');
        let longer = told(Coding::Deflate, &whole);
        assert!(longer.contains("after its end"), "{longer}");
        let corrupt = told(Coding::Gzip, b"{\"requests\":[]}");
        assert!(corrupt.contains("Content-Encoding"), "{corrupt}");
    }
}
