//! Where a string of JSON ends: at the first quote that no backslash escapes (RFC 8259 section 7).

use memchr::memchr2;

/// The next quote at or after `from` that no backslash escapes.
pub(super) fn closing_quote(text: &[u8], from: usize) -> Option<usize> {
    StringEnd::default().find(text, from)
}

/// The search for the quote that ends a string, which goes on where it stopped when more of the string
/// is there: one that comes byte by byte is not read again from its beginning for each of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StringEnd {
    /// Everything before is looked at.
    at: usize,
    escaped: bool,
}

impl StringEnd {
    /// The quote, at or after `from`. What was looked at before is the same in `text`.
    pub(super) fn find(&mut self, text: &[u8], from: usize) -> Option<usize> {
        self.at = self.at.max(from);
        loop {
            // An escape may be cut behind its backslash.
            let Some(found) = memchr2(b'"', b'\\', text.get(self.at..)?) else {
                self.at = text.len();
                return None;
            };
            self.at += found;
            if text[self.at] == b'"' {
                return Some(self.at);
            }
            self.at += 2;
            self.escaped = true;
        }
    }

    /// The quote, where the search has come to it.
    pub(super) fn found(self, text: &[u8]) -> Option<usize> {
        (text.get(self.at) == Some(&b'"')).then_some(self.at)
    }

    /// Whether there is an escape in front of it.
    pub(super) fn escaped(self) -> bool {
        self.escaped
    }
}
