//! Whether a URL is pre-authenticated: a parameter lets in whoever has the URL. Graph, SharePoint
//! and Outlook give such URLs for downloads, uploads and copies, Azure storage and Logic Apps give
//! them as well, and none of them may see the token beside that. So none is turned here, whatever
//! route it leads to. The host tells nothing: it may be the upstream of a route.

use memchr::memchr_iter;

use super::spelling::{Spelling, Step};

/// The names, lower-case. `sessiontoken` is none: Dataverse gives it for uploads in pieces, each of
/// which needs the token.
const NAMES: [&[u8]; 4] = [b"access_token", b"authtoken", b"sig", b"tempauth"];
/// One more than the longest of them has.
const ROOM: usize = 13;

/// The name of a parameter, as far as it may be one of those.
struct Name {
    text: [u8; ROOM],
    length: usize,
}

impl Name {
    const EMPTY: Self = Self {
        text: [0; ROOM],
        length: 0,
    };

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
            self.length += 1;
        }
    }

    fn is_credential(&self) -> bool {
        NAMES.contains(&&self.text[..self.length])
    }
}

/// Whether the query of the URL, of which everything before `from` is scheme, authority and path,
/// has a parameter of such a name. Percent-encoded names count for nothing: nobody writes them.
pub(super) fn is_preauthenticated(raw: &[u8], from: usize, spelling: Spelling) -> bool {
    // Nearly all links have nothing escaped, page by page, and no such name before any `=`.
    let may_be = spelling != Spelling::Plain || names_one(raw.get(from..).unwrap_or_default());
    may_be && has_parameter(raw, from, spelling)
}

/// Whether such a name stands between what a parameter may begin behind and its `=`, in a query or not.
fn names_one(text: &[u8]) -> bool {
    memchr_iter(b'=', text).any(|end| {
        NAMES.iter().any(|name| {
            let at = end.checked_sub(name.len());
            let before = at.and_then(|at| at.checked_sub(1)).map(|at| text[at]);
            matches!(before, Some(b'?' | b'&'))
                && at.is_some_and(|at| name.eq_ignore_ascii_case(&text[at..end]))
        })
    })
}

fn has_parameter(raw: &[u8], from: usize, spelling: Spelling) -> bool {
    let mut at = from;
    let mut in_query = false;
    let mut name = None;
    while let Step::Char(byte, next) = spelling.step(raw, at) {
        at = next;
        match (byte, &mut name) {
            (b'#', _) => return false,
            (b'?', _) if !in_query => (in_query, name) = (true, Some(Name::EMPTY)),
            (b'&', _) if in_query => name = Some(Name::EMPTY),
            (b'=', Some(read)) if read.is_credential() => return true,
            (b'=', _) => name = None,
            (_, Some(read)) => read.push(byte),
            (_, None) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(spelling: Spelling, url: &str) -> bool {
        is_preauthenticated(url.as_bytes(), "https://a".len(), spelling)
    }

    #[test]
    fn every_parameter_is_seen_wherever_it_stands_in_the_query() {
        for name in NAMES {
            let name = std::str::from_utf8(name).unwrap();
            for name in [name.to_owned(), name.to_uppercase()] {
                for url in [
                    format!("https://a/x?{name}=1"),
                    format!("https://a?{name}="),
                    format!("https://a/x?UniqueId=1&{name}=1&ApiVersion=2.0#y"),
                    format!("https://a/x?a=b=c?&&{name}=1"),
                ] {
                    assert!(has(Spelling::Plain, &url), "{url}");
                    assert!(has(Spelling::Json, &(url.clone() + "\"")), "{url}");
                    let escaped = url.replace('&', r"\u0026").replace('/', r"\/");
                    assert!(has(Spelling::Json, &escaped), "{escaped}");
                }
            }
        }
        assert!(has(Spelling::Json, r"https://a\u003ftempa\u0075th\u003d1"));
    }

    #[test]
    fn escapes_change_nothing() {
        for url in [
            "https://a/x?b=1&sig=2",
            "https://a/x?b=1&SIG=",
            "https://a/x#?sig=1",
            "https://a/x?a=?sig=1&b",
            "https://a/x?&&&access_token=",
            "https://a/x?aaccess_token=1",
            "https://a/sig=1",
            "https://a/x&sig=1",
            "https://a?",
        ] {
            let whole = format!("{url}\"");
            let expected = has(Spelling::Plain, url);
            assert_eq!(has(Spelling::Json, &whole), expected, "{url}");
            let escaped = whole.replace('/', r"\/");
            let from = r"https:\/\/a".len();
            let found = is_preauthenticated(escaped.as_bytes(), from, Spelling::Json);
            assert_eq!(found, expected, "{escaped}");
        }
    }

    #[test]
    fn nothing_else_is_one() {
        for url in [
            "https://a",
            "https://a/tempauth=1",
            "https://a/x?tempauth",
            "https://a/x?xtempauth=1&sign=1&tempauth2=2&signature=3",
            "https://a/x?$filter=tempauth=1",
            "https://a/x?sessiontoken=1",
            "https://a/x?a=?tempauth=1",
            "https://a/x?access_token_is_not_here=1",
            "https://a/x?$skiptoken=%26tempauth=1",
            "https://a/x?b#&sig=1",
        ] {
            assert!(!has(Spelling::Plain, url), "{url}");
        }
        assert!(!has(Spelling::Json, r#"https://a/x?b","c":"&sig=1"#));
    }
}
