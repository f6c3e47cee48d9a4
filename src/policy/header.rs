//! What both directions of header hygiene share: closed tables of names that are found in constant
//! time, the names that `Connection` nominates, and a `Content-Length` of one spelling.
//!
//! The rules are a deny list: a header without a fate crosses untouched, values byte for byte.

use std::collections::HashSet;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::config::HeaderEdits;

/// What is done with a header by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Passes; it is in a table because somebody asks whether it is there.
    Pass,
    /// Removed. Hop-by-hop, framing, callers' credentials, what tokenferry sets: never lifted.
    Remove,
    /// Removed unless the route keeps it.
    RemoveUnlessKept,
    /// The message is refused unless the route keeps it: its silent loss would change the meaning.
    RefuseUnlessKept,
}

/// A closed set of lower-case header names, each with its fate. At most 64, so that a set of them
/// is one word.
pub(super) struct Names<const N: usize> {
    names: [HeaderName; N],
    texts: [&'static str; N],
    fates: [Fate; N],
    /// Open addressing: index into the others, or [`EMPTY`].
    slots: [u8; 256],
}

const EMPTY: u8 = u8::MAX;

impl<const N: usize> Names<N> {
    pub(super) const fn new(
        names: [HeaderName; N],
        texts: [&'static str; N],
        fates: [Fate; N],
    ) -> Self {
        assert!(N <= 64, "a set of names is one word");
        let mut slots = [EMPTY; 256];
        let mut at = 0;
        while at < N {
            let mut slot = hash(texts[at].as_bytes());
            while slots[slot as usize] != EMPTY {
                slot = slot.wrapping_add(1);
            }
            slots[slot as usize] = at as u8;
            at += 1;
        }
        Self {
            names,
            texts,
            fates,
            slots,
        }
    }

    /// Where a lower-case name is in the table.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        let mut slot = hash(name.as_bytes());
        loop {
            let at = usize::from(self.slots[usize::from(slot)]);
            match self.texts.get(at) {
                Some(text) if *text == name => return Some(at),
                Some(_) => slot = slot.wrapping_add(1),
                None => return None,
            }
        }
    }

    pub(super) fn name(&self, at: usize) -> &HeaderName {
        &self.names[at]
    }

    pub(super) fn fate(&self, at: usize) -> Fate {
        self.fates[at]
    }

    /// The set of names with this fate.
    pub(super) fn with(&self, fate: Fate) -> NameSet {
        let members = (0..N).filter(|&at| self.fates[at] == fate);
        members.fold(NameSet::default(), |set, at| set.and(at))
    }

    /// Removes every member from a message; several fields of one name go together.
    pub(super) fn remove(&self, set: NameSet, headers: &mut HeaderMap) {
        let mut left = set.0;
        while left != 0 {
            headers.remove(&self.names[left.trailing_zeros() as usize]);
            left &= left - 1;
        }
    }
}

/// Length, first and last byte tell most names apart.
const fn hash(name: &[u8]) -> u8 {
    match name {
        [] => 0,
        [only] => *only,
        [first, .., last] => (name.len() as u8)
            .wrapping_mul(31)
            .wrapping_add(first.wrapping_mul(7))
            .wrapping_add(last.wrapping_mul(3)),
    }
}

/// Writes a table of names once.
macro_rules! names {
    ($($name:literal => $fate:ident,)*) => {
        Names::new(
            [$(HeaderName::from_static($name),)*],
            [$($name,)*],
            [$(Fate::$fate,)*],
        )
    };
}
pub(super) use names;

/// A set of positions of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NameSet(u64);

impl NameSet {
    pub(super) const fn and(self, at: usize) -> Self {
        Self(self.0 | 1 << at)
    }

    pub(super) const fn without(self, at: usize) -> Self {
        Self(self.0 & !(1 << at))
    }

