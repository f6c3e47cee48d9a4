//! Rules of addresses: what is listened on, what is served, and what would lead back here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::choice::RawAdmin;
use super::file::RawConfig;
use super::node::Key;
use super::read::Item;
use super::report::{Report, quoted_key};
use super::value::{BaseUrl, HostName, LOCALHOST, Origin, split_port};
use super::{Config, CredentialSpec, ListenAddress, Replaced, RouteSpec};

/// Where this process is, and what it knows about addresses.
pub(super) struct Network {
    pub(super) listen: Vec<ListenAddress>,
    pub(super) admin: Vec<ListenAddress>,
    pub(super) public_url: Option<BaseUrl>,
    pub(super) resolve: BTreeMap<(HostName, u16), SocketAddr>,
}

// 8080 is what people expect of a local proxy.
const LISTEN: ListenAddress = ListenAddress::Loopback(8080);
const ADMIN: ListenAddress = ListenAddress::Loopback(8081);
// Each has an accepting task and a descriptor.
const MOST_ADDRESSES: usize = 64;

/// Reads the addresses of the top level. Those that are replaced have no default either.
pub(super) fn network(raw: &RawConfig, replaced: Replaced, report: &mut Report) -> Network {
    let listen = raw.listen.value().map_or(&[][..], |addresses| &addresses.0);
    if let Some(item) = raw.listen.item().filter(|item| item.value.0.is_empty()) {
        let help = "listen: localhost:8080";
        report.problem(item.key, "there is nothing to listen on", help);
    }
    let admin = match raw.admin.value() {
        Some(RawAdmin::On(addresses)) => &addresses.0[..],
        Some(RawAdmin::Off) | None => &[],
    };
    let listen_default = raw.listen.key().is_none() && !replaced.listen;
    let admin_default = raw.admin.key().is_none() && !replaced.admin;
    let mut taken = Vec::new();
    if listen_default {
        taken.push((LISTEN, " (the default of listen)"));
    }
    if admin_default {
        taken.push((ADMIN, " (the default of admin)"));
    }
    let listen = bound(listen, &mut taken, report);
    let admin = bound(admin, &mut taken, report);
    Network {
        listen: if listen_default { vec![LISTEN] } else { listen },
        admin: if admin_default { vec![ADMIN] } else { admin },
        public_url: raw.public_url.value().cloned(),
        resolve: resolve(raw, report),
    }
}

/// The addresses, each of which can be bound beside those that are taken.
fn bound(
    items: &[Item<ListenAddress>],
    taken: &mut Vec<(ListenAddress, &str)>,
    report: &mut Report,
) -> Vec<ListenAddress> {
    if let Some(item) = items.get(MOST_ADDRESSES) {
        let message = format!("more than {MOST_ADDRESSES} addresses to listen on");
        let help =
            "0.0.0.0:PORT stands for every address of IPv4, [::]:PORT for those of IPv6 as well";
        report.problem(item.span, message, help);
    }
    let items = &items[..items.len().min(MOST_ADDRESSES)];
    for item in items.iter().filter(|item| item.is_known()) {
        let address = &item.value;
        if let Some(other) = taken.iter().find(|(other, _)| address.overlaps(other)) {
            let (other, default) = other;
            let message = format!("{address} and {other}{default} cannot both be listened on");
            report.problem(
                item.span,
                message,
                "another port or path for one of the two",
            );
        }
        taken.push((address.clone(), ""));
    }
    items.iter().map(|item| item.value.clone()).collect()
}

fn resolve(raw: &RawConfig, report: &mut Report) -> BTreeMap<(HostName, u16), SocketAddr> {
    let mut map = BTreeMap::new();
    let Some(table) = raw.resolve.value() else {
        return map;
    };
    for (key, item) in &table.0 {
        let parsed = split_port(&key.text).and_then(|(host, port)| match port {
            Some(0) => Err("a port is a number from 1 to 65535".to_owned()),
            Some(port) => Ok((HostName::parse(host)?, port)),
            None => Err("the port is missing".to_owned()),
        });
        if let Some(item) = item.as_ref().filter(|item| item.value.port() == 0) {
            let help = "the port that it is reached at, 1 to 65535";
            report.problem(item.span, "nothing is reached at port 0", help);
        }
        match (parsed, item) {
            (Ok(place), Some(item)) => {
                if map.insert(place, item.value).is_some() {
                    let message = format!("{} is given twice", quoted_key(&key.text));
                    report.problem(key.span, message, "keep one of the two");
                }
            }
            (Ok(_), None) => {}
            (Err(fault), _) => {
                let message = format!(
                    "{} is not a host and a port: {fault}",
                    quoted_key(&key.text)
                );
                report.problem(
                    key.span,
                    message,
                    "login.microsoftonline.com:443: 10.0.0.4:443",
                );
            }
        }
    }
    map
}

