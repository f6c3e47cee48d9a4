//! One line of `allow`: methods and a pattern of path segments. What could never match a request
//! is refused here, because a person would believe that it lets something through.

use http::Method;

use super::{AllowSpec, PatternSegment};

/// The methods that are forwarded; others are answered 405 before `allow` is looked at.
pub const METHODS: [Method; 7] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
];

impl AllowSpec {
    /// Parses `GET /v1.0/users/**` or `GET,POST /…`.
    ///
    /// # Errors
    /// What would be accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((methods, path)) = text.trim().split_once([' ', '\t']) else {
            return Err("a method, a space and a path: GET /v1.0/users/**".to_owned());
        };
        Ok(Self {
            methods: methods
                .split(',')
                .map(method)
                .collect::<Result<_, String>>()?,
            pattern: pattern(path.trim_start())?,
        })
    }
}

fn method(text: &str) -> Result<Method, String> {
    METHODS
        .into_iter()
        .find(|method| method.as_str() == text)
        .ok_or_else(|| {
            let names: Vec<&str> = METHODS.iter().map(Method::as_str).collect();
            format!(
                "methods are {}, in capitals, several with commas and no spaces: GET,POST /…",
                names.join(", ")
            )
        })
}

fn pattern(path: &str) -> Result<Vec<PatternSegment>, String> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("the path begins with '/', after the route's own path is removed".to_owned());
    };
    rest.split('/').map(segment).collect()
}

fn segment(text: &str) -> Result<PatternSegment, String> {
    match text {
        "*" => return Ok(PatternSegment::AnyOne),
        "**" => return Ok(PatternSegment::AnyNumber),
        _ => {}
    }
    // OData has the key of a row in the segment of its table.
    let named = text.strip_suffix("(*)").filter(|name| !name.is_empty());
    let name = named.unwrap_or(text);
    if name.contains('*') {
        return Err(
            "'*' stands for a whole segment, '**' for any number of them, and NAME(*) for NAME with \
             any key; other parts of a segment cannot be matched"
                .to_owned(),
        );
    }
    if name.contains(['?', '#']) {
        return Err(
            "a pattern is a path; queries and fragments are not part of it and always pass"
                .to_owned(),
        );
    }
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'<' | b'>' | b'`'));
    match decode(name.as_bytes()) {
        Some(decoded) if plain && !never(&decoded) => Ok(match named {
            Some(_) => PatternSegment::Keyed(name.to_owned()),
            None => PatternSegment::Literal(name.to_owned()),
        }),
        _ => Err(
            "no request has such a path: '.' and '..' segments, spaces, backslashes, control \
             characters, raw non-ASCII and a '%' without two hex digits are refused with 400"
                .to_owned(),
        ),
    }
}

/// Whether requests with this segment, decoded once, are refused before any pattern is looked at:
/// three levels of encoding are seen through, and an encoded slash counts as one.
fn never(decoded: &[u8]) -> bool {
    // What is refused stays so when it is decoded further.
    let mut decoded = decoded.to_vec();
    for _ in 1..3 {
        match decode(&decoded) {
            Some(deeper) => decoded = deeper,
            None => break,
        }
    }
    refused(&decoded)
}

fn refused(decoded: &[u8]) -> bool {
    let control = |b: &u8| b.is_ascii_control() || *b == b'\\';
    let mut parts = decoded.split(|b| *b == b'/');
    decoded.iter().any(control) || parts.any(|part| matches!(part, b"." | b".."))
}

/// The segment without percent-encoding; `None` for a bad triplet.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_segments_are_read() {
        let allow = AllowSpec::parse("GET,POST /v1.0/users/*/**").unwrap();
        let spaced = AllowSpec::parse(" GET,POST \t /v1.0/users/*/** ");
        assert_eq!(spaced.as_ref(), Ok(&allow));
        assert_eq!(allow.methods, [Method::GET, Method::POST]);
        assert_eq!(
            allow.pattern,
            [
                PatternSegment::Literal("v1.0".to_owned()),
                PatternSegment::Literal("users".to_owned()),
                PatternSegment::AnyOne,
                PatternSegment::AnyNumber,
            ]
        );
    }

    #[test]
    fn odata_syntax_is_a_literal() {
        let text = "GET /v1.0/users('a%2Fb')/drive/root:/x:/$value";
        let allow = AllowSpec::parse(text).unwrap();
        let segments = ["v1.0", "users('a%2Fb')", "drive", "root:", "x:", "$value"];
        let literals = segments.map(|s| PatternSegment::Literal(s.to_owned()));
        assert_eq!(allow.pattern, literals);
    }

    #[test]
    fn a_name_with_any_key_is_a_segment_of_its_own_kind() {
        let allow = AllowSpec::parse("GET /api/accounts(*)/**").unwrap();
        assert_eq!(
            allow.pattern[1],
            PatternSegment::Keyed("accounts".to_owned())
        );
        for text in [
            "GET /(*)",
            "GET /accounts(*",
            "GET /accounts(*)x",
            "GET /accounts(**)",
            "GET /accounts(a,*)",
            "GET /acc*(*)",
            "GET /..%2fa(*)",
        ] {
            assert!(AllowSpec::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_segment_is_kept_because_it_has_meaning_upstream() {
        let allow = AllowSpec::parse("GET /a//b/").unwrap();
        assert_eq!(allow.pattern.len(), 4);
    }

    #[test]
    fn what_can_never_match_is_refused() {
        for text in [
            "GET",
            "/v1.0/users",
            "GET v1.0/users",
            "get /x",
            "FETCH /x",
            "TRACE /x",
            "GET, POST /x",
            "* /x",
            "GET /user*",
            "GET /***",
            "GET /x?y=1",
            "GET /x#y",
            "GET /a/../b",
            "GET /a/./b",
            "GET /a/%2e%2E/b",
            "GET /a/%252e%252e/b",
            "GET /a/%25252e./b",
            "GET /a/x%2f..%2fb",
            "GET /a/%5c",
            "GET /a/%25%35c",
            "GET /a/%00",
            "GET /a b",
            "GET /a\\b",
            "GET /%zz",
            "GET /%2",
            "GET /%2g",
            "GET /%g2",
            "GET /a<b",
            "GET /a`b",
            "GET /ü",
        ] {
            assert!(AllowSpec::parse(text).is_err(), "{text}");
        }
    }
}
