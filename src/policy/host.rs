//! Which hosts are served here. A web page that rebinds its own name to this address is same-origin
//! to the browser and betrayed by `Host` alone, so every request is checked, on both listeners.
//!
//! Served are names that nobody outside the network can own: IP literals, names without a dot,
//! `*.localhost`, the names of Docker and Kubernetes; and what the configuration names. Any port
//! will do: forwarding and container mappings change it, and rebinding is not told by it.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use super::Refusal;
use crate::code::Code;
use crate::config::{Config, HostPattern};

/// The hosts that are served.
#[derive(Clone, Debug, Default)]
pub struct HostPolicy {
    exact: HashSet<Box<str>>,
    suffixes: HashSet<Box<str>>,
}

impl HostPolicy {
    /// The hosts of `public_url`, of routes and of `hosts`, beside those that are always served.
    /// The addresses that are listened on are IP literals or loopback names and need no entry.
    pub fn new(config: &Config) -> Self {
        let mut policy = Self::default();
        if let Some(url) = &config.public_url {
            policy.exact.insert(url.origin.host.as_str().into());
        }
        let of_routes = config.routes.iter().filter_map(|route| route.host.as_ref());
        for pattern in of_routes.chain(&config.hosts) {
            match pattern {
                HostPattern::Exact(name) => policy.exact.insert(name.as_str().into()),
                HostPattern::Suffix(name) => policy.suffixes.insert(name.as_str().into()),
            };
        }
        policy
    }

    /// Whether a host is served: lower-case, without port or trailing dot, as
    /// [`Authority::host`](super::authority::Authority::host) has it.
    pub fn serves(&self, host: &str) -> bool {
        let dotless = memchr::memchr(b'.', host.as_bytes()).is_none();
        match host.bytes().next() {
            None => false,
            Some(b'[') => true,
            Some(_) => dotless || private(host) || self.named(host),
        }
    }

    /// The refusal of a request whose host is not served.
    ///
    /// # Errors
    /// 421, naming `hosts`.
    pub fn check(&self, host: &str) -> Result<(), Refusal> {
        if self.serves(host) {
            return Ok(());
        }
        Err(Refusal::new(
            Code::HostNotServed,
            format!(
                "the host \"{host}\" is not served here; list it under hosts in routes.yaml if it is this proxy's"
            ),
        ))
    }

    /// Whether the configuration names the host, or a suffix of it.
    fn named(&self, host: &str) -> bool {
        if self.exact.contains(host) {
            return true;
        }
        !self.suffixes.is_empty()
            && memchr::memchr_iter(b'.', host.as_bytes())
                .any(|dot| self.suffixes.contains(&host[dot + 1..]))
    }
}

/// Dotted names that nobody outside the network can own, and IPv4 addresses.
fn private(host: &str) -> bool {
    host.ends_with(".localhost")
        || host.ends_with(".svc")
        || host.ends_with(".cluster.local")
        || host == "host.docker.internal"
        || host.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Source};

    fn policy() -> HostPolicy {
        HostPolicy {
            exact: HashSet::from(["graph.corp.example".into()]),
            suffixes: HashSet::from(["tools.example".into()]),
        }
    }

    #[test]
    fn names_that_no_stranger_can_own_are_served() {
        for host in [
            "localhost",
            "a.localhost",
            "host.docker.internal",
            "127.0.0.1",
            "192.168.3.4",
            "[::1]",
            "tokenferry",
            "my_service",
            "graph.team.svc",
            "graph.team.svc.cluster.local",
        ] {
            assert!(HostPolicy::default().serves(host), "{host}");
        }
    }

    #[test]
    fn a_rebound_name_is_not_served() {
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "0x7f.0.0.1",
            "127.0.0.01",
            "svc.evil.example",
            "evilsvc.com",
            "evil.xsvc",
            "evil.xlocalhost",
            "cluster.local",
            "xcluster.local",
            "a.host.docker.internal",
        ] {
            assert!(!HostPolicy::default().serves(host), "{host}");
        }
    }

    #[test]
    fn configured_names_are_served_and_their_neighbours_are_not() {
        assert!(policy().serves("graph.corp.example"));
        assert!(policy().serves("a.tools.example"));
        assert!(policy().serves("a.b.tools.example"));
        assert!(!policy().serves("tools.example"));
        assert!(!policy().serves("xtools.example"));
        assert!(!policy().serves("x.graph.corp.example"));
    }

    #[test]
    fn hosts_of_every_place_in_the_file_are_served() {
        let source = Source {
            allow_missing_env: true,
            ..Source::alone(
                "
                public_url: https://gw.corp.example:8443/api
                hosts: ['listed.example', '*.tools.example']
                routes:
                - {name: a, path: /a, host: own.example, upstream: 'https://a.com'}
                - {name: b, path: /b, host: '*.apps.example', upstream: 'https://b.com'}",
            )
        };
        let policy = HostPolicy::new(&config::load(&source).unwrap().config);
        for host in [
            "gw.corp.example",
            "listed.example",
            "a.tools.example",
            "own.example",
            "a.apps.example",
        ] {
            assert!(policy.serves(host), "{host}");
        }
        for host in ["a.com", "corp.example", "a.listed.example"] {
            assert!(!policy.serves(host), "{host}");
        }
    }

    #[test]
    fn the_refusal_names_the_key_that_helps() {
        let refusal = policy().check("evil.example").unwrap_err();
        assert_eq!(refusal.code, Code::HostNotServed);
        assert!(refusal.message.contains("hosts"));
    }
}