/// Refuses fixed addresses that a token call would not follow. The HTTP library of token calls asks
/// for the address of a name only, and the name has to stay for the certificate.
pub(super) fn unreached(raw: &RawConfig, credentials: &[CredentialSpec], report: &mut Report) {
    let authorities: Vec<&Origin> = credentials
        .iter()
        .filter_map(|credential| Some(&credential.kind.app()?.authority.origin))
        .filter(|origin| origin.secure && origin.host.is_address())
        .collect();
    for (key, _) in entries(raw, &authorities) {
        let message = format!(
            "{} is the authority of a credential, and token calls over TLS go to an address as it is",
            quoted_key(&key.text)
        );
        let help = "a host name as authority, or the address to connect to and no entry here";
        report.problem(key.span, message, help);
    }
}

/// Refuses fixed addresses by which what goes without TLS, because it stays on this machine, would
/// leave it: tokens to upstreams, and secrets to authorities.
pub(super) fn exposed(
    raw: &RawConfig,
    credentials: &[CredentialSpec],
    routes: &[Option<RouteSpec>],
    report: &mut Report,
) {
    let apps = credentials
        .iter()
        .filter_map(|credential| credential.kind.app());
    let authorities = apps.map(|app| &app.authority.origin);
    let upstreams = routes.iter().flatten().map(|route| &route.upstream.origin);
    let open: Vec<&Origin> = authorities
        .chain(upstreams)
        .filter(|origin| !origin.secure)
        .collect();
    for (_, item) in entries(raw, &open) {
        let Some(item) = item.as_ref().filter(|item| item.is_known()) else {
            continue;
        };
        if !item.value.ip().to_canonical().is_loopback() {
            let message = "a token or secret would travel there in the clear";
            report.problem(item.span, message, "https:// (http:// only to loopback)");
        }
    }
}

/// The fixed addresses of these origins.
fn entries<'r>(
    raw: &'r RawConfig,
    origins: &'r [&Origin],
) -> impl Iterator<Item = &'r (Key, Option<Item<SocketAddr>>)> {
    let table = raw.resolve.value().map_or(&[][..], |table| &table.0);
    table.iter().filter(|(key, _)| {
        let place = split_port(&key.text).ok();
        let place = place.and_then(|(host, port)| HostName::parse(host).ok().zip(port));
        place.is_some_and(|(host, port)| {
            let mut origins = origins.iter();
            origins.any(|origin| origin.host == host && origin.port == port)
        })
    })
}

impl Network {
    /// Whether a request to this upstream would arrive at this process again.
    pub(super) fn leads_back(&self, upstream: &BaseUrl) -> bool {
        let origin = &upstream.origin;
        // Beside it, at the same host, an ingress may have other things.
        let meets = |public: &BaseUrl| {
            let (own, other) = (public.prefix.as_str(), upstream.prefix.as_str());
            public.origin == *origin && (is_below(own, other) || is_below(other, own))
        };
        self.public_url.as_ref().is_some_and(meets)
            || arrives(origin, &self.resolve, self.listen.iter().chain(&self.admin))
    }
}

impl Config {
    /// Two addresses that cannot both be listened on. A file never has them; the command line can
    /// make them.
    pub fn colliding(&self) -> Option<(&ListenAddress, &ListenAddress)> {
        let all: Vec<&ListenAddress> = self.listen.iter().chain(&self.admin).collect();
        all.iter().enumerate().find_map(|(at, first)| {
            let second = all[at + 1..].iter().find(|second| first.overlaps(second))?;
            Some((*first, *second))
        })
    }

    /// The first route whose upstream is an address listened on here, or one of those that are open
    /// already. A file alone never has one; the command line can make one, and so can a process that
    /// listens where an older file said.
    pub fn leading_back(&self, open: &[SocketAddr]) -> Option<&RouteSpec> {
        let open: Vec<_> = open.iter().copied().map(ListenAddress::Tcp).collect();
        self.routes.iter().find(|route| {
            let listeners = self.listen.iter().chain(&self.admin).chain(&open);
            arrives(&route.upstream.origin, &self.resolve, listeners)
        })
    }
}

/// Whether a path is this prefix, or begins with its segments.
fn is_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a connection to this origin arrives at one of the listeners.
fn arrives<'a>(
    origin: &Origin,
    resolve: &BTreeMap<(HostName, u16), SocketAddr>,
    mut listeners: impl Iterator<Item = &'a ListenAddress>,
) -> bool {
    let fixed = resolve.get(&(origin.host.clone(), origin.port));
    let targets: Vec<(IpAddr, u16)> = match fixed {
        Some(address) => vec![(address.ip().to_canonical(), address.port())],
        None => addresses(&origin.host)
            .into_iter()
            .map(|ip| (ip, origin.port))
            .collect(),
    };
    listeners.any(|at| targets.iter().any(|(ip, port)| at.receives(*ip, *port)))
}

/// The addresses of a host that are known without asking anybody.
fn addresses(host: &HostName) -> Vec<IpAddr> {
    let text = host.as_str();
    if text == "localhost" || text.ends_with(".localhost") {
        return LOCALHOST.to_vec();
    }
    host.bare()
        .parse::<IpAddr>()
        .map(|ip| ip.to_canonical())
        .into_iter()
        .collect()
}
