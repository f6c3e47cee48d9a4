//! Who gets which connection.

use tokio::io::AsyncWriteExt;

use super::super::stream::UpstreamStream;
use super::super::wire::IDLE;
use super::*;
use crate::alarm::AlarmClock;

pub(super) const HOUR: Duration = Duration::from_hours(1);

/// A listener whose backlog takes what is dialled, and a clock that stands.
pub(super) struct Upstream(tokio::net::TcpListener, Rc<AlarmClock>);

impl Upstream {
    pub(super) async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self(listener, AlarmClock::new(Duration::from_millis(10)))
    }

    pub(super) async fn wire(&self, lifetime: Duration) -> Result<Option<Wire>, ConnectError> {
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

    /// A connection in use.
    pub(super) async fn lease(&self, pool: &Rc<Pool>) -> Lease {
        let lease = pool.fresh(self.wire(HOUR)).await.unwrap();
        lease.expect("it speaks HTTP/1.1")
    }

    fn speak(&self, stream: tokio::net::TcpStream, lifetime: Duration) -> Wire {
        let stream = UpstreamStream::Plain(stream.into());
        Wire::new(stream, Rc::default(), self.1.alarm(), lifetime)
    }
}

/// Whether this is waited for still, after everybody else had a turn.
pub(super) async fn waits(future: impl Future) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = tokio::task::yield_now() => true,
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_is_old_or_was_idle_for_long_serves_no_other_request() {
    let upstream = Upstream::open().await;
    for (lifetime, after) in [(HOUR, IDLE), (Duration::from_secs(10), IDLE / 2)] {
        let pool = Pool::new(2, HOUR, Box::new(|_, _| {}));
        let lease = pool.fresh(upstream.wire(lifetime)).await.unwrap();
        lease.unwrap().give_back();
        let young = pool.take_idle(Instant::now());
        young.expect("it is young").give_back();
        let later = Instant::now() + after;
        assert!(pool.take_idle(later).is_none());
        assert_eq!(pool.open.get(), 0, "it is closed");
    }
}

#[tokio::test(flavor = "local")]
async fn what_a_sweep_closes_is_counted_no_more() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(2, HOUR, Box::new(|_, _| {}));
    for _ in 0..2 {
        upstream.lease(&pool).await.give_back();
        pool.sweep(Instant::now() + IDLE);
        assert_eq!((pool.open.get(), pool.idle.borrow().len()), (0, 0));
    }
}

#[tokio::test(flavor = "local")]
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

#[tokio::test(flavor = "local")]
async fn beyond_the_bound_a_request_waits_for_a_connection_that_comes_free() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(1, HOUR, Box::new(|_, _| {}));
    let only = upstream.lease(&pool).await;
    let dialled = Cell::new(0);
    let mut waiting = std::pin::pin!(pool.wait(|| {
        dialled.set(dialled.get() + 1);
        std::future::pending()
    }));
    assert!(waits(&mut waiting).await, "there is no second one");
    only.give_back();
    let _freed = waiting.await.expect("the first comes free");
    assert_eq!((dialled.get(), pool.open.get()), (0, 1));
}

#[tokio::test(flavor = "local")]
async fn who_waits_gets_no_connection_that_was_closed_or_holds_what_nobody_asked_for() {
    for unasked in [&b""[..], b"HTTP/1.1 200 OK\r\n"] {
        let upstream = Rc::new(Upstream::open().await);
        let pool = Pool::new(1, HOUR, Box::new(|_, _| {}));
        let spoilt = pool.fresh(upstream.spoilt(unasked)).await.unwrap();
        let dialled = Cell::new(0);
        let mut waiting = std::pin::pin!(pool.wait(|| {
            dialled.set(dialled.get() + 1);
            let upstream = Rc::clone(&upstream);
            async move { upstream.wire(HOUR).await }
        }));
        assert!(waits(&mut waiting).await, "there is one connection only");
        spoilt.unwrap().give_back();
        assert!(waits(&mut waiting).await, "nothing is made yet");
        assert_eq!(dialled.get(), 1, "it dials at once");
        let _lease = waiting.await.expect("it is dialled for");
        assert_eq!((dialled.get(), pool.open.get()), (1, 1));
    }
}

