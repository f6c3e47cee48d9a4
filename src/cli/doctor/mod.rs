//! `doctor`: acquires each route's token, asks its upstream something harmless, and explains what
//! is wrong or better not left so. Shows claims, never the token.

mod api;
mod attempt;
mod claims;
mod finding;
mod missing;
#[cfg(test)]
mod missing_tests;
mod probe;
mod report;
mod roles;
#[cfg(test)]
mod roles_tests;
#[cfg(test)]
mod sample;
mod territory;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use futures_util::future::join_all;

use super::hardening::hide_memory;
use super::inspection::{self, Purpose};
use super::{FAILED, FINE, REFUSED, complain, refuse, unless_stopped, with_runtime, written};
use crate::app::{self, Outbound};
use crate::config::{AppIdentity, Config, Replaced, RouteSpec};
use crate::credential::{AccessToken, Identity, ending};

use api::Api;
use attempt::Attempt;
use claims::Claims;
use finding::{Finding, Severity, Subject};
use report::{Diagnosis, Probe, Report, Token};

/// Examines the routes of these names, or all.
pub(super) fn doctor(path: &Path, names: &[String], json: bool) -> u8 {
    hide_memory();
    let found = inspection::inspect(path, Purpose::Run(Replaced::default()), SystemTime::now());
    let warnings = found.warnings.0.len();
    // Standard error is all there is to tell it to.
    let _ = found.tell(path, &mut io::stderr());
    let Some(config) = found.usable() else {
        return REFUSED;
    };
    let routes = match chosen(&config, names) {
        Ok(routes) => routes,
        Err(words) => return refuse(&words),
    };
    let outbound = match app::outbound(&config) {
        Ok(outbound) => outbound,
        Err(error) => return complain(&error),
    };
    with_runtime(|runtime| {
        written(|out| {
            let work = unless_stopped(examine_all(&routes, &outbound, json, out));
            match tokio::task::LocalSet::new().block_on(runtime, work) {
                Ok(examined) => told(examined?, warnings, json, out),
                Err(code) => Ok(code),
            }
        })
    })
}

/// The routes of these names, in the order of the file.
fn chosen<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a RouteSpec>, String> {
    if let Some(unknown) = names.iter().find(|name| config.route(name).is_none()) {
        return Err(super::token::unknown_route(config, unknown));
    }
    let wanted = |route: &&RouteSpec| {
        names.is_empty() || names.iter().any(|name| name == route.name.as_str())
    };
    Ok(config.routes.iter().filter(wanted).collect())
}

async fn examine_all(
    routes: &[&RouteSpec],
    outbound: &Outbound,
    json: bool,
    out: &mut dyn Write,
) -> io::Result<Vec<Diagnosis>> {
    // As the cache would, routes that share a token ask once.
    let key = |route: &RouteSpec| (route.credential, route.scope.clone());
    let wanted: BTreeSet<_> = routes.iter().map(|route| key(route)).collect();
    let calls = wanted
        .iter()
        .map(|(credential, scope)| attempt::ask(&outbound.credentials[*credential], scope));
    let tokens: BTreeMap<_, _> = wanted.iter().zip(join_all(calls).await).collect();
    let mut examined = Vec::new();
    for route in routes {
        let diagnosis = examine(route, outbound, &tokens[&&key(route)]).await;
        if !json {
            diagnosis.write(out)?;
            writeln!(out)?;
            out.flush()?;
        }
        examined.push(diagnosis);
    }
    Ok(examined)
}

/// Ends with what programs read, or with the sum of it all. `warnings` is how many the file has.
fn told(
    examined: Vec<Diagnosis>,
    warnings: usize,
    json: bool,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let works = examined.iter().all(|diagnosis| diagnosis.works);
    if json {
        let report = Report {
            works,
            routes: examined,
        };
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", report::summary(&examined, warnings))?;
    }
    Ok(if works { FINE } else { FAILED })
}

async fn examine(
    route: &RouteSpec,
    outbound: &Outbound,
    (attempt, found): &(Option<Attempt<'_>>, Vec<Finding>),
) -> Diagnosis {
    let mut findings = found.clone();
    let (mut token, mut probe) = (None, None);
    if let Some(attempt) = attempt
        && let Ok(access) = &attempt.outcome
    {
        let document = super::token::claims(access);
        let claims = document.as_ref().map(Claims::of);
        token = Some(shown(attempt, access, claims.as_ref()));
        findings.extend(judge(route, attempt, claims.as_ref()));
        let api = Api::of(route);
        let path = api.probe(route.upstream.prefix.as_str());
        let answer = probe::send(route, &outbound.egress, &access.secret, &path).await;
        let claims = claims.unwrap_or_default();
        findings.extend(verdict::judge(&answer, api, route, &claims));
        probe = Some(Probe {
            method: "GET",
            path,
            status: answer.status(),
        });
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Diagnosis {
        route: route.name.to_string(),
        upstream: route.upstream.to_string(),
        scope: route.scope.to_string(),
        works: findings.iter().all(|it| it.severity != Severity::Problem),
        token,
        probe,
        findings,
    }
}

/// What is to be said of a token and of the credential it was had with.
fn judge(route: &RouteSpec, attempt: &Attempt<'_>, claims: Option<&Claims>) -> Vec<Finding> {
    let (credential, now) = (attempt.credential, SystemTime::now());
    let end = credential.expiry();
    let ending = end.and_then(|end| ending(credential.name(), end, now));
    let ending = ending.map(|words| Finding::warning(Subject::Credential, words));
    let mut findings: Vec<Finding> = ending.into_iter().collect();
    if let Some(claims) = claims {
        let api = Api::of(route);
        findings.extend(claims.judge(app_of(credential.identity()), api, now));
        if api == Api::Graph {
            findings.extend(roles::judge(&claims.roles, route));
            findings.extend(missing::judge(&claims.roles, route));
        }
    }
    findings
}

fn shown(attempt: &Attempt<'_>, access: &AccessToken, claims: Option<&Claims>) -> Token {
    let credential = attempt.credential;
    let own = claims.cloned().unwrap_or_default();
    Token {
        credential: credential.name().to_string(),
        kind: match credential.identity() {
            Identity::Certificate(_) => "certificate_file",
            Identity::ClientSecret(_) => "client_secret",
            Identity::FederatedToken(_) => "federated_token_file",
            Identity::ManagedIdentity(_) => "managed_identity",
        },
        from: credential.peer().to_string(),
        took_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
        expires_in: access.expires_in.as_secs(),
        readable: claims.is_some(),
        expires: own.end().map(report::moment),
        audience: own.audience,
        app: own.app,
        tenant: own.tenant,
        roles: own.roles,
        credential_expires: credential.expiry().map(report::moment),
    }
}

/// Who is configured, where that is said.
fn app_of(identity: &Identity) -> Option<&AppIdentity> {
    match identity {
        Identity::Certificate(app)
        | Identity::ClientSecret(app)
        | Identity::FederatedToken(app) => Some(app),
        Identity::ManagedIdentity(_) => None,
    }
}
