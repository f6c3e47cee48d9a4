//! What the simulator should do wrong. A [`Script`] says for which requests and how often, a
//! [`Fault`] says what; a [`Handshake`] spoils connections before any request. Scripts are taken in
//! the order they were given. Faults that let the answer through add up; the first one that
//! replaces the answer is the last one taken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;

use super::answer::Answer;
use super::call::Call;
use super::host;
use super::wire::Ending;
use crate::lock::locked;

/// One thing to do wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Gives this answer in place of the real one.
    Answer {
        /// Its status.
        status: StatusCode,
        /// Its fields.
        headers: Vec<(String, String)>,
        /// Its content.
        body: Vec<u8>,
    },
    /// Breaks the connection: before the head (`None`), or that many bytes into the body of the
    /// real answer (0: right after the head). HTTP/2: resets the stream, with NO_ERROR where the
    /// ending is polite. A body no longer than that, sent with its length, gets through whole.
    Break {
        /// Where.
        after: Option<usize>,
        /// How.
        ending: Ending,
    },
    /// Gives the real answer without any length, ended by the end of the connection. HTTP/1 only.
    CloseDelimited(Ending),
    /// Sends the real answer this many bytes at a time.
    Drip {
        /// Bytes in a piece.
        size: usize,
        /// Pause after each.
        every: Duration,
    },
    /// Refuses a token call with this AADSTS code.
    Entra(u32),
    /// Takes no more requests on this connection: `Connection: close`, or GOAWAY.
    Goaway,
    /// Waits until the gate is open, then goes on.
    Hold(Gate),
    /// Waits this long before the head.
    Latency(Duration),
    /// Writes exactly these bytes in place of an answer. HTTP/1 only.
    Raw(Vec<u8>, Ending),
    /// HTTP/2: resets the stream and says that nothing was done (REFUSED_STREAM). HTTP/1 cannot say
    /// so: FIN before the head.
    Unprocessed,
}

impl Fault {
    /// The answer that a script gives in place of the real one, if that is what it does.
    pub(super) fn canned(&self) -> Option<Answer> {
        let Self::Answer {
            status,
            headers,
            body,
        } = self
        else {
            return None;
        };
        let start = Answer::new(*status).carrying(body.clone());
        Some(headers.iter().fold(start, |answer, (name, value)| {
            answer.with(name.as_str(), value)
        }))
    }

    /// Whether the real answer is not given.
    fn replaces(&self) -> bool {
        match self {
            Self::Answer { .. } | Self::Entra(_) | Self::Raw(..) | Self::Unprocessed => true,
            Self::Break { after, .. } => after.is_none(),
            Self::CloseDelimited(_)
            | Self::Drip { .. }
            | Self::Goaway
            | Self::Hold(_)
            | Self::Latency(_) => false,
        }
    }
}

/// Something a test opens when it is time.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    #[expect(
        clippy::new_without_default,
        reason = "a default gate says nothing about its state"
    )]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub(super) async fn passed(&self) {
        let mut state = self.0.subscribe();
        // The sender lives as long as `self`, so this ends only by the gate opening.
        drop(state.wait_for(|open| *open).await);
    }
}

/// Which requests meet a fault, and how many of them.
#[derive(Clone, Debug)]
pub struct Script {
    host: String,
    path: String,
    method: Option<String>,
    left: Option<usize>,
    early: bool,
    reused: bool,
    fault: Fault,
}

impl Script {
    /// Every request to this host (without port; `*` is any), until the scripts are cleared.
    pub fn on(host: &str, fault: Fault) -> Self {
        Self {
            host: host.to_owned(),
            path: String::new(),
            method: None,
            left: None,
            early: false,
            reused: false,
            fault,
        }
    }

    /// Only targets that begin with this.
    pub fn under(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Only this method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only the next `count` of them.
    pub fn times(mut self, count: usize) -> Self {
        self.left = Some(count);
        self
    }

    /// Acts on the head, without waiting for the request body and without reading it. With an
    /// `Expect: 100-continue` this is the refusal to continue.
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Only requests on a connection that has served one before.
    pub fn reused(mut self) -> Self {
        self.reused = true;
        self
    }

    fn matches(&self, host: &str, method: &str, target: &str, reused: bool) -> bool {
        (self.host == "*" || self.host == host)
            && target.starts_with(&self.path)
            && self.method.as_deref().is_none_or(|own| own == method)
            && (reused || !self.reused)
    }
}

/// How a host spoils its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The certificate is out of date.
    Expired,
    /// RST before the handshake has ended, as from a host that is down.
    Reset,
    /// Never goes on with the handshake.
    Stall,
    /// Knows nothing of ALPN, so that no protocol is settled on.
    Unsettled,
    /// The certificate is signed by an authority that nobody trusts.
    Untrusted,
    /// The certificate is for another name.
    WrongName,
}

/// What one request meets.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) faults: Vec<Fault>,
    /// Whether to act before the body has been read.
    pub(super) early: bool,
}

/// The scripts in force.
#[derive(Default)]
pub(super) struct Faults {
    scripts: Mutex<Vec<Script>>,
    /// How many scripts there are: spares requests the lock while there are none.
    count: AtomicUsize,
    handshakes: Mutex<HashMap<String, Handshake>>,
}

impl Faults {
    pub(super) fn add(&self, script: Script) {
        let mut scripts = locked(&self.scripts);
        scripts.push(script);
        self.count.store(scripts.len(), Ordering::Release);
    }

    pub(super) fn clear(&self) {
        locked(&self.scripts).clear();
        self.count.store(0, Ordering::Release);
        locked(&self.handshakes).clear();
    }

    /// Takes what this request meets; counted scripts have one less to go.
    pub(super) fn take(&self, host: &str, method: &str, target: &str, reused: bool) -> Taken {
        let mut taken = Taken::default();
        if self.count.load(Ordering::Acquire) == 0 {
            return taken;
        }
        let mut scripts = locked(&self.scripts);
        for script in scripts.iter_mut() {
            if script.left == Some(0) || !script.matches(host, method, target, reused) {
                continue;
            }
            script.left = script.left.map(|left| left - 1);
            taken.early |= script.early;
            taken.faults.push(script.fault.clone());
            if script.fault.replaces() {
                break;
            }
        }
        scripts.retain(|script| script.left != Some(0));
        self.count.store(scripts.len(), Ordering::Release);
        taken
    }

    /// What is given in place of the answer to one operation of a batch. Nothing but an answer can
    /// be: the operation has no connection of its own.
    pub(super) fn within(&self, call: &Call) -> Option<Answer> {
        let name = host::name(&call.authority);
        let taken = self.take(name, call.method.as_str(), &call.target, true);
        taken.faults.last().and_then(Fault::canned)
    }

    pub(super) fn spoil(&self, host: &str, handshake: Option<Handshake>) {
        let mut handshakes = locked(&self.handshakes);
        match handshake {
            Some(handshake) => handshakes.insert(host.to_owned(), handshake),
            None => handshakes.remove(host),
        };
    }

    pub(super) fn handshake(&self, host: &str) -> Option<Handshake> {
        locked(&self.handshakes).get(host).copied()
    }
}
