//! Counts the frames of an HTTP/2 peer that cost work and bring nothing: PING, SETTINGS, PRIORITY,
//! RST_STREAM, types that nobody knows, and WINDOW_UPDATE beyond what was sent calls for; of an
//! upstream also heads, of which it may send any number before an answer (RFC 9110 section 15.2). hyper
//! takes any number of them; here each takes one from a budget that requests and time fill up again.
//! Other floods are bounded by hyper's own counts.

use std::time::Instant;

/// What a connection has at first and at the most. The busiest clients send one PING for each
/// round trip and one PRIORITY for each request.
const MOST: u32 = 1000;
/// What each request adds: a client that reads in small pieces sends a few for each, and one that
/// gives it up resets it once. An answer has two heads, and a few interim ones.
const PER_REQUEST: u32 = 32;
/// What each second adds: PINGs that measure a window, with room to spare.
const PER_SECOND: u32 = 50;

/// Bytes sent to the peer that pay for one WINDOW_UPDATE: clients send two for a DATA frame at
/// the most, one for the stream and one for the connection, and the shortest has ten bytes.
const PER_UPDATE: u64 = 5;

/// Length of the client's connection preface (RFC 9113 section 3.4).
const PREFACE: usize = 24;
/// Length of a frame header (RFC 9113 section 4.1).
const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// The frames that come on one connection.
#[derive(Debug)]
pub struct Frames {
    /// Bytes until the next frame header.
    skip: usize,
    header: [u8; HEADER],
    /// How much of the header is here.
    have: usize,
    /// Whether each head counts.
    counts_heads: bool,
    budget: u32,
    /// Bytes sent that no WINDOW_UPDATE was counted for.
    sent: u64,
    /// Bytes of heads that nobody has taken note of.
    heads: usize,
    /// Requests that were counted in.
    requests: u64,
    /// Until when time was counted in.
    counted: Instant,
}

impl Frames {
    /// Of a caller, of whom nothing has come yet, not even the preface.
    pub fn of_caller(now: Instant) -> Self {
        Self::new(PREFACE, false, now)
    }

    /// Of an upstream, of which nothing has come yet.
    pub fn of_upstream(now: Instant) -> Self {
        Self::new(0, true, now)
    }

    fn new(skip: usize, counts_heads: bool, now: Instant) -> Self {
        Self {
            skip,
            header: [0; HEADER],
            have: 0,
            counts_heads,
            budget: MOST,
            sent: 0,
            heads: 0,
            requests: 0,
            counted: now,
        }
    }

    /// This many bytes were sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    /// Bytes sent that the peer has not said to have read.
    pub fn unread(&self) -> u64 {
        self.sent
    }

    /// Bytes of the heads that have begun to come since this was last asked.
    pub fn take_heads(&mut self) -> usize {
        std::mem::take(&mut self.heads)
    }

