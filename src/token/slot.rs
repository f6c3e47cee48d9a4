//! The state of one token: when it may be used, when the next call is due. No clock, no I/O: events
//! go in with their time, answers come out.
//!
//! It guarantees that a token past its usable end is never usable, that at most one call is in
//! flight, that a failure leaves a valid token alone, and that upstreams' refusals force at most one
//! renewal in [`FORCED_PAUSE`]; one that fails is followed by the pause after a failure.

use std::time::Duration;

use super::backoff;
use super::claims_quiet::ClaimsQuiet;
use super::deadline::Deadline;
use super::lifetime::Lifetime;
use crate::clock::Now;
use crate::credential::{ClaimsRequest, Pace};

/// At most one forced renewal in this time: an upstream that refuses every token must not turn each
/// of its refusals into a token call.
pub const FORCED_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause of our own choice while requests fail for want of a token: they succeed again
/// soon after the identity service does, and six calls a minute are no burden to it.
const NOTHING_USABLE: Duration = Duration::from_secs(10);

/// The token that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldToken {
    /// Which token: rises with every one whose bytes are new.
    pub(super) serial: u64,
    pub(super) usable_until: Deadline,
    pub(super) expires: Deadline,
}

/// A call that was begun.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    /// Counts from 1.
    pub(super) number: u64,
    pub(super) claims: Option<ClaimsRequest>,
    /// An upstream's refusal asked for it.
    forced: bool,
    began: Now,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin a call.
    Call,
    /// A call is under way.
    InFlight,
    /// Look again after this time.
    Wait(Duration),
}

/// What an upstream's refusal of a token leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The last call failed and the next is not due: the reason is known.
    Failing,
    /// The last call with claims failed, and the next may not be made yet: likewise.
    ClaimsFailing,
    /// The end of this call brings the outcome.
    Join(u64),
    /// That token is not the one that is held any more.
    Newer,
    /// A renewal was forced too recently; this long is left.
    Paused(Duration),
}

/// Whom the failure of a call concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// All who want the token.
    All,
    /// Those whose upstream refused the token that is held.
    Claims,
    /// Nobody: the credential changed meanwhile, and the call is made again at once.
    Nobody,
}

/// The state of one token.
#[derive(Debug)]
pub(super) struct Slot {
    held: Option<HeldToken>,
    flight: Option<Flight>,
    /// Calls begun so far.
    calls: u64,
    /// Failures in a row.
    failures: u32,
    /// When the next ordinary call is due; `None` means now.
    due: Option<Deadline>,
    /// A renewal that an upstream's refusal asks for.
    wanted: Option<Wanted>,
    /// No other renewal is forced before this, unless the one that was brought nothing.
    forced_until: Option<Deadline>,
    /// A call with claims failed, and none has succeeded since.
    claims_quiet: Option<ClaimsQuiet>,
    /// The server asked for the pause that is kept.
    obeying: bool,
    /// The credential changed during the flight: if it fails, ask again at once.
    changed_in_flight: bool,
}

#[derive(Debug)]
struct Wanted {
    claims: Option<ClaimsRequest>,
}

impl Slot {
    /// Nothing is held and a call is due.
    pub(super) fn new() -> Self {
        Self {
            held: None,
            flight: None,
            calls: 0,
            failures: 0,
            due: None,
            wanted: None,
            forced_until: None,
            claims_quiet: None,
            obeying: false,
            changed_in_flight: false,
        }
    }

    /// One that holds what this one holds, and renews it when this one would. What failed is tried
    /// at once, unless the server asked for quiet.
    pub(super) fn successor(&self) -> Self {
        let (failing, obeying) = (self.is_failing(), self.is_failing() && self.obeying);
        Self {
            held: self.held,
            due: self.due.filter(|_| obeying || !failing),
            failures: if obeying { self.failures } else { 0 },
            obeying,
            claims_quiet: self.claims_quiet.filter(ClaimsQuiet::is_asked_for),
            ..Self::new()
        }
    }

    /// What to do now.
    pub(super) fn next(&self, now: Now) -> Step {
        if self.flight.is_some() {
            return Step::InFlight;
        }
        match self.due {
            Some(due) if self.wanted.is_none() && !due.has_come(now) => Step::Wait(due.left(now)),
            _ => Step::Call,
        }
    }

