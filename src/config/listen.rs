//! Addresses to listen on: how they are written, and whether a URL leads back to one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::ListenAddress;
use super::value::split_port;

impl ListenAddress {
    /// Parses `localhost:PORT`, `IP:PORT`, `[IPV6]:PORT` or `unix:PATH`. Port 0 is any free port.
    ///
    /// # Errors
    /// What would be accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                _ if cfg!(not(unix)) => Err(format!(
                    "unix sockets are served on Linux and macOS only; {ACCEPTED}"
                )),
                0 => Err(
                    "unix: is followed by the path of the socket: unix:/run/tokenferry.sock".into(),
                ),
                1..=LONGEST_SOCKET if !path.contains(char::is_control) => {
                    Ok(Self::Unix(PathBuf::from(path)))
                }
                _ => Err(format!(
                    "the path of a socket has at most {LONGEST_SOCKET} bytes, and no control characters"
                )),
            };
        }
        let (host, port) = split_port(text)?;
        let Some(port) = port else {
            return Err(ACCEPTED.to_owned());
        };
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(Self::Loopback(port));
        }
        match text.parse::<SocketAddr>() {
            Ok(mut address) => {
                // Written as one of IPv6, an address of IPv4 is bound by no socket of IPv6 alone.
                let ip = address.ip().to_canonical();
                if ip.is_ipv4() {
                    address.set_ip(ip);
                }
                Ok(Self::Tcp(address))
            }
            Err(_) => Err(ACCEPTED.to_owned()),
        }
    }

    /// The port, unless it is a socket file.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Loopback(port) => Some(*port),
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Whether a connection to this address and port of this machine arrives here.
    pub(super) fn receives(&self, ip: IpAddr, port: u16) -> bool {
        if port == 0 || self.port() != Some(port) {
            return false;
        }
        let loopback = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        match self {
            Self::Loopback(_) => loopback.contains(&ip) || ip.is_unspecified(),
            Self::Tcp(address) if address.ip().is_unspecified() => {
                ip.is_loopback() || ip.is_unspecified()
            }
            Self::Tcp(address) => {
                address.ip() == ip || ip.is_unspecified() && address.ip().is_loopback()
            }
            Self::Unix(_) => false,
        }
    }

    /// Whether callers over IPv4 come here as well: `[::]` is every address, but for what `all` that
    /// is listened on has of IPv4 at the same port.
    pub fn takes_ipv4_beside(&self, all: &[&Self]) -> bool {
        let Self::Tcp(address) = self else {
            return false;
        };
        let takes_it = |other: &&Self| match other {
            Self::Tcp(other) => other.is_ipv4() && other.port() == address.port(),
            Self::Loopback(_) | Self::Unix(_) => false,
        };
        let any = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        any && (address.port() == 0 || !all.iter().any(takes_it))
    }

    /// Whether both cannot be listened on at once.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(a), Self::Unix(b)) => a == b,
            (Self::Unix(_), _) | (_, Self::Unix(_)) => false,
            (Self::Loopback(a), Self::Loopback(b)) => a == b && *a != 0,
            (Self::Loopback(port), Self::Tcp(address))
            | (Self::Tcp(address), Self::Loopback(port)) => {
                *port != 0
                    && *port == address.port()
                    && (address.ip().is_unspecified() || address.ip().is_loopback())
            }
            (Self::Tcp(a), Self::Tcp(b)) => {
                let same_family = a.is_ipv4() == b.is_ipv4();
                let any = a.ip().is_unspecified() || b.ip().is_unspecified();
                a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || any && same_family)
            }
        }
    }
}

// What the system has room for, beside the NUL at its end: unix(7), and sys/un.h of macOS.
const LONGEST_SOCKET: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