#[tokio::test(flavor = "local")]
async fn each_connection_that_comes_back_of_no_use_is_told_to_one_who_dials_for_it() {
    let upstream = Rc::new(Upstream::open().await);
    let dialled = Rc::new(Cell::new(0));
    let yields = async || {
        for _ in 0..9 {
            tokio::task::yield_now().await;
        }
    };
    let pool = Pool::new(2, HOUR, Box::new(|_, _| {}));
    let one = pool.fresh(upstream.spoilt(b"")).await.unwrap().unwrap();
    let other = pool.fresh(upstream.spoilt(b"")).await.unwrap().unwrap();
    // Each in a task of its own, which nothing else wakes.
    for _ in 0..2 {
        let (pool, dialled) = (Rc::clone(&pool), Rc::clone(&dialled));
        tokio::task::spawn_local(async move {
            let dial = || {
                dialled.set(dialled.get() + 1);
                std::future::pending()
            };
            pool.wait(dial).await.map(|_| ())
        });
    }
    yields().await;
    assert_eq!(dialled.get(), 0, "two are open, and no more may be");
    one.give_back();
    other.give_back();
    yields().await;
    assert_eq!(dialled.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn a_connection_is_told_of_when_it_is_made() {
    let upstream = Rc::new(Upstream::open().await);
    let told = Rc::new(Cell::new((0, 0)));
    let known = Rc::clone(&told);
    let observer = Box::new(move |open, idle| known.set((open, idle)));
    let pool = Pool::new(2, HOUR, observer);
    let (gate, opens) = tokio::sync::watch::channel(false);
    let dial = || {
        let (upstream, mut opens) = (Rc::clone(&upstream), opens.clone());
        async move {
            opens.wait_for(|open| *open).await.unwrap();
            upstream.wire(HOUR).await
        }
    };
    let looks = async {
        tokio::task::yield_now().await;
        assert_eq!((pool.open.get(), told.get()), (2, (0, 0)));
        gate.send_replace(true);
    };
    let (one, other, ()) = tokio::join!(pool.wait(dial), pool.fresh(dial()), looks);
    assert_eq!(told.get(), (2, 0));
    drop((one, other));
    assert_eq!(told.get(), (0, 0));
}

#[tokio::test(flavor = "local")]
async fn a_pool_that_ends_counts_nothing() {
    let upstream = Upstream::open().await;
    let told = Rc::new(Cell::new((0, 0)));
    let known = Rc::clone(&told);
    let observer = Box::new(move |open, idle| known.set((open, idle)));
    let pool = Pool::new(1, HOUR, observer);
    upstream.lease(&pool).await.give_back();
    assert_eq!(told.get(), (1, 1));
    drop(pool);
    assert_eq!(told.get(), (0, 0));
}

#[tokio::test(flavor = "local")]
async fn who_wants_a_younger_connection_gets_no_older_one() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(9, HOUR, Box::new(|_, _| {}));
    upstream.lease(&pool).await.give_back();
    let now = Instant::now();
    assert!(pool.take_younger(now, Some(now + PATIENCE)).is_none());
    assert!(pool.take_younger(now, None).is_some());
}

#[tokio::test(flavor = "local")]
async fn who_leaves_before_it_looks_leaves_its_connection_to_others() {
    let upstream = Upstream::open().await;
    let pool = Pool::new(1, HOUR, Box::new(|_, _| {}));
    let only = upstream.lease(&pool).await;
    let mut waiting = Box::pin(pool.wait(std::future::pending));
    assert!(waits(&mut waiting).await, "there is one connection only");
    only.give_back();
    assert!(pool.take_idle(Instant::now()).is_none(), "it is for one");
    drop(waiting);
    assert!(pool.take_idle(Instant::now()).is_some());
}
