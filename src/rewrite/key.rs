//! What is looked for in JSON text, found without parsing it. In valid JSON a quote that no
//! backslash escapes is a delimiter, and what may stand beside a delimiter is known: a name that
//! ends in `@odata.nextLink` and a quote is the end of a string, never user text, in which the quote
//! would be escaped. So substrings are searched at the speed of memory, and escapes and context are
//! looked at only where one is found.

use memchr::memmem::Finder;
use memchr::{memchr, memchr3};

use super::link::LinkRoute;
use super::name::{NameAt, whole};
use super::spelling::{Follows, hex, short_escape};
use super::string_end::closing_quote;
use crate::config::{PREAUTHENTICATED_KEYS, RewriteLinks};

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The name of the headers of an operation inside a JSON batch.
    Headers,
    /// The name of a member that holds a link.
    Link,
    /// The name of a member that holds a pre-authenticated address, which no token may go to.
    Preauthenticated,
    /// The name of the target of an operation inside a JSON batch.
    Url,
    /// The beginning of any string, which may be a link itself.
    Value,
}

/// Where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// The index after the quote: a name's closing one, a value's opening one.
    pub(super) end: usize,
    /// What it is.
    pub(super) what: What,
}

/// The names, or strings, to be found.
#[derive(Debug)]
pub(super) struct Keys {
    needles: Vec<Needle>,
    /// Names any property may carry in front: they match at the end of a key.
    suffixes: &'static [&'static str],
    /// Names that match as a whole.
    names: Vec<(String, What)>,
    /// The characters that may be escaped without need in a name.
    letters: [bool; 256],
    /// The longest spelling of a name, with its quotes: how far a name reaches over a chunk's edge.
    pub(super) span: usize,
    /// Whether a link's value may be a list of links.
    pub(super) lists: bool,
    /// Whether a name counts at a certain depth only.
    pub(super) nested: bool,
    /// The bytes that a name, or the end of one, begins with.
    starts: [u8; 3],
}

#[derive(Debug)]
struct Needle {
    finder: Finder<'static>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// An escape, which may be part of a name.
    Escape,
    /// A name in quotes, in its plain spelling.
    Name(What),
    /// `@odata.`, with one of the suffixes' ends behind it or not.
    Odata,
    /// A quote and the first character of a string.
    Start,
}

const ODATA: &str = "@odata.";
const ANSWER: &[&str] = &["@odata.nextLink", "@odata.deltaLink", "@odata.context"];
const REQUEST: &[&str] = &["@odata.id", "@odata.bind"];

impl Keys {
    /// The links of a route's answers.
    pub(super) fn of_answers(route: &LinkRoute) -> Self {
        match route.rewrite {
            RewriteLinks::All => Self::strings(route),
            RewriteLinks::Off | RewriteLinks::On => Self::new(ANSWER, names(route), false),
        }
    }

    /// The same inside a JSON batch, where operations have headers.
    pub(super) fn of_batch_answers(route: &LinkRoute) -> Self {
        match route.rewrite {
            RewriteLinks::All => Self::strings(route),
            RewriteLinks::Off | RewriteLinks::On => {
                let mut names = names(route);
                names.push(("headers".to_owned(), What::Headers));
                Self::new(ANSWER, names, false)
            }
        }
    }

    /// The references of requests.
    pub(super) fn of_requests() -> Self {
        Self::new(REQUEST, Vec::new(), true)
    }

    /// The same inside a JSON batch, where operations have targets.
    pub(super) fn of_batch_requests() -> Self {
        Self::new(REQUEST, vec![("url".to_owned(), What::Url)], true)
    }

