//! What is counted about tokens: look-ups by the workers, renewals where tokens are renewed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::cells::Cells;
use super::label::RefreshOutcome;
use super::tally::{DurationTotals, Durations, Tally};

use crate::lock::locked;

/// One worker's look-ups of one token. Only that worker's thread may count; any thread may read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TokenCells {
    hits: Tally,
    misses: Tally,
}

impl TokenCells {
    /// A forwarded request found a usable token.
    #[inline]
    pub fn hit(&self) {
        self.hits.add(1);
    }

    /// A forwarded request had to wait for a token.
    #[inline]
    pub fn miss(&self) {
        self.misses.add(1);
    }
}

/// Look-ups of one token, summed over workers.
#[derive(Debug, Default)]
pub(super) struct LookUps {
    pub(super) hits: u64,
    pub(super) misses: u64,
}

impl LookUps {
    pub(super) fn add(cells: &TokenCells, sums: &mut Self) {
        sums.hits += cells.hits.read();
        sums.misses += cells.misses.read();
    }
}

/// The calls for one token, for whoever makes them; any thread may count.
#[derive(Debug, Default)]
pub struct Refreshes {
    counted: Mutex<RefreshTotals>,
}

/// The calls for every token, by its labels. They go on counting when a token gets another entry in
/// the cache, and when another token goes by its name.
#[derive(Debug, Default)]
pub struct RefreshCounts {
    cells: Cells<TokenLabels, Refreshes>,
}

impl RefreshCounts {
    /// The counts of these labels, whoever counts.
    pub fn of(&self, credential: &str, scope: &str) -> Arc<Refreshes> {
        self.cells.of(0, TokenLabels::new(credential, scope))
    }

    pub(super) fn totals(&self) -> BTreeMap<TokenLabels, RefreshTotals> {
        self.cells
            .sums(|counted, sum: &mut RefreshTotals| sum.add(&counted.totals()))
    }
}

/// What [`Refreshes`] held when they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshTotals {
    pub(super) outcomes: [u64; RefreshOutcome::ALL.len()],
    pub(super) durations: DurationTotals,
}

impl Refreshes {
    /// A call ended.
    pub fn ended(&self, outcome: RefreshOutcome, after: Duration) {
        let duration = Durations::default();
        duration.record(after);
        let mut counted = locked(&self.counted);
        counted.outcomes[outcome as usize] += 1;
        counted.durations.add(&duration.totals());
    }

    /// What was counted so far.
    pub fn totals(&self) -> RefreshTotals {
        locked(&self.counted).clone()
    }
}

impl RefreshTotals {
    /// Calls that ended like this.
    pub fn ended(&self, outcome: RefreshOutcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += more;
        }
        self.durations.add(&other.durations);
    }
}

/// What the token cache tells about one of its tokens at a scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenNumbers {
    /// The credential's name.
    pub credential: String,
    /// The scope.
    pub scope: String,
    /// When the token that is in use expires; `None` when there is none.
    pub expires: Option<SystemTime>,
    /// Requests that wait for the token now.
    pub waiters: u64,
}

/// What tells the tokens of the metrics apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TokenLabels {
    pub(super) credential: String,
    pub(super) scope: String,
}

impl TokenLabels {
    pub(super) fn new(credential: &str, scope: &str) -> Self {
        Self {
            credential: credential.to_owned(),
            scope: scope.to_owned(),
        }
    }
}

impl TokenNumbers {
    /// Adds what came under the same labels: a page with a series twice would be refused whole.
    pub(super) fn merge(&mut self, other: &Self) {
        self.expires = self.expires.into_iter().chain(other.expires).min();
        self.waiters += other.waiters;
    }
}
