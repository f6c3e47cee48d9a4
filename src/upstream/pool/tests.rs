//! Who gets which connection.

use tokio::io::AsyncWriteExt;

use super::super::stream::UpstreamStream;
use super::super::wire::IDLE;
use super::*;
use crate::alarm::AlarmClock;

const HOUR: Duration = Duration::from_secs(3600);

/// A listener whose backlog takes what is dialled, and a clock that stands.
struct Upstream(tokio::net::TcpListener, Rc<AlarmClock>);

impl Upstream {
    async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self(listener, AlarmClock::new(Duration::from_millis(10)))
    }

    async fn wire(&self, lifetime: Duration) -> Result<Option<Wire>, ConnectError> {
        let address = self.0.local_addr().unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        Ok(Some(self.speak(stream, lifetime)))
    }

    /// A connection on which something has come that nobody asked for, or its end.
    async fn spoilt(&self, unasked: &[u8]) -> Result<Option<Wire>, ConnectError> {
        let address = self.0.local_addr().unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut other, _) = self.0.accept().await.unwrap();
        other.write_all(unasked).await.unwrap();
        drop(other);
        stream.readable().await.unwrap();
        Ok(Some(self.speak(stream, HOUR)))
    }

    fn speak(&self, stream: tokio::net::TcpStream, lifetime: Duration) -> Wire {
        let stream = UpstreamStream::Plain(stream.into());
        Wire::new(stream, Rc::default(), self.1.alarm(), lifetime)
    }
}

#[tokio::test]
async fn a_connection_that_is_old_or_was_idle_for_long_serves_no_other_request() {
    let upstream = Upstream::open().await;
    for (lifetime, after) in [(HOUR, IDLE), (Duration::from_secs(10), IDLE / 2)] {
        let pool = Pool::new(2, HOUR, Box::new(|_| {}));
        let lease = pool.fresh(upstream.wire(lifetime)).await.unwrap();
        lease.unwrap().give_back();
        let young = pool.take_idle(Instant::now());
        young.expect("it is young").give_back();
        let later = Instant::now() + after;
        assert!(pool.take_idle(later).is_none());
        assert_eq!(pool.open.get(), 0, "it is closed");
    }
}

#[tokio::test]
async fn what_a_sweep_closes_is_counted_no_more() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(2, HOUR, Box::new(|_| {}));
    for _ in 0..2 {
        let lease = pool.fresh(upstream.wire(HOUR)).await.unwrap();
        lease.unwrap().give_back();
        pool.sweep(Instant::now() + IDLE);
        assert_eq!((pool.open.get(), pool.idle.borrow().len()), (0, 0));
    }
}

#[tokio::test]
async fn a_connection_that_ended_serves_none_when_the_task_has_no_budget_left() {
    let upstream = Upstream::open().await;
    let mut ended = upstream.spoilt(b"").await.unwrap().unwrap();
    let mut cx = std::task::Context::from_waker(Waker::noop());
    while std::pin::pin!(tokio::task::coop::consume_budget())
        .poll(&mut cx)
        .is_ready()
    {}
    assert!(!ended.is_usable(Instant::now()));
}

#[tokio::test]
async fn beyond_the_bound_a_request_waits_for_a_connection_that_comes_free() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(1, HOUR, Box::new(|_| {}));
    let only = pool.fresh(upstream.wire(HOUR)).await.unwrap();
    let dialled = Cell::new(0);
    let mut waiting = std::pin::pin!(pool.wait(|| {
        dialled.set(dialled.get() + 1);
        std::future::pending()
    }));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("there is no second one"),
        () = tokio::task::yield_now() => {}
    }
    only.unwrap().give_back();
    let _freed = waiting.await.expect("the first comes free");
    assert_eq!((dialled.get(), pool.open.get()), (0, 1));
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
async fn who_waits_gets_no_connection_that_was_closed_or_holds_what_nobody_asked_for() {
    for unasked in [&b""[..], b"HTTP/1.1 200 OK\r\n"] {
        let upstream = Rc::new(Upstream::open().await);
        let local = tokio::task::LocalSet::new();
        let served = local.run_until(async {
            let pool = Pool::new(1, HOUR, Box::new(|_| {}));
            let spoilt = pool.fresh(upstream.spoilt(unasked)).await.unwrap();
            let dialled = Cell::new(0);
            let mut waiting = std::pin::pin!(pool.wait(|| {
                dialled.set(dialled.get() + 1);
                let upstream = Rc::clone(&upstream);
                async move { upstream.wire(HOUR).await }
            }));
            tokio::select! {
                biased;
                _ = &mut waiting => panic!("there is one connection only"),
                () = tokio::task::yield_now() => {}
            }
            spoilt.unwrap().give_back();
            let _lease = waiting.await.expect("it is dialled for");
            (dialled.get(), pool.open.get())
        });
        assert_eq!(served.await, (1, 1));
    }
}

#[tokio::test]
async fn a_connection_is_told_of_when_it_is_made() {
    let upstream = Rc::new(Upstream::open().await);
    let local = tokio::task::LocalSet::new();
    let told = Rc::new(Cell::new((0, 0)));
    let known = Rc::clone(&told);
    let observer = Box::new(move |census: Census| known.set((census.open, census.idle)));
    let pool = Pool::new(2, HOUR, observer);
    let (gate, opens) = tokio::sync::watch::channel(false);
    let dial = || {
        let (upstream, mut opens) = (Rc::clone(&upstream), opens.clone());
        async move {
            opens.wait_for(|open| *open).await.unwrap();
            upstream.wire(HOUR).await
        }
    };
    local
        .run_until(async {
            let looks = async {
                tokio::task::yield_now().await;
                assert_eq!((pool.open.get(), told.get()), (2, (0, 0)));
                gate.send_replace(true);
            };
            let (one, other, ()) = tokio::join!(pool.wait(dial), pool.fresh(dial()), looks);
            assert_eq!(told.get(), (2, 0));
            drop((one, other));
        })
        .await;
    assert_eq!(told.get(), (0, 0));
}

#[tokio::test]
async fn a_pool_that_ends_counts_nothing() {
    let upstream = Upstream::open().await;
    let told = Rc::new(Cell::new((0, 0)));
    let known = Rc::clone(&told);
    let observer = Box::new(move |census: Census| known.set((census.open, census.idle)));
    let pool = Pool::new(1, HOUR, observer);
    let lease = pool.fresh(upstream.wire(HOUR)).await.unwrap();
    lease.unwrap().give_back();
    assert_eq!(told.get(), (1, 1));
    drop(pool);
    assert_eq!(told.get(), (0, 0));
}

fn refused() -> ConnectError {
    ConnectError::Timeout {
        target: "graph.microsoft.com:443".to_owned(),
    }
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
    let pool = Pool::new(9, HOUR, Box::new(|_| {}));
    let wait = || pool.wait(|| std::future::ready(Ok(None)));
    let served = local.run_until(async { tokio::join!(wait(), wait()) });
    let (first, second) = served.await;
    assert!(first.unwrap().is_none() && second.unwrap().is_none());
    assert_eq!((pool.open.get(), pool.dialling.get()), (0, 0));
}
