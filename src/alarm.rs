//! Coarse deadlines for one worker thread: setting one is a store, not a timer.
//!
//! Every stage of an exchange has a time limit and nearly none is ever reached. A timer of the
//! runtime costs a clock reading and a place in a wheel each time it is set; an [`Alarm`] costs a
//! write to a cell. A single ticker per worker looks through the alarms and wakes those that are
//! due, up to one tick late. It sleeps while no alarm exists.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock;

/// A tick that is later than this was not late: the whole process stood still (a container that was
/// paused, a machine that was moved). What came meanwhile has been seen by nobody.
const STANDSTILL: Duration = Duration::from_secs(1);

const OFF: u64 = u64::MAX;
const RUNG: u64 = u64::MAX - 1;

/// The alarms of one worker.
#[derive(Debug)]
pub struct AlarmClock {
    started: Instant,
    tick: Duration,
    tick_micros: u64,
    /// The current tick, in which no standstill counts.
    now: Cell<u64>,
    /// The ticks of all standstills.
    lost: Cell<u64>,
    slots: RefCell<Vec<Weak<Slot>>>,
    live: Cell<usize>,
    occupied: Notify,
}

#[derive(Debug)]
struct Slot {
    clock: Rc<AlarmClock>,
    due: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// One deadline that is set, moved and cleared again and again.
#[derive(Debug)]
pub struct Alarm(Rc<Slot>);

impl AlarmClock {
    /// A clock whose alarms ring at most one `tick` late. [`Self::run`] must be polled.
    pub fn new(tick: Duration) -> Rc<Self> {
        let tick = tick.max(Duration::from_millis(1));
        Rc::new(Self {
            started: Instant::now(),
            tick,
            tick_micros: micros(tick),
            now: Cell::new(0),
            lost: Cell::new(0),
            slots: RefCell::new(Vec::new()),
            live: Cell::new(0),
            occupied: Notify::new(),
        })
    }

    /// A new alarm, off.
    pub fn alarm(self: &Rc<Self>) -> Alarm {
        let slot = Rc::new(Slot {
            clock: Rc::clone(self),
            due: Cell::new(OFF),
            waker: RefCell::new(None),
        });
        self.slots.borrow_mut().push(Rc::downgrade(&slot));
        if self.live.replace(self.live.get() + 1) == 0 {
            // The first alarm after a pause: catch up before anything is set against a stale tick.
            self.now.set(self.elapsed_ticks() - self.lost.get());
            self.occupied.notify_one();
        }
        Alarm(slot)
    }

    /// The time as of the last tick: good enough for ages, and free.
    pub fn coarse(&self) -> Instant {
        let ticks = self.now.get() + self.lost.get();
        self.started + Duration::from_micros(ticks * self.tick_micros)
    }

