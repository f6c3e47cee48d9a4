//! One reading of both clocks, and waiting by the monotonic one.
//!
//! The monotonic clock stops while a machine is suspended and the wall clock may be set by hand, so
//! whatever expires is judged by both. Everything that decides takes a [`Now`] as an argument; only
//! the thin shells read the clocks.
//!
//! Who reads the clock here and waits here can be tested with a clock that stands still.

use std::time::{Duration, Instant, SystemTime};

#[cfg(test)]
pub(crate) mod still;

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

/// Waits this long, to the millisecond, on a runtime with timers.
pub async fn sleep(pause: Duration) {
    sleep_until(now() + pause).await;
}

/// What this comes to, or `None` once the deadline has passed before.
pub async fn until<F: Future>(deadline: Instant, awaited: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = awaited => Some(output),
        () = sleep_until(deadline) => None,
    }
}

/// What this thread has had of the processor: for tests of what grows with its input, to which it is
/// nothing what else the machine does.
#[cfg(all(test, unix))]
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a thread's processor time is not negative")
}

async fn sleep_until(due: Instant) {
    #[cfg(test)]
    if still::now().is_some() {
        return still::sleep_until(due).await;
    }
    tokio::time::sleep_until(due.into()).await;
}
