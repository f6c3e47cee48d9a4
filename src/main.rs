//! The `tokenferry` command: parses the arguments, runs one of the commands and turns its outcome
//! into an exit code: 0 fine, 1 failed while running, 2 configuration or usage refused.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// An exchange makes some 25 short-lived allocations, some of them of 8 KiB. With 64 callers of 1 KB
/// answers, glibc's allocator took 9 % of the CPU time of a worker, this one takes half of that
/// (perf, 2-core Xeon, November 2026).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(tokenferry::cli::main())
}
