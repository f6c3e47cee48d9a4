//! The subject of a certificate as people write it: attributes with commas between them, as RFC 4514
//! has it (`CN=a,O=Contoso\, Ltd.`) or as OpenSSL prints it (`O = "Contoso, Ltd.", CN = a`).

/// The attributes in the order in which they are written, types in capitals, values as they are
/// meant; `None` when it is no subject.
pub fn attributes(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (kind, behind) = rest.split_once('=')?;
        let kind = kind.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if kind.is_empty() || !kind.chars().all(plain) {
            return None;
        }
        let (value, behind) = value(behind.trim_start())?;
        found.push((kind.to_ascii_uppercase(), value));
        match behind {
            Some(next) => rest = next,
            None => return Some(found),
        }
    }
}

/// A value, and what follows the comma behind it.
fn value(text: &str) -> Option<(String, Option<&str>)> {
    let mut bytes = Vec::new();
    // A space at the end counts where it is escaped or in quotes, and else does not.
    let mut kept = 0;
    let mut quoted = false;
    let mut left = text.char_indices();
    while let Some((at, letter)) = left.next() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => return Some((meant(bytes, kept)?, Some(&text[at + 1..]))),
            '\\' => {
                let (_, escaped) = left.next()?;
                match escaped.to_digit(16) {
                    // Two digits are a byte; a lone digit needs no escape and is none.
                    Some(high) => {
                        let low = left.next()?.1.to_digit(16)?;
                        bytes.push(u8::try_from(high * 16 + low).ok()?);
                    }
                    None => bytes.extend(escaped.encode_utf8(&mut [0; 4]).bytes()),
                }
                kept = bytes.len();
                continue;
            }
            letter => bytes.extend(letter.encode_utf8(&mut [0; 4]).bytes()),
        }
        if quoted || letter != ' ' {
            kept = bytes.len();
        }
    }
    (!quoted).then_some((meant(bytes, kept)?, None))
}

fn meant(mut bytes: Vec<u8>, kept: usize) -> Option<String> {
    bytes.truncate(kept);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_is_meant_however_they_are_written() {
        let wanted = [("CN", "a b"), ("O", "Contoso, Ltd.")];
        let wanted = wanted.map(|(kind, value)| (kind.to_owned(), value.to_owned()));
        for text in [
            r"CN=a b,O=Contoso\, Ltd.",
            r"cn = a b , o = Contoso\2C Ltd.",
            r#"CN=a b, O="Contoso, Ltd.""#,
            r#"CN = "a b", O = "Contoso, Ltd." "#,
        ] {
            assert_eq!(attributes(text).as_deref(), Some(&wanted[..]), "{text}");
        }
        let odd = attributes(r#"CN=\C3\A4\ ,2.5.4.97=\"x\"\\"#).unwrap();
        assert_eq!(odd[0].1, "ä ");
        assert_eq!(odd[1], ("2.5.4.97".to_owned(), "\"x\"\\".to_owned()));
    }

    #[test]
    fn what_has_another_form_is_no_subject() {
        for text in [
            "",
            "a",
            "/C=DE/CN=a",
            "CN=a,",
            "CN=a,b",
            "CN=\"a",
            "CN=a\\",
            "CN=\\C3",
            "=a",
        ] {
            assert_eq!(attributes(text), None, "{text}");
        }
    }
}
