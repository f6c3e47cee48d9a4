//! One token as everybody sees it: the published copy that workers read without a lock, the state
//! behind a mutex that only calls and their waiters touch, and the word that a call has ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};

use super::deadline::Deadline;
use super::error::TokenError;
use super::key::TokenKey;
use super::lifetime::Lifetime;
use super::phase::{Failure, Phase};
use super::resting::Resting;
use super::slot::{Concern, Flight, HeldToken, Renewal, Slot, Step};
use super::status::{LastError, TokenState, TokenStatus, outcome};
use super::supplier::Supplier;
use super::telling;
use super::waiters::Waiters;
use crate::clock::Now;
use crate::config::Name;
use crate::credential::{
    AccessToken, Acquired, ClaimsRequest, CredentialError, Pace, TokenRequest,
};
use crate::lock::locked;
use crate::metrics::{RefreshOutcome, Refreshes};
use crate::secret::Secret;

/// The limit of a renewal's first call, while the cached token has time for another: a connection
/// that hangs is soon replaced.
const WITHIN_FIRST: Duration = Duration::from_secs(10);
/// The limit of its later calls, and of every call while nothing usable is cached: Microsoft's own
/// take 0.5 to 30 s, and a slow token is better than none.
const WITHIN: Duration = Duration::from_secs(30);

/// One token of the cache.
#[derive(Debug)]
pub struct TokenEntry {
    version: Version,
    published: ArcSwapOption<Published>,
    key: TokenKey,
    /// A panic while it is locked ends the refresher, and the process with it.
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
    /// Wakes the refresher to look at the state again.
    nudge: Notify,
    waiters: Waiters,
}

/// Counts publications. Workers load it with every request, so it has its cache lines to itself
/// (two of 64 bytes, which some processors fetch together).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Version(AtomicU64);

/// A token as workers copy it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) serial: u64,
    pub(super) usable_until: Deadline,
    pub(super) secret: Secret,
    /// The fallback that got it.
    fallback: Option<Name>,
}

#[derive(Debug)]
struct State {
    label: Name,
    /// Counts the calls under that label.
    refreshes: Arc<Refreshes>,
    slot: Slot,
    supplier: Supplier,
    last_renewal: Option<SystemTime>,
    last_error: Option<LastError>,
    /// The last call failed, and of the two that it asked the fallback's server wants quiet.
    resting: Option<Resting>,
}

/// What the refresher does next.
pub(super) enum Begin {
    Call(Call),
    /// Look again after this time.
    Wait(Duration),
}

/// A call that was begun.
pub(super) struct Call {
    pub(super) supplier: Supplier,
    pub(super) request: TokenRequest,
}

impl TokenEntry {
    pub(super) fn new(
        key: TokenKey,
        label: Name,
        refreshes: Arc<Refreshes>,
        supplier: Supplier,
    ) -> Self {
        Self {
            version: Version::default(),
            published: ArcSwapOption::empty(),
            key,
            state: Mutex::new(State {
                label,
                refreshes,
                slot: Slot::new(),
                supplier,
                last_renewal: None,
                last_error: None,
                resting: None,
            }),
            phase: watch::Sender::new(Phase::default()),
            nudge: Notify::new(),
            waiters: Waiters::default(),
        }
    }

    /// Takes over the token of another entry, which must be one that this one's credential could have
    /// got, and the quiet that it keeps. To be called before anybody else has this entry.
    pub(super) fn inherit(&self, other: &Self) {
        let (mut own, other_state) = (locked(&self.state), locked(&other.state));
        own.slot = other_state.slot.successor();
        // What ends those failures is told, although they count anew.
        own.last_error = other_state.last_error.clone();
        if own.slot.has_failed() {
            let phase = other.phase.borrow().successor(own.slot.is_failing());
            self.phase.send_replace(phase);
        }
        let Some(published) = other.published() else {
            return;
        };
        own.last_renewal = other_state.last_renewal;
        self.published.store(Some(published));
        self.version.0.fetch_add(1, Ordering::Release);
    }

    /// Its key.
    pub fn key(&self) -> &TokenKey {
        &self.key
    }

