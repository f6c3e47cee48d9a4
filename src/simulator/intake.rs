//! Reading request bodies: every byte is counted and hashed, the first mebibyte is kept, and the
//! journal learns how the body ended even when nobody read it to its end.

use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::journal::{BodyEnd, Journal, Received};

/// The longest body that is kept.
const KEPT: usize = 1024 * 1024;

/// A request body and the place where its fate is entered.
pub(super) struct Intake {
    body: Option<Incoming>,
    journal: Arc<Journal>,
    number: u64,
    hash: digest::Context,
    kept: Option<BytesMut>,
    received: Received,
}

impl Intake {
    /// Takes charge of the body of entry `number`.
    pub(super) fn new(body: Incoming, journal: &Arc<Journal>, number: u64) -> Self {
        Self {
            body: Some(body),
            journal: Arc::clone(journal),
            number,
            hash: digest::Context::new(&SHA256),
            kept: Some(BytesMut::new()),
            received: Received::default(),
        }
    }

    /// Reads to the end, whatever the end is.
    pub(super) async fn read(mut self) -> Received {
        self.received.end = BodyEnd::Aborted;
        let Some(mut body) = self.body.take() else {
            return Received::default();
        };
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return self.finish(BodyEnd::Aborted);
            };
            match frame.into_data() {
                Ok(data) => self.take(&data),
                Err(frame) => {
                    for (name, value) in frame.trailers_ref().into_iter().flatten() {
                        let value = value.as_bytes().to_vec();
                        self.received
                            .trailers
                            .push((name.as_str().to_owned(), value));
                    }
                }
            }
        }
        self.finish(BodyEnd::Whole)
    }

    /// Hands the body over unread.
    pub(super) fn leave(mut self) -> Option<Incoming> {
        self.body.take()
    }

    fn take(&mut self, data: &Bytes) {
        self.received.length += data.len() as u64;
        self.hash.update(data);
        match &mut self.kept {
            Some(kept) if kept.len() + data.len() <= KEPT => kept.extend_from_slice(data),
            _ => self.kept = None,
        }
    }

    fn finish(&mut self, end: BodyEnd) -> Received {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.hash.clone().finish().as_ref());
        self.received.sha256 = Some(sha256);
        self.received.bytes = self.kept.take().map(BytesMut::freeze);
        self.received.end = end;
        self.received.clone()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        match &self.body {
            // A body that had ended before anybody asked is whole.
            Some(body) if body.is_end_stream() => self.received.end = BodyEnd::Whole,
            Some(_) => self.received.end = BodyEnd::Unread,
            None => {}
        }
        self.journal.body(self.number, &self.received);
    }
}
