//! Finds the claims that an upstream demands in `WWW-Authenticate` (RFC 9110 section 11.6.1, as
//! Microsoft's services really write it: unquoted URLs and sentences, base64 with its padding, several
//! challenges in one line or several lines). Pure and linear in the length of the headers.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{HeaderMap, WWW_AUTHENTICATE};

use crate::credential::{ClaimsRequest, MAX_CLAIMS};

/// The claims of the first bearer challenge with `error="insufficient_claims"` that has some.
pub fn read(headers: &HeaderMap) -> Option<ClaimsRequest> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .find_map(|line| read_line(line.as_bytes()))
}

/// The value of the first parameter of this name, of whatever challenge.
pub fn parameter(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter();
    let mut values = lines.filter_map(|line| value_of(line.as_bytes(), name));
    String::from_utf8(values.next()?).ok()
}

/// One piece of a `WWW-Authenticate` line.
enum Piece<'a> {
    /// A word without a value: the scheme of the next challenge, or what follows a stray quote.
    Word(&'a [u8]),
    /// A parameter of the challenge before.
    Parameter(&'a [u8], Vec<u8>),
}

/// The pieces of a line, in order.
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = skip(self.0, |b| is_space(b) || b == b',');
        if rest.is_empty() {
            return None;
        }
        let (word, after) = split(rest, |b| is_space(b) || matches!(b, b',' | b'=' | b'"'));
        let after = skip(after, is_space);
        let Some(value) = after.strip_prefix(b"=") else {
            self.0 = after.strip_prefix(b"\"").unwrap_or(after);
            return Some(Piece::Word(word));
        };
        let (value, after) = read_value(skip(value, is_space));
        self.0 = after;
        Some(Piece::Parameter(word, value))
    }
}

fn value_of(line: &[u8], wanted: &str) -> Option<Vec<u8>> {
    Pieces(line).find_map(|piece| match piece {
        Piece::Parameter(name, value) if name.eq_ignore_ascii_case(wanted.as_bytes()) => {
            Some(value)
        }
        _ => None,
    })
}

/// The parameters that matter of one challenge.
#[derive(Default)]
struct Challenge {
    bearer: bool,
    insufficient: bool,
    claims: Option<Vec<u8>>,
}

impl Challenge {
    fn of(scheme: &[u8]) -> Self {
        Self {
            bearer: scheme.eq_ignore_ascii_case(b"bearer"),
            ..Self::default()
        }
    }

    fn add(&mut self, name: &[u8], value: Vec<u8>) {
        if name.eq_ignore_ascii_case(b"error") {
            self.insufficient = value.eq_ignore_ascii_case(b"insufficient_claims");
        } else if name.eq_ignore_ascii_case(b"claims") {
            self.claims = Some(value);
        }
    }

    fn claims(self) -> Option<ClaimsRequest> {
        let text = self.claims.filter(|_| self.bearer && self.insufficient)?;
        decode(text)
    }
}

fn read_line(line: &[u8]) -> Option<ClaimsRequest> {
    let mut challenge = Challenge::default();
    for piece in Pieces(line) {
        match piece {
            Piece::Parameter(name, value) => challenge.add(name, value),
            Piece::Word(scheme) => {
                let ended = std::mem::replace(&mut challenge, Challenge::of(scheme));
                if let Some(found) = ended.claims() {
                    return Some(found);
                }
            }
        }
    }
    challenge.claims()
}

/// A quoted string with its escapes undone, or what stands there without quotes.
fn read_value(rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let (value, rest) = rest.split_at(unquoted(rest));
        return (value.to_vec(), rest);
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (value, &quoted[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, escaped)| *escaped)),
            byte => value.push(*byte),
        }
    }
    // The quote was never closed: what there is of the value cannot be relied on.
    (Vec::new(), &[])
}

/// The length of a value without quotes: up to a comma, because Dataverse writes sentences so, or to
/// the next parameter, because Azure Storage puts no commas in between.
fn unquoted(rest: &[u8]) -> usize {
    let word = |b| is_space(b) || matches!(b, b',' | b'=' | b'"');
    let mut end = rest.len() - split(rest, |b| is_space(b) || b == b',').1.len();
    loop {
        let next = skip(&rest[end..], is_space);
        let (_, after) = split(next, word);
        let is_parameter = skip(after, is_space).starts_with(b"=");
        if matches!(next, [] | [b',', ..]) || is_parameter || after.starts_with(b"\"") {
            return end;
        }
        end = rest.len() - after.len();
    }
}

