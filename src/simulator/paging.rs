//! Links to the next page. Each carries a seal over everything in front of its last option, so that
//! a link which was decoded, re-encoded or re-ordered on its way is found out. The case of a percent
//! triplet's digits says nothing (RFC 3986 section 2.1), and some clients change it: Python's urllib3
//! writes them large.

use aws_lc_rs::digest::{SHA256, digest};

use super::call::Call;
use super::ident::hex;

/// A link that was not followed as it was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Altered;

/// The form of a paging option: its name, and its value from a position and a seal.
pub(super) struct Paging {
    /// The name of the query option.
    pub(super) option: &'static str,
    /// Writes the value.
    pub(super) value: fn(usize, &str) -> String,
}

impl Paging {
    /// The position that a request asks for: 0 on a first page.
    pub(super) fn position(&self, call: &Call) -> Result<usize, Altered> {
        let Some((front, value)) = self.split(&call.target) else {
            return Ok(0);
        };
        let (seal, given) = (seal(front), with_large_digits(value));
        // The position stands somewhere in the value; only the right one gives these very bytes.
        let digits = value.split(|c: char| !c.is_ascii_digit());
        let mut candidates = digits.filter_map(|digits| digits.parse().ok());
        candidates
            .find(|&at| with_large_digits(&(self.value)(at, &seal)) == given)
            .ok_or(Altered)
    }

    /// The absolute link to the page that begins at a position.
    pub(super) fn link(&self, call: &Call, position: usize) -> String {
        let front = match self.split(&call.target) {
            Some((front, _)) => front.to_owned(),
            None => reencoded(&call.target),
        };
        let joint = if front.contains('?') { '&' } else { '?' };
        let value = (self.value)(position, &seal(&front));
        format!("{}{front}{joint}{}={value}", call.origin(), self.option)
    }

    /// What is in front of the option, and its value.
    fn split<'a>(&self, target: &'a str) -> Option<(&'a str, &'a str)> {
        let at = target.find(&format!("{}=", self.option))?;
        let front = &target[..at];
        let front = front.strip_suffix(['?', '&'])?;
        Some((front, &target[at + self.option.len() + 1..]))
    }
}

fn seal(front: &str) -> String {
    let front = with_large_digits(front);
    hex(&digest(&SHA256, front.as_bytes()).as_ref()[..8])
}

/// A text with the digits of its percent triplets in the case that RFC 3986 section 6.2.2.1 prefers.
fn with_large_digits(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut large = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        large.push('%');
        large.push_str(&digits.to_ascii_uppercase());
        large.push_str(rest);
    }
    large
}

/// The target of a first request, as a next link repeats it: the filter is encoded once more, the
/// rest stays.
fn reencoded(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let again = |option: &str| match option.split_once('=') {
        Some((name, value)) if name.ends_with("filter") => {
            let value = value
                .replace('%', "%25")
                .replace(',', "%2c")
                .replace('\'', "%27");
            format!("{name}={value}")
        }
        _ => option.to_owned(),
    };
    let options: Vec<String> = query.split('&').map(again).collect();
    format!("{path}?{}", options.join("&"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    const PAGING: Paging = Paging {
        option: "$skiptoken",
        value: |position, seal| format!("%257b{position}%257D_{seal}"),
    };

    fn call(target: &str) -> Call {
        Call {
            number: 0,
            scheme: "https",
            method: Method::GET,
            authority: "graph.microsoft.com".to_owned(),
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: <_>::default(),
        }
    }

    fn target(link: &str) -> &str {
        link.strip_prefix("https://graph.microsoft.com").unwrap()
    }

    #[test]
    fn a_link_followed_byte_for_byte_leads_on() {
        let first = call("/v1.0/users?$filter=startsWith(displayName,'A%23')&$top=2");
        assert_eq!(PAGING.position(&first), Ok(0));
        let link = PAGING.link(&first, 2);
        assert!(
            link.contains("startsWith(displayName%2c%27A%2523%27)&$top=2&$skiptoken="),
            "{link}"
        );
        let second = call(target(&link));
        assert_eq!(PAGING.position(&second), Ok(2));
        // The filter is not encoded a third time.
        let third = PAGING.link(&second, 4);
        assert!(third.contains("%2c%27A%2523%27)&"), "{third}");
        assert_eq!(PAGING.position(&call(target(&third))), Ok(4));
    }

    #[test]
    fn the_case_of_triplets_does_not_matter() {
        let link = PAGING.link(&call("/v1.0/users?$filter=a%20eq%20'%c3%a4'&$top=2%2c"), 7);
        assert!(link.contains("%25c3%25a4%27&$top=2%2c&"), "{link}");
        let followed = call(&target(&link).replace("%2c", "%2C"));
        assert_eq!(PAGING.position(&followed), Ok(7));
        let value = |position, seal: &str| format!("{position}%7b{seal}%7d");
        let paging = Paging { value, ..PAGING };
        let link = paging.link(&call("/v1.0/users"), 7);
        let followed = target(&link).replace("%7b", "%7B").replace("%7d", "%7D");
        assert_eq!(paging.position(&call(&followed)), Ok(7));
    }

    #[test]
    fn a_link_that_was_tidied_up_is_found_out() {
        let link = PAGING.link(&call("/v1.0/users?$filter=a%20eq%20'b'"), 7);
        for (from, to) in [
            ("%257b", "%257B"),
            ("%257b", "%7b"),
            ("%27", "'"),
            ("$skip", "%24skip"),
        ] {
            let altered = call(&target(&link).replace(from, to));
            assert_ne!(altered.target, target(&link), "{from}");
            assert_ne!(PAGING.position(&altered), Ok(7), "{from} to {to}");
        }
    }
}
