//! Who may dial, and whom a dial that comes to nothing fails.

use super::tests::{LIMIT, Silent, TARGET, multiplex};
use super::*;

/// Begins to dial; when that was.
fn dials(multiplex: &Rc<Multiplex>) -> (Dialling, Instant) {
    let begun = Instant::now();
    let Step::Dial(dialling) = multiplex.step(begun, begun, None) else {
        panic!("nobody dials");
    };
    (dialling, begun)
}

/// Dials, and comes to this; when that began.
fn dials_in_vain(multiplex: &Rc<Multiplex>, error: ConnectError) -> Instant {
    let (mut dialling, begun) = dials(multiplex);
    dialling.come_to(Err(error));
    begun
}

/// A connection whose only stream is in use.
async fn busy(multiplex: &Multiplex) -> (Silent, Stream) {
    let mut peer = Silent::with_one(multiplex).await;
    peer.settle(multiplex, 1).await;
    (peer, multiplex.take_stream(Instant::now(), None).unwrap())
}

#[tokio::test(flavor = "local")]
async fn one_dials_at_a_time_and_not_while_a_peer_has_not_said_what_it_allows() {
    let multiplex = multiplex(9);
    let (mut dialling, begun) = dials(&multiplex);
    let step = |now| multiplex.step(begun, now, None);
    assert!(matches!(step(begun), Step::Wait));
    let _peer = Silent::with_one(&multiplex).await;
    dialling.come_to(Ok(()));
    drop(dialling);
    let _only = multiplex.take_stream(begun, None).unwrap();
    assert!(
        multiplex.take_stream(begun, None).is_none(),
        "one for the time being"
    );
    assert!(matches!(step(begun), Step::Wait));
    let late = Instant::now() + LIMIT;
    assert!(matches!(multiplex.step(late, late, None), Step::Dial(_)));
}

#[tokio::test(flavor = "local")]
async fn beyond_the_bound_an_idle_connection_makes_room_and_a_busy_one_is_waited_for() {
    let multiplex = multiplex(1);
    let _peer = Silent::with_one(&multiplex).await;
    let begun = Instant::now() + LIMIT;
    let busy = multiplex.take_stream(begun, None).unwrap();
    assert!(matches!(multiplex.step(begun, begun, None), Step::Wait));
    let late = begun + LIMIT;
    assert!(matches!(multiplex.step(begun, late, None), Step::GiveUp));
    drop(busy);
    let since = Some(begun);
    assert!(matches!(multiplex.step(begun, begun, since), Step::Dial(_)));
    assert_eq!(multiplex.census(), (0, 0));
}

#[tokio::test(flavor = "local")]
async fn a_dial_that_fails_fails_who_waited_for_it_and_cannot_be_served_otherwise() {
    let multiplex = multiplex(9);
    let (dialling, begun) = dials(&multiplex);
    // As one that panics.
    drop(dialling);
    assert!(matches!(multiplex.step(begun, begun, None), Step::Fail(_)));
    let _peer = Silent::with_one(&multiplex).await;
    let _busy = multiplex.take_stream(begun, None).unwrap();
    assert!(matches!(multiplex.step(begun, begun, None), Step::Wait));
    let late = begun + LIMIT;
    assert!(matches!(multiplex.step(begun, late, None), Step::Fail(_)));
    let since = Some(Instant::now());
    assert!(matches!(multiplex.step(begun, begun, since), Step::Fail(_)));
}

#[tokio::test(flavor = "local")]
async fn a_dial_that_failed_fails_nobody_who_comes_later() {
    let multiplex = multiplex(9);
    dials_in_vain(&multiplex, ConnectError::Fault);
    let later = Instant::now() + PATIENCE / 2;
    let step = multiplex.step(later, later, None);
    assert!(matches!(step, Step::Dial(_)));
}

#[tokio::test(flavor = "local")]
async fn who_may_be_served_by_a_stream_that_ends_does_not_press_a_peer_that_takes_no_connection() {
    let multiplex = multiplex(9);
    let (_peer, _busy) = busy(&multiplex).await;
    let begun = dials_in_vain(&multiplex, ConnectError::Fault);
    let step = |now| multiplex.step(begun, now, None);
    assert!(matches!(step(begun), Step::Wait));
    assert!(matches!(step(begun + LIMIT / 2), Step::Dial(_)));
}

#[tokio::test(flavor = "local")]
async fn who_lacks_descriptors_is_told_although_a_stream_may_end() {
    let multiplex = multiplex(9);
    let (_peer, _busy) = busy(&multiplex).await;
    let target = TARGET.to_owned();
    let begun = dials_in_vain(&multiplex, ConnectError::Descriptors { target });
    assert!(matches!(multiplex.step(begun, begun, None), Step::Fail(_)));
}

#[tokio::test(flavor = "local")]
async fn what_a_dial_that_failed_means_ends_at_its_very_time() {
    let multiplex = multiplex(9);
    let (_peer, _busy) = busy(&multiplex).await;
    dials_in_vain(&multiplex, ConnectError::Fault);
    let failed = multiplex.failed.borrow().as_ref().unwrap().0;
    let moment = Duration::from_nanos(1);
    let step = |begun, now| multiplex.step(begun, now, None);
    // Ten times a second one tries again.
    assert!(matches!(
        step(failed, failed + PATIENCE - moment),
        Step::Wait
    ));
    assert!(matches!(step(failed, failed + LIMIT), Step::Fail(_)));
    // It is no matter of who came later.
    let (later, late) = (failed + moment, failed + moment + LIMIT);
    assert!(matches!(step(later, late), Step::Dial(_)));
}

#[tokio::test(flavor = "local")]
async fn who_finds_no_place_in_time_gives_up() {
    let multiplex = multiplex(1);
    let (_peer, _busy) = busy(&multiplex).await;
    let begun = Instant::now();
    let step = |now| multiplex.step(begun, now, None);
    let soon = begun + LIMIT - Duration::from_nanos(1);
    assert!(matches!(step(soon), Step::Wait));
    assert!(matches!(step(begun + LIMIT), Step::GiveUp));
}
