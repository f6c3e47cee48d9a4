//! Behaviour beside programs that `.ci/run` installs: Microsoft's SDKs and token library, a forward
//! proxy, and a key of Azure Arc. A binary of its own, which plain `cargo test` leaves out: no test of
//! it can pass because a program is missing. It shares the helpers of `suite`, whose own tests come along.
#![cfg(unix)]
// Most helpers are for the tests of `suite`.
#![allow(dead_code)]

mod harness;

mod cli;
mod egress;
mod identity;
mod proofs;
mod tls;

mod arc_key;
mod clients;
mod forward_proxy;
mod msal;
