//! Every set of cells that was handed out, by label values and worker.
//!
//! Asking again for the same labels and worker gives the same cells, so that counters go on after a
//! reload. Look-ups are for configuration time and for scrapes; counting never comes here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::lock::locked;

/// Label values beyond which those that no configuration holds any more are forgotten: a file that
/// is generated with new names for ever must not fill the memory. Where more than half as many are
/// held, twice what is held: looking through them for each new name would take a file of thousands
/// of routes seconds.
const KEPT: usize = 1000;

/// The cells of one kind. Keys are compared as they are, never as hashes.
#[derive(Debug)]
pub(super) struct Cells<Labels, Kind> {
    handed_out: Mutex<HandedOut<Labels, Kind>>,
}

#[derive(Debug)]
struct HandedOut<Labels, Kind> {
    cells: BTreeMap<Labels, BTreeMap<usize, Arc<Kind>>>,
    /// The next look for what no configuration holds is at this many label values.
    full_at: usize,
}

impl<Labels, Kind> Default for HandedOut<Labels, Kind> {
    fn default() -> Self {
        Self {
            cells: BTreeMap::new(),
            full_at: KEPT,
        }
    }
}

impl<Labels, Kind> Default for Cells<Labels, Kind> {
    fn default() -> Self {
        Self {
            handed_out: Mutex::default(),
        }
    }
}

impl<Labels: Ord + Clone, Kind: Default> Cells<Labels, Kind> {
    /// A worker's cells for these labels.
    pub(super) fn of(&self, worker: usize, labels: Labels) -> Arc<Kind> {
        let mut handed_out = locked(&self.handed_out);
        let HandedOut { cells, full_at } = &mut *handed_out;
        if cells.len() >= *full_at && !cells.contains_key(&labels) {
            let held = |cells: &Arc<Kind>| Arc::strong_count(cells) > 1;
            cells.retain(|_, of_workers| of_workers.values().any(held));
            *full_at = KEPT.max(2 * cells.len());
        }
        let of_workers = cells.entry(labels).or_default();
        Arc::clone(of_workers.entry(worker).or_default())
    }

    /// The sums over workers.
    pub(super) fn sums<Sum: Default>(
        &self,
        add: impl Fn(&Kind, &mut Sum),
    ) -> BTreeMap<Labels, Sum> {
        let handed_out = locked(&self.handed_out);
        let sum = |of_workers: &BTreeMap<usize, Arc<Kind>>| {
            let mut sum = Sum::default();
            of_workers.values().for_each(|cells| add(cells, &mut sum));
            sum
        };
        let each = handed_out
            .cells
            .iter()
            .map(|(labels, each)| (labels.clone(), sum(each)));
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tally::Tally;

    #[test]
    fn the_same_labels_and_worker_get_the_same_cells_after_a_reload() {
        let cells: Cells<String, Tally> = Cells::default();
        cells.of(0, "graph".into()).add(2);
        cells.of(1, "graph".into()).add(3);
        cells.of(0, "graph".into()).add(5);
        let sums = cells.sums(|tally, sum: &mut u64| *sum += tally.read());
        assert_eq!(sums, BTreeMap::from([("graph".to_owned(), 10)]));
    }

    #[test]
    fn cells_that_are_held_are_not_looked_through_for_each_new_name() {
        let cells: Cells<usize, Tally> = Cells::default();
        let known = || cells.sums(|_, _: &mut ()| ()).len();
        let held: Vec<_> = (0..KEPT).map(|name| cells.of(0, name)).collect();
        for name in KEPT..2 * KEPT {
            cells.of(0, name);
        }
        assert_eq!(known(), 2 * KEPT);
        for name in 2 * KEPT..9 * KEPT {
            cells.of(0, name);
        }
        assert!(known() <= 2 * KEPT);
        drop(held);
    }

    #[test]
    fn names_that_are_not_held_are_forgotten_before_they_fill_the_memory() {
        let cells: Cells<usize, Tally> = Cells::default();
        let held = cells.of(0, 0);
        for name in 0..10 * KEPT {
            cells.of(0, name);
        }
        held.add(1);
        let sums = cells.sums(|tally, sum: &mut u64| *sum += tally.read());
        assert!(sums.len() <= KEPT);
        assert_eq!(sums[&0], 1);
    }
}