    /// The token that is held, if it may be used.
    pub(super) fn usable(&self, now: Now) -> Option<HeldToken> {
        self.held.filter(|held| !held.usable_until.has_come(now))
    }

    /// When the next call is due; zero while one is in flight.
    pub(super) fn next_call_in(&self, now: Now) -> Duration {
        match self.next(now) {
            Step::Wait(left) => left,
            Step::Call | Step::InFlight => Duration::ZERO,
        }
    }

    /// How long no call with claims is made, because the last one failed.
    pub(super) fn next_claims_in(&self, now: Now) -> Duration {
        self.claims_quiet
            .map_or(Duration::ZERO, |quiet| quiet.until.left(now))
    }

    /// Whether the last ordinary call failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether the last call of this kind failed: with claims, or ordinary.
    pub(super) fn has_failed_with(&self, claims: bool) -> bool {
        self.is_failing() || claims && self.claims_quiet.is_some()
    }

    /// Whether any call has failed since the last that brought a token.
    pub(super) fn has_failed(&self) -> bool {
        let failed = |quiet: ClaimsQuiet| !quiet.has_recovered();
        self.is_failing() || self.claims_quiet.is_some_and(failed)
    }

    /// Calls begun so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// The token that is held, usable or not.
    pub(super) fn held(&self) -> Option<HeldToken> {
        self.held
    }

    /// A call begins. `None` when one is in flight already.
    pub(super) fn started(&mut self, now: Now) -> Option<Flight> {
        if self.flight.is_some() {
            return None;
        }
        self.calls += 1;
        self.changed_in_flight = false;
        let wanted = self.wanted.take();
        let flight = Flight {
            number: self.calls,
            forced: wanted.is_some(),
            claims: wanted.and_then(|wanted| wanted.claims),
            began: now,
        };
        self.flight = Some(flight.clone());
        Some(flight)
    }

    /// The call brought a token; `same` when its bytes are those that are held. Returns what is
    /// held now.
    pub(super) fn succeeded(
        &mut self,
        life: Lifetime,
        same: bool,
        random: f64,
    ) -> Option<HeldToken> {
        let Flight { began, claims, .. } = self.flight.take()?;
        let last = self.held.map_or(0, |held| held.serial);
        let held = HeldToken {
            serial: if same { last } else { last + 1 },
            usable_until: Deadline::after(began, life.usable_for()),
            expires: Deadline::after(began, life.expires_in),
        };
        self.held = Some(held);
        self.failures = 0;
        // A token without claims says nothing of those that were refused.
        let quiet = self.claims_quiet.filter(|_| claims.is_none());
        self.claims_quiet = quiet.map(ClaimsQuiet::recovered);
        self.due = Some(Deadline::after(began, life.renew_after(random)));
        self.held
    }

    /// The call failed. What is held stays. Returns who is to be told.
    pub(super) fn failed(
        &mut self,
        pace: Pace,
        retry_after: Option<Duration>,
        now: Now,
        random: f64,
    ) -> Concern {
        let Some(flight) = self.flight.take() else {
            return Concern::Nobody;
        };
        let retry_after = backoff::asked_for(retry_after);
        if self.changed_in_flight && retry_after.is_none() {
            self.call_again(flight);
            return Concern::Nobody;
        }
        // Whoever wants a renewal hears of this failure; another call now would meet it again.
        let dropped = self.wanted.take();
        let forced_until = match flight.forced || dropped.is_some() {
            true => self.forced_until.take(),
            false => None,
        };
        if flight.claims.is_some() {
            self.claims_failed(pace, retry_after, forced_until, now, random);
            return Concern::Claims;
        }
        self.failures = self.failures.saturating_add(1);
        self.obeying = retry_after.is_some();
        let longest = self.patience(now);
        let pause = backoff::pause(pace, self.failures, retry_after, longest, random);
        self.due = Some(Deadline::after(now, pause));
        Concern::All
    }

    /// The credential changed during this call, which failed: the next is for all that was wanted.
    fn call_again(&mut self, flight: Flight) {
        if flight.claims.is_none() {
            self.failures = 0;
            self.due = None;
        }
        if flight.forced {
            let also = self.wanted.take().and_then(|wanted| wanted.claims);
            let claims = flight.claims.into_iter().chain(also);
            let claims = claims.reduce(ClaimsRequest::and);
            self.wanted = Some(Wanted { claims });
        }
    }