/// Either base64 alphabet, padded or not.
fn decode(mut text: Vec<u8>) -> Option<ClaimsRequest> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    if text.len() > MAX_CLAIMS.div_ceil(3) * 4 {
        return None;
    }
    for byte in &mut text {
        match byte {
            b'-' => *byte = b'+',
            b'_' => *byte = b'/',
            _ => {}
        }
    }
    ClaimsRequest::parse(&LENIENT.decode(text).ok()?)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn skip(bytes: &[u8], unwanted: impl Fn(u8) -> bool) -> &[u8] {
    let at = bytes.iter().position(|b| !unwanted(*b));
    &bytes[at.unwrap_or(bytes.len())..]
}

fn split(bytes: &[u8], end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|b| end(*b));
    bytes.split_at(at.unwrap_or(bytes.len()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const CLAIMS: &str =
        "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwgInZhbHVlIjoiMTg5MzQ1NjAwMCJ9fX0=";
    const DECODED: &str = r#"{"access_token":{"nbf":{"essential":true, "value":"1893456000"}}}"#;

    fn found(lines: &[&str]) -> Option<ClaimsRequest> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(WWW_AUTHENTICATE, value);
        }
        read(&headers)
    }

    fn expected() -> Option<ClaimsRequest> {
        ClaimsRequest::parse(DECODED.as_bytes())
    }

    #[test]
    fn challenges_as_graph_writes_them_are_understood() {
        let unpadded = CLAIMS.trim_end_matches('=');
        for line in [
            format!(
                "Bearer realm=\"\", authorization_uri=https://login.microsoftonline.com/common/oauth2/authorize?x=1, client_id=\"00000003-0000-0000-c000-000000000000\", error=\"insufficient_claims\", claims=\"{CLAIMS}\", errorDescription=\"Fixture: CAE challenge, result: InteractionRequired, code: X\""
            ),
            format!("Bearer claims=\"{CLAIMS}\", error=\"insufficient_claims\""),
            format!("bearer error=\"insufficient_claims\",claims=\"{unpadded}\""),
            format!("BEARER error=insufficient_claims, claims={CLAIMS}"),
            format!("Bearer  error = \"insufficient_claims\" ,  claims = \"{CLAIMS}\" "),
            format!(
                "Negotiate, Basic realm=\"a, b\", Bearer error=\"insufficient_claims\", claims=\"{CLAIMS}\""
            ),
            format!(
                "Negotiate dG9rZW4=, Bearer claims=\"{CLAIMS}\", error=\"insufficient_claims\", PoP realm=\"\""
            ),
            format!(
                "Bearer realm=\"a \\\"quoted\\\", claims=x\", error=\"insufficient_claims\", claims=\"{CLAIMS}\""
            ),
            format!(
                "Bearer error=insufficient_claims, error_description=Not any more , claims={CLAIMS}"
            ),
        ] {
            assert_eq!(found(&[&line]), expected(), "{line}");
        }
    }

    #[test]
    fn claims_are_found_in_any_of_several_headers() {
        let right = format!("Bearer error=\"insufficient_claims\", claims=\"{CLAIMS}\"");
        assert_eq!(found(&["Basic realm=x", &right, "Negotiate"]), expected());
    }

    #[test]
    fn ordinary_refusals_demand_nothing() {
        let other = format!("Bearer error=\"invalid_token\", claims=\"{CLAIMS}\"");
        let basic = format!("Basic error=\"insufficient_claims\", claims=\"{CLAIMS}\"");
        let split = format!("Bearer error=\"insufficient_claims\", PoP claims=\"{CLAIMS}\"");
        for line in [
            "",
            "Bearer",
            "Bearer error=\"insufficient_claims\"",
            "Bearer error=\"insufficient_claims\", claims=\"\"",
            "Bearer authorization_uri=https://login.microsoftonline.com/t/oauth2/authorize, resource_id=https://contoso.crm4.dynamics.com/",
            &other,
            &basic,
            &split,
        ] {
            assert_eq!(found(&[line]), None, "{line}");
        }
    }

    #[test]
    fn claims_that_are_no_bounded_json_object_are_ignored() {
        use base64::prelude::BASE64_STANDARD;
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_CLAIMS));
        for text in ["[]", "1", "not json", "{", &long] {
            let text = BASE64_STANDARD.encode(text);
            let line = format!("Bearer error=\"insufficient_claims\", claims=\"{text}\"");
            assert_eq!(found(&[&line]), None);
        }
        let line = "Bearer error=\"insufficient_claims\", claims=\"%%%\"";
        assert_eq!(found(&[line]), None);
    }

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        for line in [
            "Negotiate",
            "Bearer realm=\"a, resource_id=b\", x_resource_id=c, Resource_ID = https://d/, resource_id=e",
        ] {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(line));
        }
        let value = |name| parameter(&headers, name);
        assert_eq!(value("resource_id").as_deref(), Some("https://d/"));
        assert_eq!(value("realm").as_deref(), Some("a, resource_id=b"));
        assert_eq!(value("Negotiate"), None);
        assert_eq!(value("error_description"), None);
    }

    #[test]
    fn a_sentence_without_quotes_ends_at_the_comma_or_at_the_next_parameter() {
        let value = |line: &str, name| {
            let value = value_of(line.as_bytes(), name);
            value.map(|value| String::from_utf8(value).unwrap())
        };
        // As Dataverse writes it.
        let dataverse = "Bearer error=invalid_token, error_description=Error during token validation!, authorization_uri=https://l.example/t/oauth2/authorize, resource_id=https://contoso.crm.dynamics.com/";
        // As Azure Storage does.
        let storage = "Bearer authorization_uri=https://l.example/t/oauth2/authorize resource_id = https://storage.azure.com";
        for (line, name, wanted) in [
            (
                dataverse,
                "error_description",
                "Error during token validation!",
            ),
            (dataverse, "error", "invalid_token"),
            (
                dataverse,
                "resource_id",
                "https://contoso.crm.dynamics.com/",
            ),
            (
                storage,
                "authorization_uri",
                "https://l.example/t/oauth2/authorize",
            ),
            (storage, "resource_id", "https://storage.azure.com"),
            ("Bearer a=b c \t, d=e", "a", "b c"),
            ("Bearer a= , d=e", "a", ""),
        ] {
            assert_eq!(value(line, name).as_deref(), Some(wanted), "{line}");
        }
    }

    #[test]
    fn a_long_hostile_line_is_read_in_time_linear_in_it() {
        // Looking for a comma from each of so many values would not come back.
        for piece in ["a=b ", "a=b c ", "a  ", "a= ,", "=", "a\""] {
            assert_eq!(value_of(&piece.as_bytes().repeat(1 << 18), "b"), None);
        }
    }

    #[test]
    fn both_alphabets_are_read() {
        // `???` and `>>>` are where the two differ.
        let json = r#"{"a":"???>>>~~~"}"#;
        use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
        for text in [
            BASE64_STANDARD.encode(json),
            BASE64_URL_SAFE_NO_PAD.encode(json),
        ] {
            let line = format!("Bearer error=\"insufficient_claims\", claims=\"{text}\"");
            assert_eq!(found(&[&line]), ClaimsRequest::parse(json.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(line in proptest::collection::vec(prop_oneof![
            Just(b' '), Just(b','), Just(b'='), Just(b'"'), Just(b'\\'), 33..=126_u8, 128..=255_u8,
        ], 0..200)) {
            let _ = (read_line(&line), value_of(&line, "a"));
        }

        #[test]
        fn what_stands_around_the_parameters_does_not_matter(
            before in "[a-z]{1,5}=(\"[^\"\\\\]{0,9}\"|[a-z:/?]{1,9})",
            after in "[a-z]{1,5}=(\"[^\"\\\\]{0,9}\"|[a-z:/?]{1,9})",
        ) {
            prop_assume!(!["error=", "claim"].iter().any(|n| before.starts_with(n) || after.starts_with(n)));
            let line = format!("Bearer {before}, error=\"insufficient_claims\", claims=\"{CLAIMS}\", {after}");
            prop_assert_eq!(read_line(line.as_bytes()), expected());
        }
    }
}
