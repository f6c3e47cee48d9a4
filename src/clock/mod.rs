//! One reading of both clocks, and waiting by the monotonic one.
//!
//! The monotonic clock stops while a machine is suspended and the wall clock may be set by hand, so
//! whatever expires is judged by both. Everything that decides takes a [`Now`] as an argument; only
//! the thin shells read the clocks.
//!
//! Who reads the clock here and waits here can be tested with a clock that stands still. And waiting
//! works on every thread, also on those of workers, whose runtimes have no timers.

use std::time::{Duration, Instant, SystemTime};

use tokio::task::unconstrained;

#[cfg(test)]
pub(crate) mod still;
mod timers;

pub use timers::{HyperTimer, Timers};

/// Longer than anything runs. An `Instant` has no room for the longest durations.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock: durations and deadlines.
    pub mono: Instant,
    /// The wall clock: dates in logs, and the check against suspension.
    pub wall: SystemTime,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self {
            mono: now(),
            wall: SystemTime::now(),
        }
    }

    /// How long the machine was suspended since then: what has passed by the wall clock and not by the
    /// monotonic one. To have the wall clock set forward looks the same.
    pub fn suspended_since(self, then: Self) -> Duration {
        let by_wall = self.wall.duration_since(then.wall).unwrap_or_default();
        by_wall.saturating_sub(self.mono.saturating_duration_since(then.mono))
    }
}

/// Reads the monotonic clock.
pub fn now() -> Instant {
    #[cfg(test)]
    if let Some(now) = still::now() {
        return now;
    }
    Instant::now()
}

/// What has passed since then by the monotonic clock; nothing if it is still to come.
pub fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// Waits this long, to the millisecond.
pub async fn sleep(pause: Duration) {
    sleep_until(after(pause)).await;
}

/// What this comes to, or `None` if it takes longer.
pub async fn within<F: Future>(limit: Duration, awaited: F) -> Option<F::Output> {
    until(after(limit), awaited).await
}

/// What this comes to, or `None` once the deadline has passed before.
pub async fn until<F: Future>(deadline: Instant, awaited: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = awaited => Some(output),
        // Also when the other has used up what tokio lets a task do in a row.
        () = unconstrained(sleep_until(deadline)) => None,
    }
}

fn after(pause: Duration) -> Instant {
    now() + pause.min(FOR_EVER)
}

/// What this thread has had of the processor: for tests of what grows with its input, to which it is
/// nothing what else the machine does.
#[cfg(all(test, unix))]
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a thread's processor time is not negative")
}

/// Waits until then, to the millisecond.
pub async fn sleep_until(due: Instant) {
    #[cfg(test)]
    if still::now().is_some() {
        return still::sleep_until(due).await;
    }
    let sleep = timers::with_timers(|| tokio::time::sleep_until(due.into()));
    sleep.await;
    // Timers beside a runtime may be ahead of its look at its sockets: what came in time goes first.
    tokio::task::yield_now().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_of_durations_is_a_limit_like_others() {
        assert_eq!(within(Duration::MAX, async { 7 }).await, Some(7));
        let waits = within(Duration::from_millis(1), sleep(Duration::MAX)).await;
        assert_eq!(waits, None);
    }

    #[tokio::test]
    async fn what_never_pauses_has_no_more_time_than_it_was_given() {
        let busy = async {
            loop {
                tokio::task::consume_budget().await;
            }
        };
        let outcome: Option<()> = within(Duration::from_millis(20), busy).await;
        assert_eq!(outcome, None);
    }

    #[test]
    fn a_suspension_is_what_the_monotonic_clock_stood_still_for() {
        let then = Now::read();
        let suspended = |mono: u64, wall: u64| {
            let now = Now {
                mono: then.mono + Duration::from_secs(mono),
                wall: then.wall + Duration::from_secs(wall),
            };
            now.suspended_since(then).as_secs()
        };
        assert_eq!(suspended(1, 1), 0);
        assert_eq!(suspended(1, 601), 600);
        // A wall clock that was set back.
        assert_eq!(suspended(601, 1), 0);
        let before = Now {
            wall: then.wall - Duration::from_mins(10),
            ..then
        };
        assert_eq!(before.suspended_since(then), Duration::ZERO);
    }
}
