//! The few states between a name that was found and its value, one byte at a time. Whatever does
//! not fit ends in `Search` without being consumed, so that broken text costs nothing but a link.

use super::header::NAMES;
use super::key::What;

/// Where the scanner is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// A name was read; a colon should follow.
    AfterKey(What),
    /// And the colon; a value should follow.
    AfterColon(What),
    /// Between the headers of an operation.
    Fields,
    /// Inside the name of one.
    FieldName(FieldName),
    /// After that name.
    AfterField {
        /// Whether it is one whose value is a link.
        link: bool,
    },
    /// After the colon.
    AfterFieldColon {
        /// Whether it is one whose value is a link.
        link: bool,
    },
    /// Between the elements of a list of links.
    List,
    /// In the rest of a string.
    Rest {
        /// What follows it.
        then: Then,
        /// Whether the last byte was an escaping backslash.
        escaped: bool,
    },
    /// Nowhere of interest.
    #[default]
    Search,
    /// At the beginning of a string that may be a link.
    Value(Value),
}

/// A string that may be a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// What follows it.
    pub(super) then: Then,
    /// It stands where a key may stand as well.
    pub(super) doubt: bool,
    /// It counts only when it leads to the route's own upstream.
    pub(super) own: bool,
    /// It is the target of an operation in a JSON batch.
    pub(super) target: bool,
}

/// What follows a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// More headers.
    Fields,
    /// More links.
    List,
    /// Anything.
    Search,
}

/// How much of a header's name was read, and which of the names it may be, one bit each. A name
/// with an escape in it is none of them: nobody escapes letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldName {
    length: u8,
    candidates: u8,
    escaped: bool,
}

impl FieldName {
    const START: Self = Self {
        length: 0,
        candidates: u8::MAX,
        escaped: false,
    };

    fn read(self, byte: u8) -> State {
        if self.escaped || byte == b'\\' {
            return State::FieldName(Self {
                candidates: 0,
                escaped: !self.escaped,
                ..self
            });
        }
        let length = usize::from(self.length);
        let mut candidates = 0;
        let mut link = false;
        for (index, name) in NAMES.iter().enumerate() {
            if self.candidates & (1 << index) == 0 {
                continue;
            }
            link |= name.len() == length;
            if name
                .as_bytes()
                .get(length)
                .is_some_and(|c| c.eq_ignore_ascii_case(&byte))
            {
                candidates |= 1 << index;
            }
        }
        if byte == b'"' {
            return State::AfterField { link };
        }
        State::FieldName(Self {
            length: self.length.saturating_add(1),
            candidates,
            escaped: false,
        })
    }
}

impl State {
    /// The state after this byte, and whether the byte is consumed. `lists`: a link's value may be
    /// a list. [`State::Rest`], [`State::Search`] and [`State::Value`] are not read byte by byte.
    pub(super) fn step(self, byte: u8, lists: bool) -> (Self, bool) {
        let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let value = |then, target| {
            Self::Value(Value {
                then,
                doubt: false,
                // Which operation such headers belong to is not known, and it may be one for a file.
                own: then == Then::Fields,
                target,
            })
        };
        let next = match (self, byte) {
            (Self::FieldName(name), _) => name.read(byte),
            (_, _) if space => self,
            (Self::AfterKey(what), b':') => Self::AfterColon(what),
            (Self::AfterColon(What::Headers), b'{') => Self::Fields,
            (Self::AfterColon(What::Link), b'"') => value(Then::Search, false),
            (Self::AfterColon(What::Link), b'[') if lists => Self::List,
            (Self::AfterColon(What::Preauthenticated), b'"') => Self::Rest {
                then: Then::Search,
                escaped: false,
            },
            (Self::AfterColon(What::Url), b'"') => value(Then::Search, true),
            (Self::Fields | Self::List, b',') => self,
            (Self::List, b'"') => value(Then::List, false),
            (Self::Fields, b'"') => Self::FieldName(FieldName::START),
            (Self::AfterField { link }, b':') => Self::AfterFieldColon { link },
            (Self::AfterFieldColon { link: true }, b'"') => value(Then::Fields, false),
            (Self::AfterFieldColon { link: false }, b'"') => Self::Rest {
                then: Then::Fields,
                escaped: false,
            },
            (Self::AfterFieldColon { .. }, b',') => Self::Fields,
            (Self::AfterFieldColon { .. }, b'}' | b'{' | b'[') => return (Self::Search, false),
            (Self::AfterFieldColon { .. }, _) => Self::AfterFieldColon { link: false },
            _ => return (Self::Search, false),
        };
        (next, true)
    }

    /// The state after a string.
    pub(super) fn after(then: Then) -> Self {
        match then {
            Then::Fields => Self::Fields,
            Then::List => Self::List,
            Then::Search => Self::Search,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_name(name: &str) -> State {
        let mut state = State::FieldName(FieldName::START);
        for byte in name.bytes().chain([b'"']) {
            state = state.step(byte, false).0;
        }
        state
    }

    #[test]
    fn the_five_headers_are_known_in_any_case() {
        for name in NAMES {
            assert_eq!(after_name(name), State::AfterField { link: true }, "{name}");
            assert_eq!(
                after_name(&name.to_uppercase()),
                State::AfterField { link: true }
            );
        }
    }

    #[test]
    fn other_headers_are_not() {
        for name in [
            "",
            "Locatio",
            "Locations",
            "X-Location",
            "Vocation",
            r"Locatio\u006e",
            r"Location\\",
        ] {
            assert_eq!(
                after_name(name),
                State::AfterField { link: false },
                "{name}"
            );
        }
        let long = "Location".repeat(1000);
        assert_eq!(after_name(&long), State::AfterField { link: false });
    }
}
