//! Whether a raw request path means one thing only. A path that passes is forwarded byte for byte;
//! one that a server further on could read as another path is refused and never repaired.
//!
//! Dot segments, backslashes and control characters are seen through three levels of
//! percent-decoding, an encoded slash counting as a slash: Graph itself decodes twice.

use std::borrow::Cow;

use super::percent::{hex, overlong, peel};

/// How many decodings are looked through: Graph's two and one to spare.
pub(super) const LEVELS: u32 = 3;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// A backslash, raw or encoded.
    Backslash,
    /// A control character, NUL included, raw or encoded.
    Control,
    /// A `.` or `..` segment, raw or encoded.
    DotSegment,
    /// A raw byte outside ASCII.
    NonAscii,
    /// The path does not begin with a slash.
    Relative,
    /// A `%` without two hex digits.
    Triplet,
}

impl PathFault {
    /// What is wrong and what to do about it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Backslash => "the path holds a backslash, raw or encoded; separate it by \"/\"",
            Self::Control => "the path holds a control character, raw or encoded; remove it",
            Self::DotSegment => {
                "the path holds a \".\" or \"..\" segment, raw or encoded; ask for the path that is meant"
            }
            Self::NonAscii => "the path holds a byte outside ascii; percent-encode it as utf-8",
            Self::Relative => "the path does not begin with \"/\"",
            Self::Triplet => {
                "the path holds a \"%\" without two hex digits; write \"%25\" for a percent sign"
            }
        }
    }
}

/// Decides on a raw path.
///
/// # Errors
/// The first fault that is found.
pub fn check(path: &str) -> Result<(), PathFault> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathFault::Relative);
    }
    if plain(bytes) {
        return Ok(());
    }
    raw(bytes)?;
    decoded(bytes)
}

/// Whether nothing in the path needs a closer look: no `%`, no backslash, no byte outside printable
/// ASCII, and no segment that begins with a dot. One pass without branches, so that it vectorises.
fn plain(bytes: &[u8]) -> bool {
    let odd = |b: u8| b.wrapping_sub(0x21) >= 0x5e || b == b'%' || b == b'\\';
    let any_odd = bytes.iter().fold(false, |any, &b| any | odd(b));
    let any_dot = bytes
        .iter()
        .zip(&bytes[1..])
        .fold(false, |any, (&a, &b)| any | (a == b'/' && b == b'.'));
    !any_odd && !any_dot
}

/// Faults of the bytes as they are.
fn raw(bytes: &[u8]) -> Result<(), PathFault> {
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3);
                let whole = digits.is_some_and(|two| two.iter().all(|&d| hex(d).is_some()));
                if !whole {
                    return Err(PathFault::Triplet);
                }
            }
            0x80.. => return Err(PathFault::NonAscii),
            _ => {}
        }
    }
    Ok(())
}

/// Faults at the deepest level that is looked at. What a shallower level shows, this one shows too:
/// dots, slashes, backslashes and control characters are never part of a triplet.
fn decoded(bytes: &[u8]) -> Result<(), PathFault> {
    let mut segment = Segment::default();
    for byte in decodings(bytes) {
        match byte {
            b'\\' => return Err(PathFault::Backslash),
            0..=0x1f | 0x7f => return Err(PathFault::Control),
            b'/' => segment.end()?,
            b'.' => segment.dots = segment.dots.saturating_add(1),
            _ => segment.other = true,
        }
    }
    segment.end()
}

/// Whether a segment is dots in front of parameters (`..;a=b`), raw or encoded. It is a name like any
/// other, but servlet containers drop the parameters and then take the dots for what they are.
pub(super) fn has_dots_with_parameters(path: &str) -> bool {
    let bytes = path.as_bytes();
    if memchr::memchr2(b';', b'%', bytes).is_none() {
        return false;
    }
    let mut segment = Segment::default();
    for byte in decodings(bytes) {
        match byte {
            b'/' => segment = Segment::default(),
            b'.' => segment.dots = segment.dots.saturating_add(1),
            b';' if segment.is_dots() => return true,
            _ => segment.other = true,
        }
    }
    false
}

/// What has been seen of the current segment.
#[derive(Default)]
struct Segment {
    dots: u8,
    other: bool,
}

impl Segment {
    fn is_dots(&self) -> bool {
        !self.other && matches!(self.dots, 1 | 2)
    }

    fn end(&mut self) -> Result<(), PathFault> {
        if std::mem::take(self).is_dots() {
            return Err(PathFault::DotSegment);
        }
        Ok(())
    }
}

/// The deepest level of a text; an overlong spelling of an ASCII byte is that byte.
pub(super) fn deepest(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return text.into();
    }
    decodings(text).collect::<Vec<_>>().into()
}

/// The bytes of the deepest level.
fn decodings(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let (byte, next) = next_decoded(bytes, at);
        at = next;
        Some(byte)
    })
}

/// The next byte of the deepest level; an overlong spelling of an ASCII byte counts as that byte.
/// Its bytes are outside ASCII, so it begins with a triplet.
fn next_decoded(bytes: &[u8], at: usize) -> (u8, usize) {
    if bytes[at] != b'%' {
        return (bytes[at], at + 1);
    }
    let first = peel(bytes, at, LEVELS);
    if !matches!(first.0, 0xc0 | 0xc1 | 0xe0 | 0xf0) {
        return first;
    }
    let mut window = [first.0, 0, 0, 0];
    let mut ends = [first.1; 4];
    for slot in 1..4 {
        let begin = ends[slot - 1];
        if begin >= bytes.len() {
            break;
        }
        (window[slot], ends[slot]) = peel(bytes, begin, LEVELS);
    }
    match overlong(window) {
        Some((ascii, length)) => (ascii, ends[length - 1]),
        None => first,
    }
}
