//! Every state of a token against time, by table.

use std::time::Duration;

use proptest::prelude::*;

use super::lifetime::Lifetime;
use super::slot::{FORCED_PAUSE, Renewal, Slot, Step};
use super::slot_clocks::{Clocks, S, claims, holding, life};
use crate::credential::Pace;

#[test]
fn a_new_slot_calls_at_once_and_once() {
    let clocks = Clocks::start();
    let mut slot = Slot::new();
    assert_eq!(slot.next(clocks.at(0.0)), Step::Call);
    assert_eq!(slot.started(clocks.at(0.0)).unwrap().number, 1);
    assert_eq!(slot.next(clocks.at(9.0)), Step::InFlight);
    assert!(slot.started(clocks.at(9.0)).is_none());
}

#[test]
fn renewal_is_at_refresh_in_else_half_life_else_eighty_percent() {
    let clocks = Clocks::start();
    for (expires_in, refresh_in, earliest, latest) in [
        (3600, None, 2592, 2880),
        (7199, None, 5183, 5759),
        (7200, None, 3240, 3600),
        (86_400, None, 38_880, 43_200),
        (100_799, Some(50_399), 45_359, 50_399),
        (3600, Some(600), 540, 600),
        // An issuer that asks for renewal after the end, or nearly, is not obeyed.
        (3600, Some(3599), 2592, 2880),
        // Never sooner than 30 s after the call.
        (3600, Some(1), 30, 30),
        (40, None, 30, 32),
        (36, None, 30, 30),
        (34, None, 30, 30),
        // Short tokens: never so late that they run out.
        (33, None, 26, 26),
        (30, None, 24, 24),
        (5, None, 4, 4),
    ] {
        let life = Lifetime {
            expires_in: S(expires_in),
            refresh_in: refresh_in.map(S),
        };
        for (random, due) in [(0.0, latest), (1.0, earliest)] {
            let (slot, _) = holding(clocks, life, random);
            let Step::Wait(left) = slot.next(clocks.at(0.0)) else {
                panic!("{expires_in} is due at once");
            };
            assert_eq!(left.as_secs(), due, "{expires_in} {refresh_in:?} {random}");
            assert_eq!(slot.next(clocks.at(left.as_secs_f64())), Step::Call);
        }
    }
}

#[test]
fn a_token_is_used_until_shortly_before_its_end_on_either_clock() {
    let clocks = Clocks::start();
    for (expires_in, end) in [(3600, 3570.0), (300, 270.0), (100, 90.0), (10, 9.0)] {
        let (slot, _) = holding(clocks, life(expires_in), 0.5);
        assert!(slot.usable(clocks.at(end - 0.1)).is_some());
        assert!(slot.usable(clocks.at(end)).is_none());
        // A suspended machine: its monotonic clock stood still.
        assert!(slot.usable(clocks.apart(1.0, end)).is_none());
        // A wall clock that was set back.
        assert!(slot.usable(clocks.apart(end - 0.1, -86_400.0)).is_some());
        assert!(slot.usable(clocks.apart(end, -86_400.0)).is_none());
    }
}

#[test]
fn a_machine_that_was_suspended_renews_as_soon_as_it_looks() {
    let clocks = Clocks::start();
    let (slot, _) = holding(clocks, life(3600), 0.5);
    assert_eq!(slot.next(clocks.apart(5.0, 7200.0)), Step::Call);
    assert!(matches!(
        slot.next(clocks.apart(5.0, -7200.0)),
        Step::Wait(_)
    ));
}

#[test]
fn a_failure_keeps_the_valid_token_and_backs_off() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    slot.started(clocks.at(2880.0)).unwrap();
    slot.failed(Pace::Soon, None, clocks.at(2881.0), 1.0);
    assert_eq!(slot.usable(clocks.at(2881.0)).unwrap().serial, held.serial);
    assert_eq!(
        slot.next(clocks.at(2882.9)),
        Step::Wait(Duration::from_millis(100))
    );
    assert_eq!(slot.next(clocks.at(2883.0)), Step::Call);
    assert!(slot.is_failing());
    slot.started(clocks.at(2883.0)).unwrap();
    let renewed = slot.succeeded(life(3600), false, 0.0).unwrap();
    assert_eq!(renewed.serial, held.serial + 1);
    assert!(!slot.is_failing());
}

#[test]
fn an_outage_that_ends_before_the_token_does_is_over_before_it_too() {
    let clocks = Clocks::start();
    let (mut slot, _) = holding(clocks, life(3600), 0.0);
    let (mut now, end) = (2880.0, 3570.0);
    while end - now > 2.0 {
        slot.started(clocks.at(now)).unwrap();
        slot.failed(Pace::Soon, None, clocks.at(now), 1.0);
        let Step::Wait(pause) = slot.next(clocks.at(now)) else {
            panic!("a failure is followed by a pause");
        };
        // Had the outage ended just after this call, the next would come in time.
        assert!(pause <= S(60));
        now += pause.as_secs_f64();
        assert!(now < end, "{now}");
    }
}

