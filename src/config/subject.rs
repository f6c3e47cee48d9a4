//! The subject of a certificate as people write it: attributes with commas between them, as RFC 4514
//! has it (`CN=a,O=Contoso\, Ltd.`) or as OpenSSL prints it (`O = "Contoso, Ltd.", CN = a`), and with
//! a plus between those that share a place (`CN=a+OU=b`).

/// A type of attribute in capitals, and a value as it is meant.
pub type Attribute = (String, String);

/// The attributes by their places, in the order in which they are written; `None` when it is no
/// subject.
pub fn attributes(text: &str) -> Option<Vec<Vec<Attribute>>> {
    let mut places = Vec::new();
    let mut place = Vec::new();
    let mut rest = text;
    loop {
        let (kind, behind) = rest.split_once('=')?;
        if !is_type(kind) {
            return None;
        }
        let (value, end) = value(behind.trim_start())?;
        place.push((kind.trim().to_ascii_uppercase(), value));
        if !matches!(end, End::Plus(_)) {
            places.push(std::mem::take(&mut place));
        }
        match end {
            End::Comma(next) | End::Plus(next) => rest = next,
            End::Text => return Some(places),
        }
    }
}

fn is_type(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    !text.trim().is_empty() && text.trim().chars().all(plain)
}

/// What ends a value, and what follows.
enum End<'a> {
    Comma(&'a str),
    /// A plus that a type follows. RFC 4514 escapes any other; people do not.
    Plus(&'a str),
    Text,
}

/// A value, and its end.
fn value(text: &str) -> Option<(String, End<'_>)> {
    let mut bytes = Vec::new();
    // A space at the end counts where it is escaped or in quotes, and else does not.
    let mut kept = 0;
    let mut quoted = false;
    let mut left = text.char_indices();
    while let Some((at, letter)) = left.next() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => return Some((meant(bytes, kept)?, End::Comma(&text[at + 1..]))),
            '+' if !quoted && begins_attribute(&text[at + 1..]) => {
                return Some((meant(bytes, kept)?, End::Plus(&text[at + 1..])));
            }
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
    (!quoted).then_some((meant(bytes, kept)?, End::Text))
}

fn begins_attribute(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, _)| is_type(kind))
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
        let wanted = wanted.map(|(kind, value)| vec![(kind.to_owned(), value.to_owned())]);
        for text in [
            r"CN=a b,O=Contoso\, Ltd.",
            r"cn = a b , o = Contoso\2C Ltd.",
            r#"CN=a b, O="Contoso, Ltd.""#,
            r#"CN = "a b", O = "Contoso, Ltd." "#,
        ] {
            assert_eq!(attributes(text).as_deref(), Some(&wanted[..]), "{text}");
        }
        let odd = attributes(r#"CN=\C3\A4\ ,2.5.4.97=\"x\"\\"#).unwrap();
        assert_eq!(odd[0][0].1, "ä ");
        assert_eq!(odd[1], [("2.5.4.97".to_owned(), "\"x\"\\".to_owned())]);
    }

    #[test]
    fn a_plus_before_a_type_joins_two_attributes_in_one_place() {
        for (text, places) in [
            ("CN=a+OU=b,O=c", &[2, 1][..]),
            ("O = c, CN = a + OU = b + 2.5.4.5 = 7", &[1, 3]),
            (r"CN=a\+OU=b", &[1]),
            (r#"CN="a+OU=b""#, &[1]),
            ("CN=a+b", &[1]),
            ("CN=a+b c=d", &[1]),
            ("CN=a+", &[1]),
            ("CN=a+b,O=c", &[1, 1]),
        ] {
            let found = attributes(text).unwrap();
            let found: Vec<usize> = found.iter().map(Vec::len).collect();
            assert_eq!(found, places, "{text}");
        }
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
