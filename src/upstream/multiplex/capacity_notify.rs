//! Tells those who wait for a place on an HTTP/2 connection to look again.

use std::cell::Cell;

use tokio::sync::Notify;

/// What they wait for.
#[derive(Default)]
pub(super) struct CapacityNotify {
    waiting: Cell<usize>,
    notify: Notify,
}

/// One who waits.
struct Waiting<'a>(&'a CapacityNotify);

impl CapacityNotify {
    /// A place came free: the first looks again. Costs nothing while nobody waits.
    pub(super) fn wake_one(&self) {
        if self.waiting.get() > 0 {
            self.notify.notify_one();
        }
    }

    /// What there is to know has changed: all look again.
    pub(super) fn wake_all(&self) {
        self.notify.notify_waiters();
    }

    /// Waits for either.
    pub(super) async fn notified(&self) {
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(self);
        self.notify.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let CapacityNotify { waiting, .. } = self.0;
        waiting.set(waiting.get() - 1);
    }
}
