//! What is counted about the program as a whole: reloads, panics, lines that were dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::proto::MetricFamily;

use super::family;

/// The commit that was built, when the build says so.
const REVISION: Option<&str> = option_env!("TOKENFERRY_REVISION");

/// Rare events, so that shared counters do.
#[derive(Debug, Default)]
pub(super) struct Program {
    reloaded: AtomicU64,
    refused: AtomicU64,
    last_refused: AtomicBool,
    last_read: AtomicU64,
    panics: AtomicU64,
}

impl Program {
    pub(super) fn loaded(&self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_read.store(since.as_secs(), Ordering::Relaxed);
    }

    pub(super) fn reload_ended(&self, in_force: bool, at: SystemTime) {
        let outcome = if in_force {
            &self.reloaded
        } else {
            &self.refused
        };
        outcome.fetch_add(1, Ordering::Relaxed);
        self.last_refused.store(!in_force, Ordering::Relaxed);
        self.loaded(at);
    }

    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn families(&self, log_dropped: u64) -> Vec<MetricFamily> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let plain = |family: &family::Family, value: u64| {
            family.counts(std::iter::once(([], value)), |value| value)
        };
        let reloads = [
            (["success"], read(&self.reloaded)),
            (["failure"], read(&self.refused)),
        ];
        let in_force = !self.last_refused.load(Ordering::Relaxed);
        let build = [env!("CARGO_PKG_VERSION"), REVISION.unwrap_or("unknown")];
        vec![
            family::RELOADS.counts(reloads.into_iter(), |count| count),
            plain(&family::RELOAD_SUCCESSFUL, u64::from(in_force)),
            plain(&family::RELOAD_TIMESTAMP, read(&self.last_read)),
            family::BUILD.counts(std::iter::once((build, 1)), |value| value),
            plain(&family::LOG_DROPPED, log_dropped),
            plain(&family::PANICS, read(&self.panics)),
        ]
    }
}
