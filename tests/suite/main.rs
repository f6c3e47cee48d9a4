//! Behaviour seen from outside, in one binary. Signals, file modes and /proc are part of it.
#![cfg(unix)]

mod harness;

mod access_log;
mod admin;
#[cfg(feature = "installed")]
mod arc_key;
mod batches;
mod caller_pauses;
mod caller_streams;
mod callers;
mod challenges;
mod check;
mod claims;
mod cli;
#[cfg(feature = "installed")]
mod clients;
mod cluster;
mod connections;
mod credentials;
mod demo;
mod deploy;
mod descriptors;
mod doctor;
mod downloads;
mod egress;
mod exact_limits;
mod expiry;
mod fallbacks;
#[cfg(feature = "installed")]
mod forward_proxy;
mod hardening;
mod headers;
mod held_bodies;
mod hostile;
mod http2;
mod identity;
mod kept_over_reload;
mod late_quiet;
mod limits;
mod link_carriers;
mod links;
mod memory;
mod misplaced_secrets;
#[cfg(feature = "installed")]
mod msal;
mod operations;
mod own_answers;
mod panics;
mod proof_secrecy;
mod proofs;
mod readme;
mod references;
mod refusal_records;
mod refused_bodies;
mod reload;
mod retries;
mod retry_pauses;
mod routing;
mod shared_connections;
mod shutdown;
#[cfg(target_os = "linux")]
mod soak;
mod stream_ends;
mod streaming;
mod throttling;
mod tidy;
mod tls;
mod tokens;
mod trust;
mod two_apis;
mod unfinished_uploads;
mod unusable_proofs;
mod uploads;
