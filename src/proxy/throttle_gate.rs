//! The quiet that an upstream asks for. One gate for each route, shared by all workers and kept over
//! a reload: while it is closed, requests of the route wait in line or are answered here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::clock;

/// The longest quiet that is kept: a slip of an upstream must not silence a route for days.
/// Dataverse asks for five minutes at the most.
const LONGEST: Duration = Duration::from_hours(1);

/// The gate of a route.
#[derive(Debug)]
pub struct ThrottleGate {
    made: Instant,
    /// Until when, in milliseconds since `made`.
    until: AtomicU64,
    /// Whoever waits first goes first.
    line: Semaphore,
}

impl Default for ThrottleGate {
    /// Open.
    fn default() -> Self {
        Self {
            made: Instant::now(),
            until: AtomicU64::new(0),
            line: Semaphore::new(1),
        }
    }
}

impl ThrottleGate {
    /// The upstream asks for quiet from now on. What it asked for before is not taken back.
    pub(super) fn close_for(&self, now: Instant, quiet: Duration) {
        let until = now.duration_since(self.made) + quiet.min(LONGEST);
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.until.fetch_max(until, Ordering::Relaxed);
    }

    /// How much of the quiet is left; `None` when there is none.
    pub(super) fn left(&self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        let until = Duration::from_millis(until);
        until
            .checked_sub(now().duration_since(self.made))
            .filter(|left| !left.is_zero())
    }

    /// Waits in line for the end of the quiet, not beyond `deadline`.
    ///
    /// # Errors
    /// What is left of the quiet at the deadline.
    pub(super) async fn wait_open(&self, deadline: Instant) -> Result<(), Duration> {
        let Some(left) = self.left(Instant::now) else {
            return Ok(());
        };
        let Some(_turn) = clock::until(deadline, self.line.acquire()).await else {
            return Err(self.left(Instant::now).unwrap_or(left));
        };
        while let Some(left) = self.left(Instant::now) {
            if Instant::now() >= deadline {
                return Err(left);
            }
            clock::sleep_until((Instant::now() + left).min(deadline)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn the_longest_quiet_that_was_asked_for_holds_and_has_a_bound() {
        let gate = ThrottleGate::default();
        let now = Instant::now();
        assert_eq!(gate.left(|| now), None);
        gate.close_for(now, Duration::from_secs(10));
        gate.close_for(now, Duration::from_secs(3));
        let left = gate.left(|| now + Duration::from_secs(4)).unwrap();
        assert!(
            left <= Duration::from_secs(6) && left > Duration::from_secs(5),
            "{left:?}"
        );
        assert_eq!(gate.left(|| now + Duration::from_secs(11)), None);
        gate.close_for(now, Duration::MAX);
        assert!(gate.left(|| now).unwrap() <= LONGEST);
    }

    #[tokio::test]
    async fn whoever_comes_first_goes_first_and_nobody_waits_beyond_the_deadline() {
        let gate = Arc::new(ThrottleGate::default());
        gate.close_for(Instant::now(), LONGEST);
        let turn = gate.line.acquire().await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..5 {
            let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
            waiting.spawn(async move {
                gate.wait_open(Instant::now() + Duration::from_secs(20))
                    .await
                    .unwrap();
                order.lock().unwrap().push(number);
            });
            tokio::task::yield_now().await;
        }
        let short = gate
            .wait_open(Instant::now() + Duration::from_millis(5))
            .await;
        assert!(short.unwrap_err() <= LONGEST);
        // All stand in line, however long that took: now the quiet may end.
        let until = gate.made.elapsed() + Duration::from_millis(60);
        let until = u64::try_from(until.as_millis()).unwrap();
        gate.until.store(until, Ordering::Relaxed);
        drop(turn);
        waiting.join_all().await;
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    }
}
