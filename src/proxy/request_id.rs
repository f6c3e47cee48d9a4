//! Request ids: the caller's `client-request-id`, or a fresh random UUID (RFC 9562 version 4).
//!
//! An id has to be unlikely to repeat, not hard to guess, so a small generator per worker, seeded
//! from the system's randomness, makes them.

use std::cell::Cell;

use http::{HeaderMap, HeaderValue};

use crate::guid;
use crate::policy::header::rare;
use crate::upstream::CLIENT_REQUEST_ID;

/// Longer ids than any product sends are not passed on as ids.
const LONGEST: usize = 128;

/// The id of a request. A fresh one stands where it is: hardly any is wanted as a header of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestId {
    /// The caller's.
    Sent(HeaderValue),
    /// A fresh one.
    Fresh([u8; guid::LENGTH]),
}

impl RequestId {
    /// What it is written as, in printable ASCII.
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sent(value) => value.as_bytes(),
            Self::Fresh(text) => text,
        }
    }

    /// The same, for people.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl From<&RequestId> for HeaderValue {
    fn from(id: &RequestId) -> Self {
        Self::from_bytes(id.as_bytes()).unwrap_or_else(|_| Self::from_static("-"))
    }
}

/// Makes ids for one worker.
#[derive(Debug)]
pub(super) struct RequestIds(Cell<u64>);

impl RequestIds {
    /// Seeded from the system.
    pub(super) fn new() -> Self {
        let mut seed = [0_u8; 8];
        // Without randomness ids may repeat between workers, which only support would notice.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        Self(Cell::new(u64::from_le_bytes(seed)))
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1.
    pub(super) fn random(&self) -> f64 {
        // As many bits as the number holds.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A fresh id.
    pub(super) fn make(&self) -> RequestId {
        let mut bytes = [0_u8; 16];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes());
        RequestId::Fresh(guid::from_random(bytes))
    }

    /// The caller's id when it is usable, else a fresh one.
    pub(super) fn of(&self, headers: &HeaderMap) -> RequestId {
        match rare(headers, &CLIENT_REQUEST_ID).next() {
            Some(id) if is_usable(id) => RequestId::Sent(id.clone()),
            _ => self.make(),
        }
    }
}

fn is_usable(id: &HeaderValue) -> bool {
    !id.is_empty() && id.len() <= LONGEST && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_are_version_4_uuids_and_differ() {
        let ids = RequestIds::new();
        let (first, second) = (ids.make(), ids.make());
        let text = first.as_str();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(first, second);
    }

    #[test]
    fn a_callers_id_is_kept_unless_it_could_break_a_log() {
        let ids = RequestIds::new();
        let id = |sent: &[u8]| {
            let sent = HeaderValue::from_bytes(sent).unwrap();
            ids.of(&HeaderMap::from_iter([(CLIENT_REQUEST_ID.clone(), sent)]))
        };
        for sent in ["my-id-7", &"i".repeat(128)] {
            let id = id(sent.as_bytes());
            assert_eq!(
                (id.as_str(), HeaderValue::from(&id)),
                (sent, sent.parse().unwrap())
            );
        }
        for odd in [&b"with space"[..], b"", b"caf\xe9", &[b'i'; 129]] {
            assert!(matches!(id(odd), RequestId::Fresh(_)));
        }
        assert!(matches!(ids.of(&HeaderMap::new()), RequestId::Fresh(_)));
    }
}