    fn new(suffixes: &'static [&'static str], names: Vec<(String, What)>, lists: bool) -> Self {
        let mut letters = [false; 256];
        // Letters, digits and `@._-` are escaped as `\u00xx` only; anything else has more spellings.
        let mut plain = true;
        let mut span = 0;
        let all = suffixes.iter().copied();
        for name in all.chain(names.iter().map(|(name, _)| name.as_str())) {
            // Six bytes for each UTF-16 unit, and two quotes.
            span = span.max(6 * name.encode_utf16().count() + 2);
            for c in name.chars() {
                plain &= c.is_ascii_alphanumeric() || "@._-".contains(c);
                if let Some(letter) = letters.get_mut(c as usize) {
                    *letter = true;
                }
            }
        }
        let mut needles = vec![
            Needle::new(ODATA, Kind::Odata),
            Needle::new(if plain { r"\u00" } else { r"\" }, Kind::Escape),
        ];
        for (name, what) in &names {
            needles.push(Needle::new(&format!("\"{name}\""), Kind::Name(*what)));
        }
        Self {
            needles,
            suffixes,
            letters,
            span,
            lists,
            nested: names
                .iter()
                .any(|(_, what)| matches!(what, What::Headers | What::Url)),
            starts: [b'@', b'\\', if names.is_empty() { b'@' } else { b'"' }],
            names,
        }
    }

    /// Every string that may begin with `http`: plainly, in capitals or with an escape. Beside them
    /// the names of links, which may lead to other routes, and of what is none. A name that may
    /// begin like a link is read by [`Self::name_at`].
    fn strings(route: &LinkRoute) -> Self {
        let mut names = names(route);
        names.extend(PREAUTHENTICATED_KEYS.map(|name| (name.to_owned(), What::Preauthenticated)));
        let mut keys = Self::new(ANSWER, names, false);
        keys.needles.retain(|needle| {
            let begins_like_a_link = matches!(needle.finder.needle(), [b'"', b'h' | b'H', ..]);
            !begins_like_a_link
        });
        let starts = ["\"h", "\"H", "\"\\"];
        let starts = starts.map(|start| Needle::new(start, Kind::Start));
        keys.needles.extend(starts);
        keys
    }

    /// Whether the string that begins here is one of the names and ends here.
    pub(super) fn name_at(&self, raw: &[u8]) -> NameAt {
        let suffixes = self.suffixes.iter().map(|name| (*name, What::Link));
        let names = self.names.iter().map(|(name, what)| (name.as_str(), *what));
        let mut found = NameAt::No;
        for (name, what) in names.chain(suffixes) {
            match whole(raw, name) {
                Follows::Yes(end) => return NameAt::Yes { end, what },
                Follows::Cut => found = NameAt::Cut,
                Follows::No => {}
            }
        }
        found
    }

    /// Where in `text` a name may begin that is not complete there; its length when nowhere.
    pub(super) fn start(&self, text: &[u8]) -> usize {
        let [a, b, c] = self.starts;
        memchr3(a, b, c, text).unwrap_or(text.len())
    }

    /// Searches all of `text`, beginning at `from`.
    pub(super) fn search(&self, next: &mut Vec<usize>, text: &[u8], from: usize) {
        next.clear();
        next.extend(self.needles.iter().map(|needle| needle.find(text, from)));
    }

    /// The first hit of which nothing stands before `from`. `next` is what [`Self::search`] filled for the same text;
    /// `odd` says whether an odd number of backslashes stands in front of the text.
    pub(super) fn next(
        &self,
        next: &mut [usize],
        text: &[u8],
        from: usize,
        odd: bool,
    ) -> Option<Hit> {
        let floor = from;
        let odd_floor = is_odd(&text[..floor], odd);
        let mut from = from;
        loop {
            let mut first = (usize::MAX, None);
            for (needle, at) in self.needles.iter().zip(next.iter_mut()) {
                if *at < from {
                    *at = needle.find(text, from);
                }
                if *at < first.0 {
                    first = (*at, Some(needle));
                }
            }
            let (at, needle) = (first.0, first.1?);
            if let Some(hit) = self.look(needle, text, at, (floor, odd_floor), odd) {
                return Some(hit);
            }
            // Of a run of backslashes the first and the last are looked at: the others would only
            // lead to the same quote.
            let run = text[at..].iter().take_while(|byte| **byte == b'\\').count();
            from = at + run.saturating_sub(1).max(1);
        }
    }

    fn look(
        &self,
        needle: &Needle,
        text: &[u8],
        at: usize,
        floor: (usize, bool),
        odd: bool,
    ) -> Option<Hit> {
        let length = needle.finder.needle().len();
        match needle.kind {
            Kind::Odata => {
                let rest = &text[at..];
                let ends = |name: &&&str| {
                    rest.starts_with(name.as_bytes()) && rest.get(name.len()) == Some(&b'"')
                };
                let name = self.suffixes.iter().find(ends)?;
                Some(Hit {
                    end: at + name.len() + 1,
                    what: What::Link,
                })
            }
            // Escaped, the quote would be user text.
            Kind::Name(_) | Kind::Start if is_odd(&text[..at], odd) => None,
            Kind::Name(what) => Some(Hit {
                end: at + length,
                what,
            }),
            Kind::Start => Some(Hit {
                end: at + 1,
                what: What::Value,
            }),
            Kind::Escape if is_odd(&text[..at], odd) => None,
            Kind::Escape => self.look_escaped(text, at, floor),
        }
    }

    /// `floor` is where the search began, and whether an odd number of backslashes stands in front of
    /// it: counted once for all escapes behind it, because they may be thousands.
    fn look_escaped(&self, text: &[u8], at: usize, floor: (usize, bool)) -> Option<Hit> {
        let (floor, odd) = floor;
        if let Some(digits) = text.get(at + 2..at + 6).filter(|_| text[at + 1] == b'u') {
            let value = usize::from(hex(digits)?);
            if self.letters.get(value) == Some(&false) {
                return None;
            }
        }
        let quote = closing_quote(&text[..text.len().min(at + self.span)], at)?;
        let key = &text[floor..quote];
        let end = quote + 1;
        for name in self.suffixes {
            if match_back(key, name, odd).is_some() {
                return Some(Hit {
                    end,
                    what: What::Link,
                });
            }
        }
        self.names.iter().find_map(|(name, what)| {
            let open = match_back(key, name, odd)?.checked_sub(1)?;
            let whole = key[open] == b'"' && !is_odd(&key[..open], odd);
            whole.then_some(Hit { end, what: *what })
        })
    }
}

impl Needle {
    fn new(text: &str, kind: Kind) -> Self {
        Self {
            finder: Finder::new(text).into_owned(),
            kind,
        }
    }

    fn find(&self, text: &[u8], from: usize) -> usize {
        self.find_in(text, from).unwrap_or(usize::MAX)
    }

    fn find_in(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut from = from;
        // Most pages have no backslash at all, and one byte is looked for three times as fast.
        if let Kind::Escape = self.kind {
            from += memchr(b'\\', text.get(from..)?)?;
        }
        Some(from + self.finder.find(text.get(from..)?)?)
    }
}

fn names(route: &LinkRoute) -> Vec<(String, What)> {
    let link = |name: &String| (name.clone(), What::Link);
    let open = |name: &&String| !PREAUTHENTICATED_KEYS.contains(&name.as_str());
    route.link_keys.iter().filter(open).map(link).collect()
}

/// Whether the run of backslashes at the end of `text` has an odd length; `before` says so for the
/// run that ends where `text` begins.
pub(super) fn is_odd(text: &[u8], before: bool) -> bool {
    let run = text.iter().rev().take_while(|byte| **byte == b'\\').count();
    (run % 2 == 1) ^ (run == text.len() && before)
}

/// Where `name` begins when the JSON text `raw` ends with it in some spelling.
fn match_back(raw: &[u8], name: &str, odd: bool) -> Option<usize> {
    let mut raw = raw;
    for wanted in name.chars().rev() {
        let mut units = [0; 2];
        let wanted_units = &*wanted.encode_utf16(&mut units);
        if escape_at_end(raw, 6, odd).is_some() {
            for unit in wanted_units.iter().rev() {
                let digits = escape_at_end(raw, 6, odd)?;
                if hex(&digits[1..]) != Some(*unit) {
                    return None;
                }
                raw = &raw[..raw.len() - 6];
            }
        } else if let Some(letter) = escape_at_end(raw, 2, odd) {
            if short_escape(letter[0]).map(char::from) != Some(wanted) {
                return None;
            }
            raw = &raw[..raw.len() - 2];
        } else {
            raw = raw.strip_suffix(wanted.encode_utf8(&mut [0; 4]).as_bytes())?;
        }
    }
    Some(raw.len())
}

/// What follows the backslash when `raw` ends in an escape of that many bytes.
fn escape_at_end(raw: &[u8], length: usize, odd: bool) -> Option<&[u8]> {
    let at = raw.len().checked_sub(length)?;
    let (front, escape) = raw.split_at(at);
    let shape = match length {
        2 => escape[1] != b'u',
        _ => escape[1] == b'u' && escape[2..].iter().all(u8::is_ascii_hexdigit),
    };
    (escape[0] == b'\\' && shape && !is_odd(front, odd)).then_some(&escape[1..])
}
