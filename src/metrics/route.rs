//! What a worker counts for a route, and the sums over workers.
//!
//! Counting is a few plain additions in memory that no other thread writes; there is no look-up by
//! name and no allocation, but for the first answer of a method and class of status.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use super::label::{ConnectionState, MethodLabel, RetryReason};
use super::tally::{DurationTotals, Durations, Tally};

/// One worker's numbers of one route. Only that worker's thread may count; any thread may read.
///
/// Aligned to two cache lines, which processors fetch in pairs: workers do not slow each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RouteCells {
    started: Tally,
    ended: Tally,
    request_bytes: Tally,
    response_bytes: Tally,
    durations: Durations,
    heads: Durations,
    answers: [OnceLock<Box<Statuses>>; MethodLabel::ALL.len()],
    connections: [Tally; ConnectionState::ALL.len()],
    links: Tally,
    retries: [Tally; RetryReason::ALL.len()],
    throttled: Tally,
}

/// Counts by the first digit of the status, then by the other two: 800 bytes for each class seen.
#[derive(Debug, Default)]
struct Statuses([OnceLock<Box<Class>>; 10]);

#[derive(Debug)]
struct Class([Tally; 100]);

impl Default for Class {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Tally::default()))
    }
}

impl RouteCells {
    /// A request was taken up.
    #[inline]
    pub fn request_started(&self) {
        self.started.add(1);
    }

    /// A request is over: its answer's body has ended, failed or been dropped. `status` is 0 when
    /// the caller went away before there was an answer.
    #[inline]
    pub fn request_ended(
        &self,
        method: MethodLabel,
        status: u16,
        duration: Duration,
        request_bytes: u64,
        response_bytes: u64,
    ) {
        self.ended.add(1);
        self.durations.record(duration);
        self.request_bytes.add(request_bytes);
        self.response_bytes.add(response_bytes);
        let status = usize::from(status.min(999));
        let statuses = self.answers[method as usize].get_or_init(Box::default);
        let class = statuses.0[status / 100].get_or_init(Box::default);
        class.0[status % 100].add(1);
    }

    /// The head of the upstream's answer arrived, this long after the request was sent.
    #[inline]
    pub fn head_arrived(&self, after: Duration) {
        self.heads.record(after);
    }

    /// The request is sent to the upstream once more.
    pub fn retried(&self, reason: RetryReason) {
        self.retries[reason as usize].add(1);
    }

    /// The upstream asked for quiet: 429, or 503 with `Retry-After`.
    pub fn throttled(&self) {
        self.throttled.add(1);
    }

    /// Links of an answer were made to point here.
    #[inline]
    pub fn links_rewritten(&self, links: u64) {
        self.links.add(links);
    }

    /// A connection was opened, or one began to be counted, in this state.
    #[inline]
    pub fn connection_entered(&self, state: ConnectionState) {
        self.connections[state as usize].add(1);
    }

    /// A connection left this state: for the other one, or closed.
    #[inline]
    pub fn connection_left(&self, state: ConnectionState) {
        self.connections[state as usize].sub(1);
    }

    /// Adds what this worker counted.
    pub(super) fn add_to(&self, totals: &mut RouteTotals) {
        // Ended first: a request that ends in between is then in flight, and never less than none.
        let ended = self.ended.read();
        totals.ended += ended;
        totals.in_flight += self.started.read().saturating_sub(ended);
        totals.request_bytes += self.request_bytes.read();
        totals.response_bytes += self.response_bytes.read();
        totals.durations.add(&self.durations.totals());
        totals.heads.add(&self.heads.totals());
        totals.links += self.links.read();
        totals.throttled += self.throttled.read();
        for (sum, one) in totals.retries.iter_mut().zip(&self.retries) {
            *sum += one.read();
        }
        for (sum, one) in totals.connections.iter_mut().zip(&self.connections) {
            *sum = sum.wrapping_add(one.read());
        }
        for (method, statuses) in MethodLabel::ALL.iter().zip(&self.answers) {
            let Some(statuses) = statuses.get() else {
                continue;
            };
            for (hundreds, class) in statuses.0.iter().enumerate() {
                let Some(class) = class.get() else { continue };
                for (rest, count) in class.0.iter().enumerate() {
                    totals.count(*method, (hundreds * 100 + rest) as u16, count.read());
                }
            }
        }
    }
}

/// A route's numbers, summed over workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTotals {
    /// Requests that are over.
    pub ended: u64,
    /// Requests that are not.
    pub in_flight: u64,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of answers' bodies.
    pub response_bytes: u64,
    /// From the request's head to the end.
    pub durations: DurationTotals,
    /// From the request that was sent to the head of the upstream's answer.
    pub heads: DurationTotals,
    /// Links that were rewritten.
    pub links: u64,
    /// Answers by which the upstream asked for quiet.
    pub throttled: u64,
    pub(super) retries: [u64; RetryReason::ALL.len()],
    pub(super) connections: [u64; ConnectionState::ALL.len()],
    pub(super) answers: BTreeMap<(MethodLabel, u16), u64>,
}

impl RouteTotals {
    /// Requests by method and status, those that were seen; and from the start GET with 200, so
    /// that rates have something to begin with.
    pub fn answers(&self) -> impl Iterator<Item = (MethodLabel, u16, u64)> {
        let known = (MethodLabel::Get, 200);
        let absent = !self.answers.contains_key(&known);
        let seen = self
            .answers
            .iter()
            .map(|(&(method, status), &count)| (method, status, count));
        seen.chain(absent.then_some((known.0, known.1, 0)))
    }

    /// Requests with a status from `from` to below `below`.
    pub fn answered(&self, from: u16, below: u16) -> u64 {
        let within = self
            .answers()
            .filter(|(_, status, _)| (from..below).contains(status));
        within.map(|(.., count)| count).sum()
    }

    fn count(&mut self, method: MethodLabel, status: u16, count: u64) {
        if count > 0 {
            *self.answers.entry((method, status)).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_status_is_counted_under_its_number() {
        let cells = RouteCells::default();
        for status in [0, 200, 599, 999, u16::MAX] {
            cells.request_ended(MethodLabel::Get, status, Duration::ZERO, 0, 0);
        }
        let mut totals = RouteTotals::default();
        cells.add_to(&mut totals);
        let seen: Vec<_> = totals.answers().map(|(_, status, n)| (status, n)).collect();
        assert_eq!(seen, [(0, 1), (200, 1), (599, 1), (999, 2)]);
        assert_eq!(totals.in_flight, 0);
    }
}
