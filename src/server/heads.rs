//! How much of HTTP/2 heads the connections of a worker read before the requests that have come are
//! looked at.
//!
//! hyper decodes all that is there of a connection before the first of its requests is handled, and
//! other connections come first that have something to read. One byte may be a field (RFC 7541 section
//! 6.1) that takes a hundred in memory, so that ten megabytes of heads that no request may have, from a
//! hundred callers at once, would take a gigabyte until the first is refused.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes of heads: the requests of dozens of busy connections, or 10 MB at the worst.
const MOST: usize = 64 * 1024;

/// What the connections of a worker have read of heads since its requests were last looked at.
#[derive(Debug, Default)]
pub(super) struct Heads {
    read: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Heads {
    /// Waits, where much was read, until the tasks of those requests have run.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.read.get() < MOST {
            return Poll::Ready(());
        }
        self.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    /// So many bytes were read.
    pub(super) fn count(self: &Rc<Self>, bytes: usize) {
        let before = self.read.get();
        self.read.set(before.saturating_add(bytes));
        if before < MOST && self.read.get() >= MOST {
            tokio::task::spawn_local(Rc::clone(self).make_room());
        }
    }

    async fn make_room(self: Rc<Self>) {
        // The tasks of the requests are made behind this one, and come before it when it comes again.
        tokio::task::yield_now().await;
        self.read.set(0);
        let mut waiting = self.waiting.take();
        // The first to wait is who read up to the bound, and would do so again before all others,
        // for as long as its heads do not end.
        if !waiting.is_empty() {
            waiting.rotate_left(1);
        }
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::ready;

    use super::*;
    use crate::clock::still;

    fn has_room(heads: &Heads) -> bool {
        heads
            .poll_room(&Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn what_was_read_is_looked_at_before_more_is_read() {
        still::run(async {
            let heads = Rc::new(Heads::default());
            heads.count(MOST - 1);
            assert!(has_room(&heads));
            let looked_at = Rc::new(Cell::new(false));
            for _ in 0..2 {
                looked_at.set(false);
                heads.count(MOST);
                assert!(!has_room(&heads));
                let request = Rc::clone(&looked_at);
                tokio::task::spawn_local(async move { request.set(true) });
                poll_fn(|cx| heads.poll_room(cx)).await;
                assert!(looked_at.get());
                assert!(has_room(&heads));
            }
        });
    }

    #[test]
    fn who_has_read_much_comes_behind_who_has_waited() {
        still::run(async {
            let heads = Rc::new(Heads::default());
            let turns = Rc::new(Cell::new(0));
            let (shared, taken) = (Rc::clone(&heads), Rc::clone(&turns));
            let greedy = poll_fn(move |cx| {
                while taken.get() < 100 {
                    ready!(shared.poll_room(cx));
                    shared.count(MOST);
                    taken.set(taken.get() + 1);
                }
                Poll::Ready(())
            });
            let modest = poll_fn(move |cx| heads.poll_room(cx));
            tokio::task::spawn_local(greedy);
            let waited = tokio::task::spawn_local(modest).await;
            waited.expect("it does not panic");
            assert!(turns.get() < 3, "{}", turns.get());
        });
    }
}
