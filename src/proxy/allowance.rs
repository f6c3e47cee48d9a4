//! Memory that bodies may be held in: taken before it is used and given back when the holder is
//! dropped. Workers may share one: it is not touched by requests whose bodies stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left of it, in bytes.
#[derive(Debug)]
pub(super) struct Allowance(AtomicUsize);

/// Some of it, in use.
#[derive(Debug)]
pub(super) struct Held {
    allowance: Arc<Allowance>,
    bytes: usize,
}

impl Allowance {
    /// So many bytes.
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    /// Takes some of it, if it is there.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        self.reduce(bytes).then(|| Held {
            allowance: Arc::clone(self),
            bytes,
        })
    }

    fn reduce(&self, bytes: usize) -> bool {
        let left = |free: usize| free.checked_sub(bytes);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .is_ok()
    }
}

impl Held {
    /// Takes more, if it is there.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let grown = self.allowance.reduce(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.allowance.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_there_again_when_its_holder_is_gone() {
        let allowance = Allowance::new(10);
        let mut first = allowance.take(5);
        assert!(first.as_mut().unwrap().grow(1));
        assert!(!first.as_mut().unwrap().grow(5));
        assert!(allowance.take(5).is_none());
        assert!(allowance.take(4).is_some());
        drop(first);
        assert!(allowance.take(10).is_some());
    }
}
