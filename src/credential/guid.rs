//! Random version 4 UUIDs (RFC 9562 section 5.4): request ids and assertion ids.

/// A fresh lower-case UUID.
pub fn guid() -> String {
    let mut bytes = [0_u8; 16];
    // AWS-LC's generator does not fail once seeded; if it ever did, an id of zeros is still legal.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let n = u128::from_be_bytes(bytes);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        n >> 96,
        n >> 80 & 0xffff,
        n >> 64 & 0xffff,
        n >> 48 & 0xffff,
        n & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_has_the_shape_of_version_four_and_is_fresh() {
        let one = guid();
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(matches!(one.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(one, guid());
    }
}
