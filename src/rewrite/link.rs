//! Which upstream is whose: the origins and prefixes of all routes, and where each route is reached.
//! Built once per configuration and shared by all exchanges of it.

use std::collections::BTreeMap;

use super::authority::Authority;
use super::key::Keys;
use super::site::{Paths, Sites};
use crate::config::{BaseUrl, Config, HostPattern, Origin, PathPrefix, RewriteLinks, RouteSpec};

/// What link rewriting needs to know of a route.
#[derive(Clone, Debug)]
pub struct LinkRoute {
    /// Its path prefix here.
    pub path: PathPrefix,
    /// Its host here, when it is bound to one.
    pub host: Option<HostPattern>,
    /// Where it goes.
    pub upstream: BaseUrl,
    /// Which links of its answers are rewritten.
    pub rewrite: RewriteLinks,
    /// Further JSON names that hold links.
    pub link_keys: Vec<String>,
}

impl From<&RouteSpec> for LinkRoute {
    fn from(spec: &RouteSpec) -> Self {
        Self {
            path: spec.path.clone(),
            host: spec.host.clone(),
            upstream: spec.upstream.clone(),
            rewrite: spec.rewrite_links,
            link_keys: spec.link_keys.clone(),
        }
    }
}

/// The links of a configuration.
#[derive(Debug)]
pub struct LinkMap {
    pub(super) public: Option<BaseUrl>,
    pub(super) public_authority: String,
    /// Scheme, authority and prefix of `public` as text.
    pub(super) public_text: String,
    pub(super) routes: Vec<Mapped>,
    /// Where the routes are met here.
    pub(super) sites: Sites,
    /// Whether any route is bound to a host.
    pub(super) has_hosts: bool,
    /// Every origin that is an upstream, in their order, with the prefixes there.
    origins: Vec<(Origin, Paths)>,
    /// What is looked for in requests.
    pub(super) request_keys: Keys,
    /// And in JSON batches.
    pub(super) batch_request_keys: Keys,
}

/// A route with what is derived from it.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) route: LinkRoute,
    /// What is looked for in its answers.
    pub(super) keys: Keys,
    /// And in its answers to JSON batches.
    pub(super) batch_keys: Keys,
    /// Scheme, authority and prefix of the upstream as text.
    pub(super) upstream: String,
}

impl LinkMap {
    /// The links of a configuration; routes keep their index.
    pub fn of(config: &Config) -> Self {
        Self::new(
            config.public_url.clone(),
            config.routes.iter().map(LinkRoute::from).collect(),
        )
    }

    /// The links of some routes, with `public_url` when there is one.
    pub fn new(public: Option<BaseUrl>, routes: Vec<LinkRoute>) -> Self {
        let mut origins: BTreeMap<Origin, Vec<usize>> = BTreeMap::new();
        for (index, route) in routes.iter().enumerate() {
            let origin = &route.upstream.origin;
            for origin in origin.twin().into_iter().chain([origin.clone()]) {
                origins.entry(origin).or_default().push(index);
            }
        }
        let prefixes = |(origin, mut members): (Origin, Vec<usize>)| {
            // Of equals the one that has this very name, and not that of its twin.
            members.sort_by_key(|index| routes[*index].upstream.origin != origin);
            let prefix = |index: usize| (routes[index].upstream.prefix.as_str().into(), index);
            (
                origin,
                Paths::new(members.into_iter().map(prefix).collect()),
            )
        };
        let origins = origins.into_iter().map(prefixes).collect();
        let sites = Sites::new(&routes);
        let mapped = |route: LinkRoute| Mapped {
            keys: Keys::of_answers(&route),
            batch_keys: Keys::of_batch_answers(&route),
            upstream: route.upstream.to_string(),
            route,
        };
        Self {
            public_authority: public
                .as_ref()
                .map(|base| base.origin.authority())
                .unwrap_or_default(),
            public_text: public.as_ref().map(BaseUrl::to_string).unwrap_or_default(),
            public,
            has_hosts: sites.has_hosts(),
            sites,
            routes: routes.into_iter().map(mapped).collect(),
            origins,
            request_keys: Keys::of_requests(),
            batch_request_keys: Keys::of_batch_requests(),
        }
    }

    /// The upstream prefixes there, with their routes; `None` when it is nobody's upstream.
    pub(super) fn upstreams(&self, authority: &Authority) -> Option<&Paths> {
        let wanted = authority.origin()?;
        let order = |(origin, _): &(Origin, _)| {
            (origin.secure, origin.host.as_str(), origin.port).cmp(&wanted)
        };
        let at = self.origins.binary_search_by(order).ok()?;
        Some(&self.origins[at].1)
    }
}
