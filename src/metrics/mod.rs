//! What the program counts, and the page that Prometheus reads.
//!
//! Each worker thread has cells of its own, resolved once when a configuration is loaded: counting
//! writes nothing that another core reads or writes, looks nothing up and hashes nothing. A scrape
//! sums the cells. Label values come from closed sets: names of the configuration, methods, codes;
//! never a path, a user agent or a host of a request.
//!
//! Own collectors, not the library's vectors: those hash label values without a separator, so that
//! ("ab", "c") and ("a", "bc") become one series.

mod cells;
mod family;
mod label;
#[cfg(test)]
mod page;
#[cfg(target_os = "linux")]
mod process;
mod program;
mod refusal;
mod route;
mod scrape;
mod tally;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use prometheus::{Registry, TextEncoder};

pub use label::{ConnectionState, MethodLabel, RefreshOutcome, RetryReason};
pub use refusal::RefusalCells;
pub use route::{RouteCells, RouteTotals};
pub use tally::DurationTotals;
pub use token::{RefreshCounts, RefreshTotals, Refreshes, TokenCells, TokenNumbers};

use crate::code::Code;
use cells::Cells;
use program::Program;
use scrape::Scrape;
use token::TokenLabels;

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    store: Arc<Store>,
}

#[derive(Default)]
struct Store {
    routes: Cells<String, RouteCells>,
    tokens: Cells<TokenLabels, TokenCells>,
    refreshes: Arc<RefreshCounts>,
    refusals: Cells<(), RefusalCells>,
    program: Program,
    source: OnceLock<Box<dyn Fn() -> Reading + Send + Sync>>,
}

/// One reading of the numbers that others keep.
#[derive(Debug, Default)]
pub struct Reading {
    /// Those of tokens.
    pub tokens: Vec<TokenNumbers>,
    /// When secrets and certificates expire, by the name of their credential, where that is known.
    pub credentials: BTreeMap<String, SystemTime>,
    /// Whether a fallback answers in place of a credential that has one, where that is known.
    pub fallbacks: BTreeMap<String, bool>,
    /// The lines that the access log has dropped.
    pub log_dropped: u64,
}

impl Metrics {
    /// All metrics at zero. `loaded` is when the first configuration was read.
    pub fn new(loaded: SystemTime) -> Arc<Self> {
        let store = Arc::new(Store::default());
        store.program.loaded(loaded);
        let registry = Registry::new();
        Scrape::of(Arc::clone(&store))
            .and_then(|scrape| registry.register(Box::new(scrape)))
            .expect("the constant table holds valid names, each once");
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(process::Process::this()))
            .expect("no metric of ours has a name of the process collector");
        Arc::new(Self { registry, store })
    }

    /// The page in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut page = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut page) {
            tracing::error!(%error, "the metrics page is incomplete");
        }
        page
    }

    /// A worker's cells of a route; the route `""` is for requests that match none. For the thread
    /// of that worker only: see [`RouteCells`].
    pub fn route_cells(&self, worker: usize, route: &str) -> Arc<RouteCells> {
        self.store.routes.of(worker, route.to_owned())
    }

    /// A worker's cells of a token. For the thread of that worker only.
    pub fn token_cells(&self, worker: usize, credential: &str, scope: &str) -> Arc<TokenCells> {
        self.store
            .tokens
            .of(worker, TokenLabels::new(credential, scope))
    }

    /// What counts the calls for tokens.
    pub fn refreshes(&self) -> Arc<RefreshCounts> {
        Arc::clone(&self.store.refreshes)
    }

    /// A worker's cells of the proxy's own answers. For the thread of that worker only.
    pub fn refusals(&self, worker: usize) -> Arc<RefusalCells> {
        self.store.refusals.of(worker, ())
    }

    /// The cells of what the admin listener refuses. For the thread of the control runtime only.
    pub fn admin_refusals(&self) -> Arc<RefusalCells> {
        self.store.refusals.of(usize::MAX, ())
    }

    /// Asks this at each scrape from now on. The first that comes stays.
    pub fn ask(&self, source: impl Fn() -> Reading + Send + Sync + 'static) {
        self.store.source.get_or_init(|| Box::new(source));
    }

    /// The configuration was read again, and is in force or was refused.
    pub fn reload_ended(&self, in_force: bool, at: SystemTime) {
        self.store.program.reload_ended(in_force, at);
    }

    /// A fault of this program ended a connection, refused a reload, or left files unread.
    pub fn panicked(&self) {
        self.store.program.panicked();
    }

    /// The numbers of every route, summed over workers.
    pub fn route_totals(&self) -> BTreeMap<String, RouteTotals> {
        self.store.route_totals()
    }

    /// The proxy's own answers by code, summed over workers; all codes.
    pub fn refusal_totals(&self) -> Vec<(Code, u64)> {
        Code::ALL
            .iter()
            .copied()
            .zip(self.store.refusal_totals())
            .collect()
    }
}

impl Store {
    fn route_totals(&self) -> BTreeMap<String, RouteTotals> {
        self.routes.sums(RouteCells::add_to)
    }

    fn refusal_totals(&self) -> [u64; Code::ALL.len()] {
        let by_code = self.refusals.sums(RefusalCells::add_to);
        by_code.into_values().next().unwrap_or_default()
    }

    fn reading(&self) -> Reading {
        self.source.get().map(|read| read()).unwrap_or_default()
    }
}
