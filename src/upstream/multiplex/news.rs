//! Tells those who wait for a place on an HTTP/2 connection to look again.

use std::cell::Cell;

use tokio::sync::Notify;

/// What they wait for.
#[derive(Default)]
pub(super) struct News {
    waiting: Cell<usize>,
    notify: Notify,
}

/// One who waits.
struct Waiting<'a>(&'a News);

impl News {
    /// A place came free: the first looks again. Costs nothing while nobody waits.
    pub(super) fn to_one(&self) {
        if self.waiting.get() > 0 {
            self.notify.notify_one();
        }
    }

    /// What there is to know has changed: all look again.
    pub(super) fn to_all(&self) {
        self.notify.notify_waiters();
    }

    /// Waits for either.
    pub(super) async fn come(&self) {
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(self);
        self.notify.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let News { waiting, .. } = self.0;
        waiting.set(waiting.get() - 1);
    }
}