    /// The name of the credential it is asked for with: the `credential` label.
    pub fn label(&self) -> Name {
        locked(&self.state).label.clone()
    }

    /// The calls that were made under its label.
    #[cfg(test)]
    pub(super) fn refreshes(&self) -> crate::metrics::RefreshTotals {
        locked(&self.state).refreshes.totals()
    }

    /// The requests that wait for it.
    pub(super) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Its state.
    pub fn status(&self, now: Now) -> TokenStatus {
        let state = locked(&self.state);
        let served = state.slot.usable(now);
        let held = state.slot.held();
        let last_error = state.last_error.clone();
        let last_error = last_error.filter(|it| it.over.is_some() || state.slot.has_failed());
        TokenStatus {
            credential: state.label.clone(),
            fallback: served.and_then(|_| self.fallback()),
            scope: self.key.scope().clone(),
            state: match (served.is_some(), state.slot.is_failing()) {
                (true, false) => TokenState::Valid,
                (true, true) => TokenState::Failing,
                (false, false) => TokenState::Pending,
                (false, true) => match &last_error {
                    Some(error) if error.outcome == RefreshOutcome::Rejected => {
                        TokenState::Rejected
                    }
                    _ => TokenState::Unavailable,
                },
            },
            expires: held.map(|held| held.expires.wall),
            last_renewal: state.last_renewal,
            last_error,
            next_call_in: state.slot.next_call_in(now),
            waiters: self.waiters.count(),
        }
    }

    /// Changes whenever there is something new to copy.
    pub(super) fn version(&self) -> u64 {
        self.version.0.load(Ordering::Acquire)
    }

