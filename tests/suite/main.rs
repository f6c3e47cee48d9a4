//! Behaviour seen from outside, in one binary.

mod harness;

mod access_log;
mod admin;
mod article;
mod batches;
mod callers;
mod challenges;
mod cli;
mod clients;
mod connections;
mod credentials;
mod demo;
mod downloads;
mod egress;
mod headers;
mod hostile;
mod http2;
mod limits;
mod links;
mod memory;
mod operations;
mod own_answers;
mod readme;
mod references;
mod reload;
mod retries;
mod routing;
mod secrecy;
mod shutdown;
mod streaming;
mod throttling;
mod tidy;
mod tls;
mod tokens;
mod uploads;
