//! The rules of routes.yaml as a whole: what the parts of the file say about each other. Pure:
//! the environment is an argument, and no file is opened.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::check_caller;
use super::check_credential;
use super::check_limit::{limits, timeouts};
use super::check_network::{Network, exposed, network, unreached};
use super::check_route::route;
use super::choice::RawTls;
use super::file::{RawConfig, RawRoute, RawTlsFiles};
use super::read::{Field, Item};
use super::report::{Report, Span, quoted_key};
use super::roster::Roster;
use super::value::{HostPattern, Name, PathPrefix};
use super::variable::Variables;
use super::{
    CallerProof, CallerSpec, Config, CredentialSpec, LogSpec, Replaced, RouteSpec, TlsSpec,
    UpstreamTimeouts,
};
use crate::secret::FilePath;

/// What a route is checked against.
pub(super) struct Surroundings<'a> {
    pub(super) credentials: &'a Roster<CredentialSpec>,
    pub(super) callers: &'a Roster<CallerSpec>,
    pub(super) network: &'a Network,
    pub(super) upstream_timeouts: &'a UpstreamTimeouts,
}

/// Checks a file. What is wrong has been reported and is left out, and then the routes, too: they
/// refer to the rest. `at` is where the file begins.
pub(super) fn config(
    raw: &RawConfig,
    at: Span,
    vars: Variables<'_>,
    replaced: Replaced,
    report: &mut Report,
) -> Config {
    let network = network(raw, replaced, report);
    let timeouts = timeouts(&raw.timeouts, report);
    let credentials = check_credential::all(raw, raw.routes.key().unwrap_or(at), vars, report);
    let callers = check_caller::all(raw, vars, report);
    let around = Surroundings {
        credentials: &credentials,
        callers: &callers,
        network: &network,
        upstream_timeouts: &timeouts.upstream,
    };
    let routes = routes(raw, at, &around, report);
    unused(&around, raw, &routes, report);
    let credentials = credentials.specs();
    unreached(raw, &credentials, report);
    exposed(raw, &credentials, &routes, report);
    Config {
        public_url: network.public_url.clone(),
        hosts: raw.hosts.values(),
        browser_origins: raw.browser_origins.values(),
        tls: tls(&raw.tls, report),
        trust_ca_file: trust(raw, report),
        limits: limits(&raw.limits, report),
        workers: raw.workers.value().map(|workers| workers.0),
        log: log(raw),
        kubernetes: check_caller::kubernetes(&raw.kubernetes, report),
        credentials,
        callers: callers.specs(),
        routes: match report.problems.is_empty() {
            true => routes.into_iter().flatten().collect(),
            false => Vec::new(),
        },
        listen: network.listen,
        admin: network.admin,
        resolve: network.resolve,
        timeouts,
    }
}

fn tls(field: &Field<RawTls>, report: &mut Report) -> Option<TlsSpec> {
    let item = field.item()?;
    let RawTls::Files(files) = &item.value else {
        return Some(TlsSpec::Local);
    };
    let RawTlsFiles {
        certificate_file,
        key_file,
        client_ca_file,
    } = &**files;
    let help = "tls takes certificate_file and key_file, or the word local";
    let certificate_file = certificate_file.required("certificate_file", item.key, help, report);
    let key_file = key_file.required("key_file", item.key, help, report);
    Some(TlsSpec::Files {
        certificate_file: certificate_file?.value.clone(),
        key_file: key_file?.value.clone(),
        client_ca_file: client_ca_file.value().cloned(),
    })
}

fn trust(raw: &RawConfig, report: &mut Report) -> Option<FilePath> {
    let item = raw.trust.item()?;
    let help = "a PEM file with the authorities to trust besides the system's";
    let ca_file = item
        .value
        .ca_file
        .required("ca_file", item.key, help, report)?;
    Some(ca_file.value.clone())
}

