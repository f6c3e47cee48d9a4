//! Behaviour seen from outside, in one binary.

mod harness;

mod article;
mod headers;
mod limits;
mod operations;
mod own_answers;
mod retries;
mod routing;
mod streaming;
