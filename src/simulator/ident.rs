//! Identifiers and dates as Microsoft's services write them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::timestamp::Timestamp;

/// Random bytes. Should the system have none, zeros: the simulator keeps nothing that matters.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Nothing here is secret, so a failure needs no answer of its own.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Base64url without padding.
pub(super) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whole seconds since 1970.
pub(super) fn epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// `2030-01-01T00:05:00`, in UTC.
pub(super) fn iso(time: SystemTime) -> String {
    Timestamp::of(time).as_str()[.."2030-01-01T00:05:00".len()].to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_has_neither_fraction_nor_zone() {
        let at = UNIX_EPOCH + Duration::from_millis(1_893_456_300_250);
        assert_eq!(iso(at), "2030-01-01T00:05:00");
    }
}
