//! Answers that do not go to the caller: read to their end where that is near, so that their
//! connection can be used again, and let go otherwise.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;

use crate::clock;
use crate::upstream::UpstreamBody;

/// As much as is read. Error documents of Graph and Dataverse have less than 2 KiB.
const MOST_BYTES: usize = 16 * 1024;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How reading a body ended.
enum End {
    /// It broke off.
    Broken,
    /// There is or may be more of it.
    Open,
    /// All of it came.
    Whole,
}

/// Reads a small body to its end and gives it back as it was; whether nothing more comes of it.
pub(super) async fn settle(body: &mut UpstreamBody) -> bool {
    let (text, trailers, end) = read(body).await;
    body.unread(text, trailers);
    !matches!(end, End::Open)
}

/// All of a small body; `None` when it is large, slow or breaks off.
pub(super) async fn read_whole(mut body: UpstreamBody) -> Option<Bytes> {
    let (text, _, end) = read(&mut body).await;
    matches!(end, End::Whole).then_some(text)
}

async fn read(body: &mut UpstreamBody) -> (Bytes, Option<HeaderMap>, End) {
    let (mut text, mut trailers) = (BytesMut::new(), None);
    let read = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return End::Broken;
            };
            match frame.into_data() {
                Ok(data) => text.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
            if text.len() > MOST_BYTES {
                return End::Open;
            }
        }
        End::Whole
    };
    let end = clock::within(PATIENCE, read).await;
    (text.freeze(), trailers, end.unwrap_or(End::Open))
}