    pub(super) const fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn less(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn first(self) -> Option<usize> {
        match self.0 {
            0 => None,
            word => Some(word.trailing_zeros() as usize),
        }
    }
}

/// The values of a field that is hardly ever there: to look through the few names that a request has
/// costs less than to look one up.
pub fn rare<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a HeaderValue> + use<'a> {
    let there = has_rare(headers, [name]);
    there.then(|| headers.get_all(name)).into_iter().flatten()
}

/// Whether any of these is there: the same for several, in one look.
pub(super) fn has_rare<const N: usize>(headers: &HeaderMap, names: [&HeaderName; N]) -> bool {
    headers.keys().any(|own| names.contains(&own))
}

/// The names of this message that its `Connection` lines nominate, all lines, except those that
/// `known` says are removed anyway. `Content-Length` is not a caller's to take away: it is framing.
///
/// A line may hold thousands of options. What is not there, or was met before, costs a look.
pub(super) fn nominated(headers: &HeaderMap, known: impl Fn(&str) -> bool) -> HashSet<HeaderName> {
    let mut names = HashSet::new();
    for line in headers.get_all(CONNECTION) {
        for option in line.as_bytes().split(|&b| b == b',') {
            let option = option.trim_ascii();
            if option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close") {
                continue;
            }
            let is_there = |name: &str| headers.contains_key(name);
            if std::str::from_utf8(option).is_ok_and(is_there)
                && let Ok(name) = HeaderName::from_bytes(option)
                && name != CONTENT_LENGTH
                && !known(name.as_str())
            {
                names.insert(name);
            }
        }
    }
    names
}

/// What is to be done with the `Content-Length` of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none, or one in its shortest spelling.
    Fine,
    /// It is spelt otherwise, or said more than once.
    Is(u64),
    /// There is no single number.
    Unknown,
}

/// Leaves one `Content-Length` in its shortest spelling, or none when there is no single number:
/// hyper repeats what it finds, `005` and doubled fields included, and it describes a body that
/// hyper has read by the same number.
pub(super) fn length<'a>(mut lines: impl Iterator<Item = &'a HeaderValue>) -> Length {
    let Some(first) = lines.next() else {
        return Length::Fine;
    };
    let second = lines.next();
    if second.is_none() && plain_length(first.as_bytes()).is_some() {
        return Length::Fine;
    }
    let length = number(first);
    let mut others = second.into_iter().chain(lines);
    match length.filter(|_| others.all(|line| number(line) == length)) {
        Some(length) => Length::Is(length),
        None => Length::Unknown,
    }
}

/// A `Content-Length` in its shortest spelling.
pub fn plain_length(digits: &[u8]) -> Option<u64> {
    // Nineteen digits are a number of 64 bits, whichever they are.
    let is_short = matches!(digits, [_] | [b'1'..=b'9', ..]) && digits.len() <= 19;
    let add = |sum: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(sum * 10 + digit)
    };
    is_short.then(|| digits.iter().try_fold(0, add)).flatten()
}

fn number(line: &HeaderValue) -> Option<u64> {
    let digits = line.as_bytes();
    let whole = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    whole
        .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
        .flatten()
}

/// The edits of a route without those that would touch what `fixed` names.
pub(super) fn editable(edits: &HeaderEdits, fixed: impl Fn(&HeaderName) -> bool) -> HeaderEdits {
    let mut edits = edits.clone();
    edits.remove.retain(|name| !fixed(name));
    edits.set.retain(|(name, _)| !fixed(name));
    edits
}

/// The names that edits take away or give another value.
pub(super) fn edited(edits: &HeaderEdits) -> impl Iterator<Item = &HeaderName> {
    let set = edits.set.iter().map(|(name, _)| name);
    edits.remove.iter().chain(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_connection_line_nominates_no_more_than_there_is() {
        let mut headers = HeaderMap::new();
        headers.insert("x-there", HeaderValue::from_static("1"));
        let line = "x-gone, X-There,".repeat(4000);
        headers.insert(CONNECTION, line.parse().unwrap());
        let names: Vec<_> = nominated(&headers, |_| false).into_iter().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(names[0], "x-there");
    }
}
