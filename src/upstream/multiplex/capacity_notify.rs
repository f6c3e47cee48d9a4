//! Tells those who wait for a place on an HTTP/2 connection to look again.

use std::cell::Cell;

use tokio::sync::Notify;

/// What they wait for.
#[derive(Default)]
pub(super) struct CapacityNotify {
    waiting: Cell<usize>,
    places: Notify,
    news: Notify,
}

/// One who waits.
struct Waiting<'a>(&'a CapacityNotify);

impl CapacityNotify {
    /// A place came free: the first looks again. Costs nothing while nobody waits.
    pub(super) fn wake_one(&self) {
        if self.is_awaited() {
            self.places.notify_one();
        }
    }

    /// Whether somebody waits for a place.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.get() > 0
    }

    /// What there is to know has changed: all look again.
    pub(super) fn wake_all(&self) {
        self.places.notify_waiters();
        self.news.notify_waiters();
    }

    /// Waits for either.
    pub(super) async fn notified(&self) {
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(self);
        self.places.notified().await;
    }

    /// Waits for what all are told.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let CapacityNotify { waiting, .. } = self.0;
        waiting.set(waiting.get() - 1);
    }
}
