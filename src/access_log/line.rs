//! One line of named values, as a JSON object or as `name=value` text.
//!
//! Any bytes may be written: controls, quotes, what turns the direction of text on a terminal and,
//! in text, spaces are escaped the way JSON escapes them; bytes that are not UTF-8 become U+FFFD.

use std::time::Duration;

use crate::output::{Format, is_invisible};

/// Characters that stand for themselves in both formats.
static PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_graphic() && !matches!(byte as u8, b'"' | b'\\');
        byte += 1;
    }
    table
};

/// A line that is being appended to a buffer.
pub(super) struct Line<'a> {
    format: Format,
    buffer: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Line<'a> {
    pub(super) fn begin(format: Format, buffer: &'a mut Vec<u8>) -> Self {
        if format == Format::Json {
            buffer.push(b'{');
        }
        Self {
            format,
            buffer,
            first: true,
        }
    }

    /// A text of which at most `limit` bytes are shown, and an ellipsis when there were more.
    pub(super) fn text(&mut self, name: &str, value: &[u8], limit: usize) {
        self.name(name);
        self.quote();
        let shown = cut(value, limit);
        self.escape(shown);
        if shown.len() < value.len() {
            self.buffer.extend_from_slice("…".as_bytes());
        }
        self.quote();
    }

    /// A text that may be absent; then its name is absent too.
    pub(super) fn maybe(&mut self, name: &str, value: Option<&[u8]>, limit: usize) {
        if let Some(value) = value {
            self.text(name, value, limit);
        }
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.decimal(value);
    }

    /// Milliseconds with three decimals.
    pub(super) fn millis(&mut self, name: &str, value: Duration) {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.number(name, micros / 1000);
        let digit = |place: u64| b'0' + (micros / place % 10) as u8;
        self.buffer
            .extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    }

    pub(super) fn end(self) {
        if self.format == Format::Json {
            self.buffer.push(b'}');
        }
        self.buffer.push(b'\n');
    }

    /// Names are ours: they need no escaping.
    fn name(&mut self, name: &str) {
        let (between, after): (&[u8], &[u8]) = match self.format {
            Format::Json => (b",", b":"),
            Format::Text => (b" ", b"="),
        };
        if !self.first {
            self.buffer.extend_from_slice(between);
        }
        self.first = false;
        self.quote();
        self.buffer.extend_from_slice(name.as_bytes());
        self.quote();
        self.buffer.extend_from_slice(after);
    }

    fn quote(&mut self) {
        if self.format == Format::Json {
            self.buffer.push(b'"');
        }
    }

    fn decimal(&mut self, mut value: u64) {
        // 20 digits hold the largest u64.
        let mut digits = [0; 20];
        let mut from = digits.len();
        loop {
            from -= 1;
            digits[from] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.buffer.extend_from_slice(&digits[from..]);
    }

    fn escape(&mut self, bytes: &[u8]) {
        // Nearly always all of it.
        let plain = bytes.iter().position(|byte| !PLAIN[usize::from(*byte)]);
        let (plain, bytes) = bytes.split_at(plain.unwrap_or(bytes.len()));
        self.buffer.extend_from_slice(plain);
        for chunk in bytes.utf8_chunks() {
            self.escape_text(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.buffer.extend_from_slice(b"\\ufffd");
            }
        }
    }

    fn escape_text(&mut self, text: &str) {
        let mut written = 0;
        for (at, c) in text.char_indices() {
            if !self.must_escape(c) {
                continue;
            }
            self.buffer.extend_from_slice(&text.as_bytes()[written..at]);
            written = at + c.len_utf8();
            match c {
                '"' | '\\' => self.buffer.extend_from_slice(&[b'\\', c as u8]),
                // All others that are escaped lie below U+10000: one unit of UTF-16.
                _ => self.unicode_escape(c as u32),
            }
        }
        self.buffer.extend_from_slice(&text.as_bytes()[written..]);
    }

    fn must_escape(&self, c: char) -> bool {
        match c {
            '"' | '\\' => true,
            ' ' => self.format == Format::Text,
            '!'..='~' => false,
            _ => c.is_control() || is_invisible(c),
        }
    }

    fn unicode_escape(&mut self, unit: u32) {
        self.buffer.extend_from_slice(b"\\u");
        for shift in [12, 8, 4, 0] {
            let digit = (unit >> shift & 0xf) as usize;
            self.buffer.push(b"0123456789abcdef"[digit]);
        }
    }
}

/// At most `limit` bytes, not ending inside a character.
fn cut(bytes: &[u8], limit: usize) -> &[u8] {
    if bytes.len() <= limit {
        return bytes;
    }
    let mut end = limit;
    // A character has at most three continuation bytes; more of them are no UTF-8 anyway.
    while end > limit.saturating_sub(3) && bytes[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    &bytes[..end]
}
