//! A waker that does not wake the task that is running.
//!
//! hyper's connection and the exchange that drives it talk through channels, and every message wakes
//! the receiver. Both ends live in one task here, so each of these wake-ups would have the task run
//! once more for nothing. While the task is inside [`Damper::run`] a wake-up only asks for another
//! round there; outside of it, it goes to the task. While no task is concerned ([`Damper::rest`]) it
//! is remembered.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// More rounds than any chain of messages within one connection needs; then the task yields.
const ROUNDS: usize = 16;

/// The waker and its task.
pub(super) struct Damper {
    felt: Arc<Felt>,
    waker: Waker,
}

#[derive(Default)]
struct Felt {
    running: AtomicBool,
    again: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Felt {
    /// Takes the wish for another round back; whether there was one. A look is free, a store is not.
    fn forget(&self) -> bool {
        self.again.load(SeqCst) && self.again.swap(false, SeqCst)
    }

    fn wake_task(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &*task {
            Some(task) => task.wake_by_ref(),
            None => self.again.store(true, SeqCst),
        }
    }
}

impl Wake for Felt {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.running.load(SeqCst) {
            return self.wake_task();
        }
        self.again.store(true, SeqCst);
        // Had the task left meanwhile, it would not see the flag.
        if !self.running.load(SeqCst) {
            self.wake_task();
        }
    }
}

impl Damper {
    pub(super) fn new() -> Self {
        let felt = Arc::<Felt>::default();
        // Nothing was looked at yet.
        felt.again.store(true, SeqCst);
        Self {
            waker: Waker::from(Arc::clone(&felt)),
            felt,
        }
    }

    /// Polls until there is an outcome, or nothing that happened inside asks for another round.
    pub(super) fn run<T>(
        &self,
        outer: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.serve(outer.waker());
        self.felt.forget();
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..ROUNDS {
            self.felt.running.store(true, SeqCst);
            let outcome = poll(&mut inner);
            self.felt.running.store(false, SeqCst);
            let again = self.felt.forget();
            if outcome.is_ready() || !again {
                return outcome;
            }
        }
        outer.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls once with nobody to wake: what happens from then on, [`Self::was_stirred`] tells.
    pub(super) fn rest<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        *self
            .felt
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.felt.forget();
        poll(&mut Context::from_waker(&self.waker))
    }

    /// Whether anything happened since [`Self::rest`], or was still to do then, or nobody has looked.
    pub(super) fn was_stirred(&self) -> bool {
        self.felt.again.load(SeqCst)
    }

    fn serve(&self, task: &Waker) {
        let mut known = self
            .felt
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(known) if known.will_wake(task) => {}
            _ => *known = Some(task.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_wake_up_from_inside_asks_for_another_round_and_leaves_the_task_alone() {
        let count = Arc::<Count>::default();
        let task = Waker::from(Arc::clone(&count));
        let damper = Damper::new();
        let mut rounds = 0;
        let outcome = damper.run(&Context::from_waker(&task), |cx| {
            rounds += 1;
            cx.waker().wake_by_ref();
            if rounds == 3 {
                Poll::Ready(rounds)
            } else {
                Poll::Pending
            }
        });
        assert_eq!(outcome, Poll::Ready(3));
        assert_eq!(count.0.load(SeqCst), 0);
    }

    #[test]
    fn a_wake_up_from_outside_reaches_the_task_that_ran_last() {
        let count = Arc::<Count>::default();
        let task = Waker::from(Arc::clone(&count));
        let damper = Damper::new();
        let mut kept = None;
        let outcome: Poll<()> = damper.run(&Context::from_waker(&task), |cx| {
            kept = Some(cx.waker().clone());
            Poll::Pending
        });
        assert!(outcome.is_pending());
        kept.unwrap().wake();
        assert_eq!(count.0.load(SeqCst), 1);
    }

    #[test]
    fn a_wake_up_while_nobody_is_concerned_is_remembered() {
        let count = Arc::<Count>::default();
        let task = Waker::from(Arc::clone(&count));
        let damper = Damper::new();
        let outcome = damper.run(&Context::from_waker(&task), |_| Poll::Ready(()));
        assert!(outcome.is_ready());
        let kept = damper.rest(|cx| cx.waker().clone());
        assert!(!damper.was_stirred());
        kept.wake_by_ref();
        assert!(damper.was_stirred());
        assert_eq!(count.0.load(SeqCst), 0);
        damper.rest(|cx| cx.waker().wake_by_ref());
        assert!(damper.was_stirred(), "there was more to do");
    }

    #[test]
    fn an_endless_chain_of_wake_ups_yields_to_other_tasks() {
        let count = Arc::<Count>::default();
        let task = Waker::from(Arc::clone(&count));
        let outcome: Poll<()> = Damper::new().run(&Context::from_waker(&task), |cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert!(outcome.is_pending());
        assert_eq!(count.0.load(SeqCst), 1, "the task runs again, later");
    }
}