const ACCEPTED: &str = if cfg!(unix) {
    "write localhost:8080 (both loopback addresses), 0.0.0.0:8080 (every IPv4 address) or \
     [::]:8080 (IPv6 as well), another IP address with a port, or unix:/path/to/socket"
} else {
    "write localhost:8080 (both loopback addresses), 0.0.0.0:8080 (every IPv4 address) or \
     [::]:8080 (IPv6 as well), or another IP address with a port"
};

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(port) => write!(f, "localhost:{port}"),
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ListenAddress {
        ListenAddress::parse(text).unwrap()
    }

    #[test]
    fn localhost_is_both_loopback_addresses() {
        assert_eq!(parse("localhost:8080"), ListenAddress::Loopback(8080));
        assert_eq!(parse("LocalHost:0"), ListenAddress::Loopback(0));
        let listener = parse("localhost:8080");
        assert!(listener.receives("127.0.0.1".parse().unwrap(), 8080));
        assert!(listener.receives("::1".parse().unwrap(), 8080));
        assert!(!listener.receives("127.0.0.1".parse().unwrap(), 8081));
        assert!(!listener.receives("192.0.2.1".parse().unwrap(), 8080));
    }

    #[test]
    fn what_is_called_on_this_machine_arrives_where_its_address_is_listened_on() {
        let ips = ["127.0.0.1", "127.0.0.2", "::1", "0.0.0.0", "192.0.2.1"];
        for (listener, received) in [
            ("localhost:80", "127.0.0.1 ::1 0.0.0.0"),
            ("0.0.0.0:80", "127.0.0.1 127.0.0.2 ::1 0.0.0.0"),
            ("127.0.0.1:80", "127.0.0.1 0.0.0.0"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("192.0.2.1:81", ""),
            ("127.0.0.1:0", ""),
        ] {
            let arrives = |ip: &&str| parse(listener).receives(ip.parse().unwrap(), 80);
            let arrived: Vec<_> = ips.into_iter().filter(arrives).collect();
            assert_eq!(arrived.join(" "), received, "{listener}");
        }
    }

    #[test]
    fn addresses_exclude_each_other_where_the_system_would_refuse_the_second() {
        for (first, second, excluded) in [
            ("localhost:80", "localhost:80", true),
            ("localhost:80", "localhost:81", false),
            ("localhost:0", "localhost:0", false),
            ("localhost:80", "127.0.0.1:80", true),
            ("localhost:80", "0.0.0.0:80", true),
            ("localhost:80", "192.0.2.1:80", false),
            ("localhost:80", "127.0.0.1:81", false),
            ("localhost:0", "127.0.0.1:0", false),
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:80", "192.0.2.1:80", false),
            ("0.0.0.0:80", "192.0.2.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            #[cfg(unix)]
            ("unix:/run/x", "unix:/run/x", true),
            #[cfg(unix)]
            ("unix:/run/x", "unix:/run/y", false),
            #[cfg(unix)]
            ("unix:/run/x", "localhost:80", false),
        ] {
            let (one, other) = (parse(first), parse(second));
            assert_eq!(one.overlaps(&other), excluded, "{first} {second}");
            assert_eq!(other.overlaps(&one), excluded, "{second} {first}");
        }
    }

    #[test]
    fn every_written_form_comes_back() {
        for text in [
            "localhost:8080",
            "0.0.0.0:80",
            "[::]:443",
            "[::1]:9000",
            "192.0.2.7:65535",
            #[cfg(unix)]
            "unix:/run/x",
            #[cfg(unix)]
            "unix:relative.sock",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn an_ipv4_address_in_the_form_of_ipv6_is_the_one_that_can_be_bound() {
        assert_eq!(parse("[::ffff:127.0.0.1]:80"), parse("127.0.0.1:80"));
        assert_eq!(parse("[::ffff:0.0.0.0]:80"), parse("0.0.0.0:80"));
    }

    #[test]
    fn other_forms_are_refused_with_the_ones_that_work() {
        for text in [
            "",
            "8080",
            ":8080",
            "*:8080",
            "localhost",
            "127.0.0.1",
            "gateway:80",
            "::1:80",
            "[::1]",
            "localhost:99999",
            "localhost:x",
            "unix:",
            "http://localhost:80",
        ] {
            assert!(ListenAddress::parse(text).is_err(), "{text}");
        }
    }

    #[cfg(not(unix))]
    #[test]
    fn a_socket_is_refused_where_there_are_none() {
        let error = ListenAddress::parse("unix:/run/x").unwrap_err();
        assert!(error.contains("on Linux and macOS only"), "{error}");
        assert!(error.contains("localhost:8080") && !error.contains("unix:"));
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_is_refused_where_the_system_would_not_bind_it() {
        use std::os::unix::net::SocketAddr;
        let of = |bytes: usize| format!("unix:/{}", "x".repeat(bytes - 1));
        assert!(ListenAddress::parse(&of(LONGEST_SOCKET)).is_ok());
        let error = ListenAddress::parse(&of(LONGEST_SOCKET + 1)).unwrap_err();
        assert!(error.contains(&LONGEST_SOCKET.to_string()), "{error}");
        for path in ["a\0b", "a\nb", "a\u{1b}[2J"] {
            assert!(ListenAddress::parse(&format!("unix:/run/{path}")).is_err());
        }
        let binds = |bytes| SocketAddr::from_pathname(&of(bytes)["unix:".len()..]).is_ok();
        assert!(binds(LONGEST_SOCKET) && !binds(LONGEST_SOCKET + 1));
    }

    #[test]
    fn a_wildcard_receives_what_is_sent_to_loopback() {
        assert!(parse("0.0.0.0:80").receives("127.0.0.1".parse().unwrap(), 80));
        assert!(parse("[::]:80").receives("::1".parse().unwrap(), 80));
        let socket = ListenAddress::Unix("/x".into());
        assert!(!socket.receives("::1".parse().unwrap(), 80));
        assert!(!parse("0.0.0.0:0").receives("127.0.0.1".parse().unwrap(), 0));
    }

    #[test]
    fn every_address_of_ipv6_takes_ipv4_unless_another_does() {
        let takes = |own: &str, others: &[&str]| {
            let others: Vec<_> = others.iter().map(|other| parse(other)).collect();
            parse(own).takes_ipv4_beside(&others.iter().collect::<Vec<_>>())
        };
        assert!(takes("[::]:80", &[]));
        assert!(takes("[::]:80", &["[::]:80", "0.0.0.0:81", "localhost:81"]));
        assert!(takes("[::]:0", &["0.0.0.0:0"]));
        assert!(!takes("[::]:80", &["0.0.0.0:80"]));
        assert!(!takes("[::]:80", &["192.0.2.7:80"]));
        for other in ["[::1]:80", "0.0.0.0:80", "localhost:80"] {
            assert!(!takes(other, &[]), "{other}");
        }
        assert!(!ListenAddress::Unix("/x".into()).takes_ipv4_beside(&[]));
    }

    #[test]
    fn addresses_that_cannot_be_bound_together_overlap() {
        let either = |a: &ListenAddress, b: &ListenAddress| a.overlaps(b) && b.overlaps(a);
        let overlap = |a, b| either(&parse(a), &parse(b));
        assert!(overlap("localhost:80", "127.0.0.1:80"));
        assert!(overlap("localhost:80", "0.0.0.0:80"));
        assert!(overlap("0.0.0.0:80", "192.0.2.1:80"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80"));
        assert!(!overlap("localhost:80", "localhost:81"));
        assert!(!overlap("localhost:0", "localhost:0"));
        let socket = ListenAddress::Unix("/a".into());
        assert!(either(&socket, &socket));
        assert!(!either(&socket, &parse("localhost:80")));
    }
}
