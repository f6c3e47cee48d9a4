//! Behaviour seen from outside, in one binary.

mod harness;

mod article;
mod headers;
mod operations;
mod routing;
mod streaming;
