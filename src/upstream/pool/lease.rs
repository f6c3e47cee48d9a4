//! A connection in use.

use std::rc::Rc;

use super::super::wire::Wire;
use super::Pool;

/// A connection in use. Dropped without [`Lease::give_back`], it is closed: that is what ends an
/// upstream request whose caller has left.
pub(in super::super) struct Lease {
    wire: Option<Box<Wire>>,
    pool: Rc<Pool>,
}

const HELD: &str = "a lease holds its wire until it ends";

impl Pool {
    pub(super) fn lease(self: &Rc<Self>, wire: Box<Wire>) -> Lease {
        Lease {
            wire: Some(wire),
            pool: Rc::clone(self),
        }
    }
}

impl Lease {
    /// The connection.
    pub(in super::super) fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect(HELD)
    }

    /// The connection, to look at.
    pub(in super::super) fn look(&self) -> &Wire {
        self.wire.as_ref().expect(HELD)
    }

    /// Ends the use of a connection on which nothing was sent: it has rested for as long as before.
    pub(in super::super) fn give_back_unused(mut self) {
        if let Some(wire) = self.wire.take() {
            self.pool.come_free(wire);
        }
    }

    /// Ends the use of a connection whose exchange came to its proper end.
    pub(in super::super) fn give_back(mut self) {
        let Some(mut wire) = self.wire.take() else {
            return;
        };
        wire.alarm.clear();
        wire.idle_since = wire.alarm.now();
        if wire.rest() {
            self.pool.come_free(wire);
        } else {
            self.wire = Some(wire);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.wire.take().is_some() {
            self.pool.closed();
        }
    }
}
