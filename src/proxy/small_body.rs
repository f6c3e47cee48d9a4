//! Answers that do not go to the caller: read to their end where that is near, so that their
//! connection can be used again, and let go otherwise.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::upstream::UpstreamBody;

/// As much as is read. Error documents of Graph and Dataverse have less than 2 KiB.
const MOST: usize = 16 * 1024;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads a small body to its end and gives it back as it was; whether nothing more comes of it.
pub(super) async fn settle(body: &mut UpstreamBody) -> bool {
    let mut text = BytesMut::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                text.extend_from_slice(&data);
            }
            if text.len() > MOST {
                return false;
            }
        }
        true
    };
    let over = tokio::time::timeout(PATIENCE, read).await;
    body.unread(text.freeze());
    over.unwrap_or(false)
}

/// All of a small body; `None` when it is large, slow or breaks off.
pub(super) async fn small(mut body: UpstreamBody) -> Option<Bytes> {
    let read = async {
        let mut text = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.ok()?.into_data() {
                text.extend_from_slice(&data);
            }
            if text.len() > MOST {
                return None;
            }
        }
        Some(text.freeze())
    };
    tokio::time::timeout(PATIENCE, read).await.ok().flatten()
}
