//! Finds the most specific route of a request: exact host, then the longest `*.suffix`, then no
//! host; inside each the longest path prefix at a segment boundary.
//!
//! A route with a host does not hide one without: when none of its paths match, the search goes on
//! among the less specific. Prefixes are compared byte for byte with the raw path, so an encoded
//! spelling of a prefix is another path.

use std::collections::HashMap;

use crate::config::{HostPattern, PathPrefix, RouteSpec};

/// All routes, ready to be searched.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<str>, Prefixes>,
    suffixes: HashMap<Box<str>, Prefixes>,
    anywhere: Prefixes,
}

/// A route and what is left of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Index into [`Config::routes`](crate::config::Config::routes).
    pub route: usize,
    /// The path behind the route's prefix, byte for byte: empty, or beginning with a slash.
    /// `/graph` leaves nothing, `/graph/` a slash, `/graph//a` two; a query plays no part.
    pub rest: &'a str,
}

impl RouteTable {
    /// Builds the table of a configuration.
    pub fn new(routes: &[RouteSpec]) -> Self {
        routes
            .iter()
            .map(|route| (route.host.as_ref(), &route.path))
            .collect()
    }

    /// The route of a request: its host in lower case without port and trailing dot, its raw path.
    pub fn find<'a>(&self, host: &str, path: &'a str) -> Option<Found<'a>> {
        self.of_host(host, path)
            .or_else(|| self.of_suffix(host, path))
            .or_else(|| self.anywhere.find(path))
    }

    fn of_host<'a>(&self, host: &str, path: &'a str) -> Option<Found<'a>> {
        if self.exact.is_empty() {
            return None;
        }
        self.exact.get(host)?.find(path)
    }

    fn of_suffix<'a>(&self, host: &str, path: &'a str) -> Option<Found<'a>> {
        if self.suffixes.is_empty() {
            return None;
        }
        // From the left, so that the longest suffix comes first. A suffix wants a label before it.
        memchr::memchr_iter(b'.', host.as_bytes())
            .filter(|&dot| dot > 0)
            .find_map(|dot| self.suffixes.get(&host[dot + 1..])?.find(path))
    }
}

impl<'a> FromIterator<(Option<&'a HostPattern>, &'a PathPrefix)> for RouteTable {
    /// Builds the table from places, numbered as they come. Of two routes with the same host and
    /// path, which the configuration check refuses, the first stays.
    fn from_iter<I>(places: I) -> Self
    where
        I: IntoIterator<Item = (Option<&'a HostPattern>, &'a PathPrefix)>,
    {
        let mut table = Self::default();
        for (route, (host, path)) in places.into_iter().enumerate() {
            let prefixes = match host {
                Some(HostPattern::Exact(name)) => {
                    table.exact.entry(name.as_str().into()).or_default()
                }
                Some(HostPattern::Suffix(name)) => {
                    table.suffixes.entry(name.as_str().into()).or_default()
                }
                None => &mut table.anywhere,
            };
            prefixes.insert(path.as_str(), route);
        }
        table
    }
}

/// The prefixes of one host, found by hash, one look-up for each depth that occurs.
#[derive(Clone, Debug, Default)]
struct Prefixes {
    routes: HashMap<Box<str>, usize>,
    /// Whether some prefix has this many segments.
    depths: Vec<bool>,
}

impl Prefixes {
    fn insert(&mut self, prefix: &str, route: usize) {
        self.routes.entry(prefix.into()).or_insert(route);
        let depth = prefix.bytes().filter(|&b| b == b'/').count();
        if self.depths.len() <= depth {
            self.depths.resize(depth + 1, false);
        }
        self.depths[depth] = true;
    }

    fn find<'a>(&self, path: &'a str) -> Option<Found<'a>> {
        let boundaries = memchr::memchr_iter(b'/', path.as_bytes()).chain([path.len()]);
        let mut best = None;
        for (&occurs, end) in self.depths.iter().zip(boundaries) {
            let (prefix, rest) = path.split_at(end);
            if occurs && let Some(&route) = self.routes.get(prefix) {
                best = Some(Found { route, rest });
            }
        }
        best
    }
}
