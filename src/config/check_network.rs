//! Rules of addresses: what is listened on, what is served, and what would lead back here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ListenAddress;
use super::choice::RawAdmin;
use super::file::RawConfig;
use super::read::{Field, Item};
use super::report::{Report, quoted};
use super::value::{BaseUrl, HostName, Origin, split_port};

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

/// Reads the addresses of the top level.
pub(super) fn network(raw: &RawConfig, report: &mut Report) -> Network {
    let listen = match &raw.listen {
        Field::Given(item) => item.value.0.as_slice(),
        Field::Absent | Field::Wrong(_) => &[],
    };
    if let Some(item) = raw.listen.item().filter(|item| item.value.0.is_empty()) {
        report.problem(
            item.key,
            "there is nothing to listen on",
            "listen: localhost:8080",
        );
    }
    let admin = match raw.admin.value() {
        Some(RawAdmin::On(addresses)) => addresses.0.as_slice(),
        Some(RawAdmin::Off) | None => &[],
    };
    overlapping(listen, admin, report);
    let plain = |items: &[Item<ListenAddress>]| items.iter().map(|i| i.value.clone()).collect();
    Network {
        listen: match raw.listen {
            Field::Absent => vec![LISTEN],
            Field::Given(_) | Field::Wrong(_) => plain(listen),
        },
        admin: match raw.admin {
            Field::Absent => vec![ADMIN],
            Field::Given(_) | Field::Wrong(_) => plain(admin),
        },
        public_url: raw.public_url.value().cloned(),
        resolve: resolve(raw, report),
    }
}

fn overlapping(listen: &[Item<ListenAddress>], admin: &[Item<ListenAddress>], report: &mut Report) {
    let default = [LISTEN];
    let defaults = if listen.is_empty() { &default[..] } else { &[] };
    let all: Vec<&Item<ListenAddress>> = listen.iter().chain(admin).collect();
    for (index, item) in all.iter().enumerate() {
        let earlier = all[..index].iter().map(|item| &item.value);
        let taken = earlier
            .chain(defaults)
            .find(|other| item.value.overlaps(other));
        if let Some(other) = taken.filter(|_| item.is_known()) {
            let message = format!("{} and {other} cannot both be listened on", item.value);
            report.problem(item.span, message, "another port for one of the two");
        }
    }
}

fn resolve(raw: &RawConfig, report: &mut Report) -> BTreeMap<(HostName, u16), SocketAddr> {
    let mut map = BTreeMap::new();
    let Some(table) = raw.resolve.value() else {
        return map;
    };
    for (key, item) in &table.0 {
        let parsed = split_port(&key.text).and_then(|(host, port)| match port {
            Some(port) => Ok((HostName::parse(host)?, port)),
            None => Err("the port is missing".to_owned()),
        });
        match (parsed, item) {
            (Ok(place), Some(item)) => {
                if map.insert(place, item.value).is_some() {
                    let message = format!("{} is given twice", quoted(&key.text));
                    report.problem(key.span, message, "keep one of the two");
                }
            }
            (Ok(_), None) => {}
            (Err(fault), _) => {
                let message = format!("{} is not a host and a port: {fault}", quoted(&key.text));
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

impl Network {
    /// Whether a request to this origin would arrive at this process again.
    pub(super) fn leads_back(&self, origin: &Origin) -> bool {
        let public = self
            .public_url
            .as_ref()
            .is_some_and(|url| url.origin == *origin);
        let fixed = self.resolve.get(&(origin.host.clone(), origin.port));
        let targets: Vec<(IpAddr, u16)> = match fixed {
            Some(address) => vec![(address.ip().to_canonical(), address.port())],
            None => addresses(&origin.host)
                .into_iter()
                .map(|ip| (ip, origin.port))
                .collect(),
        };
        let listeners = || self.listen.iter().chain(&self.admin);
        public
            || targets
                .iter()
                .any(|(ip, port)| listeners().any(|at| at.receives(*ip, *port)))
    }
}

/// The addresses of a host that are known without asking anybody.
fn addresses(host: &HostName) -> Vec<IpAddr> {
    let text = host.as_str();
    if text == "localhost" || text.ends_with(".localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .map(|ip| ip.to_canonical())
        .into_iter()
        .collect()
}