    /// Counts what came; false when it is too much. `requests` is how many there were so far.
    pub fn admit(&mut self, mut bytes: &[u8], requests: u64, now: impl Fn() -> Instant) -> bool {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEADER {
                break;
            }
            self.have = 0;
            let [high, middle, low, kind, ..] = self.header;
            self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if matches!(kind, HEADERS | CONTINUATION) {
                self.heads += self.skip;
            }
            let counts = match kind {
                DATA | CONTINUATION => false,
                HEADERS => self.counts_heads,
                WINDOW_UPDATE => !self.is_called_for(),
                _ => true,
            };
            if counts && !self.take(requests, &now) {
                return false;
            }
        }
        true
    }

    /// Whether what was sent calls for one more WINDOW_UPDATE.
    fn is_called_for(&mut self) -> bool {
        let paid = self.sent >= PER_UPDATE;
        if paid {
            self.sent -= PER_UPDATE;
        }
        paid
    }

    fn take(&mut self, requests: u64, now: &impl Fn() -> Instant) -> bool {
        if self.budget == 0 {
            self.fill(requests, now());
        }
        self.budget = match self.budget.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }

    fn fill(&mut self, requests: u64, now: Instant) {
        let new = u32::try_from(requests - self.requests).unwrap_or(u32::MAX);
        self.requests = requests;
        // Parts of a second wait for the next time, or many fillings would never add anything.
        let seconds = now.saturating_duration_since(self.counted).as_secs();
        self.counted += std::time::Duration::from_secs(seconds);
        let passed = u32::try_from(seconds).unwrap_or(u32::MAX);
        let added = new
            .saturating_mul(PER_REQUEST)
            .saturating_add(passed.saturating_mul(PER_SECOND));
        self.budget = added.min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 0];
        frame.extend(vec![kind; usize::from(length)]);
        frame
    }

    fn open(start: Instant) -> Frames {
        let mut frames = Frames::of_caller(start);
        assert!(frames.admit(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, || start));
        frames
    }

    #[test]
    fn a_flood_is_noticed_whatever_its_pieces() {
        for kind in [2, 3, 4, 6, 7, WINDOW_UPDATE, 10, 0xfa] {
            for piece in [1, 7, 9, 17, 4096] {
                let start = Instant::now();
                let mut frames = open(start);
                let flood = frame(kind, 8).repeat(MOST as usize);
                for bytes in flood.chunks(piece) {
                    assert!(frames.admit(bytes, 0, || start));
                }
                assert!(
                    !frames.admit(&frame(kind, 8), 0, || start),
                    "{kind} {piece}"
                );
            }
        }
    }

    #[test]
    fn what_a_request_is_made_of_does_not_count() {
        let start = Instant::now();
        let mut frames = open(start);
        for kind in [DATA, HEADERS, CONTINUATION] {
            assert!(frames.admit(&frame(kind, 20).repeat(5000), 0, || start));
            let heads = if kind == DATA { 0 } else { 20 * 5000 };
            assert_eq!((frames.take_heads(), frames.take_heads()), (heads, 0));
        }
    }

    #[test]
    fn each_head_of_an_upstream_counts_and_requests_pay_for_them() {
        let start = Instant::now();
        let mut frames = Frames::of_upstream(start);
        let interim = frame(HEADERS, 8);
        for requests in 0..100 {
            let some = interim.repeat(PER_REQUEST as usize);
            assert!(frames.admit(&some, requests, || start));
        }
        let flood = interim.repeat(MOST as usize + 1);
        assert!(!frames.admit(&flood, 100, || start));
    }

    #[test]
    fn answers_pay_for_window_updates() {
        let start = Instant::now();
        let mut frames = open(start);
        let update = frame(WINDOW_UPDATE, 4);
        for _ in 0..100 {
            // A DATA frame of one byte, and an update for the stream and the connection.
            frames.sent(10);
            assert!(frames.admit(&update.repeat(2), 0, || start));
        }
        frames.sent(64 << 20);
        assert!(frames.admit(&update.repeat(100_000), 0, || start));
        let mut idle = open(start);
        idle.sent(50);
        assert!(idle.admit(&update.repeat(MOST as usize + 10), 0, || start));
        assert!(!idle.admit(&update, 0, || start));
    }

    #[test]
    fn the_content_of_a_frame_is_not_taken_for_frames() {
        let start = Instant::now();
        let pings = frame(6, 8).repeat(4000);
        for (length, size) in [([1, 0, 0], 65_536), ([0, 4, 0], 1024), ([0, 0, 200], 200)] {
            let mut frames = open(start);
            let data = [&length, &[DATA, 0, 0, 0, 0, 1][..], &pings[..size]].concat();
            assert!(frames.admit(&data, 0, || start), "{size}");
            // What follows is.
            let spent = frame(6, 8).repeat(MOST as usize);
            assert!(frames.admit(&spent, 0, || start), "{size}");
            assert!(!frames.admit(&frame(6, 0), 0, || start), "{size}");
        }
    }

    #[test]
    fn requests_and_time_fill_the_budget_up() {
        let start = Instant::now();
        let mut frames = open(start);
        // Nothing is left of it to be skipped when it was refused: the counting goes on in step.
        let empty = frame(6, 0);
        let spent = frame(6, 8).repeat(MOST as usize);
        assert!(frames.admit(&spent, 0, || start));
        assert!(frames.admit(&frame(6, 8).repeat(PER_REQUEST as usize), 1, || start));
        assert!(!frames.admit(&empty, 1, || start));
        let later = start + Duration::from_millis(1900);
        assert!(frames.admit(&frame(6, 8).repeat(PER_SECOND as usize), 1, || later));
        assert!(!frames.admit(&empty, 1, || later));
        // What was left of a second counts for the next.
        let on = start + Duration::from_millis(2100);
        assert!(frames.admit(&frame(6, 8).repeat(PER_SECOND as usize), 1, || on));
        assert!(!frames.admit(&empty, 1, || on));
        let much_later = start + Duration::from_secs(100_000);
        assert!(frames.admit(&spent, 1, || much_later));
        assert!(!frames.admit(&empty, 1, || much_later));
    }
}