    pub(super) fn published(&self) -> Option<Arc<Published>> {
        self.published.load_full()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Waits until somebody wants the state looked at.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// What an error is to a request that meets it now.
    pub(super) fn explain(&self, failure: &Failure, now: Now) -> TokenError {
        let state = locked(&self.state);
        let next_call_in = match failure.concern {
            Concern::All | Concern::Nobody => state.slot.next_call_in(now),
            Concern::Claims => state.slot.next_claims_in(now),
        };
        if state.slot.next(now) == Step::Call {
            // Timers sleep as long as a suspended machine does: the refresher may not know yet.
            self.nudge();
        }
        TokenError::of(failure.cause.clone(), next_call_in)
    }

    /// An upstream refused the token with this serial. Also tells what was known of calls then.
    pub(super) fn reject(
        &self,
        serial: u64,
        claims: Option<&ClaimsRequest>,
        now: Now,
    ) -> (Renewal, Phase) {
        let mut state = locked(&self.state);
        let renewal = state.slot.rejected(serial, claims, now);
        (renewal, self.phase.borrow().clone())
    }

    /// Puts another credential of the same identity in place, which may have another name: its next
    /// call uses it.
    pub(super) fn repoint(
        &self,
        label: &Name,
        refreshes: Arc<Refreshes>,
        supplier: Supplier,
        now: Now,
    ) {
        let mut state = locked(&self.state);
        state.label = label.clone();
        state.refreshes = refreshes;
        state.supplier = supplier;
        self.changed(&mut state, now);
    }

    /// The credential's files changed, or it is accepted again.
    pub(super) fn files_changed(&self, now: Now) {
        let mut state = locked(&self.state);
        self.changed(&mut state, now);
    }

    fn changed(&self, state: &mut State, now: Now) {
        let at_once = self.fallback().is_some();
        if state.slot.credential_changed(at_once, now) {
            // Requests wait for the call with the new credential, not fail with the old error.
            self.phase.send_modify(|phase| phase.failure = None);
            self.nudge();
        }
    }

    /// The fallback that got the token that is held.
    fn fallback(&self) -> Option<Name> {
        self.published.load().as_ref()?.fallback.clone()
    }

    /// The supplier, if a change of its stamp would matter now.
    pub(super) fn watched(&self) -> Option<Supplier> {
        let state = locked(&self.state);
        let matters = state.slot.has_failed() || self.fallback().is_some();
        matters.then(|| state.supplier.clone())
    }

    /// Nobody uses this token any more.
    pub(super) fn retire(&self) {
        self.phase.send_modify(|phase| phase.retired = true);
    }

    /// Asks the state what to do, and begins a call if one is due.
    pub(super) fn begin(&self, now: Now) -> Begin {
        let mut state = locked(&self.state);
        match state.slot.next(now) {
            Step::Wait(left) => return Begin::Wait(left),
            // Only the refresher begins and ends calls, one at a time.
            Step::InFlight => return Begin::Wait(Duration::MAX),
            Step::Call => {}
        }
        state.resting = state.resting.take().and_then(|it| it.still(now));
        let has_time = |held: HeldToken| held.usable_until.left(now) > WITHIN_FIRST + WITHIN;
        let claims = state.slot.started(now);
        let claims = claims.and_then(|flight: Flight| flight.claims);
        let is_first = !state.slot.has_failed_with(claims.is_some());
        let is_first = is_first && state.slot.usable(now).is_some_and(has_time);
        Begin::Call(Call {
            supplier: state.supplier.clone(),
            request: TokenRequest {
                scope: self.key.scope().clone(),
                claims,
                within: if is_first { WITHIN_FIRST } else { WITHIN },
                resting: state.resting.as_ref().map(|it| it.error.clone()),
            },
        })
    }

    /// Ends the call.
    pub(super) fn finish(&self, acquired: Acquired, mut took: Duration, now: Now, random: f64) {
        let mut state = locked(&self.state);
        if let Some(first) = acquired.first {
            let outcome = outcome(&first.error);
            state.refreshes.ended(outcome, first.took);
            took = took.saturating_sub(first.took);
        }
        let number = state.slot.calls();
        let failure = match acquired.outcome {
            Ok(token) => {
                state.refreshes.ended(RefreshOutcome::Success, took);
                self.publish(&mut state, token, now, random);
                state.resting = None;
                None
            }
            Err(error) => {
                // Nobody was called last where the fallback was left alone.
                if state.resting.is_none() || error.resting().is_none() {
                    state.refreshes.ended(outcome(&error), took);
                }
                let concern = self.remember(&mut state, &error, now, random);
                Some(Failure {
                    number,
                    concern,
                    cause: Arc::new(error),
                })
            }
        };
        // Within the lock, so that `reject` sees state and phase in step.
        self.phase.send_modify(|phase| match failure {
            None => phase.brought(number),
            Some(failure) => phase.failed(failure),
        });
    }

    fn publish(&self, state: &mut State, token: AccessToken, now: Now, random: f64) {
        let same = self
            .published
            .load()
            .as_ref()
            .is_some_and(|held| held.secret.matches(token.secret.expose()));
        let life = Lifetime {
            expires_in: token.expires_in,
            refresh_in: token.refresh_in,
        };
        let Some(held) = state.slot.succeeded(life, same, random) else {
            return;
        };
        self.published.store(Some(Arc::new(Published {
            serial: held.serial,
            usable_until: held.usable_until,
            secret: token.secret,
            fallback: token.fallback,
        })));
        self.version.0.fetch_add(1, Ordering::Release);
        state.last_renewal = Some(now.wall);
        // Not what the slot says: after a change of the credential's files it counts anew.
        let last_error = state.last_error.as_mut();
        let was_failing = last_error.is_some_and(|it| it.end(now.wall));
        telling::renewed(&state.label, self.key.scope(), was_failing);
    }

    fn remember(
        &self,
        state: &mut State,
        error: &CredentialError,
        now: Now,
        random: f64,
    ) -> Concern {
        let last = LastError::new(error, now.wall);
        let before = state.last_error.as_ref().map(|error| error.outcome);
        let news = !state.slot.has_failed() || before != Some(last.outcome);
        let cached = state.slot.usable(now).is_some();
        telling::failed(&state.label, self.key.scope(), &last, cached, news);
        state.last_error = Some(last);
        state.resting = Resting::of(error, state.resting.take(), now);
        let (pace, quiet) = match &state.resting {
            // The next call leaves the fallback alone, so that a change of the first may bring it forward.
            Some(resting) => (Pace::In(resting.pause(now)), None),
            None => (error.pace(), error.retry_after()),
        };
        state.slot.failed(pace, quiet, now, random)
    }
}
