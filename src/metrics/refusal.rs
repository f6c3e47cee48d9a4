//! What a worker counts of the answers that are the proxy's own.

use super::tally::Tally;
use crate::code::Code;

/// One worker's refusals by code. Only that worker's thread may count; any thread may read.
#[derive(Debug)]
#[repr(align(128))]
pub struct RefusalCells([Tally; Code::ALL.len()]);

impl Default for RefusalCells {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Tally::default()))
    }
}

impl RefusalCells {
    /// A request was answered here, with this code.
    #[inline]
    pub fn refused(&self, code: Code) {
        self.0[code as usize].add(1);
    }

    pub(super) fn add_to(&self, totals: &mut [u64; Code::ALL.len()]) {
        for (sum, one) in totals.iter_mut().zip(&self.0) {
            *sum += one.read();
        }
    }
}
