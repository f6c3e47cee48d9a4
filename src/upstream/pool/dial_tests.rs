//! What a dial comes to for those who wait.

use super::tests::{HOUR, Upstream};
use super::*;

fn refused() -> ConnectError {
    ConnectError::Timeout {
        target: "graph.microsoft.com:443".to_owned(),
    }
}

#[tokio::test]
async fn who_waits_is_served_even_when_what_was_dialled_for_it_went_to_another_and_died() {
    let upstream = Rc::new(Upstream::open().await);
    let local = tokio::task::LocalSet::new();
    let served = local.run_until(async {
        let pool = Pool::new(1, HOUR, Box::new(|_| {}));
        let only = pool.fresh(upstream.wire(HOUR)).await.unwrap();
        let dial = || {
            let upstream = Rc::clone(&upstream);
            async move { upstream.wire(HOUR).await }
        };
        let (first, second) = (pool.wait(dial), pool.wait(dial));
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        tokio::select! {
            biased;
            _ = &mut first => panic!("there is one connection only"),
            () = tokio::task::yield_now() => {}
        }
        drop(only);
        let (first, died) = tokio::join!(first, async {
            tokio::select! {
                biased;
                _ = &mut second => panic!("the first is served first"),
                () = tokio::task::yield_now() => {}
            }
        });
        let () = died;
        drop(first.expect("it was dialled"));
        tokio::time::timeout(Duration::from_secs(20), second).await
    });
    served.await.expect("it is not forgotten").unwrap();
}

#[tokio::test]
async fn a_dial_that_panics_is_told_to_those_who_wait_and_takes_no_place() {
    let upstream = Upstream::open().await;
    let local = tokio::task::LocalSet::new();
    let pool = Pool::new(1, HOUR, Box::new(|_| {}));
    let waits = || pool.wait(|| async { panic!("on purpose") });
    let both = local.run_until(async {
        let both = async { tokio::join!(waits(), waits()) };
        tokio::time::timeout(Duration::from_secs(20), both).await
    });
    let (first, second) = both.await.expect("both are told");
    for failure in [first.err(), second.err()] {
        let failure = failure.expect("nothing was made");
        assert!(matches!(*failure, ConnectError::Fault), "{failure}");
    }
    assert_eq!((pool.open.get(), pool.dialling.get()), (0, 0));
    let _next = pool.fresh(upstream.wire(HOUR)).await.unwrap();
}

