//! What still comes of a request body that nobody reads, because the answer was there first.
//!
//! A caller over HTTP/2 may be told to stop (RFC 9113 section 8.1), and many do not listen: they wait
//! for room to send the rest, and look at the answer after that. So the rest is read for a while and
//! thrown away, as closing a connection of HTTP/1.1 does (RFC 9112 section 9.6).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;

use crate::alarm::Alarm;

/// How long is read on.
pub const LINGER: Duration = Duration::from_secs(2);
/// How much is read at the most: two seconds of a fast upload.
pub const LINGER_BYTES: usize = 256 * 1024 * 1024;

/// Reads the rest of a body, within both bounds.
pub(super) async fn read_off(mut body: Incoming, alarm: Alarm) {
    alarm.set(LINGER);
    let mut left = LINGER_BYTES;
    poll_fn(|cx| {
        loop {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let read = frame.data_ref().map_or(0, bytes::Bytes::len);
                    match left.checked_sub(read) {
                        Some(rest) if !alarm.has_rung(cx) => left = rest,
                        _ => return Poll::Ready(()),
                    }
                }
                Poll::Pending if !alarm.has_rung(cx) => return Poll::Pending,
                Poll::Ready(_) | Poll::Pending => return Poll::Ready(()),
            }
        }
    })
    .await;
}
