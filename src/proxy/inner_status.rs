//! Counts the 429s inside the answer to a JSON batch, whose own status is 200: members `status` of
//! the objects in the list that the document's object holds. Works on the bytes as they pass, in
//! constant memory; what is not JSON counts nothing.

/// How deep the objects stand: in a list in an object.
const DEPTH: usize = 3;
const NAME: &[u8] = b"status";

/// The reader of one answer.
#[derive(Debug, Default)]
pub(super) struct InnerStatuses {
    depth: usize,
    /// Whether what encloses the current place is as it is in a batch.
    fits: [bool; DEPTH],
    in_string: bool,
    escaped: bool,
    /// How much of the current string is the name; more than all of it when it is another.
    matched: usize,
    /// The number after the name, while it is read.
    number: Option<u32>,
}

impl InnerStatuses {
    /// Reads on; returns how many 429s ended in these bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) -> u64 {
        bytes.iter().map(|byte| u64::from(self.step(*byte))).sum()
    }

    /// Whether this byte ends a 429.
    fn step(&mut self, byte: u8) -> bool {
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            if self.in_string {
                let next = !self.escaped && NAME.get(self.matched) == Some(&byte);
                self.matched = if next {
                    self.matched + 1
                } else {
                    NAME.len() + 1
                };
                self.escaped = !self.escaped && byte == b'\\';
            }
            return false;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.matched = 0;
            }
            b':' if self.is_inside() && self.matched == NAME.len() => self.number = Some(0),
            b'0'..=b'9' => {
                let digit = u32::from(byte - b'0');
                self.number = self
                    .number
                    .map(|number| number.saturating_mul(10).saturating_add(digit));
            }
            b'{' | b'[' => self.enter(byte),
            b',' => return self.number.take() == Some(429),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.number.take() == Some(429);
            }
            _ => {}
        }
        false
    }

    fn enter(&mut self, bracket: u8) {
        self.number = None;
        if let Some(fits) = self.fits.get_mut(self.depth) {
            *fits = bracket == [b'{', b'[', b'{'][self.depth];
        }
        self.depth += 1;
    }

    fn is_inside(&self) -> bool {
        self.depth == DEPTH && self.fits.iter().all(|fits| *fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> u64 {
        let whole = InnerStatuses::default().read(text.as_bytes());
        let mut reader = InnerStatuses::default();
        let split: u64 = text.bytes().map(|byte| reader.read(&[byte])).sum();
        assert_eq!(whole, split, "{text}");
        whole
    }

    #[test]
    fn statuses_of_operations_are_counted() {
        assert_eq!(
            count(
                r#"{"responses":[{"id":"1","status":429,"body":{}},{"status":200},{"body":{"a":[1]},"status" : 429 }]}"#
            ),
            2
        );
        assert_eq!(
            count(r#"{"@odata.context":"x","responses":[{"status":429}]}"#),
            1
        );
    }

    #[test]
    fn what_only_looks_like_one_is_not() {
        for text in [
            r#"{"status":429}"#,
            r#"{"responses":[{"body":{"status":429}}]}"#,
            r#"{"responses":[{"id":"status","x":429}]}"#,
            r#"{"responses":[{"text":"\"status\":429,","status":4290}]}"#,
            r#"{"responses":[["status",429]]}"#,
            r#"{"responses":{"a":{"status":429}}}"#,
            r#"[{"a":{"status":429}}]"#,
            "}}}]]]{[{\"status\":429",
            "",
        ] {
            assert_eq!(count(text), 0, "{text}");
        }
    }
}
