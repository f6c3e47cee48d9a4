//! The composition root: a checked configuration in, bound listeners and running tasks out. The
//! only place that knows every part. A reload builds another generation and puts it in force; what
//! cannot change while the process runs (listeners, workers, limits of connections) says so.

mod admin_server;
mod caller_keys;
mod cluster_keys;
mod complaint;
mod credential_watch;
mod fixed_keys;
mod prepare;
mod report;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::access_log::AccessLog;
use crate::admin::{Admin, Configuration, Latch, Readiness, RefusedReload};
use crate::clock::{self, Now};
use crate::config::{Config, ListenAddress};
use crate::lifeline;
use crate::lock::locked;
use crate::logging;
use crate::metrics::Metrics;
use crate::proxy::Admission;
use crate::proxy::generation::InForce;
use crate::server::listener::{BindError, Listener};
use crate::server::tls::Tls;
use crate::server::{Plan, Server};
use crate::token::TokenCache;
use admin_server::AdminServer;
use fixed_keys::FixedKeys;
pub use prepare::{
    Outbound, PrepareError, Prepared, forward_proxy, outbound, outbound_through, prepare,
};

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gives no thread or event queue.
    #[error("cannot start the worker threads; raise the limits of processes and open files")]
    Threads(#[source] io::Error),
    /// What the configuration names cannot be used.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
}

/// The running program.
pub struct App {
    server: Server,
    admin: AdminServer,
    in_force: Arc<InForce>,
    fixed: FixedKeys,
    tokens: TokenCache,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    configuration: Arc<Mutex<Configuration>>,
    access_log: Arc<AccessLog>,
    data_addresses: Addresses,
    admin_addresses: Addresses,
    tls: Arc<Tls>,
    watchers: Vec<JoinHandle<()>>,
}

/// The addresses of a configuration, bound: who calls is not refused, and waits.
pub struct BoundListeners {
    data: Vec<Listener>,
    admin: Vec<Listener>,
}

impl BoundListeners {
    /// Binds. The path of a Unix socket may be on a file system that keeps it waiting.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let all: Vec<_> = config.listen.iter().chain(&config.admin).collect();
        Ok(Self {
            data: bind(&config.listen, &all)?,
            admin: bind(&config.admin, &all)?,
        })
    }
}

/// Where listeners are.
struct Addresses {
    tcp: Vec<SocketAddr>,
    /// Every one, for people.
    shown: Vec<String>,
}

impl Addresses {
    fn of(listeners: &[Listener]) -> Self {
        Self {
            tcp: listeners.iter().filter_map(Listener::local_addr).collect(),
            shown: listeners.iter().map(ToString::to_string).collect(),
        }
    }
}

impl App {
    /// Binds, prepares and begins, here and now. A program that signals are to end meanwhile does
    /// the first two aside.
    ///
    /// # Errors
    /// When a listener cannot be bound, a file of the configuration cannot be used, or the system
    /// gives no threads.
    pub async fn start(config: Config, access_log: AccessLog) -> Result<Self, AppError> {
        let listeners = BoundListeners::bind(&config)?;
        Self::begin(listeners, prepare(config, SystemTime::now())?, access_log)
    }

