//! The `tokenferry` command: parses the arguments, runs one of the commands and turns its outcome
//! into an exit code: 0 fine, 1 failed while running, 2 configuration or usage refused.

#![forbid(unsafe_code)]

use std::process::ExitCode;

// An exchange makes some 15 short-lived allocations, some of them of 8 KiB. With 64 callers of 1 KB
// answers, glibc's allocator took 9 % of the CPU time of a worker, this one takes half of that
// (perf, 2-core Xeon, November 2026).
//
// With glibc it takes the place of `malloc` itself, which Rust's own allocator calls. As a global
// allocator it is asked for an alignment each time, and leaves its short way with each block above
// 1 KiB: 900 instructions of an exchange.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use mimalloc as _;

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(tokenferry::cli::main())
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    #[test]
    fn no_memory_comes_from_the_allocator_of_glibc() {
        let kept: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let heap = maps.lines().find(|line| line.ends_with("[heap]"));
        assert_eq!(heap, None, "{} strings are kept", kept.len());
    }
}
