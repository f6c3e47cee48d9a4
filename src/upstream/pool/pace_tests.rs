//! How many dials run at once, and when the next one may.

use tokio::task::spawn_local;

use super::super::reach::Stage;
use super::tests::HOUR;
use super::*;
use crate::clock::still;

fn refused() -> Rc<ConnectError> {
    Rc::new(ConnectError::Timeout {
        target: "graph.microsoft.com:443".to_owned(),
        stage: Stage::Tcp,
    })
}

/// A pool whose dials neither come to anything nor fail, and how many there have been.
struct Hanging {
    pool: Rc<Pool>,
    dials: Rc<Cell<usize>>,
}

impl Hanging {
    /// With so many connections, all in use.
    fn in_use(open: usize) -> Self {
        let pool = Pool::new(1000, HOUR, Box::new(|_, _| {}));
        pool.open.set(open);
        let dials = Rc::default();
        Self { pool, dials }
    }

    /// The same after a dial that failed so long ago.
    fn failed(open: usize, before: Duration) -> Self {
        let hanging = Self::in_use(open);
        let at = clock::now() - before;
        hanging.pool.failed.replace(Some((at, refused())));
        hanging
    }

    /// So many requests more wait, each in a task of its own.
    fn wait(&self, requests: usize) -> Vec<tokio::task::JoinHandle<()>> {
        let wait = |_| {
            let (pool, dials) = (Rc::clone(&self.pool), Rc::clone(&self.dials));
            spawn_local(async move {
                let dial = || {
                    dials.set(dials.get() + 1);
                    std::future::pending()
                };
                let _ = pool.wait(dial).await;
            })
        };
        (0..requests).map(wait).collect()
    }

    /// How many dials there have been after so much time.
    async fn dials_after(&self, time: Duration) -> usize {
        clock::sleep(time).await;
        self.dials.get()
    }
}

/// Before who waits loses its patience.
const SOON: Duration = Duration::from_millis(2);

#[test]
fn up_to_a_bound_each_that_waits_dials_at_once_and_beyond_it_nobody_does() {
    let test = async {
        let none = Hanging::in_use(0);
        none.wait(EAGER - 1);
        assert_eq!(none.dials_after(SOON).await, EAGER - 1);
        none.wait(2);
        assert_eq!(none.dials_after(SOON).await, EAGER);
        let many = Hanging::in_use(EAGER);
        many.wait(1);
        assert_eq!(many.dials_after(PATIENCE - SOON).await, 0);
        assert_eq!(many.dials_after(SOON * 2).await, 1, "it has waited");
    };
    still::run(test);
}

#[test]
fn beyond_the_bound_no_more_than_a_quarter_is_dialled_at_a_time() {
    let test = async {
        let many = Hanging::in_use(EAGER);
        many.wait(100);
        // Of the 85 that there are then, those that are being made included.
        assert_eq!(many.dials_after(PATIENCE * 9).await, 21);
        assert_eq!(many.pool.open.get(), EAGER + 21);
    };
    still::run(test);
}

#[test]
fn no_more_are_dialled_than_requests_wait() {
    let test = async {
        let few = Hanging::in_use(1);
        let first = few.wait(1);
        assert_eq!(few.dials_after(PATIENCE * 9).await, 1);
        // What was dialled for one who left is for who comes next.
        first.iter().for_each(|request| request.abort());
        assert_eq!(few.dials_after(SOON).await, 1);
        few.wait(1);
        assert_eq!(few.dials_after(PATIENCE * 9).await, 1);
    };
    still::run(test);
}

#[test]
fn after_a_dial_that_failed_the_next_is_made_later_and_by_one_who_waits() {
    let test = async {
        for (open, before, dials) in [
            (1, Duration::ZERO, 0),
            (1, PATIENCE, 1),
            // Who cannot be served otherwise does not wait.
            (0, Duration::ZERO, 3),
        ] {
            let pool = Hanging::failed(open, before);
            pool.wait(3);
            let seen = pool.dials_after(SOON).await;
            assert_eq!(seen, dials, "{open} in use, failed {before:?} ago");
        }
    };
    still::run(test);
}

#[test]
fn a_dial_fails_who_waited_for_it_once_the_time_for_a_connection_is_over() {
    let now = clock::now();
    for (limit, begun_before, failed_before, fails) in [
        (PATIENCE, PATIENCE, PATIENCE, true),
        (PATIENCE, PATIENCE, Duration::ZERO, true),
        // It failed before.
        (PATIENCE, PATIENCE, PATIENCE * 2, false),
        // A connection may come free yet.
        (HOUR, PATIENCE, Duration::ZERO, false),
    ] {
        let pool = Pool::new(9, limit, Box::new(|_, _| {}));
        let at = now - failed_before;
        pool.failed.replace(Some((at, refused())));
        let failure = pool.failure(now - begun_before);
        let case = format!("{limit:?} {begun_before:?} {failed_before:?}");
        assert_eq!(failure.is_some(), fails, "{case}");
    }
}

#[test]
fn the_share_of_a_dial_that_fails_is_rounded_up_and_is_the_first_that_wait() {
    let pool = Pool::new(2, HOUR, Box::new(|_, _| {}));
    let dials = Rc::new(Cell::new(0));
    let wait = || {
        let (pool, dials) = (Rc::clone(&pool), Rc::clone(&dials));
        spawn_local(async move {
            let dial = || {
                let before = dials.replace(dials.get() + 1);
                async move {
                    match before {
                        0 => Err(ConnectError::Fault),
                        _ => std::future::pending().await,
                    }
                }
            };
            let _ = pool.wait(dial).await;
        })
    };
    let test = async {
        let waiting = [wait(), wait(), wait()];
        clock::sleep(SOON).await;
        assert_eq!(waiting.map(|it| it.is_finished()), [true, true, false]);
    };
    still::run(test);
}
