//! Behaviour seen from outside, in one binary.

mod harness;

mod access_log;
mod admin;
mod article;
mod callers;
mod cli;
mod connections;
mod egress;
mod headers;
mod hostile;
mod http2;
mod limits;
mod memory;
mod operations;
mod own_answers;
mod reload;
mod retries;
mod routing;
mod secrecy;
mod shutdown;
mod streaming;
mod tls;
mod tokens;
mod uploads;
