//! Numbers that one thread writes and any thread reads.
//!
//! Adding is a load and a store, without a locked instruction: the hot path costs what plain
//! integers cost. Two threads that add to one tally would lose counts (never more than that), so
//! each worker has tallies of its own and a scrape sums them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A count, or a level that goes up and down.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    #[inline]
    pub(super) fn add(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn sub(&self, n: u64) {
        let rest = self.0.load(Ordering::Relaxed).wrapping_sub(n);
        self.0.store(rest, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets in microseconds: OpenTelemetry's advice for HTTP, with 30 s and 100 s
/// for exports and long streams.
pub(super) const BOUNDS: [u32; 16] = [
    5_000,
    10_000,
    25_000,
    50_000,
    75_000,
    100_000,
    250_000,
    500_000,
    750_000,
    1_000_000,
    2_500_000,
    5_000_000,
    7_500_000,
    10_000_000,
    30_000_000,
    100_000_000,
];

/// Durations by bucket, and their sum. One thread writes, any thread reads.
#[derive(Debug, Default)]
pub(super) struct Durations {
    /// The last one is for what is longer than every bound.
    buckets: [Tally; BOUNDS.len() + 1],
    micros: Tally,
}

/// Durations by bucket and their sum, over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurationTotals {
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    pub(super) micros: u64,
}

impl Durations {
    /// Counts one duration; longer than 71 minutes counts as that.
    #[inline]
    pub(super) fn record(&self, duration: Duration) {
        // Not `as_micros`, which is 128 bits wide.
        let micros = duration
            .as_secs()
            .saturating_mul(1_000_000)
            .saturating_add(u64::from(duration.subsec_micros()));
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        self.buckets[bucket(micros)].add(1);
        self.micros.add(u64::from(micros));
    }

    /// What was counted so far.
    pub(super) fn totals(&self) -> DurationTotals {
        DurationTotals {
            buckets: std::array::from_fn(|at| self.buckets[at].read()),
            micros: self.micros.read(),
        }
    }
}

/// The index of the first bound that is not below; counted without branches, four bounds at a time.
#[inline]
fn bucket(micros: u32) -> usize {
    BOUNDS
        .iter()
        .map(|bound| usize::from(micros > *bound))
        .sum()
}

impl DurationTotals {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += more;
        }
        self.micros += other.micros;
    }

    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their mean; `None` when there were none.
    pub fn mean(&self) -> Option<Duration> {
        let micros = self.micros.checked_div(self.count())?;
        Some(Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_on_a_bound_belongs_to_that_bucket() {
        for (at, bound) in BOUNDS.into_iter().enumerate() {
            assert_eq!(bucket(bound), at);
            assert_eq!(bucket(bound + 1), at + 1);
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u32::MAX), BOUNDS.len());
    }

    #[test]
    fn totals_are_exact_sums_of_microseconds() {
        let (one, two) = (Durations::default(), Durations::default());
        one.record(Duration::from_nanos(4_999_999));
        one.record(Duration::from_millis(75));
        two.record(Duration::MAX);
        let mut totals = one.totals();
        totals.add(&two.totals());
        assert_eq!(totals.count(), 3);
        assert_eq!(totals.micros, 4_999 + 75_000 + u64::from(u32::MAX));
        assert_eq!(totals.buckets[0], 1);
        assert_eq!(totals.buckets[4], 1);
        assert_eq!(totals.buckets[16], 1);
        assert_eq!(one.totals().mean(), Some(Duration::from_micros(39_999)));
        assert_eq!(DurationTotals::default().mean(), None);
    }
}
