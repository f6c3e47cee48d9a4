//! What the running program tells about itself, gathered when somebody looks.

use std::sync::{Arc, Mutex};

use crate::access_log::AccessLog;
use crate::admin::{Configuration, Report, Route, Token};
use crate::clock::Now;
use crate::credential::Credential;
use crate::lock::locked;
use crate::metrics::{Reading, TokenNumbers};
use crate::proxy::generation::{self, Generation, InForce};
use crate::token::{TokenCache, TokenEntry, TokenStatus};

/// What others count, for the metrics.
pub(super) fn numbers(
    tokens: &TokenCache,
    in_force: &Arc<InForce>,
    access_log: &Arc<AccessLog>,
) -> impl Fn() -> Reading + Send + Sync + 'static {
    let (tokens, in_force) = (tokens.clone(), Arc::clone(in_force));
    let access_log = Arc::clone(access_log);
    move || {
        let (generation, entries, now) = (in_force.load(), tokens.entries(), Now::read());
        let token = |entry: &Arc<TokenEntry>| {
            let status = entry.status(now);
            TokenNumbers {
                credential: status.credential.to_string(),
                scope: status.scope.to_string(),
                expires: status.expires,
                waiters: status.waiters as u64,
            }
        };
        let expiry = |credential: &Arc<Credential>| {
            Some((credential.name().to_string(), credential.expiry()?))
        };
        let fallback = |credential: &Arc<Credential>| {
            credential.fallback()?;
            let mut own = entries.iter().filter(|it| it.key().is_of(credential));
            let active = own.any(|entry| entry.status(now).fallback.is_some());
            Some((credential.name().to_string(), active))
        };
        let credentials = &generation.credentials;
        Reading {
            tokens: entries.iter().map(token).collect(),
            credentials: credentials.iter().filter_map(expiry).collect(),
            fallbacks: credentials.iter().filter_map(fallback).collect(),
            log_dropped: access_log.dropped(),
        }
    }
}

/// The source of the status page and the probes.
pub(super) fn source(
    in_force: &Arc<InForce>,
    tokens: &TokenCache,
    configuration: &Arc<Mutex<Configuration>>,
) -> Box<dyn Fn() -> Report + Send + Sync> {
    let (in_force, tokens) = (Arc::clone(in_force), tokens.clone());
    let configuration = Arc::clone(configuration);
    Box::new(move || {
        let generation = in_force.load();
        let now = Now::read();
        let entries = tokens.entries();
        let configuration = locked(&configuration).clone();
        Report {
            configuration,
            routes: generation
                .routes
                .iter()
                .map(|at| route(&generation, at, &entries))
                .collect(),
            tokens: entries
                .iter()
                .map(|entry| token(&generation, entry.status(now)))
                .collect(),
        }
    })
}

fn route(generation: &Generation, own: &generation::Route, entries: &[Arc<TokenEntry>]) -> Route {
    let spec = &own.spec;
    Route {
        name: spec.name.to_string(),
        matches: spec.matches(),
        upstream: spec.upstream.to_string(),
        credential: generation.config.credentials[spec.credential]
            .name
            .to_string(),
        scope: spec.scope.to_string(),
        token: entries
            .iter()
            .position(|entry| entry.key() == own.token.key()),
    }
}

fn token(generation: &Generation, status: TokenStatus) -> Token {
    let credential = generation
        .credentials
        .iter()
        .find(|credential| *credential.name() == status.credential);
    let replaced = status.fallback.as_ref().and(credential);
    Token {
        fallback_reason: replaced.and_then(|credential| credential.refused()),
        credential_expires: credential.and_then(|credential| credential.expiry()),
        status,
    }
}
