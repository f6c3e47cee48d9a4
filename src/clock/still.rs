//! A monotonic clock that stands still while there is anything to do, and then jumps to what is
//! waited for next. For tests of timers that no socket takes part in.
//!
//! tokio has one as well, as a feature: with it everything that uses tokio is built anew for the
//! tests, this crate included, which is a minute on two cores.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::LocalSet;

thread_local! {
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

struct Clock {
    now: Instant,
    /// Who waits, by when; the number tells those of one moment apart.
    waiting: BTreeMap<(Instant, u64), Waker>,
    numbers: u64,
}

/// Runs a test as a worker runs requests: on one thread, with tasks that stay there.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = Builder::new_current_thread();
    // A thread that is about to park has nothing to do.
    let runtime = runtime.enable_all().on_thread_park(jump).build();
    let _running = Running::begin();
    LocalSet::new().block_on(&runtime.expect("there is a runtime"), test)
}

/// Lets this much time pass at once, and lets others see it.
pub(crate) async fn advance(by: Duration) {
    let now = now().expect("the clock stands still");
    pass_to(now + by);
    tokio::task::yield_now().await;
}

/// The time, where it stands still.
pub(super) fn now() -> Option<Instant> {
    CLOCK.with_borrow(|clock| clock.as_ref().map(|clock| clock.now))
}

pub(super) fn sleep_until(due: Instant) -> Sleep {
    Sleep { due, number: None }
}

/// The clock of this thread, which goes again when this is dropped.
struct Running;

impl Running {
    fn begin() -> Self {
        CLOCK.set(Some(Clock {
            now: Instant::now(),
            waiting: BTreeMap::new(),
            numbers: 0,
        }));
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CLOCK.take();
    }
}

fn jump() {
    let next = CLOCK.with_borrow(|clock| clock.as_ref()?.waiting.keys().next().copied());
    if let Some((due, _)) = next {
        pass_to(due);
    }
}

fn pass_to(moment: Instant) {
    let due = CLOCK.with_borrow_mut(|clock| {
        let clock = clock.as_mut()?;
        clock.now = moment.max(clock.now);
        let later = clock.waiting.split_off(&(clock.now, u64::MAX));
        Some(std::mem::replace(&mut clock.waiting, later))
    });
    for waker in due.into_iter().flat_map(BTreeMap::into_values) {
        waker.wake();
    }
}

pub(super) struct Sleep {
    due: Instant,
    /// Once it waits.
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        CLOCK.with_borrow_mut(|clock| {
            let clock = clock.as_mut().expect("the clock stands still");
            if clock.now >= self.due {
                return Poll::Ready(());
            }
            let number = *self.number.get_or_insert_with(|| {
                clock.numbers += 1;
                clock.numbers
            });
            let waker = context.waker().clone();
            clock.waiting.insert((self.due, number), waker);
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        // The waker may own a task, and dropping that another sleep.
        let _waker = CLOCK.with_borrow_mut(|clock| {
            let clock = clock.as_mut()?;
            clock.waiting.remove(&(self.due, number))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{since, sleep, until};

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn time_jumps_to_the_first_of_all_timers_once_nothing_is_to_be_done() {
        run(async {
            let began = crate::clock::now();
            let tasks = (1..=500).rev().map(|n| {
                tokio::task::spawn_local(async move {
                    assert_eq!(since(began), Duration::ZERO);
                    tokio::task::yield_now().await;
                    assert_eq!(since(began), Duration::ZERO);
                    sleep(HOUR * n).await;
                    assert_eq!(since(began), HOUR * n);
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.expect("it saw the time it slept for");
            }
            assert_eq!(since(began), HOUR * 500);
        });
    }

    #[test]
    fn a_timer_that_nobody_waits_for_any_more_does_not_hold_up_time() {
        run(async {
            let began = crate::clock::now();
            let late = until(began + HOUR * 2, std::future::pending::<()>());
            assert_eq!(until(began + HOUR, late).await, None);
            let waiting = CLOCK.with_borrow(|clock| Some(clock.as_ref()?.waiting.len()));
            assert_eq!(waiting, Some(0));
            assert_eq!(until(began + HOUR * 9, async { 7 }).await, Some(7));
            sleep(HOUR * 5).await;
            assert_eq!(since(began), HOUR * 6);
        });
    }

    #[test]
    fn time_that_is_let_pass_wakes_what_was_due_meanwhile_and_nothing_else() {
        run(async {
            let soon = tokio::task::spawn_local(sleep(HOUR));
            let late = tokio::task::spawn_local(sleep(HOUR * 3));
            tokio::task::yield_now().await;
            advance(HOUR * 2).await;
            tokio::task::yield_now().await;
            assert_eq!((soon.is_finished(), late.is_finished()), (true, false));
        });
    }

    #[test]
    fn the_clock_goes_again_after_a_test_that_failed() {
        let failed = std::panic::catch_unwind(|| run(async { panic!("on purpose") }));
        assert!(failed.is_err() && now().is_none());
    }
}
