//! Percent-decoding (RFC 3986 section 2.1) without a buffer, several levels deep: what a server
//! that decodes once, twice or three times would see at one place.
//!
//! A `%` that is not followed by two hex digits stands for itself.

/// The byte at `at` after `levels` decodings of the whole text, and where the next one begins.
///
/// `at` must be inside `bytes`. Cost is bounded: a level looks at three places of the level below.
pub(super) fn peel(bytes: &[u8], at: usize, levels: u32) -> (u8, usize) {
    let raw = (bytes[at], at + 1);
    if levels == 0 || raw.0 != b'%' {
        return raw;
    }
    let sign = peel(bytes, at, levels - 1);
    if sign.0 != b'%' || sign.1 >= bytes.len() {
        return sign;
    }
    let high = peel(bytes, sign.1, levels - 1);
    if high.1 >= bytes.len() {
        return sign;
    }
    let low = peel(bytes, high.1, levels - 1);
    match (hex(high.0), hex(low.0)) {
        (Some(high_digit), Some(low_digit)) => (high_digit << 4 | low_digit, low.1),
        _ => sign,
    }
}

/// The ASCII byte that an overlong UTF-8 sequence at the start of `bytes` stands for, and how many
/// bytes it takes. Such sequences are never valid (RFC 3629 section 3), but decoders that took
/// `%c0%ae` for a dot have existed.
pub(super) fn overlong(bytes: [u8; 4]) -> Option<(u8, usize)> {
    let ascii = |lead: u8, tail: u8| {
        (matches!(lead & 0x3f, 0 | 1) && tail & 0xc0 == 0x80)
            .then_some((lead & 1) << 6 | (tail & 0x3f))
    };
    match bytes {
        [lead @ (0xc0 | 0xc1), tail, ..] => Some((ascii(lead, tail)?, 2)),
        [0xe0, lead @ (0x80 | 0x81), tail, _] => Some((ascii(lead, tail)?, 3)),
        [0xf0, 0x80, lead @ (0x80 | 0x81), tail] => Some((ascii(lead, tail)?, 4)),
        _ => None,
    }
}

/// The value of a hex digit.
pub(super) const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether a slash or backslash appears in `segment` at any level of decoding, however deep, in an
/// overlong spelling too.
///
/// `segment` holds no raw slash. Linear: decoded bytes are folded on a stack as they appear, which
/// reaches what repeated decoding of the whole would reach, because triplets cannot overlap.
pub(super) fn hides_slash(segment: &[u8]) -> bool {
    let mut deeper = false;
    let mut rest = segment;
    while let Some(at) = memchr::memchr(b'%', rest) {
        match peel(rest, at, 1).0 {
            b'/' | b'\\' => return true,
            b'%' | 0xc0 | 0xc1 | 0xe0 | 0xf0 => deeper = true,
            _ => {}
        }
        rest = &rest[at + 1..];
    }
    deeper && shows_slash(&folded(segment))
}

/// Whether there is a slash or backslash in decoded bytes.
fn shows_slash(bytes: &[u8]) -> bool {
    let at_end = bytes.iter().copied().chain([0; 3]).collect::<Vec<_>>();
    at_end.array_windows().any(|window: &[u8; 4]| {
        matches!(window[0], b'/' | b'\\') || matches!(overlong(*window), Some((b'/' | b'\\', _)))
    })
}

/// Whether `segment` shows nothing of ASCII at the last level of decoding: it is empty, or white space
/// of whatever kind.
pub(super) fn is_blank(segment: &[u8]) -> bool {
    let shows = |bytes: &[u8]| bytes.iter().any(u8::is_ascii_graphic);
    let end = memchr::memchr(b'%', segment).unwrap_or(segment.len());
    !shows(&segment[..end]) && !shows(&folded(&segment[end..]))
}

/// `bytes` decoded until nothing changes.
fn folded(bytes: &[u8]) -> Vec<u8> {
    let mut stack = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        stack.push(byte);
        while let [.., b'%', high, low] = stack[..] {
            let (Some(high), Some(low)) = (hex(high), hex(low)) else {
                break;
            };
            stack.truncate(stack.len() - 3);
            stack.push(high << 4 | low);
        }
    }
    stack
}
