//! Memory that bodies may be held in: a worker's share, taken before it is used and given back when
//! the holder is dropped.

use std::cell::Cell;
use std::rc::Rc;

/// What is left of a worker's share.
#[derive(Debug)]
pub(super) struct Allowance(Cell<usize>);

/// Some of it, in use.
#[derive(Debug)]
pub(super) struct Held {
    allowance: Rc<Allowance>,
    bytes: usize,
}

impl Allowance {
    /// A share of so many bytes.
    pub(super) fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self(Cell::new(bytes)))
    }

    /// Takes some of it, if it is there.
    pub(super) fn take(self: &Rc<Self>, bytes: usize) -> Option<Held> {
        self.0.set(self.0.get().checked_sub(bytes)?);
        Some(Held {
            allowance: Rc::clone(self),
            bytes,
        })
    }
}

impl Held {
    /// Takes more, if it is there.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let Some(left) = self.allowance.0.get().checked_sub(bytes) else {
            return false;
        };
        self.allowance.0.set(left);
        self.bytes += bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.allowance.0.set(self.allowance.0.get() + self.bytes);
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
