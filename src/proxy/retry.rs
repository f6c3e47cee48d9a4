//! Retries that a route asks for. Off by default, because the SDKs retry themselves, and where
//! both try three times, one request becomes nine. Only requests that mean the same when they are sent twice are
//! retried, within a budget, and never longer than a caller waits.

use std::cell::Cell;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::config::{LATEST_RETRY, RetrySpec};

/// The first pause when the upstream names none; the next ones double.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Each retry is paid for by this many requests: a fifth of the load, at most.
const PRICE: u32 = 5;
/// What can be saved up: ten retries.
const SAVINGS: u32 = 10 * PRICE;

/// A worker's budget for the retries of a route.
#[derive(Debug)]
pub(super) struct RetryBudget(Cell<u32>);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(Cell::new(SAVINGS))
    }
}

impl RetryBudget {
    /// A request came.
    pub(super) fn save(&self) {
        self.0.set((self.0.get() + 1).min(SAVINGS));
    }

    /// How long to wait before the next attempt, and what it costs; `None` when there is none. `random`
    /// is from 0 to 1.
    pub(super) fn pause(
        &self,
        spec: &RetrySpec,
        tried: &Tried<'_>,
        random: f64,
    ) -> Option<(Duration, Price<'_>)> {
        let listed = spec.statuses.contains(&tried.status.as_u16());
        if !listed || !tried.method.is_idempotent() || tried.attempts >= spec.attempts {
            return None;
        }
        let pause = match tried.asked {
            Some(asked) if asked > spec.max_wait => return None,
            // Up to a tenth more, so that those who were told the same do not come at once.
            Some(asked) => asked.mul_f64(1.0 + random / 10.0).min(spec.max_wait),
            None => {
                let whole = FIRST_PAUSE * 2_u32.saturating_pow(tried.attempts - 1);
                whole.mul_f64(0.5 + random / 2.0).min(spec.max_wait)
            }
        };
        let price = (tried.waited + pause <= LATEST_RETRY).then(|| self.reserve());
        Some((pause, price??))
    }

    /// Puts the price of a retry aside, if it is there: no more requests pause than can be sent again.
    fn reserve(&self) -> Option<Price<'_>> {
        let left = self.0.get().checked_sub(PRICE)?;
        self.0.set(left);
        Some(Price {
            budget: self,
            paid: false,
        })
    }
}

/// The attempts so far, and the answer to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried<'a> {
    /// How many there were.
    pub(super) attempts: u32,
    /// What was asked.
    pub(super) method: &'a Method,
    /// The status of the answer.
    pub(super) status: StatusCode,
    /// The pause that it asked for.
    pub(super) asked: Option<Duration>,
    /// Since the request came.
    pub(super) waited: Duration,
}

/// The price of a retry. It goes back unless it is paid: the retry may come to nothing.
#[derive(Debug)]
pub(super) struct Price<'a> {
    budget: &'a RetryBudget,
    paid: bool,
}

impl Price<'_> {
    /// The retry is made.
    pub(super) fn pay(mut self) {
        self.paid = true;
    }
}

impl Drop for Price<'_> {
    fn drop(&mut self) {
        if !self.paid {
            let saved = &self.budget.0;
            saved.set((saved.get() + PRICE).min(SAVINGS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: Tried<'_> = Tried {
        attempts: 1,
        method: &Method::GET,
        status: StatusCode::SERVICE_UNAVAILABLE,
        asked: None,
        waited: Duration::ZERO,
    };

    fn spec() -> RetrySpec {
        RetrySpec {
            attempts: 3,
            statuses: vec![429, 503],
            max_wait: Duration::from_secs(30),
        }
    }

    /// The longest pause, in seconds.
    fn paused(
        attempts: u32,
        method: &Method,
        status: u16,
        after: Option<u64>,
        waited: u64,
    ) -> Option<f64> {
        let tried = Tried {
            attempts,
            method,
            status: StatusCode::from_u16(status).unwrap(),
            asked: after.map(Duration::from_secs),
            waited: Duration::from_secs(waited),
        };
        let budget = RetryBudget::default();
        let (pause, _price) = budget.pause(&spec(), &tried, 1.0)?;
        Some(pause.as_secs_f64())
    }

    #[test]
    fn the_upstreams_pause_is_kept_and_one_that_is_too_long_is_not_waited_for() {
        let paused = |after, waited| paused(1, &Method::GET, 429, Some(after), waited);
        assert_eq!(paused(10, 0), Some(11.0));
        assert_eq!(paused(30, 0), Some(30.0));
        assert_eq!(paused(31, 0), None);
        assert_eq!(paused(10, 79), Some(11.0));
        assert_eq!(paused(10, 80), None, "the caller has left by then");
    }

    #[test]
    fn without_one_pauses_double() {
        assert_eq!(paused(1, &Method::PUT, 503, None, 0), Some(1.0));
        assert_eq!(paused(2, &Method::PUT, 503, None, 0), Some(2.0));
    }

    #[test]
    fn a_pause_of_ours_is_no_longer_than_max_wait_either() {
        let spec = RetrySpec {
            max_wait: Duration::from_millis(700),
            ..spec()
        };
        let budget = RetryBudget::default();
        let (longest, _) = budget.pause(&spec, &ONCE, 1.0).unwrap();
        assert_eq!(longest, spec.max_wait);
    }

    #[test]
    fn other_statuses_methods_and_further_attempts_are_not_retried() {
        assert_eq!(paused(1, &Method::GET, 500, None, 0), None);
        assert_eq!(paused(3, &Method::GET, 503, None, 0), None);
        for method in [Method::POST, Method::PATCH] {
            assert_eq!(paused(1, &method, 503, None, 0), None);
        }
    }

    #[test]
    fn retries_are_at_most_a_fifth_of_the_requests_once_savings_are_gone() {
        let budget = RetryBudget::default();
        let mut retries = 0;
        for _ in 0..1000 {
            budget.save();
            if let Some(price) = budget.reserve() {
                price.pay();
                retries += 1;
            }
        }
        assert!((200..=210).contains(&retries), "{retries}");
    }

    #[test]
    fn a_retry_that_is_not_made_costs_nothing() {
        let (spec, budget) = (spec(), RetryBudget::default());
        let ask = || budget.pause(&spec, &ONCE, 1.0);
        for _ in 0..100 {
            let (_, _price) = ask().expect("the budget is as it was");
        }
        let all: Vec<_> = std::iter::from_fn(ask).collect();
        assert_eq!(all.len(), 10, "while they pause, others cannot have theirs");
        for (_, price) in all {
            price.pay();
        }
        assert!(ask().is_none());
    }

    #[test]
    fn no_more_than_ten_retries_are_saved_up() {
        let budget = RetryBudget::default();
        let all = || std::iter::from_fn(|| budget.reserve()).collect::<Vec<_>>();
        (0..1000).for_each(|_| budget.save());
        let reserved = all();
        assert_eq!(reserved.len(), 10);
        // Nor do prices that come back meet what was saved meanwhile.
        (0..50).for_each(|_| budget.save());
        drop(reserved);
        assert_eq!(all().len(), 10);
    }
}
