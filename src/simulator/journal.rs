//! Everything the simulator received, in order of arrival, and everything it took offence at. Tests
//! read it afterwards or wait for it; nothing is asserted inside the server. Memory is bounded: the
//! oldest entries go first.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Version};
use tokio::sync::watch;

use crate::clock::{self, Now};
use crate::lock::locked;

/// Entries kept. More than any test sends, and 64 MiB at the very worst of bodies kept.
const ENTRIES: usize = 10_000;
/// Body bytes kept over all entries; beyond it the oldest bodies are let go, their hashes stay.
const BODIES: usize = 64 * 1024 * 1024;
/// How long [`Journal::wait_for`] waits: long enough for a busy machine, short enough for a person.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a body ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyEnd {
    /// It broke off: the connection ended or the stream was reset.
    Aborted,
    /// Still under way, or not looked at yet.
    #[default]
    Open,
    /// It ended as its framing promised.
    Whole,
    /// The answer was given without reading it to its end.
    Unread,
}

/// A request body as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Its length in bytes, so far.
    pub length: u64,
    /// SHA-256 over all of it.
    pub sha256: Option<[u8; 32]>,
    /// The bytes, up to 1 MiB; `None` for a longer body.
    pub bytes: Option<Bytes>,
    /// How it ended.
    pub end: BodyEnd,
    /// Trailer fields in order.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl Received {
    /// A body that is all here.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            length: bytes.len() as u64,
            bytes: Some(bytes),
            end: BodyEnd::Whole,
            ..Self::default()
        }
    }
}

/// One request that the simulator received.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Counts from 1.
    pub number: u64,
    /// When its head had been read.
    pub at: Now,
    /// Which connection, counted from 1.
    pub connection: u64,
    /// Whether it was the first of that connection.
    pub first: bool,
    /// HTTP/1.0, 1.1 or 2.
    pub version: Version,
    /// The method.
    pub method: String,
    /// The authority asked for, with its port when one was written.
    pub host: String,
    /// The request target, byte for byte (HTTP/2: path and query).
    pub target: Vec<u8>,
    /// Header fields in order and in the case they were written in (HTTP/2: equal names together).
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Received,
    /// The status answered, once it has been.
    pub status: Option<StatusCode>,
    /// How the answer's body ended; `Aborted` when the peer went away first.
    pub answer: BodyEnd,
}

impl Seen {
    /// The target as text, with anything that is not UTF-8 replaced.
    pub fn target(&self) -> String {
        String::from_utf8_lossy(&self.target).into_owned()
    }

    /// All values of a header field, whatever its case.
    pub fn header_values(&self, name: &str) -> Vec<String> {
        let named = self
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<String> {
        self.header_values(name).into_iter().next()
    }

    /// The body as text; empty when it was too long to keep.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body.bytes.as_deref().unwrap_or_default()).into_owned()
    }
}

/// Something a client must not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The request, as in [`Seen::number`].
    pub number: u64,
    /// What it did, in words.
    pub what: String,
}

/// The awaited request did not come.
#[derive(Debug, thiserror::Error)]
#[error("no such request within {PATIENCE:?}; the last ones were: {}", Lines(.0))]
pub struct NotSeen(Vec<Seen>);

struct Lines<'a>(&'a [Seen]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for seen in self.0 {
            let Seen {
                number,
                method,
                host,
                status,
                ..
            } = seen;
            write!(
                f,
                "\n  {number}: {method} {host} {} -> {status:?}",
                seen.target()
            )?;
        }
        Ok(())
    }
}

/// See the module.
pub(super) struct Journal {
    recording: AtomicBool,
    pages: Mutex<Pages>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Pages {
    next: u64,
    seen: VecDeque<Seen>,
    violations: VecDeque<Violation>,
    kept: usize,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            recording: AtomicBool::new(true),
            pages: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(super) fn record(&self, on: bool) {
        self.recording.store(on, Ordering::Release);
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Acquire)
    }

    /// Enters a request and gives it its number.
    pub(super) fn open(&self, mut seen: Seen) -> u64 {
        let mut pages = locked(&self.pages);
        pages.next += 1;
        let number = pages.next;
        seen.number = number;
        if pages.seen.len() == ENTRIES
            && let Some(oldest) = pages.seen.pop_front()
        {
            pages.kept -= oldest.body.bytes.map_or(0, |bytes| bytes.len());
        }
        pages.seen.push_back(seen);
        drop(pages);
        self.changed();
        number
    }

    /// Changes an entry; nothing happens when it is gone or was never made (number 0).
    fn update(&self, number: u64, change: impl FnOnce(&mut Seen)) {
        let mut pages = locked(&self.pages);
        if let Ok(index) = pages.seen.binary_search_by_key(&number, |seen| seen.number) {
            change(&mut pages.seen[index]);
        }
        drop(pages);
        self.changed();
    }

    /// Enters the body of a request.
    pub(super) fn body(&self, number: u64, received: &Received) {
        if number == 0 {
            return;
        }
        self.update(number, |seen| seen.body = received.clone());
        let mut pages = locked(&self.pages);
        pages.kept += received.bytes.as_ref().map_or(0, Bytes::len);
        let mut index = 0;
        while pages.kept > BODIES && index < pages.seen.len() {
            let freed = pages.seen[index]
                .body
                .bytes
                .take()
                .map_or(0, |bytes| bytes.len());
            pages.kept -= freed;
            index += 1;
        }
    }

    /// Enters the status of an answer.
    pub(super) fn status(&self, number: u64, status: StatusCode) {
        if number != 0 {
            self.update(number, |seen| seen.status = Some(status));
        }
    }

    /// Enters how an answer ended.
    pub(super) fn answered(&self, number: u64, end: BodyEnd) {
        if number != 0 {
            self.update(number, |seen| seen.answer = end);
        }
    }

    /// Enters an offence.
    pub(super) fn violation(&self, number: u64, what: String) {
        let mut pages = locked(&self.pages);
        if pages.violations.len() == ENTRIES {
            pages.violations.pop_front();
        }
        pages.violations.push_back(Violation { number, what });
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        locked(&self.pages).seen.iter().cloned().collect()
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        locked(&self.pages).violations.iter().cloned().collect()
    }

    /// Forgets what it saw; numbers go on counting.
    pub(super) fn clear(&self) {
        let mut pages = locked(&self.pages);
        pages.seen.clear();
        pages.violations.clear();
        pages.kept = 0;
    }

    /// Waits until an entry, old or new, is as wanted.
    pub(super) async fn wait_for(&self, wanted: impl Fn(&Seen) -> bool) -> Result<Seen, NotSeen> {
        let mut changes = self.changes.subscribe();
        let search = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = self.find(&wanted) {
                    return found;
                }
                if changes.changed().await.is_err() {
                    // The sender lives as long as `self`.
                    std::future::pending::<()>().await;
                }
            }
        };
        clock::within(PATIENCE, search).await.ok_or_else(|| {
            let seen = self.seen();
            NotSeen(seen[seen.len().saturating_sub(10)..].to_vec())
        })
    }

    fn find(&self, wanted: impl Fn(&Seen) -> bool) -> Option<Seen> {
        let pages = locked(&self.pages);
        pages.seen.iter().find(|seen| wanted(seen)).cloned()
    }

    fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }
}
