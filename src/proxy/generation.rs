//! A configuration made ready: everything that it decides, made once, never changed. A request sees
//! exactly one generation from its first to its last byte.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::Notify;

use super::route_places::RoutePlaces;
use super::throttle_gate::ThrottleGate;
use crate::caller::{Callers, RouteCallers};
use crate::config::{Config, Name, RouteSpec, Throttle};
use crate::credential::Credential;
use crate::policy::allow::Allow;
use crate::policy::browser::BrowserPolicy;
use crate::policy::host::HostPolicy;
use crate::policy::request_header::RequestRules;
use crate::policy::response_header::ResponseRules;
use crate::route::table::RouteTable;
use crate::token::TokenEntry;
use crate::upstream::{Egress, UpstreamSpec};

/// A configuration made ready.
#[derive(Debug)]
pub struct Generation {
    /// What it was made from.
    pub config: Config,
    /// Which route a request takes.
    pub table: RouteTable,
    /// Which hosts are served.
    pub hosts: HostPolicy,
    /// Which web pages may call.
    pub browser_policy: BrowserPolicy,
    /// The routes, in file order.
    pub routes: Vec<Route>,
    /// Where each route is among them.
    names: HashMap<Name, usize>,
    /// Who may be asked for.
    pub callers: Callers,
    /// How upstreams are reached.
    pub egress: Egress,
    /// The credentials, in file order.
    pub credentials: Vec<Arc<Credential>>,
}

/// What a matched request needs to know.
#[derive(Debug)]
pub struct Route {
    /// What the file says.
    pub spec: RouteSpec,
    /// Who may ask.
    pub callers: RouteCallers,
    /// What may pass.
    pub allow: Allow,
    /// What goes up.
    pub request_rules: RequestRules,
    /// What comes down.
    pub response_rules: ResponseRules,
    /// `Host` of the upstream.
    pub host: HeaderValue,
    /// The connections it is reached by.
    pub upstream: UpstreamSpec,
    /// Closed while its upstream has asked for quiet.
    pub throttle_gate: Arc<ThrottleGate>,
    /// The places of `max_concurrency`.
    pub places: Option<Arc<RoutePlaces>>,
    /// The token of its scope.
    pub token: Arc<TokenEntry>,
}

impl Generation {
    /// Makes a configuration ready; `tokens` holds one entry for each route.
    pub fn new(
        config: Config,
        callers: Callers,
        egress: Egress,
        credentials: Vec<Arc<Credential>>,
        tokens: Vec<Arc<TokenEntry>>,
    ) -> Self {
        let routes = config
            .routes
            .iter()
            .zip(tokens)
            .map(|(spec, token)| Route::new(spec, token, &config))
            .collect();
        let names = config.routes.iter().map(|route| route.name.clone());
        Self {
            names: names.zip(0..).collect(),
            table: RouteTable::new(&config.routes),
            hosts: HostPolicy::new(&config),
            browser_policy: BrowserPolicy::new(&config),
            routes,
            callers,
            egress,
            credentials,
            config,
        }
    }

    /// The index of the route of this name. What a reload keeps is found by it, once for each route
    /// and worker: by going through them thousands of routes would hold up a worker's requests for
    /// seconds.
    pub fn named(&self, name: &Name) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Takes over what requests of before share with requests from now on: the quiet that an
    /// upstream asked for, as long as it is the same identity that was asked and the route holds it
    /// (one that does not ends it, for routes after it as well), and the places that are taken.
    fn inherit(&mut self, before: &Self) {
        for route in &mut self.routes {
            let known = before.named(&route.spec.name).map(|at| &before.routes[at]);
            let Some(known) = known.filter(|it| it.spec.upstream == route.spec.upstream) else {
                continue;
            };
            let holds = matches!(route.spec.throttle, Throttle::Hold(_));
            if holds && known.token.key().is_of_the_same(route.token.key()) {
                route.throttle_gate = Arc::clone(&known.throttle_gate);
            }
            let mosts = known.spec.max_concurrency.zip(route.spec.max_concurrency);
            if let Some(((before, now), places)) = mosts.zip(known.places.as_ref()) {
                places.resize(before.get(), now.get());
                route.places = Some(Arc::clone(places));
            }
        }
    }
}

impl Route {
    /// Whether requests may have to wait for capacity.
    pub(super) fn may_wait(&self) -> bool {
        self.places.is_some() || matches!(self.spec.throttle, Throttle::Hold(_))
    }

    fn new(spec: &RouteSpec, token: Arc<TokenEntry>, config: &Config) -> Self {
        let authority = spec.upstream.origin.authority();
        let response_rules = ResponseRules::new(&spec.keep_headers, &spec.response_headers);
        Self {
            callers: RouteCallers::new(&spec.callers, &config.callers),
            allow: Allow::new(spec.allow.as_deref(), &spec.keep_headers),
            request_rules: RequestRules::new(&spec.keep_headers, &spec.request_headers),
            // A checked origin holds only characters of a host and port.
            host: HeaderValue::try_from(authority)
                .unwrap_or_else(|_| HeaderValue::from_static("invalid")),
            upstream: UpstreamSpec {
                origin: spec.upstream.origin.clone(),
                http: spec.upstream_http,
                timeouts: spec.timeouts.clone(),
                connections: config.limits.in_flight,
                unread: response_rules.unread(),
            },
            response_rules,
            throttle_gate: Arc::default(),
            places: spec
                .max_concurrency
                .map(|most| RoutePlaces::new(most.get())),
            token,
            spec: spec.clone(),
        }
    }
}

/// The generation in force. Workers look at its number before each request, which is one load of
/// memory that hardly ever changes.
#[derive(Debug)]
pub struct InForce {
    number: AtomicU64,
    generation: ArcSwap<Generation>,
    /// Rung when there is another.
    replaced: Notify,
}

impl InForce {
    /// The first generation.
    pub fn new(generation: Generation) -> Self {
        Self {
            number: AtomicU64::new(1),
            generation: ArcSwap::from_pointee(generation),
            replaced: Notify::new(),
        }
    }

    /// Puts another in force; exchanges in flight finish on the one they began with.
    pub fn replace(&self, mut generation: Generation) {
        generation.inherit(&self.load());
        self.generation.store(Arc::new(generation));
        self.number.fetch_add(1, Ordering::Release);
        self.replaced.notify_one();
    }

    /// Waits until there is another than at the last call. For one that follows.
    pub async fn replaced(&self) {
        self.replaced.notified().await;
    }

    /// Counts the replacements.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// The one in force.
    pub fn load(&self) -> Arc<Generation> {
        self.generation.load_full()
    }
}
