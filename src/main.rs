//! The `tokenferry` command: parses the arguments, runs one of the commands and turns its outcome
//! into an exit code: 0 fine, 1 failed while running, 2 configuration or usage refused.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use tokenferry::cli::{self, Args};

/// An exchange makes some 25 short-lived allocations, some of them of 8 KiB. The system's allocator
/// spends a tenth of the exchange's time on them (`benches/README.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(cli::main(Args::parse()))
}