    /// Wakes every task that waits on an alarm, due or not: all of them look again.
    pub fn wake_all(&self) {
        for slot in self.slots.borrow().iter().filter_map(Weak::upgrade) {
            if let Some(waker) = &*slot.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }

    /// Ticks for ever.
    pub async fn run(self: Rc<Self>) {
        loop {
            if self.live.get() == 0 {
                self.occupied.notified().await;
            }
            clock::sleep(self.tick).await;
            self.advance(self.elapsed_ticks());
        }
    }

    fn elapsed_ticks(&self) -> u64 {
        micros(self.started.elapsed()) / self.tick_micros
    }

    /// Goes on to so many ticks since the start. A standstill counts as one tick, for else what came
    /// in time, but during it, would be taken for late: alarms ring later by the rest.
    fn advance(&self, elapsed: u64) {
        let passed = elapsed - self.lost.get() - self.now.get();
        if passed > 1 + micros(STANDSTILL) / self.tick_micros {
            self.lost.set(self.lost.get() + passed - 1);
        }
        let now = elapsed - self.lost.get();
        self.now.set(now);
        self.slots.borrow_mut().retain(|slot| {
            let Some(slot) = slot.upgrade() else {
                return false;
            };
            if slot.due.get() <= now {
                slot.due.set(RUNG);
                if let Some(waker) = slot.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
            true
        });
    }
}

/// Whole microseconds, in one word: `as_micros` divides two.
fn micros(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(u64::from(duration.subsec_micros()))
}

impl Alarm {
    /// Another one of the same clock, off.
    pub fn another(&self) -> Self {
        self.0.clock.alarm()
    }

    /// Rings after `limit`, counted from now.
    pub fn set(&self, limit: Duration) {
        let clock = &self.0.clock;
        // One more, because the current tick is already partly over.
        let ticks = micros(limit).div_ceil(clock.tick_micros).min(u64::MAX / 4) + 1;
        self.0.due.set(clock.now.get() + ticks);
    }

    /// The time as of the last tick of its clock.
    pub fn now(&self) -> Instant {
        self.0.clock.coarse()
    }

    /// Switches the alarm off.
    pub fn clear(&self) {
        self.0.due.set(OFF);
    }

    /// Whether it is off: neither set nor has it rung since it was.
    pub fn is_off(&self) -> bool {
        self.0.due.get() == OFF
    }

    /// Whether it is set and has not rung.
    pub fn is_set(&self) -> bool {
        self.0.due.get() < RUNG
    }

    /// Whether it has rung; if not, the task is woken when it does.
    pub fn has_rung(&self, cx: &Context<'_>) -> bool {
        if self.0.due.get() == RUNG {
            return true;
        }
        let mut waker = self.0.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        false
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.clock.live.set(self.clock.live.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// Resolves when it rings.
    async fn rung(alarm: &Alarm) {
        std::future::poll_fn(|cx| match alarm.has_rung(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    #[tokio::test(flavor = "local")]
    async fn an_alarm_rings_not_before_its_time_and_only_when_set() {
        let clock = AlarmClock::new(Duration::from_millis(1));
        let ticker = tokio::task::spawn_local(Rc::clone(&clock).run());
        // Before the first alarm, with which the clock catches up: it counts from there.
        let start = Instant::now();
        let alarm = clock.alarm();
        let never = clock.alarm();
        alarm.set(Duration::from_millis(20));
        rung(&alarm).await;
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(!never.is_set());
        alarm.clear();
        alarm.set(Duration::from_millis(5));
        rung(&alarm).await;
        ticker.abort();
    }

    #[tokio::test(flavor = "local")]
    async fn a_cleared_alarm_stays_silent_while_another_rings() {
        let clock = AlarmClock::new(Duration::from_millis(1));
        let ticker = tokio::task::spawn_local(Rc::clone(&clock).run());
        let (first, second) = (clock.alarm(), clock.alarm());
        first.set(Duration::from_millis(2));
        first.clear();
        second.set(Duration::from_millis(10));
        tokio::select! {
            () = rung(&first) => panic!("a cleared alarm rang"),
            () = rung(&second) => {}
        }
        drop((first, second));
        clock.advance(clock.elapsed_ticks());
        assert!(
            clock.slots.borrow().is_empty(),
            "dropped alarms are forgotten"
        );
        ticker.abort();
    }

    #[test]
    fn ages_are_known_however_long_the_process_runs() {
        let clock = AlarmClock::new(Duration::from_millis(1));
        let two_months = Duration::from_secs(61 * 86_400);
        clock.advance(micros(two_months) / clock.tick_micros);
        assert_eq!(clock.coarse(), clock.started + two_months);
    }

    #[test]
    fn a_standstill_of_the_process_makes_nothing_late_but_is_known_to_ages() {
        let tick = Duration::from_millis(10);
        let clock = AlarmClock::new(tick);
        let alarm = clock.alarm();
        alarm.set(tick * 5);
        let standstill = 60_000;
        for elapsed in [1, 2, standstill, standstill + 1] {
            clock.advance(elapsed);
            assert!(alarm.is_set(), "{elapsed}");
        }
        let since = clock.coarse().duration_since(clock.started);
        assert_eq!(since, tick * (60_000 + 1));
        clock.advance(standstill + 3);
        assert!(!alarm.is_set(), "six ticks have been counted");

        // A machine that is merely slow has no standstill.
        alarm.set(tick * 50);
        clock.advance(standstill + 3 + 100);
        assert!(!alarm.is_set());
    }
}
