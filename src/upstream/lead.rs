//! Memory for what is written in front of a body: a head with its token. It is shown to nobody, and
//! wiped when it is given up, also where it grows.

use std::ops::Deref;

use zeroize::Zeroize;

/// Room for a head with a token of 2 KB.
const USUAL: usize = 4 * 1024;

/// The memory, and how much of it is written.
#[derive(Default)]
pub(super) struct Lead {
    memory: Box<[u8]>,
    length: usize,
}

impl Lead {
    /// Forgets what is written; the memory stays.
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Writes these bytes behind the others.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.extend(bytes.len()).copy_from_slice(bytes);
    }

    /// So many bytes behind the others, for who [`put`]s something into all of them.
    pub(super) fn extend(&mut self, more: usize) -> &mut [u8] {
        let written = self.length;
        self.length += more;
        if self.length > self.memory.len() {
            self.grow();
        }
        &mut self.memory[written..self.length]
    }

    /// Moves to larger memory. What grows by itself would leave a copy of the token.
    #[cold]
    fn grow(&mut self) {
        let room = self.length.max(2 * self.memory.len()).max(USUAL);
        let mut larger = vec![0; room].into_boxed_slice();
        larger[..self.memory.len()].copy_from_slice(&self.memory);
        self.memory.zeroize();
        self.memory = larger;
    }

    /// Whether it has memory, and no more than most heads want.
    pub(super) fn is_usual(&self) -> bool {
        self.memory.len() == USUAL
    }
}

/// Puts a piece at the beginning of this room; what is left of it.
pub(super) fn put<'a>(room: &'a mut [u8], piece: &[u8]) -> &'a mut [u8] {
    let (place, rest) = room.split_at_mut(piece.len());
    place.copy_from_slice(piece);
    rest
}

impl Deref for Lead {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // What has no memory is dropped three times in an exchange, and to wipe nothing is slow:
        // processors with AVX-512 trap on a masked store to an address that is none.
        if !self.memory.is_empty() {
            self.memory.zeroize();
        }
    }
}

impl std::fmt::Debug for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lead").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_kept_whole_where_it_grows() {
        let (short, token) = ([b's'; 10], [b't'; 3 * USUAL]);
        let mut lead = Lead::default();
        assert!(!lead.is_usual());
        lead.append(&short);
        assert!(lead.is_usual());
        lead.append(&token);
        assert!(!lead.is_usual());
        assert_eq!(*lead, [&short[..], &token].concat());
        let rest = put(lead.extend(4), b": ");
        assert!(put(rest, b"\r\n").is_empty());
        assert!(lead.ends_with(b"t: \r\n"));
        lead.clear();
        assert!(lead.is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn nothing_of_a_token_is_left_in_memory_that_has_grown_and_was_given_back() {
        let (token, mut trace) = crate::secret::memory::token();
        let mut lead = Lead::default();
        lead.append(&token);
        drop(token);
        lead.append(&[b's'; USUAL]);
        assert!(trace.is_left(), "it is there while it is used");
        drop(lead);
        assert!(!trace.is_left());
    }

    #[test]
    fn what_is_written_is_not_shown() {
        let mut lead = Lead::default();
        lead.append(b"token");
        assert_eq!(format!("{lead:?}"), "Lead { .. }");
    }
}
