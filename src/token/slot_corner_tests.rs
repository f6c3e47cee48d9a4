//! States of a token that only several things at once lead to, by table.

use super::slot::{Concern, Renewal, Slot, Step};
use super::slot_clocks::{Clocks, S, claims, holding, life};
use crate::clock::Now;
use crate::credential::Pace;

/// A demand for claims, and the call that it leads to.
fn call_with_claims(slot: &mut Slot, serial: u64, now: Now) {
    slot.rejected(serial, Some(&claims("nbf")), now);
    slot.started(now).unwrap();
}

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
    call_with_claims(&mut slot, held.serial, clocks.at(0.0));
    assert!(slot.credential_changed(false, clocks.at(1.0)));
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
        call_with_claims(&mut slot, held.serial, clocks.at(at));
        slot.failed(Pace::Soon, quiet, clocks.at(at), 1.0);
        assert_eq!(slot.next(clocks.at(at)), Step::Wait(S(left)));
    }
}

#[test]
fn a_change_puts_off_no_renewal_that_had_no_time_for_the_quiet() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    call_with_claims(&mut slot, held.serial, clocks.at(2879.0));
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

#[test]
fn a_plain_refusal_waits_for_a_call_with_claims_and_no_refusal_waits_without_a_token() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    call_with_claims(&mut slot, held.serial, clocks.at(0.0));
    let renewal = slot.rejected(held.serial, None, clocks.at(1.0));
    assert_eq!(renewal, Renewal::Join(2));
    let renewal = Slot::new().rejected(held.serial, None, clocks.at(1.0));
    assert_eq!(renewal, Renewal::Newer);
}

#[test]
fn a_refusal_that_finds_a_call_due_leaves_room_for_a_forced_one() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    let renewal = slot.rejected(held.serial, None, clocks.at(2880.0));
    assert_eq!(renewal, Renewal::Join(2));
    slot.started(clocks.at(2880.0)).unwrap();
    let held = slot.succeeded(life(3600), false, 0.0).unwrap();
    let renewal = slot.rejected(held.serial, None, clocks.at(2881.0));
    assert_eq!(renewal, Renewal::Join(3));
}

#[test]
fn quiet_that_was_asked_for_with_claims_holds_up_no_plain_renewal_once_a_token_came() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    call_with_claims(&mut slot, held.serial, clocks.at(0.0));
    slot.failed(Pace::Soon, Some(S(3000)), clocks.at(0.0), 0.0);
    slot.started(clocks.at(2880.0)).unwrap();
    let held = slot.succeeded(life(3600), false, 0.0).unwrap();
    let renewal = slot.rejected(held.serial, None, clocks.at(2881.0));
    assert_eq!(renewal, Renewal::Join(4));
}

#[test]
fn quiet_that_was_asked_for_with_claims_puts_off_no_renewal_of_a_token_that_is_over() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(300), 0.0);
    call_with_claims(&mut slot, held.serial, clocks.at(239.0));
    slot.failed(Pace::Soon, Some(S(5)), clocks.at(271.0), 0.0);
    assert_eq!(slot.next(clocks.at(271.0)), Step::Call);
}

#[test]
fn a_token_with_the_claims_ends_what_was_known_of_them() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    let wanted = claims("nbf");
    slot.rejected(held.serial, Some(&wanted), clocks.at(0.0));
    slot.started(clocks.at(0.0)).unwrap();
    slot.failed(Pace::Permanent, None, clocks.at(0.0), 0.0);
    assert!(slot.has_failed_with(true) && slot.has_failed());
    slot.rejected(held.serial, Some(&wanted), clocks.at(61.0));
    assert_eq!(slot.started(clocks.at(61.0)).unwrap().claims, Some(wanted));
    slot.succeeded(life(3600), false, 0.0).unwrap();
    assert!(!slot.has_failed_with(true) && !slot.has_failed());
}

#[test]
fn failures_count_anew_with_a_credential_that_changed_during_one() {
    let clocks = Clocks::start();
    let (mut slot, now) = (Slot::new(), clocks.at(0.0));
    for _ in 0..6 {
        slot.started(now).unwrap();
        slot.failed(Pace::Soon, None, now, 1.0);
    }
    assert_eq!(slot.next(now), Step::Wait(S(10)));
    slot.started(now).unwrap();
    slot.credential_changed(false, now);
    assert_eq!(slot.failed(Pace::Soon, None, now, 1.0), Concern::Nobody);
    slot.started(now).unwrap();
    slot.failed(Pace::Soon, None, now, 1.0);
    assert_eq!(slot.next(now), Step::Wait(S(2)));
}

#[test]
fn a_change_is_followed_at_once_unless_quiet_is_kept_now() {
    let clocks = Clocks::start();
    let mut slot = Slot::new();
    slot.started(clocks.at(0.0)).unwrap();
    slot.failed(Pace::Soon, Some(S(60)), clocks.at(0.0), 0.0);
    slot.started(clocks.at(60.0)).unwrap();
    let held = slot.succeeded(life(3600), false, 0.0).unwrap();
    // That quiet is over.
    assert!(slot.credential_changed(true, clocks.at(61.0)));
    slot.started(clocks.at(61.0)).unwrap();
    slot.succeeded(life(3600), true, 0.0).unwrap();
    call_with_claims(&mut slot, held.serial, clocks.at(61.0));
    slot.failed(Pace::Soon, Some(S(60)), clocks.at(61.0), 0.0);
    // This one is not, and the renewal comes forward to its end.
    assert!(!slot.credential_changed(true, clocks.at(62.0)));
    assert_eq!(slot.next(clocks.at(62.0)), Step::Wait(S(59)));
}
