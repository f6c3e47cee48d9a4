//! The bound on requests in flight. It is one number for all workers, leased to them many at a
//! time, so that a request usually changes memory of its own worker only.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::allowance::Allowance;
use super::batch;

/// The places that no worker holds.
#[derive(Debug)]
pub struct Admission {
    free: AtomicUsize,
    lease_size: usize,
    workers: usize,
    /// What batches hold: one amount for all, because the largest of them may need all of it.
    pub(super) batch_memory: Arc<Allowance>,
}

/// A worker's places.
#[derive(Debug)]
pub(super) struct Places {
    shared: Arc<Admission>,
    spare: Cell<usize>,
}

impl Admission {
    /// At most `limit` requests over `workers` workers. Small limits are exact; of large ones each
    /// worker may hold up to a sixty-fourth of its share unused.
    pub fn new(limit: usize, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicUsize::new(limit),
            lease_size: (limit / (workers.max(1) * 64)).clamp(1, 64),
            workers: workers.max(1),
            batch_memory: Allowance::new(batch::HELD),
        })
    }

    /// A worker's share of what all of them may hold together.
    pub fn share(&self, total: usize) -> usize {
        total / self.workers
    }
}

impl Places {
    /// The places of a worker: none yet.
    pub(super) fn of(shared: Arc<Admission>) -> Self {
        Self {
            shared,
            spare: Cell::new(0),
        }
    }

    /// Takes a place, if there is one.
    pub(super) fn take(&self) -> bool {
        if let Some(spare) = self.spare.get().checked_sub(1) {
            self.spare.set(spare);
            return true;
        }
        let lease_size = self.shared.lease_size;
        let leased = self
            .shared
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                (free > 0).then(|| free - free.min(lease_size))
            });
        match leased {
            Ok(before) => {
                self.spare.set(before.min(lease_size) - 1);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives a place back.
    pub(super) fn give(&self) {
        let spare = self.spare.get() + 1;
        let lease_size = self.shared.lease_size;
        let keep = if spare >= lease_size {
            lease_size / 2
        } else {
            spare
        };
        if spare > keep {
            self.shared.free.fetch_add(spare - keep, Ordering::Relaxed);
        }
        self.spare.set(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_limit_is_exact_across_workers() {
        let shared = Admission::new(3, 2);
        let (a, b) = (Places::of(Arc::clone(&shared)), Places::of(shared));
        assert!(a.take() && b.take() && a.take());
        assert!(!a.take() && !b.take());
        b.give();
        assert!(
            a.take(),
            "a place that one worker gives back serves another"
        );
        assert!(!b.take());
    }

    #[test]
    fn a_large_limit_is_never_exceeded() {
        let shared = Admission::new(10_000, 2);
        let (a, b) = (Places::of(Arc::clone(&shared)), Places::of(shared));
        let mut taken = 0;
        while a.take() {
            taken += 1;
            taken += usize::from(b.take());
        }
        while b.take() {
            taken += 1;
        }
        assert_eq!(taken, 10_000);
        for _ in 0..5_000 {
            a.give();
        }
        let again = (0..6_000).filter(|_| b.take()).count();
        assert!((4_900..=5_000).contains(&again), "{again}");
    }
}
