//! One worker's share of a generation: its own connections, its own copy of each token and its own
//! counters, so that a request writes nothing that another core reads.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::download::Downloads;
use super::generation::{Generation, Route};
use super::retry::RetryBudget;
use crate::alarm::AlarmClock;
use crate::caller::CallerId;
use crate::config::Name;
use crate::descriptors;
use crate::metrics::{ConnectionState, Metrics, RouteCells, TokenCells};
use crate::rewrite::LinkMap;
use crate::token::TokenReader;
use crate::upstream::{Observer, Upstream};

/// A worker's share of a generation.
pub(super) struct Lane {
    /// The number of the generation.
    pub(super) number: u64,
    /// The generation.
    pub(super) generation: Arc<Generation>,
    /// One for each route, in file order.
    pub(super) routes: Vec<LaneRoute>,
    /// Where links lead. The worker's own, because each rewritten answer counts a reference to it.
    pub(super) links: Arc<LinkMap>,
}

/// A worker's share of a route.
pub(super) struct LaneRoute {
    /// Its connections.
    pub(super) upstream: Rc<Upstream>,
    /// Its budget for retries.
    pub(super) retries: RetryBudget,
    /// Its connections to where downloads lie.
    pub(super) downloads: Downloads,
    /// Its copy of the token.
    pub(super) token: TokenReader,
    /// Its counters.
    pub(super) cells: Arc<RouteCells>,
    /// Its counters of the token cache.
    pub(super) token_cells: Arc<TokenCells>,
}

impl Lane {
    /// A lane through `generation`; connections of `previous` to equal upstreams are taken over.
    pub(super) fn new(
        worker: usize,
        number: u64,
        generation: Arc<Generation>,
        metrics: &Arc<Metrics>,
        clock: &Rc<AlarmClock>,
        previous: Option<&Self>,
    ) -> Self {
        let previous =
            previous.filter(|lane| lane.generation.egress.leads_like(&generation.egress));
        let routes = generation
            .routes
            .iter()
            .map(|route| {
                let name = route.spec.name.as_str();
                let cells = metrics.route_cells(worker, name);
                let upstream = previous
                    .and_then(|lane| lane.reusable(route))
                    .unwrap_or_else(|| {
                        Rc::new(Upstream::new(
                            route.upstream.clone(),
                            generation.egress.clone(),
                            Rc::clone(clock),
                            census(&cells),
                        ))
                    });
                LaneRoute {
                    upstream,
                    retries: RetryBudget::default(),
                    downloads: Downloads::new(&route.upstream, &generation.egress, clock),
                    token: TokenReader::new(Arc::clone(&route.token)),
                    token_cells: metrics.token_cells(
                        worker,
                        route.token.label().as_str(),
                        route.spec.scope.as_str(),
                    ),
                    cells,
                }
            })
            .collect();
        Self {
            links: Arc::new(LinkMap::of(&generation.config)),
            number,
            generation,
            routes,
        }
    }

    /// The generation's side of a route.
    pub(super) fn route(&self, index: usize) -> &Route {
        &self.generation.routes[index]
    }

    /// A caller's name.
    pub(super) fn caller(&self, id: CallerId) -> Option<&str> {
        self.generation.callers.name(id).map(Name::as_str)
    }

    /// A route's name.
    pub(super) fn name(&self, index: usize) -> &str {
        self.route(index).spec.name.as_str()
    }

    /// Closes connections that are old, idle for too long or dead; all idle ones when descriptors are
    /// scarce, which callers, the admin side and files need as well.
    pub(super) fn sweep(&self, now: Instant) {
        if descriptors::are_scarce() {
            self.close_idle();
        }
        for route in &self.routes {
            route.upstream.sweep(now);
            route.downloads.sweep(now);
        }
    }

    /// Closes the idle connections of all routes.
    pub(super) fn close_idle(&self) {
        for route in &self.routes {
            route.upstream.close_idle();
            route.downloads.close_idle();
        }
    }

    /// Closes the idle connections that the lane in force has not taken over: whoever is on this one
    /// has its connection already.
    pub(super) fn close_left(&self, in_force: &Self, now: Instant) {
        for (own, route) in self.routes.iter().zip(&self.generation.routes) {
            own.downloads.close_idle();
            // Only a route of the same name takes them over.
            let namesake = in_force.generation.named(&route.spec.name);
            let taken =
                namesake.is_some_and(|at| Rc::ptr_eq(&in_force.routes[at].upstream, &own.upstream));
            if !taken {
                own.upstream.close_idle();
                own.upstream.sweep(now);
            }
        }
    }

    /// The connections of the route of the same name, when nothing about them has changed.
    fn reusable(&self, route: &Route) -> Option<Rc<Upstream>> {
        let at = self.generation.named(&route.spec.name)?;
        let same = self.route(at).upstream == route.upstream;
        same.then(|| Rc::clone(&self.routes[at].upstream))
    }
}

/// Keeps the gauge of connections: told open and idle numbers, it counts the differences.
fn census(cells: &Arc<RouteCells>) -> Observer {
    let cells = Arc::clone(cells);
    let known = std::cell::Cell::new((0, 0));
    Box::new(move |open, idle| {
        let (active, idle) = (open.saturating_sub(idle), idle);
        let (was_active, was_idle) = known.replace((active, idle));
        for (state, was, is) in [
            (ConnectionState::Active, was_active, active),
            (ConnectionState::Idle, was_idle, idle),
        ] {
            for _ in was..is {
                cells.connection_entered(state);
            }
            for _ in is..was {
                cells.connection_left(state);
            }
        }
    })
}
