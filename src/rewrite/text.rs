//! The kinds of JSON text that hold links, and what each of them looks for and makes of it.

use super::address::{Found, Links, Pieces, Way};
use super::grammar::Value;
use super::key::Keys;
use super::preauthenticated::is_preauthenticated;
use super::spelling::Spelling;
use super::string_end::StringEnd;

/// What kind of text it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// The answer of an upstream.
    Answer,
    /// The answer to a JSON batch.
    BatchAnswer,
    /// A JSON batch, whose operations are relative to this path below the route.
    BatchRequest(String),
    /// A request.
    Request,
}

/// How far a string that may be a key is looked into. What is longer is a value: a key that looks
/// like a link and is that long does not occur.
const LONGEST_DOUBT: usize = 4096;

/// How far a link is looked into. What is longer is left alone: this proxy takes no request line of
/// more than 64 KiB, so that nobody could ask for it here.
const LONGEST_LINK: usize = 64 * 1024;

impl Text {
    /// What is looked for.
    pub(super) fn keys<'a>(&self, links: &'a Links) -> &'a Keys {
        match self {
            Self::Answer => links.keys(),
            Self::BatchAnswer => links.batch_keys(),
            Self::BatchRequest(_) => links.batch_request_keys(),
            Self::Request => links.request_keys(),
        }
    }

    /// Whether the string that begins here is a link. `end` is kept while more of the same string is
    /// waited for.
    pub(super) fn find(
        &self,
        links: &Links,
        value: Value,
        raw: &[u8],
        end: &mut StringEnd,
    ) -> Found {
        let found = match self {
            Self::BatchRequest(root) if value.target => links.find_target(raw, root),
            Self::BatchRequest(_) | Self::Request => {
                links.find(Way::ToUpstream, raw, Spelling::Json)
            }
            Self::Answer | Self::BatchAnswer => find_link(links, value, raw, end),
        };
        match found {
            Found::Yes { len, .. } if value.doubt => match is_key(raw, end.find(raw, len)) {
                Some(true) => Found::No,
                Some(false) => found,
                None => Found::Cut,
            },
            _ => found,
        }
    }

    /// What is put where a link's base was found.
    pub(super) fn pieces<'a>(&self, links: &'a Links, value: Value, route: usize) -> Pieces<'a> {
        if value.target {
            return Pieces::default();
        }
        links.text(self.way(), route)
    }

    fn way(&self) -> Way {
        match self {
            Self::Answer | Self::BatchAnswer => Way::ToCaller,
            Self::BatchRequest(_) | Self::Request => Way::ToUpstream,
        }
    }
}

/// Whether the string that begins here is a link to be turned, which all of it decides: one that is
/// pre-authenticated is none.
fn find_link(links: &Links, value: Value, raw: &[u8], end: &mut StringEnd) -> Found {
    let found = links.find(Way::ToCaller, raw, Spelling::Json);
    let Found::Yes { len, route } = found else {
        return found;
    };
    if value.own && !links.is_own(route) {
        return Found::No;
    }
    let near = &raw[..raw.len().min(LONGEST_LINK)];
    match end.find(near, len) {
        Some(quote) => {
            let spelling = match end.escaped() {
                true => Spelling::Json,
                false => Spelling::Plain,
            };
            match is_preauthenticated(&near[..quote], len, spelling) {
                true => Found::No,
                false => found,
            }
        }
        None if near.len() == LONGEST_LINK => Found::No,
        None => Found::Cut,
    }
}

/// Whether a colon follows the string that ends with this quote; `None` when the bytes do not tell yet.
fn is_key(raw: &[u8], quote: Option<usize>) -> Option<bool> {
    let near = &raw[..raw.len().min(LONGEST_DOUBT)];
    let colon = quote
        .and_then(|quote| {
            let mut after = near.get(quote + 1..)?.iter();
            after.find(|byte| !byte.is_ascii_whitespace())
        })
        .map(|byte| *byte == b':');
    match colon {
        None if near.len() == LONGEST_DOUBT => Some(false),
        known => known,
    }
}