#[test]
fn while_requests_fail_the_next_call_is_seconds_away() {
    let clocks = Clocks::start();
    let mut slot = Slot::new();
    for round in 0..20 {
        let now = clocks.at(f64::from(round) * 60.0);
        slot.started(now).unwrap();
        slot.failed(Pace::Soon, None, now, 1.0);
        assert!(slot.next_call_in(now) <= S(10));
    }
}

#[test]
fn a_permanent_refusal_is_asked_again_once_a_minute_and_at_once_after_a_change() {
    let clocks = Clocks::start();
    let mut slot = Slot::new();
    slot.started(clocks.at(0.0)).unwrap();
    slot.failed(Pace::Permanent, None, clocks.at(0.0), 0.0);
    assert_eq!(
        slot.next(clocks.at(59.9)),
        Step::Wait(Duration::from_millis(100))
    );
    slot.credential_changed(false, clocks.at(1.0));
    assert_eq!(slot.next(clocks.at(1.0)), Step::Call);
    assert!(!slot.is_failing());
}

#[test]
fn a_change_during_a_call_counts_when_the_call_fails() {
    let clocks = Clocks::start();
    let mut slot = Slot::new();
    slot.started(clocks.at(0.0)).unwrap();
    slot.credential_changed(false, clocks.at(0.5));
    slot.failed(Pace::Permanent, None, clocks.at(1.0), 0.0);
    assert_eq!(slot.next(clocks.at(1.0)), Step::Call);
    slot.started(clocks.at(1.0)).unwrap();
    slot.failed(Pace::Permanent, None, clocks.at(2.0), 0.0);
    assert!(matches!(slot.next(clocks.at(2.0)), Step::Wait(_)));
}

#[test]
fn a_pause_that_the_server_asked_for_outlasts_a_change() {
    let clocks = Clocks::start();
    let mut slot = Slot::new();
    slot.started(clocks.at(0.0)).unwrap();
    slot.failed(Pace::Soon, Some(S(60)), clocks.at(0.0), 0.0);
    assert!(!slot.credential_changed(true, clocks.at(1.0)));
    assert_eq!(slot.next(clocks.at(1.0)), Step::Wait(S(59)));
}

#[test]
fn a_new_secret_keeps_the_valid_token_and_its_schedule() {
    let clocks = Clocks::start();
    let (mut slot, _) = holding(clocks, life(3600), 0.5);
    let before = slot.next(clocks.at(1.0));
    slot.credential_changed(false, clocks.at(1.0));
    assert_eq!(slot.next(clocks.at(1.0)), before);
    slot.credential_changed(true, clocks.at(1.0));
    assert_eq!(slot.next(clocks.at(1.0)), Step::Call);
    assert!(slot.usable(clocks.at(1.0)).is_some());
}

#[test]
fn a_refused_token_is_renewed_once_for_all_and_used_meanwhile() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.5);
    let now = clocks.at(100.0);
    for _ in 0..3 {
        assert_eq!(slot.rejected(held.serial, None, now), Renewal::Join(2));
    }
    assert_eq!(slot.next(now), Step::Call);
    assert!(slot.usable(now).is_some());
    slot.started(now).unwrap();
    assert_eq!(slot.rejected(held.serial, None, now), Renewal::Join(2));
    slot.succeeded(life(3600), false, 0.5).unwrap();
    assert_eq!(slot.rejected(held.serial, None, now), Renewal::Newer);
    assert!(matches!(slot.next(now), Step::Wait(_)));
}

#[test]
fn refusals_force_one_renewal_in_half_a_minute() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.5);
    assert_eq!(
        slot.rejected(held.serial, None, clocks.at(0.0)),
        Renewal::Join(2)
    );
    slot.started(clocks.at(0.0)).unwrap();
    let held = slot.succeeded(life(3600), false, 0.5).unwrap();
    let paused = slot.rejected(held.serial, None, clocks.at(10.0));
    assert_eq!(paused, Renewal::Paused(FORCED_PAUSE - S(10)));
    assert_eq!(
        slot.rejected(held.serial, None, clocks.at(30.0)),
        Renewal::Join(3)
    );
}

#[test]
fn demanded_claims_need_a_call_that_carries_them() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.5);
    let now = clocks.at(2880.0);
    let wanted = claims("nbf");
    assert_eq!(slot.started(now).unwrap().claims, None);
    assert_eq!(slot.rejected(held.serial, None, now), Renewal::Join(2));
    assert_eq!(
        slot.rejected(held.serial, Some(&wanted), now),
        Renewal::Join(3)
    );
    assert_eq!(
        slot.rejected(held.serial, Some(&wanted), now),
        Renewal::Join(3)
    );
    let other = slot.rejected(held.serial, Some(&claims("other")), now);
    assert!(matches!(other, Renewal::Paused(_)));
    slot.succeeded(life(3600), false, 0.5).unwrap();
    assert_eq!(slot.next(now), Step::Call);
    assert_eq!(slot.started(now).unwrap().claims, Some(wanted));
}