    /// One endpoint demanded claims, and the call with them failed. The renewal that all others live
    /// by does not carry them and keeps its time: put off, it could come after the token's end. Only
    /// quiet that the server asked for is kept there too, as far as the token has time for it.
    ///
    /// Nobody but upstreams asks for claims again, and they ask with every request: other claims are
    /// asked for when a renewal could be forced again had this one brought a token.
    fn claims_failed(
        &mut self,
        pace: Pace,
        retry_after: Option<Duration>,
        forced_until: Option<Deadline>,
        now: Now,
        random: f64,
    ) {
        let pause = backoff::pause(pace, 1, retry_after, NOTHING_USABLE, random);
        let quiet = Deadline::after(now, pause);
        let until = forced_until.map_or(quiet, |until| until.max(quiet));
        let asked = retry_after.map(|_| quiet);
        self.claims_quiet = Some(ClaimsQuiet::new(until, asked));
        let is_sooner = self.due.is_none_or(|due| due.left(now) < pause);
        let has_time = self.usable(now).is_some() && pause <= self.patience(now);
        if retry_after.is_some() && is_sooner && has_time {
            self.due = Some(quiet);
        }
    }

    /// How long the end of an outage can be waited for. While a token is usable, half of what is left
    /// of it: whenever the outage ends, the next call comes before the token does.
    fn patience(&self, now: Now) -> Duration {
        self.usable(now)
            .map_or(NOTHING_USABLE, |held| held.usable_until.left(now) / 2)
    }

    /// An upstream refused the token with this serial, and may demand claims.
    pub(super) fn rejected(
        &mut self,
        serial: u64,
        claims: Option<&ClaimsRequest>,
        now: Now,
    ) -> Renewal {
        if self.held.is_none_or(|held| held.serial != serial) {
            return Renewal::Newer;
        }
        let answers = |asked: Option<&ClaimsRequest>| claims.is_none() || asked == claims;
        if let Some(flight) = &self.flight
            && answers(flight.claims.as_ref())
        {
            return Renewal::Join(flight.number);
        }
        let quiet = self.claims_quiet.filter(|quiet| quiet.holds(claims, now));
        if let Some(wanted) = &mut self.wanted {
            if wanted.claims.is_none() && quiet.is_none() {
                wanted.claims = claims.cloned();
            }
            if answers(wanted.claims.as_ref()) {
                return Renewal::Join(self.calls + 1);
            }
        }
        let next = self.next(now);
        if next == Step::Call && claims.is_none() {
            // What is due serves as well, and nothing is forced.
            return Renewal::Join(self.calls + 1);
        }
        if self.is_failing() && matches!(next, Step::Wait(_)) {
            return Renewal::Failing;
        }
        if quiet.is_some_and(|quiet| !quiet.has_recovered()) {
            return Renewal::ClaimsFailing;
        }
        let paused = self.forced_until.filter(|until| !until.has_come(now));
        let paused = [paused, quiet.map(|quiet| quiet.until)].into_iter();
        if let Some(left) = paused.flatten().map(|until| until.left(now)).max() {
            return Renewal::Paused(left);
        }
        self.forced_until = Some(Deadline::after(now, FORCED_PAUSE));
        self.wanted = Some(Wanted {
            claims: claims.cloned(),
        });
        Renewal::Join(self.calls + 1)
    }

    /// The credential or its files changed. What failed with the old one is tried at once with the
    /// new, unless the server asked for quiet; a token that the old one brought stays valid, and is
    /// renewed when it is due unless `at_once`. Returns whether a call is under way or follows now.
    pub(super) fn credential_changed(&mut self, at_once: bool, now: Now) -> bool {
        self.claims_quiet = self.claims_quiet.and_then(|quiet| quiet.after_change(now));
        if self.flight.is_some() {
            self.changed_in_flight = true;
            return true;
        }
        let failing = self.is_failing();
        if failing && self.obeying || !failing && !at_once {
            return self.due.is_none();
        }
        // What is due now and had no time for that quiet has none for it now.
        let asked = self.claims_quiet.and_then(|quiet| quiet.asked_of_all());
        if let (false, Some(until), Some(due)) = (failing, asked, self.due) {
            self.due = Some(if due.left(now) < until.left(now) {
                due
            } else {
                until
            });
            return false;
        }
        self.failures = 0;
        self.due = None;
        true
    }
}
