//! An in-process double of Microsoft Entra, Graph, Dataverse and the managed-identity endpoints,
//! over real TLS on loopback. It answers like the real services, records everything it receives,
//! takes offence at what must not be sent, and goes wrong on request. `tokenferry demo` runs it, and
//! so do the tests. It shares no code with the proxy, so that it cannot share a fault with it.

mod aadsts;
mod answer;
mod assertion;
mod call;
mod conduct;
mod dataverse;
mod dataverse_row;
mod directory;
mod entra;
mod fault;
mod flow;
mod graph;
mod graph_user;
mod gzip;
mod host;
mod ident;
mod intake;
mod journal;
mod listener;
mod paging;
mod raw;
mod service;
mod tls;
mod token;
mod user;
mod wire;
mod world;

#[cfg(test)]
mod client;
#[cfg(test)]
mod first_tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use directory::{CLIENT_ID, SECRET_CANARY, TENANT_DOMAIN, TENANT_ID};
pub use fault::{Fault, Gate, Handshake, Script};
pub use host::{DOWNLOAD, GRAPH, LOGIN, LOGIN_USGOV, METADATA, ORGANISATION, ORGANISATION_API};
pub use journal::{BodyEnd, NotSeen, Received, Seen, Violation};
pub use token::TOKEN_CANARY;
pub use wire::Ending;

use directory::SecretState;
use service::Entrance;
use world::World;

use crate::secret::Secret;

