//! Counts brackets. Only the answers and requests of a JSON batch need it: there the members of an
//! operation are told from the members of its body by their depth alone.

use memchr::memchr2;

/// How deep inside JSON text a place is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nesting {
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// The outermost brackets, one bit each from the outside in: set for an object.
    objects: u8,
}

impl Nesting {
    /// Moves on over the bytes.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.escaped {
                self.escaped = false;
                at += 1;
            } else if self.in_string {
                let Some(jump) = memchr2(b'"', b'\\', &bytes[at..]) else {
                    return;
                };
                at += jump + 1;
                self.escaped = bytes[at - 1] == b'\\';
                self.in_string = self.escaped;
            } else {
                self.structure(byte);
                at += 1;
            }
        }
    }

    /// Whether this is a member of an operation: object, list, object from the outside in.
    pub(super) fn is_operation(&self) -> bool {
        self.depth == 3 && !self.in_string && self.objects & 0b111 == 0b101
    }

    fn structure(&mut self, byte: u8) {
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                if self.depth < 8 {
                    let bit = 1 << self.depth;
                    self.objects = (self.objects & !bit) | if byte == b'{' { bit } else { 0 };
                }
                self.depth += 1;
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_an_object_in_a_list_in_an_object() {
        let text = br#"{"a{[":"\"{[{","responses":[{"id":"1""#;
        for cut in 0..text.len() {
            let mut nesting = Nesting::default();
            nesting.advance(&text[..cut]);
            nesting.advance(&text[cut..]);
            assert!(nesting.is_operation(), "{cut}");
        }
        for other in ["[[{", "{{{", "{[[", "{[{{", "{[", "{[{\""] {
            let mut nesting = Nesting::default();
            nesting.advance(other.as_bytes());
            assert!(!nesting.is_operation(), "{other}");
        }
    }
}
