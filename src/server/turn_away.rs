//! A connection for which its address has no place left: it is told so and closed.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown};

use tokio::sync::OwnedSemaphorePermit;

use super::plain_answer::unread;
use crate::code::Code;
use crate::proxy::Proxy;

/// What is read of a request, so that closing with it unread does not reset the connection before
/// its caller has the answer: the usual request as a whole.
const READ: usize = 16 * 1024;

/// A socket that is not served, and whose it is.
#[derive(Debug)]
pub(super) struct Surplus {
    pub(super) socket: std::net::TcpStream,
    pub(super) peer: IpAddr,
    /// Its place among all connections, so that those to be turned away are bounded, too.
    pub(super) _total: OwnedSemaphorePermit,
}

impl Surplus {
    /// Counts it, and says why where that can be read: under TLS it could only be said after a
    /// handshake, which is the work that there is no place for. Nothing is waited for: a few hundred
    /// bytes fit into the empty buffer of a new connection.
    pub(super) fn turn_away(mut self, proxy: &Proxy, secret: bool) {
        let answer = unread(
            proxy,
            Some(self.peer),
            Code::Overloaded,
            "this address has as many connections as limits.connections_per_peer allows; use connections again, or raise the limit",
        );
        if !secret && self.socket.write_all(&answer).is_ok() {
            // It may be gone already; then nobody reads this.
            let _ = self.socket.shutdown(Shutdown::Write);
            let _ = self.socket.read(&mut [0; READ]);
        }
    }
}