    /// Begins to serve; tokens are fetched in the background. Runs on the current tokio runtime,
    /// which carries the control tasks only. Waits for nothing.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn begin(
        listeners: BoundListeners,
        prepared: Prepared,
        access_log: AccessLog,
    ) -> Result<Self, AppError> {
        let started = Now::read();
        let BoundListeners { data, admin } = listeners;
        let (data_addresses, admin_addresses) = (Addresses::of(&data), Addresses::of(&admin));
        let metrics = Metrics::new(started.wall);
        let tokens = TokenCache::new(Handle::current(), metrics.refreshes());
        let fixed = FixedKeys::of(&prepared.config);
        let (certificate, generation) = prepared.build(&tokens);
        let tls = Arc::new(Tls::new(certificate));
        let plan = Plan {
            workers: Self::workers(&generation.config),
            admission: Admission::new(
                generation.config.limits.in_flight,
                Self::workers(&generation.config),
            ),
            limits: generation.config.limits.clone(),
            timeouts: generation.config.timeouts.clone(),
            metrics: Arc::clone(&metrics),
            access_log: Arc::new(access_log),
            in_force: Arc::new(InForce::new(generation)),
            tls: Arc::clone(&tls),
        };
        let readiness = Arc::new(Readiness::new(started));
        readiness.release(Latch::Configuration);
        let configuration = Arc::new(Mutex::new(Configuration::loaded(started.wall)));
        metrics.ask(report::numbers(&tokens, &plan.in_force, &plan.access_log));
        let server = Server::start(data, &plan).map_err(AppError::Threads)?;
        readiness.release(Latch::Listener);
        let source = report::source(&plan.in_force, &tokens, &configuration);
        let answers = Arc::new(Admin::new(
            Arc::clone(&metrics),
            Arc::clone(&readiness),
            source,
        ));
        Ok(Self {
            admin: AdminServer::start(admin, &answers, &plan.in_force),
            watchers: watchers(&readiness, &tls, &plan.in_force),
            tls,
            server,
            fixed,
            in_force: plan.in_force,
            tokens,
            metrics,
            readiness,
            configuration,
            access_log: plan.access_log,
            data_addresses,
            admin_addresses,
        })
    }

    /// Worker threads of a configuration: its number, or the cores that the cgroup allows.
    pub fn workers(config: &Config) -> usize {
        config.workers.map_or_else(
            || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            std::num::NonZero::get,
        )
    }

    /// The TCP addresses of the data plane.
    pub fn data_addresses(&self) -> &[SocketAddr] {
        &self.data_addresses.tcp
    }

    /// Every address of the data plane, for people.
    pub fn listening(&self) -> &[String] {
        &self.data_addresses.shown
    }

    /// Every address of the admin listener, for people.
    pub fn admin_listening(&self) -> &[String] {
        &self.admin_addresses.shown
    }

    /// The TCP addresses of the admin listener.
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        &self.admin_addresses.tcp
    }

    /// The routes that anybody may use who reaches an address beyond loopback.
    pub fn open_routes(&self) -> Vec<String> {
        let is_open = |address: &SocketAddr| !address.ip().is_loopback();
        if !self.data_addresses().iter().any(is_open) {
            return Vec::new();
        }
        let generation = self.in_force.load();
        let routes = generation.config.routes.iter();
        let unguarded = routes.filter(|route| route.callers.is_empty());
        unguarded.map(|route| route.name.to_string()).collect()
    }

    /// From now on each panic of the process is counted and logged. The process may have one hook
    /// for panics, so this is for whoever owns it.
    pub fn count_panics(&self) {
        let metrics = Arc::clone(&self.metrics);
        std::panic::set_hook(Box::new(move |panic| {
            metrics.panicked();
            logging::log_panic(panic);
        }));
    }

    /// Puts another configuration in force, all of it. Tokens and connections that it does not
    /// change are kept.
    pub fn replace(&self, mut prepared: Prepared) {
        for key in self.fixed.changed_in(&prepared.config) {
            tracing::warn!(
                key,
                "this key says something else than at the start; it takes effect at the next one, and a reload leaves it as it is"
            );
        }
        self.fixed.restore(&mut prepared.config);
        if prepared.config.tls.is_none() && self.in_force.load().config.tls.is_some() {
            tracing::warn!(
                "tls is gone from the configuration; new connections of callers are in the clear from now on"
            );
        }
        let now = SystemTime::now();
        let (certificate, generation) = prepared.build(&self.tokens);
        let live = generation
            .routes
            .iter()
            .map(|route| route.token.key().clone())
            .collect();
        generation
            .callers
            .keep_keys_of(&self.in_force.load().callers);
        self.in_force.replace(generation);
        self.tls.replace(certificate);
        self.tokens.retain(&live);
        self.metrics.reload_ended(true, now);
        *locked(&self.configuration) = Configuration::loaded(now);
    }

    /// Notes that another configuration was refused; what was in force stays so.
    pub fn reload_refused(&self, problems: Vec<String>) {
        let at = SystemTime::now();
        self.metrics.reload_ended(false, at);
        locked(&self.configuration).refused = Some(RefusedReload { at, problems });
    }

    /// Ends in order: readiness first, then `delay` during which connections are still accepted,
    /// then at most `limit` for exchanges in flight. Returns the number of connections that were
    /// cut.
    pub async fn drain(&self, delay: Duration, limit: Duration) -> usize {
        self.readiness.drain();
        self.server.announce_drain();
        clock::sleep(delay).await;
        self.server.drain(limit).await
    }

    /// Ends, whatever is in flight.
    pub fn stop(self) {
        for watcher in &self.watchers {
            watcher.abort();
        }
        self.admin.stop();
        drop(self.server);
        // Lines that a blocked output does not take within a second are lost.
        self.access_log.close(Duration::from_secs(1));
    }
}

fn bind(addresses: &[ListenAddress], all: &[&ListenAddress]) -> Result<Vec<Listener>, BindError> {
    let mut bound = Vec::new();
    for address in addresses {
        bound.extend(Listener::bind(address, all)?);
    }
    Ok(bound)
}

/// The tasks that follow what changes by itself; the process ends when one of them dies.
fn watchers(
    readiness: &Arc<Readiness>,
    tls: &Arc<Tls>,
    in_force: &Arc<InForce>,
) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(lifeline::tie(
            "the task that follows certificates",
            Arc::clone(tls).watch(),
        )),
        tokio::spawn(lifeline::tie(
            "the task that follows callers' keys",
            caller_keys::watch(Arc::clone(in_force)),
        )),
        tokio::spawn(lifeline::tie(
            "the task that follows the cluster's keys",
            cluster_keys::watch(Arc::clone(in_force), Arc::clone(readiness)),
        )),
        tokio::spawn(lifeline::tie(
            "the task that looks after credentials and certificates",
            credential_watch::watch(Arc::clone(in_force), Arc::clone(tls)),
        )),
    ]
}
