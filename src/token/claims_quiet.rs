//! What a failed call with claims is followed by. An upstream may demand them with every request:
//! however many do, they are asked for again no sooner than this says, whatever other calls bring.

use super::deadline::Deadline;
use crate::clock::Now;
use crate::credential::ClaimsRequest;

/// The pause after a call with claims that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClaimsQuiet {
    /// No other call with claims is made before this.
    pub(super) until: Deadline,
    /// No call that can wait is made before this: the server asked for it.
    asked: Option<Deadline>,
    /// A call without claims has brought a token since: the server answers, and nobody is told of
    /// that failure any more.
    recovered: bool,
}

impl ClaimsQuiet {
    /// Until then; `asked` is the part of it that the server asked for.
    pub(super) fn new(until: Deadline, asked: Option<Deadline>) -> Self {
        Self {
            until,
            asked,
            recovered: false,
        }
    }

    /// A call without claims has brought a token.
    pub(super) fn recovered(self) -> Self {
        Self {
            recovered: true,
            ..self
        }
    }

    /// Whether a call has brought a token since.
    pub(super) fn has_recovered(&self) -> bool {
        self.recovered
    }

    /// Whether the server asked for it, which a change of the credential does not end.
    pub(super) fn is_asked_for(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether no call may be forced now that carries these claims, or none.
    pub(super) fn holds(&self, claims: Option<&ClaimsRequest>, now: Now) -> bool {
        let until = match claims {
            Some(_) => Some(self.until),
            None => self.asked_of_all(),
        };
        until.is_some_and(|until| !until.has_come(now))
    }

    /// When a call that can wait may be made again, whatever it asks for.
    pub(super) fn asked_of_all(&self) -> Option<Deadline> {
        self.asked.filter(|_| !self.recovered)
    }

    /// The same after a change of the credential: what the server asked for outlasts it.
    pub(super) fn after_change(self, now: Now) -> Option<Self> {
        let lasts = self.asked.is_some_and(|until| !until.has_come(now));
        lasts.then_some(self)
    }
}
