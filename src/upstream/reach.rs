//! Why an upstream was not reached, in words: what the system said of its addresses, and what did not
//! end in time. Who is to blame decides where somebody looks first.

use std::io::{Error, ErrorKind};

use crate::descriptors::lacks_memory;
use crate::socket::lacks_family;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The addresses of its host.
    LookUp,
    /// Any of them.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// A place on a connection that others use.
    Turn,
    /// The forward proxy.
    Tunnel,
}

impl Stage {
    /// That it did not end within `timeouts.connect`, and what to do about it.
    pub(super) fn overdue(self, target: &str) -> String {
        match self {
            Self::LookUp => format!(
                "DNS had no answer for the host of {target} within timeouts.connect; check the DNS that this machine asks, and the way to it"
            ),
            Self::Tcp => format!(
                "{target} did not answer within timeouts.connect; check the network, firewalls in between, and HTTPS_PROXY if there is a forward proxy"
            ),
            Self::Tls => format!(
                "the TLS handshake with {target} did not end within timeouts.connect; check what stands between this proxy and it, or raise it"
            ),
            Self::Turn => format!(
                "no connection to {target} came free within timeouts.connect; send fewer requests at once, or raise it"
            ),
            Self::Tunnel => format!(
                "the forward proxy opened no tunnel to {target} within timeouts.connect; check that it works and that HTTPS_PROXY names it, or raise it"
            ),
        }
    }

    /// The same as RFC 9209 section 2.3 names it.
    pub(super) fn proxy_error(self) -> &'static str {
        match self {
            Self::LookUp => "dns_timeout",
            Self::Tcp | Self::Tls | Self::Turn | Self::Tunnel => "connection_timeout",
        }
    }
}

/// Why no address took a connection, and what to do about it.
pub(super) fn refusal(target: &str, source: &Error) -> String {
    match source.kind() {
        ErrorKind::AddrNotAvailable => format!(
            "no local address and port was left for a connection to {target}; send fewer requests at once, or widen net.ipv4.ip_local_port_range of this machine"
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            format!(
                "this machine has no way to {target}; check its routes, firewalls in between, and HTTPS_PROXY if there is a forward proxy"
            )
        }
        ErrorKind::PermissionDenied => format!(
            "this machine forbids connections to {target}; check its firewall and what confines this service"
        ),
        ErrorKind::StorageFull => format!(
            "this machine watches no more connections of this user, and left {target} alone; raise fs.epoll.max_user_watches"
        ),
        _ if lacks_family(source) => format!(
            "this machine has no way to {target}, whose addresses are of a kind that is missing here (IPv6 or IPv4); check its network and what confines this service"
        ),
        _ if lacks_memory(source) => format!(
            "this machine had no memory for a connection to {target}; send fewer requests at once, or give it more"
        ),
        _ => format!(
            "{target} does not accept connections; check the network, and HTTPS_PROXY if there is a forward proxy"
        ),
    }
}

/// What came of the next hop, as RFC 9209 section 2.3 names it; `None` where that is not to blame.
pub(super) fn proxy_error(source: &Error) -> Option<&'static str> {
    match source.kind() {
        ErrorKind::ConnectionRefused => Some("connection_refused"),
        ErrorKind::AddrNotAvailable => Some("connection_limit_reached"),
        ErrorKind::PermissionDenied => Some("destination_ip_prohibited"),
        ErrorKind::StorageFull => None,
        _ if lacks_memory(source) => None,
        _ => Some("destination_ip_unroutable"),
    }
}

/// Whether there is no way from here to any address of its kind: of the other kind an error tells more.
pub(super) fn is_of_its_kind(source: &Error) -> bool {
    matches!(
        source.kind(),
        ErrorKind::AddrNotAvailable | ErrorKind::NetworkUnreachable
    ) || lacks_family(source)
}
