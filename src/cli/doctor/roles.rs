//! Application roles of Microsoft Graph that go beyond what a route lets through: each is a right
//! that a leaked token would have and that no caller of this route can need.

use std::collections::BTreeSet;

use http::Method;

use super::api::{behind_version, is_version};
use super::finding::{Finding, Subject};
use super::territory::{EVERYWHERE, PRIVILEGED, TERRITORIES, is_known};
use crate::config::{AllowSpec, BatchRule, PatternSegment, RouteSpec};

/// What is to be said about the roles of a token that this route's requests carry.
pub(super) fn judge(roles: &[String], route: &RouteSpec) -> Vec<Finding> {
    let Some(rules) = route
        .allow
        .as_ref()
        .filter(|_| route.batch != BatchRule::Pass)
    else {
        return open(roles);
    };
    let reached = Reached::by(rules, route.upstream.prefix.as_str());
    let named = |kind: Excess| {
        let of_kind = |role: &&String| reached.verdict(role) == Some(kind);
        let named: Vec<&str> = roles.iter().filter(of_kind).map(String::as_str).collect();
        (!named.is_empty()).then(|| named.join(", "))
    };
    let untouched = named(Excess::Untouched).map(|named| {
        format!("nothing in allow seems to need {named}; look before you take it away: another route may need it, and then this one can have an app of its own")
    });
    let writes = named(Excess::Writes).map(|named| {
        format!(
            "allow lets only reads through where {named} can write: the permission to read would do"
        )
    });
    let messages = [untouched, writes].into_iter().flatten();
    messages
        .map(|message| Finding::warning(Subject::Roles, message))
        .collect()
}

/// A route that lets everything through exceeds nothing; what that means is worth a word.
fn open(roles: &[String]) -> Vec<Finding> {
    let privileged = |role: &&String| PRIVILEGED.contains(&role.as_str());
    let named: Vec<&str> = roles
        .iter()
        .filter(privileged)
        .map(String::as_str)
        .collect();
    if !named.is_empty() {
        let named = named.join(", ");
        let message = format!(
            "with {named} every caller of this route can take over the tenant or its files: set allow, or take the permission from the app"
        );
        return vec![Finding::warning(Subject::Roles, message)];
    }
    if roles.iter().any(|role| writes(role)) {
        let message = "the route lets everything through, so every caller may do what these roles permit; set allow to narrow it";
        return vec![Finding::note(Subject::Roles, message)];
    }
    Vec::new()
}

/// How a role goes beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excess {
    /// No path of its family is let through, or none that it is for.
    Untouched,
    /// Only reads are.
    Writes,
}

/// The families whose paths are let through.
#[derive(Debug, Default)]
struct Reached {
    read: BTreeSet<&'static str>,
    written: BTreeSet<&'static str>,
}

impl Reached {
    fn by(rules: &[AllowSpec], prefix: &str) -> Self {
        let mut reached = Self::default();
        for rule in rules {
            let Some(pattern) = below_version(&rule.pattern, prefix) else {
                continue;
            };
            let reads = |method: &Method| [Method::GET, Method::HEAD].contains(method);
            let writes = rule.methods.iter().any(|method| !reads(method));
            let families = families(&pattern);
            reached.read.extend(&families);
            if writes {
                reached.written.extend(&families);
            }
        }
        reached
    }

    fn verdict(&self, role: &str) -> Option<Excess> {
        let family = family(role);
        if !is_known(family) {
            None
        } else if !self.read.contains(family) {
            Some(Excess::Untouched)
        } else if writes(role) && !self.written.contains(family) {
            // Sending and creating are permissions of their own, that reads need nothing of.
            let reads_too = ["FullControl", "Manage", "ReadWrite"];
            let action = role.split('.').nth(1).unwrap_or_default();
            // What such a role permits is said of each site or file, and may be reading alone.
            if action.starts_with("Selected") {
                return None;
            }
            match reads_too.iter().any(|word| action.starts_with(word)) {
                true => Some(Excess::Writes),
                false => Some(Excess::Untouched),
            }
        } else {
            None
        }
    }
}

/// `Mail` of `Mail.Read`.
pub(super) fn family(role: &str) -> &str {
    role.split('.').next().unwrap_or_default()
}

