//! Which routes are where: their paths, found in as many steps as a path has characters, and their
//! hosts, found in as many as a name has labels. A text may hold as many links as it has room for,
//! and a configuration a thousand routes, which are not to be gone through for each.

use std::collections::BTreeMap;

use super::address::Found;
use super::link::LinkRoute;
use super::spelling::{Spelling, Step};
use crate::config::HostPattern;

/// Path prefixes in their order, each with the index of its route.
#[derive(Debug, Default)]
pub(super) struct Paths(Vec<(Box<str>, usize)>);

impl Paths {
    /// Of equal ones, the first is preferred.
    pub(super) fn new(mut paths: Vec<(Box<str>, usize)>) -> Self {
        paths.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(paths)
    }

    /// The longest that stands at `at`, is a whole number of path segments there, as
    /// [`Spelling::follows`] has it, and whose route will do.
    pub(super) fn find(
        &self,
        raw: &[u8],
        mut at: usize,
        spelling: Spelling,
        will_do: impl Fn(usize) -> bool,
    ) -> Found {
        let mut left = self.0.as_slice();
        let mut found = Found::No;
        for depth in 0.. {
            // All that are left begin with what was read so far, and the shortest come first.
            let whole = left.partition_point(|(path, _)| path.len() == depth);
            let (whole, longer) = left.split_at(whole);
            let (byte, next) = match spelling.step(raw, at) {
                Step::Cut if !left.is_empty() => return Found::Cut,
                Step::Cut => break,
                Step::End => (None, at),
                Step::Char(byte, next) => (Some(byte), next),
            };
            if matches!(byte, None | Some(b'/' | b'?' | b'#'))
                && let Some((_, route)) = whole.iter().find(|(_, route)| will_do(*route))
            {
                found = Found::Yes {
                    len: at,
                    route: *route,
                };
            }
            let Some(byte) = byte else { break };
            let from = longer.partition_point(|(path, _)| path.as_bytes()[depth] < byte);
            let longer = &longer[from..];
            left = &longer[..longer.partition_point(|(path, _)| path.as_bytes()[depth] == byte)];
            if left.is_empty() {
                break;
            }
            at = next;
        }
        found
    }
}

/// The paths of each host, in the order of [`key`].
#[derive(Debug)]
pub(super) struct Sites(Vec<(Option<HostPattern>, Paths)>);

impl Sites {
    pub(super) fn new(routes: &[LinkRoute]) -> Self {
        let mut sites: BTreeMap<Option<HostPattern>, Vec<(Box<str>, usize)>> = BTreeMap::new();
        for (index, route) in routes.iter().enumerate() {
            let paths = sites.entry(route.host.clone()).or_default();
            paths.push((route.path.as_str().into(), index));
        }
        let sites = sites.into_iter();
        Self(sites.map(|(host, it)| (host, Paths::new(it))).collect())
    }

    /// Whether any route is bound to a host.
    pub(super) fn has_hosts(&self) -> bool {
        self.0.iter().any(|(host, _)| host.is_some())
    }

    /// What may answer at this lower-case host, the most closely bound first: routes of exactly this
    /// host, of suffixes from the longest, of any host.
    pub(super) fn at(&self, host: &str) -> impl Iterator<Item = &(Option<HostPattern>, Paths)> {
        let dots = memchr::memchr_iter(b'.', host.as_bytes()).filter(|dot| *dot > 0);
        let suffixes = dots.map(|dot| (2, &host[dot + 1..]));
        let all = [(1, host)].into_iter().chain(suffixes).chain([(0, "")]);
        all.filter_map(|wanted| {
            let found = self.0.binary_search_by(|(host, _)| key(host).cmp(&wanted));
            found.ok().map(|at| &self.0[at])
        })
    }
}

/// What orders as the hosts of routes do, made of a name without an allocation.
fn key(host: &Option<HostPattern>) -> (u8, &str) {
    match host {
        None => (0, ""),
        Some(HostPattern::Exact(name)) => (1, name.as_str()),
        Some(HostPattern::Suffix(name)) => (2, name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rewrite::spelling::Follows;

    /// The same, by a comparison with each.
    fn by_each(paths: &[String], raw: &[u8], spelling: Spelling, odd_only: bool) -> Found {
        let mut found = (0, Found::No);
        for (route, path) in paths.iter().enumerate() {
            match spelling.follows(raw, 0, path) {
                Follows::Cut => return Found::Cut,
                Follows::Yes(_) if odd_only && route % 2 == 0 => {}
                Follows::Yes(len) if found.1 == Found::No || path.len() > found.0 => {
                    found = (path.len(), Found::Yes { len, route });
                }
                Follows::Yes(_) | Follows::No => {}
            }
        }
        found.1
    }

    proptest! {
        #[test]
        fn a_path_is_found_as_if_each_were_compared(
            paths in prop::collection::vec("(/[ab]{1,2}){0,3}", 0..12),
            text in r#"((\\/|/|\\u002f|%2f)([ab]|\\u0061|%62){1,2}){0,4}[?"&a]?"#,
            odd_only: bool,
        ) {
            let numbered = paths.iter().map(|path| path.as_str().into()).zip(0..).collect();
            let index = Paths::new(numbered);
            for spelling in [Spelling::Json, Spelling::Percent, Spelling::Plain] {
                let raw = text.as_bytes();
                prop_assert_eq!(
                    index.find(raw, 0, spelling, |route| !odd_only || route % 2 == 1),
                    by_each(&paths, raw, spelling, odd_only)
                );
            }
        }
    }
}
