//! Answers that do not go to the caller: read to their end where that is near, so that their
//! connection can be used again, and let go otherwise.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

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
    let (text, end) = read(body).await;
    body.unread(text);
    !matches!(end, End::Open)
}

/// All of a small body; `None` when it is large, slow or breaks off.
pub(super) async fn read_whole(mut body: UpstreamBody) -> Option<Bytes> {
    let (text, end) = read(&mut body).await;
    matches!(end, End::Whole).then_some(text)
}

async fn read(body: &mut UpstreamBody) -> (Bytes, End) {
    let mut text = BytesMut::new();
    let read = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return End::Broken;
            };
            if let Ok(data) = frame.into_data() {
                text.extend_from_slice(&data);
            }
            if text.len() > MOST_BYTES {
                return End::Open;
            }
        }
        End::Whole
    };
    let end = tokio::time::timeout(PATIENCE, read).await;
    (text.freeze(), end.unwrap_or(End::Open))
}
