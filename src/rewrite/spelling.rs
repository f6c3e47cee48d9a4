//! How a URL is spelt where it stands: plainly in a header, with JSON escapes in a string, with
//! percent-encoding in a query. One step reads one character and says where the next one begins, so
//! that a match is made on what was meant and a replacement on the bytes as they are.

/// Where a URL stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Inside a JSON string (RFC 8259 section 7), which ends at the closing quote. More bytes may
    /// still come.
    Json,
    /// The value of a query option (RFC 3986 section 2.1), which ends at `&` or with the bytes.
    Percent,
    /// As it is, and all of it.
    Plain,
}

/// What one step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A character, and the index after its spelling. What is not ASCII is `0xff`, which no URL has.
    Char(u8, usize),
    /// The bytes end here but the text may go on.
    Cut,
    /// The text ends here.
    End,
}

impl Spelling {
    /// Reads the character at `at`.
    pub(super) fn step(self, raw: &[u8], at: usize) -> Step {
        let Some(&byte) = raw.get(at) else {
            return match self {
                Self::Json => Step::Cut,
                Self::Percent | Self::Plain => Step::End,
            };
        };
        match (self, byte) {
            (Self::Json, b'"') | (Self::Percent, b'&') => Step::End,
            (Self::Json, b'\\') => json_escape(raw, at),
            (Self::Percent, b'%') => match raw.get(at + 1..at + 3).and_then(hex) {
                Some(value) => Step::Char(ascii(value), at + 3),
                None => Step::Char(0xff, at + 1),
            },
            _ => Step::Char(byte, at + 1),
        }
    }

    /// Whether `text` stands at `at`: the index after it, or `Cut` when the bytes do not tell yet.
    pub(super) fn stands(self, raw: &[u8], at: usize, text: &str) -> Follows {
        let mut at = at;
        for wanted in text.bytes() {
            match self.step(raw, at) {
                Step::Char(found, next) if found == wanted => at = next,
                Step::Char(..) | Step::End => return Follows::No,
                Step::Cut => return Follows::Cut,
            }
        }
        Follows::Yes(at)
    }

    /// Whether `prefix` stands at `at` and is a whole number of path segments there: followed by
    /// `/`, `?`, `#` or the end.
    pub(super) fn follows(self, raw: &[u8], at: usize, prefix: &str) -> Follows {
        let at = match self.stands(raw, at, prefix) {
            Follows::Yes(at) => at,
            other => return other,
        };
        match self.step(raw, at) {
            Step::Char(b'/' | b'?' | b'#', _) | Step::End => Follows::Yes(at),
            Step::Char(..) => Follows::No,
            Step::Cut => Follows::Cut,
        }
    }
}

/// Whether a prefix follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// It may.
    Cut,
    /// It does not.
    No,
    /// It does, up to this index.
    Yes(usize),
}

/// The two-character escapes of RFC 8259 section 7 and what they mean; `u` is not among them.
pub(super) fn short_escape(letter: u8) -> Option<u8> {
    Some(match letter {
        b'"' | b'\\' | b'/' => letter,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// Hexadecimal digits as a number.
pub(super) fn hex(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0_u16, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        value
            .checked_mul(16)?
            .checked_add(u16::try_from(digit).ok()?)
    })
}

fn json_escape(raw: &[u8], at: usize) -> Step {
    match raw.get(at + 1) {
        None => Step::Cut,
        Some(b'u') => {
            let digits = &raw[at + 2..raw.len().min(at + 6)];
            match hex(digits) {
                // Told at once: what is waited for must not reach beyond the string.
                None => Step::Char(0xff, at + 2),
                Some(_) if digits.len() < 4 => Step::Cut,
                Some(value) => Step::Char(ascii(value), at + 6),
            }
        }
        Some(&letter) => Step::Char(short_escape(letter).unwrap_or(0xff), at + 2),
    }
}

fn ascii(value: u16) -> u8 {
    match u8::try_from(value) {
        Ok(byte) if byte.is_ascii() => byte,
        _ => 0xff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spelling: Spelling, raw: &str) -> (Vec<u8>, Step) {
        let (mut text, mut at) = (Vec::new(), 0);
        loop {
            match spelling.step(raw.as_bytes(), at) {
                Step::Char(byte, next) => {
                    text.push(byte);
                    at = next;
                }
                end => return (text, end),
            }
        }
    }

    #[test]
    fn a_json_escape_cut_anywhere_waits_for_more() {
        let whole = r"a\/\u002fb";
        for cut in 0..whole.len() {
            assert_eq!(read(Spelling::Json, &whole[..cut]).1, Step::Cut, "{cut}");
        }
        assert_eq!(
            read(Spelling::Json, r#"a\/\u002Fb" x"#),
            (b"a//b".to_vec(), Step::End)
        );
    }

    #[test]
    fn what_is_not_ascii_or_not_an_escape_is_no_url_character() {
        assert_eq!(
            read(Spelling::Json, r#"\u00e9\x\uZZZZ""#).0,
            [0xff, 0xff, 0xff, b'Z', b'Z', b'Z', b'Z']
        );
        assert_eq!(
            read(Spelling::Percent, "%C3%zz").0,
            [0xff, 0xff, b'z', b'z']
        );
    }

    #[test]
    fn a_query_value_ends_at_the_ampersand_and_is_decoded_once() {
        assert_eq!(
            read(Spelling::Percent, "a%2Fb%2526&c"),
            (b"a/b%26".to_vec(), Step::End)
        );
    }

    #[test]
    fn a_prefix_ends_at_a_segment_boundary_only() {
        let follows = |raw: &str| Spelling::Json.follows(raw.as_bytes(), 0, "/v1");
        assert_eq!(follows("/v1/x"), Follows::Yes(3));
        assert_eq!(follows(r"\/v1?x"), Follows::Yes(4));
        assert_eq!(follows("/v1\""), Follows::Yes(3));
        assert_eq!(follows("/v1.0\""), Follows::No);
        assert_eq!(follows("/v1"), Follows::Cut);
        assert_eq!(follows("/v"), Follows::Cut);
        assert_eq!(Spelling::Plain.follows(b"/v1", 0, "/v1"), Follows::Yes(3));
    }
}
