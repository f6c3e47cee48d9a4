//! When a pool dials, and what a dial comes to.

use std::rc::Rc;
use std::time::Instant;

use super::super::ConnectError;
use super::super::wire::Wire;
use super::{EAGER, Lease, PATIENCE, Pool};
use crate::clock;

/// Beyond [`EAGER`], one connection is dialled for so many that are open.
const GROWTH: usize = 4;

impl Pool {
    /// Dials for those who wait, unless enough is dialled already.
    pub(super) fn grow<D, F>(self: &Rc<Self>, dial: &D)
    where
        D: Fn() -> F,
        F: Future<Output = Result<Option<Wire>, ConnectError>> + 'static,
    {
        let (open, dialling) = (self.open.get(), self.dialling.get());
        let paced = open < EAGER || dialling < open / GROWTH;
        let paced = paced && self.is_calm();
        if open < self.most && paced && dialling < self.waiting() {
            self.start(dial());
        }
    }

    /// A connection of one's own, made now: for the repeat of a request whose connection died. `None`
    /// when it speaks HTTP/2.
    pub(in super::super) async fn fresh<F>(
        self: &Rc<Self>,
        dial: F,
    ) -> Result<Option<Lease>, Rc<ConnectError>>
    where
        F: Future<Output = Result<Option<Wire>, ConnectError>>,
    {
        self.open.set(self.open.get() + 1);
        self.apart.set(self.apart.get() + 1);
        // Counted as long as this is waited for, and no longer: the caller may leave meanwhile.
        let mut counted = Counted {
            pool: self,
            made: false,
        };
        let wire = dial.await?;
        counted.made = wire.is_some();
        drop(counted);
        Ok(wire.map(|wire| self.lease(Box::new(wire))))
    }

    /// Connections in use: they come free, or make room for others.
    fn busy(&self) -> usize {
        let others = self.idle.borrow().len() + self.dialling.get() + self.apart.get();
        self.open.get() - others
    }

    /// Why a request that waits since `begun` waits no longer: a dial has failed meanwhile, and it has
    /// waited for what is in use as long as for a connection.
    pub(super) fn failure(&self, begun: Instant) -> Option<Rc<ConnectError>> {
        let failed = self.failed.borrow();
        let (_, error) = failed.as_ref().filter(|(at, _)| *at >= begun)?;
        (clock::since(begun) >= self.limit).then(|| Rc::clone(error))
    }

    /// Whether to dial. Who can be served otherwise does not press an upstream that takes no
    /// connection: one tries, and not at once.
    fn is_calm(&self) -> bool {
        let failed = self.failed.borrow();
        let Some((at, _)) = &*failed else { return true };
        self.busy() == 0 || (self.dialling.get() == 0 && clock::since(*at) >= PATIENCE)
    }

    /// Dials in a task of its own: a caller that leaves does not waste the handshake.
    fn start<F>(self: &Rc<Self>, dial: F)
    where
        F: Future<Output = Result<Option<Wire>, ConnectError>> + 'static,
    {
        self.open.set(self.open.get() + 1);
        self.dialling.set(self.dialling.get() + 1);
        let mut dialled = Dialled {
            pool: Rc::clone(self),
            outcome: Err(ConnectError::Fault),
        };
        tokio::task::spawn_local(async move {
            dialled.come_to(dial.await);
        });
    }
}

/// What a dial comes to, told when its task ends: one that panics or is dropped comes to a fault, for
/// else those who wait for it would wait for ever.
struct Dialled {
    pool: Rc<Pool>,
    outcome: Result<Option<Box<Wire>>, ConnectError>,
}

impl Dialled {
    fn come_to(&mut self, outcome: Result<Option<Wire>, ConnectError>) {
        self.outcome = outcome.map(|wire| wire.map(Box::new));
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        let pool = &self.pool;
        let dialling = pool.dialling.get();
        pool.dialling.set(dialling - 1);
        match std::mem::replace(&mut self.outcome, Err(ConnectError::Fault)) {
            Ok(Some(wire)) => {
                pool.failed.take();
                pool.hand_over(wire);
            }
            // They find a place there.
            Ok(None) => {
                pool.closed();
                for _ in 0..pool.waiting() {
                    pool.serve(Ok(None));
                }
            }
            Err(error) => {
                pool.closed();
                // Idle connections elsewhere are closed for who is told of this one.
                let error = Rc::new(error);
                if pool.busy() > 0 && !error.lacks_descriptors() {
                    pool.failed.replace(Some((clock::now(), error)));
                    return;
                }
                // Each dial stands for its share of those who wait.
                for _ in 0..pool.waiting().div_ceil(dialling) {
                    pool.serve(Err(Rc::clone(&error)));
                }
            }
        }
    }
}

/// Takes back the place of a connection that was not made.
struct Counted<'a> {
    pool: &'a Pool,
    made: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.pool.apart.set(self.pool.apart.get() - 1);
        if self.made {
            self.pool.report();
        } else {
            self.pool.closed();
        }
    }
}