#[test]
fn claims_that_cannot_be_had_leave_the_ordinary_renewal_its_time() {
    let clocks = Clocks::start();
    for (pace, retry_after, due) in [
        (Pace::Permanent, None, 240.0),
        (Pace::Slow, None, 240.0),
        (Pace::Soon, None, 240.0),
        // What the server asks for is kept where the token has time for it, and no longer.
        (Pace::Soon, Some(S(15)), 245.0),
        (Pace::Soon, Some(S(60)), 240.0),
    ] {
        let (mut slot, held) = holding(clocks, life(300), 0.0);
        let (now, wanted) = (clocks.at(230.0), claims("nbf"));
        let renewal = slot.rejected(held.serial, Some(&wanted), now);
        assert_eq!(renewal, Renewal::Join(2));
        slot.started(now).unwrap();
        slot.failed(pace, retry_after, now, 0.0);
        let step = slot.next(now);
        let left = Duration::from_secs_f64(due - 230.0);
        assert_eq!(step, Step::Wait(left), "{pace:?} {retry_after:?}");
        // The endpoint hears of the failure, and makes no further calls.
        if pace != Pace::Soon || retry_after.is_some() {
            let again = slot.rejected(held.serial, Some(&wanted), clocks.at(231.0));
            assert_eq!(again, Renewal::ClaimsFailing);
        }
        assert!(slot.has_failed() && !slot.is_failing());
        let now = clocks.at(due);
        assert_eq!(slot.started(now).unwrap().claims, None);
        slot.succeeded(life(300), false, 0.0).unwrap();
        assert!(!slot.has_failed());
    }
}

#[test]
fn a_renewal_that_has_not_begun_takes_up_claims() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.5);
    let (now, wanted) = (clocks.at(1.0), claims("nbf"));
    assert_eq!(slot.rejected(held.serial, None, now), Renewal::Join(2));
    assert_eq!(
        slot.rejected(held.serial, Some(&wanted), now),
        Renewal::Join(2)
    );
    assert_eq!(slot.started(now).unwrap().claims, Some(wanted));
}

#[test]
fn while_calls_fail_a_refusal_does_not_add_to_them() {
    let clocks = Clocks::start();
    let (mut slot, held) = holding(clocks, life(3600), 0.0);
    slot.started(clocks.at(2880.0)).unwrap();
    slot.failed(Pace::Soon, Some(S(60)), clocks.at(2880.0), 0.0);
    let renewal = slot.rejected(held.serial, None, clocks.at(2881.0));
    assert_eq!(renewal, Renewal::Failing);
    assert!(matches!(slot.next(clocks.at(2939.0)), Step::Wait(_)));
}

proptest! {
    #[test]
    fn a_token_that_comes_again_until_it_is_over_makes_no_crowd_of_calls(
        life_left in 30.0..3600.0_f64, randoms in proptest::collection::vec(0.0..1.0_f64, 200),
    ) {
        let clocks = Clocks::start();
        let (mut slot, mut at) = (Slot::new(), 0.0);
        let mut calls: Vec<f64> = Vec::new();
        for random in randoms {
            slot.started(clocks.at(at)).unwrap();
            calls.push(at);
            // Managed identity says in whole seconds what is left of the token that it keeps.
            match (life_left - at).floor() {
                left if left > 0.0 => {
                    slot.succeeded(life(left as u64), at > 0.0, random).unwrap();
                }
                _ => {
                    slot.failed(Pace::Soon, None, clocks.at(at), random);
                }
            }
            let Step::Wait(pause) = slot.next(clocks.at(at)) else {
                panic!("a call is followed by a pause");
            };
            prop_assert!(pause >= S(1));
            at += pause.as_secs_f64();
        }
        let near = calls.iter().filter(|at| (life_left - 60.0..life_left).contains(*at));
        prop_assert!(near.count() <= 8, "{calls:?}");
        let after = calls.iter().filter(|at| (life_left..life_left + 300.0).contains(*at));
        prop_assert!(after.count() <= 100, "{calls:?}");
    }
}

#[test]
fn a_call_that_is_made_again_asks_for_all_that_was_demanded_meanwhile() {
    let clocks = Clocks::start();
    for (first, second, all) in [
        (Some("a"), Some("b"), Some(claims("a").and(claims("b")))),
        (None, Some("b"), Some(claims("b"))),
        (Some("a"), None, Some(claims("a"))),
    ] {
        let (mut slot, held) = holding(clocks, life(86_400), 0.5);
        let mut demand = |text: Option<&str>, at: f64| {
            let wanted = text.map(claims);
            slot.rejected(held.serial, wanted.as_ref(), clocks.at(at));
            if at < 1.0 {
                slot.started(clocks.at(at)).unwrap();
            }
        };
        demand(first, 0.0);
        demand(second, 31.0);
        slot.credential_changed(false, clocks.at(32.0));
        slot.failed(Pace::Soon, None, clocks.at(33.0), 0.5);
        let again = slot.started(clocks.at(33.0)).unwrap();
        assert_eq!(again.claims, all);
    }
}
