//! The second credential: used when the first is refused as invalid or expired, until the first has
//! changed or its time has come.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Credential;
use super::error::CredentialError;
use super::reason::Reason;
use super::stamp::Stamp;

use crate::lock::locked;

/// The first rests this long after it was refused, and then a renewal tries it: see [`latest`].
const FIRST_AGAIN: Duration = Duration::from_secs(3000);
/// The same while the second gives no token either: as long as anything that is refused is left alone,
/// so that whoever mends the first in Entra need not wait for the hour.
pub const FIRST_NEXT: Duration = Duration::from_secs(60);
/// The same where its files were not read in time, or where it was known to be refused, was due, and did
/// not answer.
const FIRST_SOON: Duration = Duration::from_secs(250);
/// An authority that wants quiet is obeyed this long, as by all renewals.
const LONGEST_QUIET: Duration = Duration::from_hours(1);

/// When a first that rests this long is tried again at the latest: within the hour after it was
/// refused, within five minutes where it was not heard. Renewals come up to a tenth earlier than
/// they are asked for, by jitter: the last one before this finds the first due.
fn latest(rest: Duration) -> Duration {
    rest + rest / 5
}

/// A credential that stands by, and whose turn it is.
pub(super) struct Fallback {
    /// The credential that stands by.
    pub(super) second: Box<Credential>,
    turn: Mutex<Turn>,
}

/// Whose turn it is.
struct Turn {
    /// Since when the first has last been accepted, or not been known to be refused.
    accepted: Instant,
    refused: Option<Refused>,
}

/// The first is known to be refused.
struct Refused {
    /// When it was asked last, and what was in its files.
    at: Instant,
    stamp: Stamp,
    /// How long it is left alone from then on, unless its files change.
    rest: Duration,
    /// How long its authority wanted quiet, whatever its files hold.
    quiet: Duration,
    /// Whether it answered; not where its files were not read, so that nobody was asked.
    answered: bool,
    /// Why it gave no token then.
    why: Reason,
    /// Whether the second has given a token since.
    replaced: bool,
}

impl Fallback {
    pub(super) fn new(second: Credential, now: Instant) -> Self {
        Self {
            second: Box::new(second),
            turn: Mutex::new(Turn {
                accepted: now,
                refused: None,
            }),
        }
    }

    /// Whether the second has been answering.
    pub(super) fn is_active(&self) -> bool {
        locked(&self.turn).refused.is_some()
    }

    /// Why the first gives no token, as long as it is known to be refused.
    pub(super) fn why(&self) -> Option<Reason> {
        locked(&self.turn)
            .refused
            .as_ref()
            .map(|refused| refused.why.clone())
    }

    /// Since when the first has not been refused. Whoever got a token from the second before this
    /// can have the first's now.
    pub(super) fn accepted(&self) -> Instant {
        locked(&self.turn).accepted
    }

    /// Whether the first is to be asked.
    pub(super) fn first_is_due(&self, stamp: &Stamp, now: Instant) -> bool {
        locked(&self.turn).refused.as_ref().is_none_or(|refused| {
            let since = now.saturating_duration_since(refused.at);
            since >= refused.rest || since >= refused.quiet && stamp.differs_from(&refused.stamp)
        })
    }

    /// The second gave a token in a call that began then: when it is to be renewed at the latest,
    /// whatever its life, so that the first is tried again in time.
    pub(super) fn renew_within(&self, began: Instant) -> Duration {
        locked(&self.turn)
            .refused
            .as_ref()
            .map_or(latest(FIRST_AGAIN), |refused| {
                (refused.at + latest(refused.rest)).saturating_duration_since(began)
            })
    }

    /// The first was refused. What else is asked for meanwhile leaves it alone, too.
    pub(super) fn first_refused(&self, stamp: Stamp, error: &CredentialError, now: Instant) {
        let mut turn = locked(&self.turn);
        let replaced = turn.refused.as_ref().is_some_and(|known| known.replaced);
        // That its files can be read again is no change of them.
        let answered = !error.is_unread();
        turn.refused = Some(Refused {
            at: now,
            stamp,
            rest: if answered { FIRST_NEXT } else { FIRST_SOON },
            quiet: Duration::ZERO,
            answered,
            why: Reason::of(error),
            replaced,
        });
    }

    /// The second gave a token in place of the first, which is left alone for longer now. Returns why
    /// the first gave none, if this is news: it may have been asked by another call.
    pub(super) fn second_replaces(&self) -> Option<Reason> {
        let mut turn = locked(&self.turn);
        let refused = turn.refused.as_mut()?;
        if refused.answered {
            refused.rest = FIRST_AGAIN;
        }
        let is_news = !std::mem::replace(&mut refused.replaced, true);
        is_news.then(|| refused.why.clone())
    }

    /// The first was due and gave neither a token nor a refusal, perhaps asked for quiet, and the
    /// second goes on in its place. Returns whether this is news.
    pub(super) fn first_unanswered(
        &self,
        stamp: Stamp,
        error: &CredentialError,
        now: Instant,
    ) -> bool {
        let quiet = error.retry_after().unwrap_or_default();
        let rest = quiet.clamp(FIRST_SOON, LONGEST_QUIET);
        self.first_rests(stamp, rest, error, now)
    }

    fn first_rests(
        &self,
        stamp: Stamp,
        rest: Duration,
        error: &CredentialError,
        now: Instant,
    ) -> bool {
        let mut turn = locked(&self.turn);
        // Another call may have got a token from it meanwhile.
        let Some(refused) = &mut turn.refused else {
            return false;
        };
        let unanswered = Refused {
            at: now,
            stamp,
            rest,
            quiet: error.retry_after().unwrap_or_default(),
            answered: false,
            why: Reason::of(error),
            replaced: refused.replaced,
        };
        std::mem::replace(refused, unanswered).answered
    }

    /// The second failed, too, or is to be left alone since it did, after the first with this error or
    /// without it being asked: the first is left alone for no longer than it has to be. Why there is no
    /// token of either.
    pub(super) fn both_failed(
        &self,
        stamp: Stamp,
        first: Option<&CredentialError>,
        second: Arc<CredentialError>,
        now: Instant,
    ) -> CredentialError {
        let unanswered = first.filter(|error| !error.refuses_credential());
        if let Some((error, quiet)) = unanswered.and_then(|it| Some((it, it.retry_after()?))) {
            self.first_rests(stamp, quiet.min(LONGEST_QUIET), error, now);
        }
        let mut turn = locked(&self.turn);
        let known = turn.refused.as_mut().map(|refused| {
            let needed = refused.quiet.clamp(FIRST_NEXT, LONGEST_QUIET);
            refused.rest = refused.rest.min(needed);
            &refused.why
        });
        let first = first.map(Reason::of).or(known.cloned());
        CredentialError::Both {
            // Another call may have got a token from it meanwhile.
            first: first.unwrap_or_else(Reason::accepted),
            fallback: self.second.name.clone(),
            second,
        }
    }

    /// The first gave a token. Returns whether this is news.
    pub(super) fn first_accepted(&self, now: Instant) -> bool {
        let mut turn = locked(&self.turn);
        let is_news = turn.refused.take().is_some();
        if is_news {
            turn.accepted = now;
        }
        is_news
    }
}
