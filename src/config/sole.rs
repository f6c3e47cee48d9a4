//! Keys of which exactly one is given: the kinds of a credential, the proofs of a caller.

use super::node::Key;
use super::report::{Report, Span, listed, quoted, quoted_key};

/// Keys by their names, and where each stands if it is there.
macro_rules! keys {
    ($raw:ident: $($key:ident),+) => {
        [$((stringify!($key), $raw.$key.key())),+]
    };
}
pub(super) use keys;

/// What these keys are, for messages.
pub(super) struct Words {
    /// What has exactly one: "credential".
    pub(super) owner: &'static str,
    /// What it has one of: "kind".
    pub(super) choice: &'static str,
    /// What to do instead of giving two.
    pub(super) instead: &'static str,
}

/// The one key that is given; none at all, and each further one, is a problem.
pub(super) fn sole<const N: usize>(
    key: &Key,
    words: &Words,
    keys: [(&'static str, Option<Span>); N],
    report: &mut Report,
) -> Option<&'static str> {
    let mut given = keys
        .iter()
        .filter_map(|(name, span)| Some((*name, (*span)?)));
    let (owner, choice) = (words.owner, words.choice);
    let Some((first, _)) = given.next() else {
        let name = quoted_key(&key.text);
        let message = format!("{owner} {name} does not say how it proves itself");
        let help = format!("exactly one of {}", listed(keys.map(|(name, _)| name)));
        report.problem(key.span, message, &help);
        return None;
    };
    for (second, span) in given {
        let (second, first) = (quoted(second), quoted(first));
        let message = format!("{second} is a second {choice} beside {first}");
        report.problem(span, message, words.instead);
    }
    Some(first)
}
