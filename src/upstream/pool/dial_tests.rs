//! What a dial comes to for those who wait.

use super::super::reach::Stage;
use super::tests::{HOUR, Upstream, waits};
use super::*;
use crate::clock::still;

fn refused() -> ConnectError {
    ConnectError::Timeout {
        target: "graph.microsoft.com:443".to_owned(),
        stage: Stage::Tcp,
    }
}

#[tokio::test(flavor = "local")]
async fn who_waits_is_served_even_when_what_was_dialled_for_it_went_to_another_and_died() {
    let upstream = Rc::new(Upstream::open().await);
    let pool = Pool::new(1, HOUR, Box::new(|_, _| {}));
    let only = upstream.lease(&pool).await;
    let dial = || {
        let upstream = Rc::clone(&upstream);
        async move { upstream.wire(HOUR).await }
    };
    let (first, second) = (pool.wait(dial), pool.wait(dial));
    let (mut first, mut second) = (Box::pin(first), Box::pin(second));
    assert!(waits(&mut first).await, "there is one connection only");
    drop(only);
    let (first, second_waits) = tokio::join!(first, waits(&mut second));
    assert!(second_waits, "the first is served first");
    drop(first.expect("it was dialled"));
    let served = tokio::time::timeout(Duration::from_secs(20), second).await;
    served.expect("it is not forgotten").unwrap();
}

#[tokio::test(flavor = "local")]
async fn a_dial_that_panics_is_told_to_those_who_wait_and_takes_no_place() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(1, HOUR, Box::new(|_, _| {}));
    let wait = || pool.wait(|| async { panic!("on purpose") });
    let both = async { tokio::join!(wait(), wait()) };
    let both = tokio::time::timeout(Duration::from_secs(20), both).await;
    let (first, second) = both.expect("both are told");
    for failure in [first.err(), second.err()] {
        let failure = failure.expect("nothing was made");
        assert!(matches!(*failure, ConnectError::Fault), "{failure}");
    }
    assert_eq!((pool.open.get(), pool.dialling.get()), (0, 0));
    let _next = upstream.lease(&pool).await;
}

#[tokio::test(flavor = "local")]
async fn a_dial_that_nobody_waits_for_any_more_takes_no_place() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(1, HOUR, Box::new(|_, _| {}));
    let impatient = pool.fresh(std::future::pending());
    assert!(waits(impatient).await, "nothing was made");
    assert_eq!(pool.open.get(), 0);
    let _other = upstream.lease(&pool).await;
    assert_eq!(pool.open.get(), 1);
}

#[test]
fn a_dial_that_fails_fails_those_who_wait_unless_a_connection_may_come_free() {
    still::run(async {
        let upstream = Upstream::open().await;
        let pool = Pool::new(9, HOUR, Box::new(|_, _| {}));
        let dialled = Cell::new(0);
        let is_served = || async {
            let dial = || {
                dialled.set(dialled.get() + 1);
                std::future::ready(Err(refused()))
            };
            pool.wait(dial).await.is_ok()
        };
        assert!(!is_served().await, "none is in use");
        let busy = upstream.lease(&pool).await;
        dialled.set(0);
        let all = async { tokio::join!(is_served(), is_served(), is_served()) };
        let mut all = Box::pin(all);
        let soon = clock::now() + PATIENCE * 5 / 2;
        let served = clock::until(soon, &mut all).await;
        assert!(served.is_none(), "one is in use");
        assert_eq!(dialled.get(), 3 + 2, "it is not pressed");
        busy.give_back();
        assert_eq!(all.await, (true, false, false), "none is in use any more");
        assert_eq!((pool.open.get(), pool.dialling.get()), (0, 0));
    });
}

#[tokio::test(flavor = "local")]
async fn who_waits_for_a_connection_in_use_after_a_dial_that_failed_waits_for_a_while() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(9, PATIENCE, Box::new(|_, _| {}));
    let wait = || pool.wait(|| std::future::ready(Err(refused())));
    let _busy = upstream.lease(&pool).await;
    let failed = tokio::time::timeout(Duration::from_secs(20), wait()).await;
    assert!(failed.expect("it is told").is_err());
}

#[tokio::test(flavor = "local")]
async fn who_waits_is_told_that_http2_is_spoken() {
    // One dials, and both wait for it.
    let pool = Pool::new(1, HOUR, Box::new(|_, _| {}));
    let dialled = Cell::new(0);
    let wait = || {
        pool.wait(|| {
            dialled.set(dialled.get() + 1);
            std::future::ready(Ok(None))
        })
    };
    let (first, second) = tokio::join!(wait(), wait());
    assert!(first.unwrap().is_none() && second.unwrap().is_none());
    assert_eq!(dialled.get(), 1);
    assert_eq!((pool.open.get(), pool.dialling.get()), (0, 0));
}

#[tokio::test(flavor = "local")]
async fn a_dial_that_fails_fails_its_share_of_those_who_wait() {
    let upstream = Rc::new(Upstream::open().await);
    let pool = Pool::new(9, HOUR, Box::new(|_, _| {}));
    let fails = pool.wait(|| std::future::ready(Err(refused())));
    let succeeds = pool.wait(|| {
        let upstream = Rc::clone(&upstream);
        async move { upstream.wire(HOUR).await }
    });
    let (failed, served) = tokio::join!(fails, succeeds);
    assert!(failed.is_err() && served.is_ok());
}

#[tokio::test(flavor = "local")]
async fn who_lacks_descriptors_is_told_although_a_connection_may_come_free() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(9, HOUR, Box::new(|_, _| {}));
    let lacking = || ConnectError::Descriptors {
        target: "graph.microsoft.com:443".to_owned(),
    };
    let _busy = upstream.lease(&pool).await;
    let failed = pool.wait(|| std::future::ready(Err(lacking())));
    let failed = tokio::time::timeout(Duration::from_secs(20), failed).await;
    assert!(failed.expect("it is told").is_err());
}

#[tokio::test(flavor = "local")]
async fn once_a_dial_succeeds_those_who_wait_dial_side_by_side_again() {
    let upstream = Rc::new(Upstream::open().await);
    let pool = Pool::new(9, HOUR, Box::new(|_, _| {}));
    let dialled = Cell::new(0);
    let dial = || {
        let upstream = Rc::clone(&upstream);
        let before = dialled.replace(dialled.get() + 1);
        async move {
            match before {
                0 => Err(refused()),
                1 => upstream.wire(HOUR).await,
                _ => std::future::pending().await,
            }
        }
    };
    let _busy = upstream.lease(&pool).await;
    let _made = pool.wait(dial).await.expect("it is dialled again");
    assert!(
        waits(async { tokio::join!(pool.wait(dial), pool.wait(dial)) }).await,
        "nothing is made"
    );
    assert_eq!(dialled.get(), 4);
}
