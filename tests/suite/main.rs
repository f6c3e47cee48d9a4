//! Behaviour seen from outside, in one binary.

mod harness;

mod access_log;
mod admin;
mod article;
mod headers;
mod http2;
mod limits;
mod operations;
mod own_answers;
mod retries;
mod routing;
mod streaming;
mod tokens;
mod uploads;