#[tokio::test]
async fn a_dial_that_nobody_waits_for_any_more_takes_no_place() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(1, HOUR, Box::new(|_| {}));
    let impatient = pool.fresh(std::future::pending());
    tokio::select! {
        biased;
        _ = impatient => panic!("nothing was made"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(pool.open.get(), 0);
    let _other = pool.fresh(upstream.wire(HOUR)).await.unwrap();
    assert_eq!(pool.open.get(), 1);
}

#[tokio::test]
async fn a_dial_that_fails_fails_those_who_wait_unless_a_connection_may_come_free() {
    let upstream = Upstream::open().await;
    let local = tokio::task::LocalSet::new();
    let pool = Pool::new(9, HOUR, Box::new(|_| {}));
    let dialled = Cell::new(0);
    let is_served = || async {
        let dial = || {
            dialled.set(dialled.get() + 1);
            std::future::ready(Err(refused()))
        };
        pool.wait(dial).await.is_ok()
    };
    let served = local.run_until(async {
        assert!(!is_served().await, "none is in use");
        let busy = pool.fresh(upstream.wire(HOUR)).await.unwrap().unwrap();
        let all = async { tokio::join!(is_served(), is_served(), is_served()) };
        let mut all = Box::pin(all);
        tokio::select! {
            biased;
            _ = &mut all => panic!("one is in use"),
            () = tokio::time::sleep(PATIENCE * 5 / 2) => {}
        }
        assert!(dialled.get() <= 6, "it is not pressed: {}", dialled.get());
        busy.give_back();
        tokio::time::timeout(Duration::from_secs(20), all).await
    });
    let served = served.await.expect("none is in use any more");
    assert_eq!(served, (true, false, false));
    assert_eq!((pool.open.get(), pool.dialling.get()), (0, 0));
}

#[tokio::test]
async fn who_waits_for_a_connection_in_use_after_a_dial_that_failed_waits_for_a_while() {
    let upstream = Upstream::open().await;
    let local = tokio::task::LocalSet::new();
    let pool = Pool::new(9, PATIENCE, Box::new(|_| {}));
    let wait = || pool.wait(|| std::future::ready(Err(refused())));
    local
        .run_until(async {
            let _busy = pool.fresh(upstream.wire(HOUR)).await.unwrap();
            let failed = tokio::time::timeout(Duration::from_secs(20), wait()).await;
            assert!(failed.expect("it is told").is_err());
        })
        .await;
}

#[tokio::test]
async fn who_waits_is_told_that_http2_is_spoken() {
    let local = tokio::task::LocalSet::new();
    // One dials, and both wait for it.
    let pool = Pool::new(1, HOUR, Box::new(|_| {}));
    let dialled = Cell::new(0);
    let wait = || {
        pool.wait(|| {
            dialled.set(dialled.get() + 1);
            std::future::ready(Ok(None))
        })
    };
    let served = local.run_until(async { tokio::join!(wait(), wait()) });
    let (first, second) = served.await;
    assert!(first.unwrap().is_none() && second.unwrap().is_none());
    assert_eq!(dialled.get(), 1);
    assert_eq!((pool.open.get(), pool.dialling.get()), (0, 0));
}

#[tokio::test]
async fn a_dial_that_fails_fails_its_share_of_those_who_wait() {
    let upstream = Rc::new(Upstream::open().await);
    let local = tokio::task::LocalSet::new();
    let pool = Pool::new(9, HOUR, Box::new(|_| {}));
    let fails = pool.wait(|| std::future::ready(Err(refused())));
    let succeeds = pool.wait(|| {
        let upstream = Rc::clone(&upstream);
        async move { upstream.wire(HOUR).await }
    });
    let both = local.run_until(async { tokio::join!(fails, succeeds) });
    let (failed, served) = both.await;
    assert!(failed.is_err() && served.is_ok());
}

#[tokio::test]
async fn who_lacks_descriptors_is_told_although_a_connection_may_come_free() {
    let upstream = Upstream::open().await;
    let local = tokio::task::LocalSet::new();
    let pool = Pool::new(9, HOUR, Box::new(|_| {}));
    let lacking = || ConnectError::Descriptors {
        target: "graph.microsoft.com:443".to_owned(),
    };
    local
        .run_until(async {
            let _busy = pool.fresh(upstream.wire(HOUR)).await.unwrap();
            let failed = pool.wait(|| std::future::ready(Err(lacking())));
            let failed = tokio::time::timeout(Duration::from_secs(20), failed).await;
            assert!(failed.expect("it is told").is_err());
        })
        .await;
}

#[tokio::test]
async fn once_a_dial_succeeds_those_who_wait_dial_side_by_side_again() {
    let upstream = Rc::new(Upstream::open().await);
    let local = tokio::task::LocalSet::new();
    let pool = Pool::new(9, HOUR, Box::new(|_| {}));
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
    local
        .run_until(async {
            let _busy = pool.fresh(upstream.wire(HOUR)).await.unwrap();
            let _made = pool.wait(dial).await.expect("it is dialled again");
            tokio::select! {
                biased;
                _ = async { tokio::join!(pool.wait(dial), pool.wait(dial)) } => panic!("nothing is made"),
                () = tokio::task::yield_now() => {}
            }
        })
        .await;
    assert_eq!(dialled.get(), 4);
}
