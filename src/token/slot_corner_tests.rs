//! States of a token that only several things at once lead to, by table.

use super::slot::{Concern, Renewal, Slot, Step};
use super::slot_clocks::{Clocks, S, claims, holding, life};
use crate::credential::Pace;

#[test]
fn a_renewal_that_was_due_and_failed_makes_no_room_for_another_forced_one() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    let renewal = slot.rejected(held.serial, None, clocks.at(0.0));
    assert_eq!(renewal, Renewal::Join(2));
    slot.started(clocks.at(0.0)).unwrap();
    slot.succeeded(life(30), false, 0.0).unwrap();
    slot.started(clocks.at(24.0)).unwrap();
    slot.failed(Pace::Soon, None, clocks.at(24.0), 0.0);
    slot.started(clocks.at(25.0)).unwrap();
    let held = slot.succeeded(life(3600), false, 0.0).unwrap();
    let renewal = slot.rejected(held.serial, None, clocks.at(26.0));
    assert_eq!(renewal, Renewal::Paused(S(4)));
}

#[test]
fn claims_that_a_failed_call_left_unasked_for_may_be_asked_for_after_the_next() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    let wanted = claims("nbf");
    slot.started(clocks.at(2880.0)).unwrap();
    let renewal = slot.rejected(held.serial, Some(&wanted), clocks.at(2880.0));
    assert_eq!(renewal, Renewal::Join(3));
    let concern = slot.failed(Pace::Soon, None, clocks.at(2881.0), 0.0);
    assert_eq!(concern, Concern::All);
    assert_eq!(slot.started(clocks.at(2882.0)).unwrap().claims, None);
    let held = slot.succeeded(life(3600), false, 0.0).unwrap();
    let renewal = slot.rejected(held.serial, Some(&wanted), clocks.at(2883.0));
    assert_eq!(renewal, Renewal::Join(4));
}

#[test]
fn a_change_during_a_call_with_claims_makes_no_other_call_due() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    slot.rejected(held.serial, Some(&claims("nbf")), clocks.at(0.0));
    slot.started(clocks.at(0.0)).unwrap();
    slot.credential_changed(false, clocks.at(1.0));
    slot.failed(Pace::Soon, None, clocks.at(2.0), 0.0);
    let again = slot.started(clocks.at(2.0)).unwrap();
    assert_eq!(again.claims, Some(claims("nbf")));
    slot.failed(Pace::Soon, None, clocks.at(3.0), 0.0);
    assert_eq!(slot.next(clocks.at(3.0)), Step::Wait(S(2877)));
}

#[test]
fn a_refusal_of_claims_brings_no_renewal_forward() {
    let clocks = Clocks::start();
    // What was asked for ends long before the renewal; or nothing was, and the renewal is near.
    for (at, quiet, left) in [(0.0, Some(S(60)), 2880), (2879.0, None, 1)] {
        let (mut slot, held) = holding(clocks, life(3600), 0.0);
        slot.rejected(held.serial, Some(&claims("nbf")), clocks.at(at));
        slot.started(clocks.at(at)).unwrap();
        slot.failed(Pace::Soon, quiet, clocks.at(at), 1.0);
        assert_eq!(slot.next(clocks.at(at)), Step::Wait(S(left)));
    }
}

#[test]
fn a_change_puts_off_no_renewal_that_had_no_time_for_the_quiet() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    slot.rejected(held.serial, Some(&claims("nbf")), clocks.at(2879.0));
    slot.started(clocks.at(2879.0)).unwrap();
    slot.failed(Pace::Soon, Some(S(600)), clocks.at(2879.0), 0.0);
    assert!(!slot.credential_changed(true, clocks.at(2879.0)));
    assert_eq!(slot.next(clocks.at(2879.0)), Step::Wait(S(1)));
}

#[test]
fn a_first_call_that_has_not_begun_is_told_to_follow_a_change() {
    let clocks = Clocks::start();
    assert!(Slot::new().credential_changed(false, clocks.at(0.0)));
}

#[test]
fn an_heir_asks_again_for_claims_that_nobody_asked_to_wait_with() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    let wanted = claims("nbf");
    slot.rejected(held.serial, Some(&wanted), clocks.at(0.0));
    slot.started(clocks.at(0.0)).unwrap();
    slot.failed(Pace::Permanent, None, clocks.at(0.0), 0.0);
    let mut heir = slot.successor();
    let renewal = heir.rejected(held.serial, Some(&wanted), clocks.at(1.0));
    assert_eq!(renewal, Renewal::Join(1));
}

#[test]
fn what_is_left_of_a_time_is_what_the_clock_that_is_ahead_leaves() {
    let clocks = Clocks::start();
    let (slot, _) = holding(clocks, life(3600), 0.0);
    for now in [clocks.apart(10.0, 1000.0), clocks.apart(1000.0, 10.0)] {
        assert_eq!(slot.next_call_in(now), S(1880));
    }
}
