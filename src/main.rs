//! The `tokenferry` command: parses the arguments, runs one of the commands and turns its outcome
//! into an exit code: 0 fine, 1 failed while running, 2 configuration or usage refused.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use tokenferry::cli::{self, Args};

fn main() -> ExitCode {
    ExitCode::from(cli::main(Args::parse()))
}
