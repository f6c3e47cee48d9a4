//! Reads scheme and authority at the beginning of a URL, through whatever spelling it stands in, and
//! compares them the way RFC 3986 section 6.2 does: scheme and host without case, the scheme's
//! default port the same as none. What has a user name, or anything else than host and port, is
//! nobody's authority.

use super::spelling::{Follows, Spelling, Step};
use crate::config::Origin;
use crate::config::value::split_port;

/// The longest authority worth reading: a name of 253 characters and `:65535`.
const LONGEST: usize = 259;

/// The beginning of an absolute URL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority {
    /// `https` rather than `http`.
    pub(super) secure: bool,
    /// The index of what follows the authority.
    pub(super) end: usize,
    text: [u8; LONGEST],
    len: usize,
}

/// What the beginning of a text is.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for the length of one match"
)]
pub(super) enum Read {
    /// It may yet become an authority.
    Cut,
    /// It is none.
    No,
    /// It is one.
    Yes(Authority),
}

impl Authority {
    /// Reads `http://…` or `https://…` up to `/`, `?`, `#` or the end of the text.
    pub(super) fn read(raw: &[u8], spelling: Spelling) -> Read {
        let mut at = 0;
        let mut secure = false;
        for wanted in b"http" {
            match spelling.step(raw, at) {
                Step::Char(found, next) if found.eq_ignore_ascii_case(wanted) => at = next,
                Step::Char(..) | Step::End => return Read::No,
                Step::Cut => return Read::Cut,
            }
        }
        if let Step::Char(b's' | b'S', next) = spelling.step(raw, at) {
            (secure, at) = (true, next);
        }
        match spelling.stands(raw, at, "://") {
            Follows::Cut => Read::Cut,
            Follows::No => Read::No,
            Follows::Yes(at) => Self::read_host(raw, at, spelling, secure),
        }
    }

    fn read_host(raw: &[u8], mut at: usize, spelling: Spelling, secure: bool) -> Read {
        let mut found = Self {
            secure,
            end: at,
            text: [0; LONGEST],
            len: 0,
        };
        loop {
            match spelling.step(raw, at) {
                Step::Char(b'/' | b'?' | b'#', _) | Step::End => break,
                Step::Cut => return Read::Cut,
                Step::Char(byte, next) => {
                    let fits = byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
                    if !fits || found.len == LONGEST {
                        return Read::No;
                    }
                    found.text[found.len] = byte.to_ascii_lowercase();
                    found.len += 1;
                    at = next;
                }
            }
        }
        found.end = at;
        Read::Yes(found)
    }

    /// Host and port as written, lower-case.
    pub(super) fn text(&self) -> &str {
        // Only ASCII was stored.
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }

    /// Host, and the port that is written or meant.
    pub(super) fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = split_port(self.text()).ok()?;
        Some((
            host,
            port.unwrap_or_else(|| Origin::default_port(self.secure)),
        ))
    }

    /// Scheme, host and port, in the order in which origins compare.
    pub(super) fn origin(&self) -> Option<(bool, &str, u16)> {
        let (host, port) = self.host_and_port()?;
        Some((self.secure, host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_graph(url: &str) -> bool {
        match Authority::read(url.as_bytes(), Spelling::Plain) {
            Read::Yes(authority) => authority.origin() == Some((true, "graph.microsoft.com", 443)),
            Read::Cut | Read::No => false,
        }
    }

    #[test]
    fn scheme_and_host_compare_without_case_and_443_may_be_spelt_out() {
        assert!(is_graph("https://graph.microsoft.com"));
        assert!(is_graph("HTTPS://Graph.Microsoft.COM:443/v1.0"));
        assert!(is_graph("https://graph.microsoft.com?x"));
    }

    #[test]
    fn every_other_authority_is_another() {
        for url in [
            "http://graph.microsoft.com/",
            "https://graph.microsoft.com:8443/",
            "https://graph.microsoft.com:/",
            "https://graph.microsoft.com.evil.example/",
            "https://graph.microsoft.com@evil.example/",
            "https://user@graph.microsoft.com/",
            "https://graph.microsoft.com\\@evil.example/",
            "https://graph.microsoft.comx/",
            "https:/graph.microsoft.com/",
            "https//graph.microsoft.com/",
            "//graph.microsoft.com/",
            "ftp://graph.microsoft.com/",
            "https://",
            "https:///",
            "",
        ] {
            assert!(!is_graph(url), "{url}");
        }
    }

    #[test]
    fn an_endless_authority_is_given_up_and_not_waited_for() {
        let long = format!("https://{}", "a".repeat(LONGEST + 1));
        assert!(matches!(
            Authority::read(long.as_bytes(), Spelling::Json),
            Read::No
        ));
        assert!(matches!(
            Authority::read(&long.as_bytes()[..200], Spelling::Json),
            Read::Cut
        ));
    }
}
