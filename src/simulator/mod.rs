//! An in-process double of Microsoft Entra, Graph, Dataverse and the managed-identity endpoints,
//! over real TLS on loopback. It answers like the real services, records everything it receives,
//! takes offence at what must not be sent, and goes wrong on request. `tokenferry demo` runs it, and
//! so do the tests. It shares only the lowest layer with the proxy (`clock`, `guid`, `secret`,
//! `timestamp`), so that it cannot share a fault with it.

mod aadsts;
mod answer;
mod assertion;
mod bind;
mod call;
mod canned;
mod conduct;
mod control;
mod dataverse;
mod dataverse_batch;
mod dataverse_file;
mod dataverse_metadata;
mod dataverse_row;
mod dependency;
mod directory;
mod download;
mod entra;
mod fault;
mod flow;
mod graph;
mod graph_batch;
mod graph_file;
mod graph_user;
mod graph_work;
mod gzip;
mod host;
mod ident;
mod intake;
mod journal;
mod listener;
mod metadata;
mod multipart;
mod paging;
mod probe;
mod proof;
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
mod dataverse_tests;
#[cfg(test)]
mod entra_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod graph_tests;
#[cfg(test)]
mod metadata_tests;
#[cfg(test)]
mod probe_tests;
#[cfg(test)]
mod query_tests;
#[cfg(test)]
mod simulator_tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use directory::{CLIENT_ID, SECRET_CANARY, TENANT_DOMAIN, TENANT_ID};
pub use download::TICKET_CANARY;
pub use fault::{Fault, Gate, Handshake, Script};
pub use host::{DOWNLOAD, GRAPH, LOGIN, LOGIN_USGOV, METADATA, ORGANISATION, ORGANISATION_API};
pub use journal::{BodyEnd, NotSeen, Received, Seen, Violation};
pub use metadata::{IDENTITY_CANARY, OBJECT_ID, RESOURCE_ID};
pub use probe::Feed;
pub use proof::{FEDERATED_AUDIENCE, FEDERATED_ISSUER, FEDERATED_SUBJECT};
pub use token::TOKEN_CANARY;
pub use wire::Ending;

use service::Entrance;
use world::World;

/// Why the simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// No socket.
    #[error("cannot listen on loopback; check that 127.0.0.1 is up and descriptors are left")]
    Bind(#[from] std::io::Error),
    /// No certificate.
    #[error("cannot make the simulator's certificates; this is a defect")]
    Certificate(#[from] rcgen::Error),
    /// No key.
    #[error("cannot make or use a key of the simulator; this is a defect")]
    Key(#[from] aws_lc_rs::error::Unspecified),
    /// A text that should hold a certificate holds none.
    #[error("there is no certificate in this text; give one in PEM")]
    NoCertificate,
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
        tasks.spawn(listener::serve(Arc::clone(&world), plain, Entrance::Plain));
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

    /// Where the metadata services listen, without TLS. The APIs answer there as well, to a loopback
    /// name.
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
}
