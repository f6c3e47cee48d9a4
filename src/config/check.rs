//! The rules of routes.yaml as a whole: what the parts of the file say about each other. Pure:
//! the environment is an argument, and no file is opened.

use std::collections::HashMap;

use super::check_caller;
use super::check_credential;
use super::check_limit::{limits, timeouts};
use super::check_network::{Network, network};
use super::check_route::route;
use super::choice::RawTls;
use super::file::{RawConfig, RawRoute, RawTlsFiles};
use super::node::Key;
use super::read::{Field, Item, List};
use super::report::{Report, Span, quoted};
use super::value::{HostPattern, PathPrefix};
use super::variable::Variables;
use super::{CallerSpec, Config, CredentialSpec, LogSpec, RouteSpec, TlsSpec, UpstreamTimeouts};

/// Something that the file gives a name, right or wrong.
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) spec: Option<T>,
}

impl<T> Named<T> {
    pub(super) fn new(key: &Key, spec: Option<T>) -> Self {
        Self {
            name: key.text.clone(),
            span: key.span,
            spec,
        }
    }
}

/// What a route is checked against.
pub(super) struct Surroundings<'a> {
    pub(super) credentials: &'a [Named<CredentialSpec>],
    pub(super) callers: &'a [Named<CallerSpec>],
    pub(super) network: &'a Network,
    pub(super) upstream_timeouts: &'a UpstreamTimeouts,
}

/// Checks a file; `None` only when a problem has been reported. `at` is where the file begins.
pub(super) fn config(
    raw: &RawConfig,
    at: Span,
    vars: Variables<'_>,
    report: &mut Report,
) -> Option<Config> {
    let network = network(raw, report);
    let timeouts = timeouts(&raw.timeouts, report);
    let credentials = check_credential::all(raw, raw.routes.key().unwrap_or(at), vars, report);
    let callers = check_caller::all(raw, report);
    let around = Surroundings {
        credentials: &credentials,
        callers: &callers,
        network: &network,
        upstream_timeouts: &timeouts.upstream,
    };
    let routes = routes(raw, at, &around, report);
    unused(&around, raw, &routes, report);
    Some(Config {
        public_url: network.public_url.clone(),
        hosts: plain(&raw.hosts),
        browser_origins: plain(&raw.browser_origins),
        tls: tls(&raw.tls, report),
        trust_ca_file: trust(raw, report),
        limits: limits(&raw.limits, report),
        workers: raw.workers.value().copied(),
        log: log(raw),
        kubernetes: check_caller::kubernetes(&raw.kubernetes, report),
        credentials: credentials
            .into_iter()
            .map(|named| named.spec)
            .collect::<Option<_>>()?,
        callers: callers
            .into_iter()
            .map(|named| named.spec)
            .collect::<Option<_>>()?,
        routes: routes.into_iter().collect::<Option<_>>()?,
        listen: network.listen,
        admin: network.admin,
        resolve: network.resolve,
        timeouts,
    })
}

fn plain<T: Clone>(field: &Field<List<T>>) -> Vec<T> {
    let items = field.value().map_or(&[][..], |list| &list.items);
    items.iter().map(|item| item.value.clone()).collect()
}

fn tls(field: &Field<RawTls>, report: &mut Report) -> Option<TlsSpec> {
    let item = field.item()?;
    let RawTls::Files(RawTlsFiles {
        certificate_file,
        key_file,
        client_ca_file,
    }) = &item.value
    else {
        return Some(TlsSpec::Local);
    };
    let help = "tls takes certificate_file and key_file, or the word local";
    let certificate_file = certificate_file.required("certificate_file", item.key, help, report);
    let key_file = key_file.required("key_file", item.key, help, report);
    Some(TlsSpec::Files {
        certificate_file: certificate_file?.value.clone(),
        key_file: key_file?.value.clone(),
        client_ca_file: client_ca_file.value().cloned(),
    })
}

fn trust(raw: &RawConfig, report: &mut Report) -> Option<std::path::PathBuf> {
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
    let mut names: HashMap<&str, ()> = HashMap::new();
    let mut places: HashMap<(Option<&HostPattern>, PathPrefix), String> = HashMap::new();
    for Item {
        value: route, span, ..
    } in routes
    {
        let name = route.name.item().filter(|item| item.is_known());
        if let Some(name) = name
            && names.insert(name.value.as_str(), ()).is_some()
        {
            let message = format!(
                "a second route is called {}",
                name.quote(name.value.as_str())
            );
            report.problem(
                name.span,
                message,
                "names are metric labels; give each route its own",
            );
        }
        let written = |known: bool, wrong: bool| known && !wrong;
        let path_known = route.path.item().is_none_or(Item::is_known);
        let host_known = route.host.item().is_none_or(Item::is_known);
        let wrong = matches!(route.path, Field::Wrong(_)) || matches!(route.host, Field::Wrong(_));
        let nowhere = route.path.key().is_none() && route.host.key().is_none();
        if !written(path_known && host_known, wrong || nowhere) {
            continue;
        }
        let place = (
            route.host.value(),
            route.path.value().cloned().unwrap_or_default(),
        );
        let called = name.map_or("another route".to_owned(), |name| {
            format!("route {}", name.quote(name.value.as_str()))
        });
        if let Some(first) = places.get(&place) {
            let message = format!("the same host and path as {first}");
            let at = route.path.item().map_or(*span, |path| path.span);
            report.problem(
                at,
                message,
                "requests could go to either; another path or host",
            );
        } else {
            places.insert(place, called);
        }
    }
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
    let specs = || {
        around
            .credentials
            .iter()
            .filter_map(|named| named.spec.as_ref())
    };
    for (index, named) in around.credentials.iter().enumerate() {
        let direct = routes.iter().any(|route| route.credential == index);
        let fallback = specs().filter_map(|spec| spec.fallback.as_ref());
        if !direct && !fallback.into_iter().any(|name| name.as_str() == named.name) {
            let message = format!(
                "credential {} is not used by any route",
                quoted(&named.name)
            );
            report.warning(named.span, message, "");
        }
    }
    for named in around.callers {
        let mut names = routes.iter().flat_map(|route| &route.callers);
        if !names.any(|name| name.as_str() == named.name) {
            let message = format!("caller {} is not used by any route", quoted(&named.name));
            report.warning(named.span, message, "");
        }
    }
    if let Some(key) = raw.kubernetes.key() {
        let mut proofs = around
            .callers
            .iter()
            .filter_map(|named| named.spec.as_ref());
        if !proofs.any(|spec| matches!(spec.proof, super::CallerProof::ServiceAccount { .. })) {
            report.warning(key, "\"kubernetes\" is not used by any caller", "");
        }
    }
}