fn log(raw: &RawConfig) -> LogSpec {
    let log = raw.log.value();
    LogSpec {
        format: log.and_then(|log| log.format.value().copied()),
        access: log.is_none_or(|log| log.access.or(true)),
    }
}

fn routes(
    raw: &RawConfig,
    at: Span,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<Option<RouteSpec>> {
    let help = "at least one: name, path and upstream";
    let Some(list) = raw.routes.required("routes", at, help, report) else {
        return Vec::new();
    };
    if list.value.is_empty {
        report.problem(list.key, "there is no route", help);
    }
    distinct(&list.value.items, report);
    let routes = list.value.items.iter();
    routes.map(|item| route(item, around, report)).collect()
}

/// Reports routes that share a name, or that the same requests would reach.
fn distinct(routes: &[Item<RawRoute>], report: &mut Report) {
    let mut names = HashSet::new();
    let mut places = HashMap::new();
    for item in routes {
        let route = &item.value;
        let known = route.name.item().filter(|name| name.is_known());
        let called = known.map(|name| name.quote(name.value.as_str()));
        if let (Some(name), Some(called)) = (known, &called)
            && !names.insert(name.value.as_str())
        {
            let help = "names are metric labels; give each route its own";
            report.problem(
                name.span,
                format!("a second route is called {called}"),
                help,
            );
        }
        let Some(place) = place(route) else {
            continue;
        };
        let called = called.map_or("another route".to_owned(), |name| format!("route {name}"));
        match places.entry(place) {
            Entry::Vacant(free) => {
                free.insert(called);
            }
            Entry::Occupied(taken) => {
                let message = format!("the same host and path as {}", taken.get());
                let at = route.path.item().map_or(item.span, |path| path.span);
                let help = "requests could go to either; another path or host";
                report.problem(at, message, help);
            }
        }
    }
}

/// What makes requests reach this route; `None` when that is wrong or not known.
fn place(route: &RawRoute) -> Option<(Option<&HostPattern>, PathPrefix)> {
    let path = match &route.path {
        Field::Absent => None,
        Field::Given(item) if item.is_known() => Some(item.value.clone()),
        Field::Given(_) | Field::Wrong(_) => return None,
    };
    let host = match &route.host {
        Field::Absent => None,
        Field::Given(item) if item.is_known() => Some(&item.value),
        Field::Given(_) | Field::Wrong(_) => return None,
    };
    (path.is_some() || host.is_some()).then(|| (host, path.unwrap_or_default()))
}

/// Warns of credentials and callers that nothing refers to.
fn unused(
    around: &Surroundings<'_>,
    raw: &RawConfig,
    routes: &[Option<RouteSpec>],
    report: &mut Report,
) {
    // With a route that is wrong, what it would have used is not known.
    let Some(routes) = routes
        .iter()
        .map(Option::as_ref)
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let credentials = around.credentials;
    let fallbacks = credentials.right().filter_map(|it| it.fallback.as_ref());
    let direct = routes
        .iter()
        .map(|route| credentials.entries[route.credential].name.as_str());
    let used = fallbacks.map(Name::as_str).chain(direct).collect();
    unused_names("credential", credentials, &used, report);
    let names = routes.iter().flat_map(|route| &route.callers);
    let used = names.map(Name::as_str).collect();
    unused_names("caller", around.callers, &used, report);
    let mut callers = around.callers.right();
    let verified = callers.any(|it| matches!(it.proof, CallerProof::ServiceAccount { .. }));
    if let Some(key) = raw.kubernetes.key().filter(|_| !verified) {
        report.warning(key, "\"kubernetes\" is not used by any caller", "");
    }
}

fn unused_names<T>(noun: &str, all: &Roster<T>, used: &HashSet<&str>, report: &mut Report) {
    for named in &all.entries {
        if !used.contains(named.name.as_str()) {
            let name = quoted_key(&named.name);
            let message = format!("{noun} {name} is not used by any route");
            report.warning(named.span, message, "");
        }
    }
}
