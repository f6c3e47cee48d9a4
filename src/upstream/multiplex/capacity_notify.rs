//! Tells those who wait for a place on an HTTP/2 connection to look again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use tokio::sync::Notify;

/// What they wait for.
#[derive(Default)]
pub(super) struct CapacityNotify {
    /// The numbers of those who wait, also of who was told and has not looked yet.
    line: RefCell<BTreeSet<u64>>,
    next: Cell<u64>,
    places: Notify,
    news: Notify,
}

/// One who waits.
struct Waiting<'a>(&'a CapacityNotify, u64);

impl CapacityNotify {
    /// A place came free: the first looks again. Costs nothing while nobody waits.
    pub(super) fn wake_one(&self) {
        if self.is_awaited() {
            self.places.notify_one();
        }
    }

    /// Whether somebody waits for a place.
    pub(super) fn is_awaited(&self) -> bool {
        !self.line.borrow().is_empty()
    }

    /// A number in the line, behind all that there were.
    pub(super) fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Whether nobody waits who came before this one.
    pub(super) fn is_first(&self, number: u64) -> bool {
        self.line.borrow().first().is_none_or(|&it| it >= number)
    }

    /// What there is to know has changed: all look again.
    pub(super) fn wake_all(&self) {
        self.places.notify_waiters();
        self.news.notify_waiters();
    }

    /// Waits for either.
    pub(super) async fn notified(&self, number: u64) {
        self.line.borrow_mut().insert(number);
        let _waiting = Waiting(self, number);
        self.places.notified().await;
    }

    /// Waits for what all are told.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.line.borrow_mut().remove(&self.1);
    }
}
