//! How long no call with claims is made after one that failed, by table.

use std::time::Duration;

use super::slot::{Renewal, Slot, Step};
use super::slot_clocks::{Clocks, S, claims, holding, life};
use crate::credential::Pace;

/// A day's token, and a call with claims that failed at the start.
fn denied(clocks: Clocks, pace: Pace, retry_after: Option<Duration>) -> Slot {
    let (mut slot, held) = holding(clocks, life(86_400), 0.5);
    let (now, wanted) = (clocks.at(0.0), claims("nbf"));
    let renewal = slot.rejected(held.serial, Some(&wanted), now);
    assert_eq!(renewal, Renewal::Join(2));
    slot.started(now).unwrap();
    slot.failed(pace, retry_after, now, 0.0);
    slot
}

/// What a demand for claims leads to.
fn demand(slot: &mut Slot, clocks: Clocks, at: f64) -> Renewal {
    let serial = slot.held().unwrap().serial;
    slot.rejected(serial, Some(&claims("nbf")), clocks.at(at))
}

/// What a refusal without a demand leads to.
fn refuse(slot: &mut Slot, clocks: Clocks, at: f64) -> Renewal {
    let serial = slot.held().unwrap().serial;
    slot.rejected(serial, None, clocks.at(at))
}

#[test]
fn claims_that_only_a_person_can_heal_rest_a_minute_whatever_renewals_bring() {
    let clocks = Clocks::start();
    let mut slot = denied(clocks, Pace::Permanent, None);
    assert_eq!(refuse(&mut slot, clocks, 1.0), Renewal::Join(3));
    slot.started(clocks.at(1.0)).unwrap();
    slot.succeeded(life(86_400), false, 0.5).unwrap();
    assert!(!slot.has_failed());
    // Both times count, and the longer of them is told.
    let paused = demand(&mut slot, clocks, 10.0);
    assert_eq!(paused, Renewal::Paused(S(50)));
    // Others may force a renewal again, and are not held up by what one endpoint wants.
    let paused = demand(&mut slot, clocks, 32.0);
    assert_eq!(paused, Renewal::Paused(S(28)));
    assert_eq!(demand(&mut slot, clocks, 60.0), Renewal::Join(4));
}

#[test]
fn a_token_with_claims_ends_their_rest() {
    let clocks = Clocks::start();
    let mut slot = denied(clocks, Pace::Permanent, None);
    assert_eq!(demand(&mut slot, clocks, 60.0), Renewal::Join(3));
    slot.started(clocks.at(60.0)).unwrap();
    slot.succeeded(life(86_400), false, 0.5).unwrap();
    assert_eq!(demand(&mut slot, clocks, 90.0), Renewal::Join(4));
}

#[test]
fn claims_rest_also_where_a_renewal_is_about_to_begin() {
    let clocks = Clocks::start();
    let mut slot = denied(clocks, Pace::Permanent, None);
    assert_eq!(refuse(&mut slot, clocks, 1.0), Renewal::Join(3));
    let told = demand(&mut slot, clocks, 1.0);
    assert_eq!(told, Renewal::ClaimsFailing);
    assert_eq!(slot.started(clocks.at(1.0)).unwrap().claims, None);
}

#[test]
fn a_change_ends_the_rest_of_claims_and_forces_no_other_renewal() {
    let clocks = Clocks::start();
    let mut slot = denied(clocks, Pace::Permanent, None);
    let before = slot.next(clocks.at(1.0));
    assert!(!slot.credential_changed(false, clocks.at(1.0)));
    assert_eq!(slot.next(clocks.at(1.0)), before);
    assert_eq!(demand(&mut slot, clocks, 1.0), Renewal::Join(3));
}

#[test]
fn retry_after_of_nothing_asks_for_no_quiet() {
    let clocks = Clocks::start();
    let nothing = Some(S(0));
    // Of claims: others may force a renewal, and a change ends the pause.
    let mut slot = denied(clocks, Pace::Soon, nothing);
    assert_eq!(refuse(&mut slot, clocks, 0.5), Renewal::Join(3));
    let mut slot = denied(clocks, Pace::Soon, nothing);
    slot.credential_changed(false, clocks.at(0.5));
    assert_eq!(demand(&mut slot, clocks, 0.5), Renewal::Join(3));
    // Of what all live by: a change or an heir calls at once.
    let mut slot = Slot::new();
    slot.started(clocks.at(0.0)).unwrap();
    slot.failed(Pace::Soon, nothing, clocks.at(0.0), 1.0);
    assert_eq!(slot.successor().next(clocks.at(0.5)), Step::Call);
    assert!(slot.credential_changed(false, clocks.at(0.5)));
    assert_eq!(slot.next(clocks.at(0.5)), Step::Call);
    // And so does a flight that the change fell into.
    slot.started(clocks.at(1.0)).unwrap();
    slot.credential_changed(false, clocks.at(1.5));
    slot.failed(Pace::Soon, nothing, clocks.at(2.0), 1.0);
    assert_eq!(slot.next(clocks.at(2.0)), Step::Call);
}

#[test]
fn a_change_does_not_put_a_renewal_off_past_the_tokens_end() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.5);
    assert!(slot.credential_changed(true, clocks.at(1.0)));
    let renewal = slot.rejected(held.serial, Some(&claims("nbf")), clocks.at(1.0));
    assert_eq!(renewal, Renewal::Join(2));
    slot.started(clocks.at(1.0)).unwrap();
    slot.failed(Pace::Soon, Some(S(3600)), clocks.at(1.0), 0.0);
    assert_eq!(slot.next(clocks.at(1.0)), Step::Call);
    assert!(slot.credential_changed(true, clocks.at(2.0)));
    assert_eq!(slot.next(clocks.at(2.0)), Step::Call);
}
