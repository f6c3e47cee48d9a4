//! Everything that the listeners, the services and the test's handle share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::SimulatorError;
use super::assertion::Identifiers;
use super::call::Call;
use super::directory::Directory;
use super::download::TICKET_CANARY;
use super::entra::Entra;
use super::fault::{Faults, Handshake};
use super::ident::{base64url, random};
use super::journal::Journal;
use super::metadata::Metadata;
use super::probe::Probe;
use super::proof::Proofs;
use super::tls::Chains;
use super::token::{Refusal, Tokens};
use super::user::Users;
use super::wire::{Ending, Link};
use crate::clock::Now;
use crate::lock::locked;

/// See the module.
pub(super) struct World {
    pub(super) journal: Arc<Journal>,
    pub(super) chains: Chains,
    pub(super) faults: Faults,
    pub(super) directory: Directory,
    pub(super) entra: Entra,
    pub(super) proofs: Proofs,
    pub(super) identifiers: Identifiers,
    pub(super) tokens: Tokens,
    pub(super) users: Users,
    pub(super) metadata: Metadata,
    pub(super) probe: Probe,
    /// Opens the addresses of files.
    pub(super) ticket: String,
    /// Port of the TLS listener.
    pub(super) port: AtomicU16,
    /// Whether HTTP/2 is offered.
    pub(super) http2: AtomicBool,
    pub(super) token_calls: AtomicU64,
    links: Mutex<HashMap<u64, Weak<Link>>>,
    next_link: AtomicU64,
}

impl World {
    pub(super) fn new() -> Result<Self, SimulatorError> {
        Ok(Self {
            journal: Arc::new(Journal::new()),
            chains: Chains::make()?,
            faults: Faults::default(),
            directory: Directory::new(),
            entra: Entra::default(),
            proofs: Proofs::default(),
            identifiers: Identifiers::default(),
            tokens: Tokens::default(),
            users: Users::default(),
            metadata: Metadata::default(),
            probe: Probe::default(),
            ticket: format!("v1.{TICKET_CANARY}{}", base64url(random::<18>())),
            port: AtomicU16::new(0),
            http2: AtomicBool::new(true),
            token_calls: AtomicU64::new(0),
            links: Mutex::default(),
            next_link: AtomicU64::new(1),
        })
    }

    /// Judges the token of a request to an API.
    pub(super) fn admit(&self, call: &Call) -> Result<(), Refusal> {
        let judged = self
            .tokens
            .judge(&call.authority, &call.headers, Now::read());
        if let Some(offence) = judged.as_ref().err().and_then(Refusal::offence) {
            self.offend(call, &offence);
        }
        judged
    }

    /// Enters an offence of a request.
    pub(super) fn offend(&self, call: &Call, what: &str) {
        self.journal.violation(call.number, what.to_owned());
    }

    /// Registers a connection to `host`.
    pub(super) fn link(&self, host: String) -> Arc<Link> {
        let id = self.next_link.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(Link::new(id, host, self.journal.is_recording()));
        locked(&self.links).insert(id, Arc::downgrade(&link));
        link
    }

    /// Forgets a connection.
    pub(super) fn unlink(&self, link: &Link) {
        locked(&self.links).remove(&link.id);
    }

    /// The connections that are open to this host (`*` is any).
    pub(super) fn links(&self, host: &str) -> Vec<Arc<Link>> {
        let links = locked(&self.links);
        let open = links.values().filter_map(Weak::upgrade);
        open.filter(|link| host == "*" || link.host == host)
            .collect()
    }

    /// Spoils (or heals) new connections to a host; an outage ends the open ones too.
    pub(super) fn spoil(&self, host: &str, handshake: Option<Handshake>) {
        self.faults.spoil(host, handshake);
        if handshake == Some(Handshake::Reset) {
            for link in self.links(host) {
                link.hang_up(Ending::Reset);
            }
        }
    }
}
