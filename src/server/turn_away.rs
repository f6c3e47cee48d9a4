//! A connection for which there is no place: it is told so and closed.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown};

use tokio::sync::OwnedSemaphorePermit;

use super::incoming::Socket;
use super::plain_answer::unread;
use crate::code::Code;
use crate::proxy::Proxy;

/// What is read of a request, so that closing with it unread does not reset the connection before
/// its caller has the answer: the usual request as a whole.
const READ: usize = 16 * 1024;

/// Which place is missing.
#[derive(Debug)]
pub(super) enum Want {
    /// One of its address's. It has this among all connections, so that those to be turned away are
    /// bounded, too.
    OfItsAddress { _total: OwnedSemaphorePermit },
    /// One among all, and the proxy ends before another connection does. It has this among those that
    /// are turned away then.
    AtTheEnd { _turn: OwnedSemaphorePermit },
}

/// A socket that is not served, and whose it is.
#[derive(Debug)]
pub(super) struct Surplus {
    pub(super) socket: Socket,
    pub(super) peer: Option<IpAddr>,
    pub(super) want: Want,
}

impl Surplus {
    /// Counts it, and says why where that can be read: under TLS, which callers on TCP speak or none,
    /// it could only be said after a handshake, which is the work that there is no place for. Nothing
    /// is waited for: a few hundred bytes fit into the empty buffer of a new connection.
    pub(super) fn turn_away(self, proxy: &Proxy, tls: bool) {
        let message = match self.want {
            Want::OfItsAddress { .. } => {
                "this address has as many connections as limits.connections_per_peer allows; use connections again, or raise the limit"
            }
            Want::AtTheEnd { .. } => {
                "this process is about to end, and has as many connections as limits.connections allows; send the request again, and raise the limit if this is frequent"
            }
        };
        let answer = unread(proxy, self.peer, Code::Overloaded, message);
        let (mut socket, secret) = match self.socket {
            Socket::Tcp(socket) => (socket2::Socket::from(socket), tls),
            #[cfg(unix)]
            Socket::Unix(socket) => (socket2::Socket::from(socket), false),
        };
        if !secret && socket.write_all(&answer).is_ok() {
            // It may be gone already; then nobody reads this.
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read(&mut [0; READ]);
        }
    }
}
