//! GUIDs as Microsoft writes them: version 4 UUIDs (RFC 9562 section 5.4) in lower case.

/// Bytes of the text of one.
pub const LENGTH: usize = 36;

/// The text of the one that these random bytes make. Six of their bits are overwritten by the version.
pub fn from_random(mut bytes: [u8; 16]) -> [u8; LENGTH] {
    // Where the digits of each byte stand, between the hyphens.
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; LENGTH];
    for (byte, place) in bytes.iter().zip(PLACES) {
        text[place..place + 2].copy_from_slice(&DIGITS[usize::from(*byte)]);
    }
    text
}

/// The two digits of each byte.
static DIGITS: [[u8; 2]; 256] = {
    let hex = *b"0123456789abcdef";
    let mut digits = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        digits[byte] = [hex[byte >> 4], hex[byte & 15]];
        byte += 1;
    }
    digits
};

/// A fresh one of the system's randomness.
pub fn fresh() -> String {
    let mut bytes = [0; 16];
    // AWS-LC's generator does not fail once seeded; if it ever did, an id of zeros is still legal.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    from_random(bytes).into_iter().map(char::from).collect()
}

/// Whether this is one, of any version, in either case and without braces.
pub fn is_guid(text: &str) -> bool {
    text.len() == LENGTH
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether this is an id as services make theirs of requests, and not prose, markup, a key or a token:
/// `[A-Za-z0-9._|+/=:-]`, at most 64 characters. Most are GUIDs, and nobody promises that: those of
/// Application Insights are `|a.b_1.`, others are Base64. Nothing else of a server's is shown as one.
pub fn is_id(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._|+/=:-".contains(byte);
    (1..=64).contains(&text.len()) && text.iter().all(plain)
}

/// A GUID as Microsoft writes it, so that one in two spellings is one; other text as it is.
pub fn canonical(text: &str) -> String {
    if is_guid(text) {
        text.to_ascii_lowercase()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_nothing_that_could_be_more_than_an_id() {
        let longest = "i".repeat(64);
        let guid = "00112233-4455-4677-8899-AABBCCDDEEFF";
        for id in [guid, "|a.b_1.", "aGk+/w==", "west:1", &longest] {
            assert!(is_id(id.as_bytes()), "{id}");
        }
        let longer = "i".repeat(65);
        for text in [
            "",
            "a b",
            "\"a",
            "a\u{1b}[31m",
            "ä",
            "a\u{202e}b",
            "<a>",
            &longer,
        ] {
            assert!(!is_id(text.as_bytes()), "{text:?}");
        }
        assert!(!is_id(b"caf\xe9"));
    }

    #[test]
    fn random_bytes_become_a_guid_of_version_four_digit_by_digit() {
        let bytes = std::array::from_fn(|at| (at as u8) * 0x11);
        let text = from_random(bytes);
        let text = std::str::from_utf8(&text).unwrap();
        assert_eq!(text, "00112233-4455-4677-8899-aabbccddeeff");
        let ones = from_random([0xff; 16]);
        let ones = std::str::from_utf8(&ones).unwrap();
        assert_eq!(ones, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn a_fresh_guid_is_one_and_no_other() {
        let one = fresh();
        assert!(is_guid(&one), "{one}");
        assert_ne!(one, fresh());
    }

    #[test]
    fn a_guid_is_told_by_its_digits_and_hyphens() {
        let spelt = "00000003-0000-0FF1-ce00-000000000000";
        assert!(is_guid(spelt));
        assert_eq!(canonical(spelt), "00000003-0000-0ff1-ce00-000000000000");
        for other in [
            "",
            "Contoso.com",
            "{0000003-0000-0ff1-ce00-00000000000}",
            "00000003-0000-0ff1-ce00-00000000000g",
            "00000003-0000-0ff1-ce000-00000000000",
            "000000030-000-0ff1-ce00-000000000000",
            "00000003-0000-0ff1-ce00-0000000000000",
        ] {
            assert!(!is_guid(other), "{other}");
            assert_eq!(canonical(other), other);
        }
    }
}