/// Why the simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// No socket.
    #[error("cannot listen on loopback; check that 127.0.0.1 is up and descriptors are left")]
    Bind(#[from] std::io::Error),
    /// No certificate.
    #[error("cannot make the simulator's certificates; this is a defect")]
    Certificate(#[from] rcgen::Error),
    /// No TLS.
    #[error("cannot set up the simulator's TLS; this is a defect")]
    Tls(#[from] rustls::Error),
}

/// A running simulator. Dropping it ends its listeners and connections.
pub struct Simulator {
    world: Arc<World>,
    address: SocketAddr,
    metadata_address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Simulator {
    /// Starts on free ports of 127.0.0.1, in tasks of the current runtime.
    ///
    /// # Errors
    /// When no socket or certificate can be had.
    pub async fn start() -> Result<Self, SimulatorError> {
        let world = Arc::new(World::new()?);
        let tls = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, metadata_address) = (tls.local_addr()?, plain.local_addr()?);
        world.port.store(address.port(), Ordering::Relaxed);
        let mut tasks = JoinSet::new();
        tasks.spawn(listener::serve(Arc::clone(&world), tls, Entrance::Tls));
        tasks.spawn(listener::serve(
            Arc::clone(&world),
            plain,
            Entrance::Metadata,
        ));
        Ok(Self {
            world,
            address,
            metadata_address,
            tasks,
        })
    }

    /// Ends the listeners and every connection, and waits until they are gone.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }

    /// The authority to trust, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.world.chains.ca_pem
    }

    /// Where everything but the metadata services listens, with TLS.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the metadata services listen, without TLS.
    pub fn metadata_address(&self) -> SocketAddr {
        self.metadata_address
    }

    /// `host:port` as the real services have them, and where they are to be found instead: the
    /// `resolve` map of a configuration.
    pub fn resolve_entries(&self) -> Vec<(String, SocketAddr)> {
        let names = host::RESOLVED.iter();
        let mut entries: Vec<_> = names
            .map(|name| (format!("{name}:443"), self.address))
            .collect();
        entries.push((format!("{METADATA}:80"), self.metadata_address));
        entries
    }

    /// The newest valid client secret of [`CLIENT_ID`].
    pub fn client_secret(&self) -> Option<Secret> {
        self.world.directory.secret()
    }

    /// Makes one more client secret; older ones stay valid.
    pub fn add_client_secret(&self) -> Secret {
        self.world.directory.add_secret()
    }

    /// All secrets made so far are refused as expired (AADSTS7000222).
    pub fn expire_client_secrets(&self) {
        self.world.directory.retire_secrets(SecretState::Expired);
    }

    /// All secrets made so far are refused as unknown (AADSTS7000215).
    pub fn remove_client_secrets(&self) {
        self.world.directory.retire_secrets(SecretState::Unknown);
    }

    /// How long tokens issued from now on live, and the `refresh_in` they come with.
    pub fn set_token_lifetime(&self, lifetime: Duration, refresh_in: Option<Duration>) {
        self.world.entra.change(|issuance| {
            issuance.lifetime = lifetime;
            issuance.refresh_in = refresh_in;
        });
    }

    /// The application roles in tokens issued from now on.
    pub fn set_roles(&self, roles: &[&str]) {
        let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
        self.world.entra.change(|issuance| issuance.roles = roles);
    }

    /// Lays the members of an object over every success document of the token endpoint; a `null`
    /// takes a member away, `Value::Null` ends it.
    pub fn patch_token_reply(&self, patch: Value) {
        self.world.entra.change(|issuance| issuance.patch = patch);
    }

    /// Every token issued and still remembered (the last 20,000), oldest first.
    pub fn tokens(&self) -> Vec<String> {
        self.world.tokens.texts()
    }

    /// How many requests the token endpoint has had.
    pub fn token_calls(&self) -> u64 {
        self.world.token_calls.load(Ordering::Relaxed)
    }

    /// The APIs take this token (`None`: all issued so far) for expired, whatever its dates say.
    pub fn expire_tokens(&self, token: Option<&str>) {
        self.world.tokens.expire(token);
    }

    /// The APIs take this token (`None`: all issued so far) for revoked.
    pub fn revoke_tokens(&self, token: Option<&str>) {
        self.world.tokens.revoke(token);
    }

    /// This host answers a claims challenge to every token that was not asked for with at least
    /// these claims (`{"access_token":{…}}`); `None` ends it.
    pub fn demand_claims(&self, host: &str, claims: Option<Value>) {
        self.world.tokens.demand(host, claims);
    }

    /// Does something wrong from now on.
    pub fn script(&self, script: Script) {
        self.world.faults.add(script);
    }

    /// Ends all scripts, outages and spoilt handshakes.
    pub fn clear_scripts(&self) {
        self.world.faults.clear();
    }

    /// Spoils new connections to this host.
    pub fn spoil(&self, host: &str, handshake: Handshake) {
        self.world.spoil(host, Some(handshake));
    }

    /// Takes this host down: open connections are reset, and so are new ones.
    pub fn outage(&self, host: &str) {
        self.world.spoil(host, Some(Handshake::Reset));
    }

    /// Ends an outage or a spoilt handshake of this host.
    pub fn recover(&self, host: &str) {
        self.world.spoil(host, None);
    }

    /// Closes the connections to this host (`*`: all) that have no request under way. Returns how
    /// many there were.
    pub fn close_idle(&self, host: &str, ending: Ending) -> usize {
        let mut links = self.world.links(host);
        links.retain(|link| link.is_idle());
        for link in &links {
            link.hang_up(ending);
        }
        links.len()
    }

    /// How many connections to this host (`*`: all) are open.
    pub fn connections(&self, host: &str) -> usize {
        self.world.links(host).len()
    }

    /// Whether HTTP/2 is offered to new connections. It is at start.
    pub fn offer_http2(&self, on: bool) {
        self.world.http2.store(on, Ordering::Relaxed);
    }

    /// Whether JSON is compressed for clients that accept gzip. It is at start.
    pub fn compress(&self, on: bool) {
        self.world.compress.store(on, Ordering::Relaxed);
    }

    /// Whether requests are recorded. They are at start; a benchmark switches it off.
    pub fn record(&self, on: bool) {
        self.world.journal.record(on);
    }

    /// Every request received, in order: the last 10,000.
    pub fn seen(&self) -> Vec<Seen> {
        self.world.journal.seen()
    }

    /// Everything a client did that it must not do.
    pub fn violations(&self) -> Vec<Violation> {
        self.world.journal.violations()
    }

    /// Waits until a request, past or future, is as wanted.
    ///
    /// # Errors
    /// When none came within 20 s; the error lists what came instead.
    pub async fn wait_for(&self, wanted: impl Fn(&Seen) -> bool) -> Result<Seen, NotSeen> {
        self.world.journal.wait_for(wanted).await
    }

    /// Forgets what was seen, the violations and the counts; tokens and scripts stay.
    pub fn clear(&self) {
        self.world.journal.clear();
        self.world.token_calls.store(0, Ordering::Relaxed);
    }
}

/// Locks for a few lines. What a panic elsewhere left behind is still good enough for a double.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