/// `Mail.Read`, `User.ReadBasic.All` and the like only read.
pub(super) fn writes(role: &str) -> bool {
    let action = role.split('.').nth(1).unwrap_or_default();
    !action.starts_with("Read") || action.starts_with("ReadWrite")
}

/// A pattern without Graph's version, what the upstream's prefix has behind one in front of it, keys
/// in brackets as segments of their own, names without their space; `None` for one that leads to no
/// version.
pub(super) fn below_version(
    pattern: &[PatternSegment],
    prefix: &str,
) -> Option<Vec<PatternSegment>> {
    let literal = |segment: &str| PatternSegment::Literal(segment.to_owned());
    let (fixed, rest): (Vec<_>, _) = match (behind_version(prefix), pattern) {
        (Some((_, behind)), _) => (behind.split('/').skip(1).map(literal).collect(), pattern),
        (None, [PatternSegment::AnyNumber, ..]) => (Vec::new(), pattern),
        (None, [PatternSegment::AnyOne, rest @ ..]) => (Vec::new(), rest),
        (None, [PatternSegment::Literal(version), rest @ ..]) if is_version(version) => {
            (Vec::new(), rest)
        }
        (None, _) => return None,
    };
    let plain = |text: &str| literal(text.strip_prefix("microsoft.graph.").unwrap_or(text));
    let apart = |segment: &PatternSegment| match segment {
        PatternSegment::Keyed(name) => vec![plain(name), PatternSegment::AnyOne],
        PatternSegment::Literal(text) => match text.split_once('(') {
            Some((name, _)) => vec![plain(name), PatternSegment::AnyOne],
            None => vec![plain(text)],
        },
        other => vec![other.clone()],
    };
    Some(fixed.iter().chain(rest).flat_map(apart).collect())
}

/// The families that a pattern leads to: every one that its wildcards may stand for, and of those
/// that it spells out the ones that are most particular. `users/*/sendMail` is mail, not users.
pub(super) fn families(pattern: &[PatternSegment]) -> BTreeSet<&'static str> {
    let meets = |path: &&str| meet(pattern, path) != Meeting::None;
    if EVERYWHERE.iter().any(meets) {
        let all = TERRITORIES.iter().flat_map(|it| it.families);
        return all.copied().collect();
    }
    let words = |path: &str| {
        let words = path.split('/').filter(|word| !word.starts_with('*'));
        words.count()
    };
    let met = TERRITORIES.iter().map(|it| (it, meet(pattern, it.path)));
    let spelt = met
        .clone()
        .filter(|(_, meeting)| *meeting == Meeting::Spelt);
    let particular = spelt.map(|(it, _)| words(it.path)).max();
    let reached = met.filter(|(it, meeting)| match meeting {
        Meeting::None => false,
        Meeting::Possible => true,
        Meeting::Spelt => Some(words(it.path)) == particular,
    });
    reached.flat_map(|(it, _)| it.families).copied().collect()
}

/// Whether a pattern and a path of a territory have a request in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meeting {
    None,
    /// Every word of the path is spelt out in the pattern.
    Spelt,
    /// A wildcard of the pattern may stand for a word of the path.
    Possible,
}

pub(super) fn meet(pattern: &[PatternSegment], path: &str) -> Meeting {
    let path: Vec<&str> = path.split('/').collect();
    walk(pattern, &path, Meeting::Spelt)
}

fn walk(pattern: &[PatternSegment], path: &[&str], so_far: Meeting) -> Meeting {
    use PatternSegment::{AnyNumber, AnyOne, Literal};
    let guessed = |head: &str| {
        if head.starts_with('*') {
            so_far
        } else {
            Meeting::Possible
        }
    };
    match (pattern, path) {
        ([], []) => so_far,
        ([AnyNumber, rest @ ..], [head, tail @ ..]) => {
            walk(rest, path, so_far).max(walk(pattern, tail, guessed(head)))
        }
        ([AnyNumber, rest @ ..], []) => walk(rest, path, so_far),
        ([], ["**"]) => so_far,
        ([_, rest @ ..], ["**"]) => walk(rest, path, so_far),
        ([AnyOne, rest @ ..], [head, tail @ ..]) => walk(rest, tail, guessed(head)),
        ([Literal(word), rest @ ..], [head, tail @ ..])
            if *head == "*" || head.eq_ignore_ascii_case(word) =>
        {
            walk(rest, tail, so_far)
        }
        _ => Meeting::None,
    }
}
