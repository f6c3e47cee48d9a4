//! The authority of a request (`Host`, `:authority`) or of an origin, parsed once: `host [":" port]`
//! of RFC 9110 section 7.2, without user information.
//!
//! Narrower than RFC 3986 on purpose: a host is a DNS-like name, an IPv4 address or a bracketed
//! IPv6 address. Sub-delimiters and percent-encoding never name a host that is served.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::letters_digits_and;
use crate::config::Origin;

/// A host and, where it was written, a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// As it was written; only characters of a host and port.
    pub text: &'a str,
    /// Lower-case and without a trailing dot; an IPv6 address keeps its brackets, and is in the one form
    /// that [`HostName`](crate::config::HostName) has it in.
    pub host: Cow<'a, str>,
    /// The port, when one was written.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Parses; `None` when it is not an authority.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = if text.starts_with('[') {
            literal(text)?
        } else {
            let end = memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len());
            (lower_case(name(&text[..end])?), &text[end..])
        };
        let port = parse_port(port)?;
        Some(Self { text, host, port })
    }

    /// The port, or the default of the scheme (`true` for https).
    pub fn port_or_default(&self, secure: bool) -> u16 {
        self.port.unwrap_or_else(|| Origin::default_port(secure))
    }
}

/// Checks a name or IPv4 address and takes a trailing dot off. The name's syntax only: whether it
/// is served decides [`super::host`].
fn name(text: &str) -> Option<&str> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut previous = b'.';
    let mut fits = true;
    for byte in text.bytes() {
        fits &= OF_NAMES[usize::from(byte)] & ((byte != b'.') | (previous != b'.'));
        previous = byte;
    }
    // 253: the longest name in DNS, RFC 1035 section 2.3.4 without the root label.
    (fits && previous != b'.' && text.len() <= 253).then_some(text)
}

fn lower_case(name: &str) -> Cow<'_, str> {
    let any = |any, byte: u8| any | byte.is_ascii_uppercase();
    match name.bytes().fold(false, any) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

static OF_NAMES: [bool; 256] = letters_digits_and(b".-_");

/// Splits `[IPv6]` from what follows it. A zone never travels in a `Host` (RFC 6874 section 4).
fn literal(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = memchr::memchr(b']', text.as_bytes())?;
    let address: Ipv6Addr = text[1..end].parse().ok()?;
    Some((format!("[{address}]").into(), &text[end + 1..]))
}

/// `""` and `":"` are no port; else a colon and digits.
fn parse_port(text: &str) -> Option<Option<u16>> {
    let Some(digits) = text.strip_prefix(':') else {
        return text.is_empty().then_some(None);
    };
    if digits.is_empty() {
        return Some(None);
    }
    let number = digits.bytes().all(|b| b.is_ascii_digit());
    number.then(|| digits.parse().ok()).flatten().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(String, Option<u16>)> {
        Authority::parse(text).map(|a| (a.host.into_owned(), a.port))
    }

    #[test]
    fn a_host_is_compared_in_lower_case_and_without_its_trailing_dot() {
        let expected = Some(("graph.corp".to_owned(), Some(8080)));
        assert_eq!(parts("Graph.CORP.:8080"), expected);
        assert_eq!(parts("graph.corp:8080"), expected);
        assert_eq!(parts("[::1]:80"), Some(("[::1]".to_owned(), Some(80))));
        for same in [
            "[fd00::1]",
            "[FD00::1]",
            "[fd00:0::1]",
            "[fd00:0:0:0:0:0:0:1]",
        ] {
            assert_eq!(parts(same), Some(("[fd00::1]".to_owned(), None)));
        }
        assert_eq!(parts("127.0.0.1:"), Some(("127.0.0.1".to_owned(), None)));
    }

    #[test]
    fn a_lower_case_host_is_not_copied() {
        let parsed = Authority::parse("localhost:8080").map(|a| a.host);
        assert!(matches!(parsed, Some(Cow::Borrowed("localhost"))));
    }

    #[test]
    fn a_host_is_as_long_as_a_name_in_dns_may_be() {
        let name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(parts(&name), Some((name.clone(), None)));
        assert_eq!(parts(&format!("{name}b")), None);
    }

    #[test]
    fn what_is_not_one_host_is_refused() {
        for text in [
            "",
            ".",
            "..",
            ":80",
            "a..b",
            ".a",
            "a, b",
            "a,b",
            "u@a",
            "a/b?c",
            "a b",
            "a%2eb",
            "a:99999",
            "a:+80",
            "a:80:80",
            "a:8o",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%25lo]",
            "[v1.x]",
            "ä",
            "a\\b",
            "a..",
        ] {
            assert_eq!(parts(text), None, "{text:?}");
        }
    }
}
