//! Names of JSON members that may begin like a link: read forward, in whatever spelling, from the
//! quote in front of them.

use super::key::What;
use super::spelling::{Follows, Spelling, Step};

/// Whether a string is a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameAt {
    /// The bytes do not tell yet.
    Cut,
    /// It is none.
    No,
    /// It is.
    Yes {
        /// The index after its closing quote.
        end: usize,
        /// What it is.
        what: What,
    },
}

/// Whether `raw` is this name in some spelling and the quote that ends it.
pub(super) fn whole(raw: &[u8], name: &str) -> Follows {
    let at = match Spelling::Json.stands(raw, 0, name) {
        Follows::Yes(at) => at,
        other => return other,
    };
    match Spelling::Json.step(raw, at) {
        Step::End => Follows::Yes(at + 1),
        Step::Cut => Follows::Cut,
        Step::Char(..) => Follows::No,
    }
}
