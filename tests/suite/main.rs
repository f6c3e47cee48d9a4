//! Behaviour seen from outside, in one binary.

mod harness;

mod access_log;
mod admin;
#[cfg(feature = "installed")]
mod arc_key;
mod article;
mod audit;
mod batches;
mod callers;
mod challenges;
mod check;
mod claims;
mod cli;
#[cfg(feature = "installed")]
mod clients;
mod cluster;
mod connections;
mod counts;
mod credentials;
mod demo;
mod deploy;
mod descriptors;
mod doctor;
mod downloads;
mod egress;
mod expiry;
#[cfg(feature = "installed")]
mod forward_proxy;
mod hardening;
mod headers;
mod held_bodies;
mod hostile;
mod http2;
mod identity;
mod limits;
mod link_carriers;
mod links;
mod memory;
#[cfg(feature = "installed")]
mod msal;
mod operations;
mod own_answers;
mod panics;
mod pauses;
mod proof_secrecy;
mod proofs;
mod readme;
mod references;
mod reload;
mod retries;
mod routing;
mod secrecy;
mod shutdown;
mod slips;
mod spoilt;
mod streaming;
mod throttling;
mod tidy;
mod tls;
mod tokens;
mod trunks;
mod trust;
mod uploads;
mod windows;
