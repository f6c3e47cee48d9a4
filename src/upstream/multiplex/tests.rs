//! Which connections stay, and what they tell those who wait.

use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::RequestBody;
use super::super::wire::IDLE;
use super::revocable_body::{Handed, RevocableBody};
use super::*;

pub(super) const LIMIT: Duration = Duration::from_secs(8);
const HOUR: Duration = Duration::from_hours(1);
/// As long as a test may take.
pub(super) const PATIENT: Duration = Duration::from_secs(20);
/// GOAWAY without an error, and with no request acted on (RFC 9113 section 6.8).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The same that announces the end only: what comes up to the largest stream is acted on.
const FAREWELL: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 127, 255, 255, 255, 0, 0, 0, 0];
pub(super) const TARGET: &str = "graph.microsoft.com:443";

pub(super) fn multiplex(most: usize) -> Rc<Multiplex> {
    Multiplex::new(AlarmClock::new(LIMIT), most, LIMIT)
}

/// Connections to something that takes what comes and says nothing, as long as it is there.
pub(super) struct Silent(TcpListener, Vec<TcpStream>);

impl Silent {
    pub(super) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self(listener, Vec::new())
    }

    /// With one connection already.
    pub(super) async fn with_one(multiplex: &Multiplex) -> Self {
        let mut silent = Self::listen().await;
        silent.open(multiplex).await;
        silent
    }

    pub(super) async fn open(&mut self, multiplex: &Multiplex) {
        self.open_for(multiplex, HOUR).await;
    }

    async fn open_for(&mut self, multiplex: &Multiplex, lifetime: Duration) {
        let address = self.0.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        self.1.push(self.0.accept().await.unwrap().0);
        let stream = UpstreamStream::Plain(stream.into());
        multiplex.open(stream, lifetime, TARGET).await.unwrap();
    }

    /// Says something on the last of them.
    pub(super) async fn say(&mut self, frame: &[u8]) {
        let last = self.1.last_mut().unwrap();
        last.write_all(frame).await.unwrap();
    }

    /// Waits on the last of them, behind what was waited for before, for the head of a request.
    pub(super) async fn hear_head(&mut self) {
        const HEADERS: u8 = 1;
        let last = self.1.last_mut().unwrap();
        let mut head = [0; 9];
        while head[3] != HEADERS {
            last.read_exact(&mut head).await.unwrap();
            let length = usize::from(head[2]) + 256 * usize::from(head[1]);
            last.read_exact(&mut vec![0; length]).await.unwrap();
        }
    }

    /// Waits for the end of the last of them.
    pub(super) async fn hear_end(&mut self) {
        let last = self.1.last_mut().unwrap();
        // Whoever does not say goodbye may be heard as one who broke off.
        drop(last.read_to_end(&mut Vec::new()).await);
    }

    /// Says on the last of them how many streams it allows (RFC 9113 section 6.5), and waits until
    /// that is known at the other end.
    pub(super) async fn allow(&mut self, streams: u8) {
        self.say(&settings(streams)).await;
        let last = self.1.last_mut().unwrap();
        let mut read = Vec::new();
        while !read.ends_with(&[0, 0, 0, 4, 1, 0, 0, 0, 0]) {
            read.push(last.read_u8().await.unwrap());
        }
    }

    /// The same, and waits until connections are settled.
    pub(super) async fn settle(&mut self, multiplex: &Multiplex, streams: u8) {
        self.allow(streams).await;
        let is_settled = || (!multiplex.is_settling(Instant::now())).then_some(());
        comes(multiplex, is_settled).await;
    }
}

/// SETTINGS that allow so many streams.
fn settings(streams: u8) -> [u8; 15] {
    [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams]
}

/// Waits for what a change brings.
pub(super) async fn comes<T>(multiplex: &Multiplex, find: impl Fn() -> Option<T>) -> T {
    for _ in 0..100 {
        if let Some(found) = find() {
            return found;
        }
        drop(tokio::time::timeout(PATIENCE, multiplex.turn(Some(multiplex.number()))).await);
    }
    panic!("it does not come");
}

/// Whether one who waits is told to look again.
async fn is_told(turn: Pin<&mut impl Future<Output = ()>>) -> bool {
    tokio::select! {
        biased;
        () = turn => true,
        () = tokio::task::yield_now() => false,
    }
}

#[tokio::test(flavor = "local")]
async fn what_is_old_takes_no_other_stream() {
    let mut silent = Silent::listen().await;
    let multiplex = multiplex(1);
    silent.open_for(&multiplex, IDLE / 2).await;
    let now = Instant::now();
    assert!(multiplex.has_room(now));
    assert!(!multiplex.has_room(now + IDLE / 2));
    assert!(multiplex.take_stream(now + IDLE / 2, None).is_none());
}

#[tokio::test(flavor = "local")]
async fn who_takes_a_place_tells_the_next_of_one_on_another_connection() {
    let multiplex = multiplex(2);
    let mut peer = Silent::with_one(&multiplex).await;
    peer.allow(1).await;
    let find = || multiplex.take_stream(Instant::now(), None);
    let held = comes(&multiplex, find).await;
    let cx = &mut Context::from_waker(Waker::noop());
    let mut first = pin!(multiplex.turn(Some(multiplex.number())));
    assert!(first.as_mut().poll(cx).is_pending());
    drop(held);
    peer.open(&multiplex).await;
    let mut next = pin!(multiplex.turn(Some(multiplex.number())));
    assert!(next.as_mut().poll(cx).is_pending());
    assert!(first.as_mut().poll(cx).is_ready());
    let _taken = find().unwrap();
    assert!(next.as_mut().poll(cx).is_ready());
}

#[tokio::test(flavor = "local")]
async fn what_is_idle_for_long_is_closed_and_what_has_a_stream_is_not() {
    let multiplex = multiplex(9);
    let mut peer = Silent::with_one(&multiplex).await;
    peer.open(&multiplex).await;
    let now = Instant::now();
    let stream = multiplex.take_stream(now, None).unwrap();
    multiplex.sweep(now);
    multiplex.sweep(now + IDLE / 2);
    assert_eq!(multiplex.census(), (2, 1));
    multiplex.sweep(now + IDLE);
    assert_eq!(multiplex.census(), (1, 0));
    drop(stream);
    multiplex.sweep(now + IDLE * 3 / 2);
    assert_eq!(multiplex.census(), (1, 1), "it was in use just now");
    drop(multiplex.take_stream(now + IDLE * 3 / 2, None).unwrap());
    multiplex.sweep(now + IDLE * 2);
    multiplex.sweep(now + IDLE * 5 / 2);
    assert_eq!(multiplex.census(), (1, 1), "it was used since");
    multiplex.sweep(now + IDLE * 3);
    assert_eq!(multiplex.census(), (0, 0));
}

#[tokio::test(flavor = "local")]
async fn a_peer_that_allows_no_stream_for_the_moment_is_waited_for() {
    let multiplex = multiplex(9);
    let mut peer = Silent::listen().await;
    let begun = Instant::now();
    peer.open(&multiplex).await;
    peer.allow(0).await;
    let find = || multiplex.take_stream(begun, None);
    comes(&multiplex, || find().is_none().then_some(())).await;
    let step = |now| multiplex.step(begun, now, None);
    assert!(matches!(step(begun), Step::Wait), "it may allow some");
    let later = begun + LIMIT / 2;
    assert!(matches!(step(later), Step::Dial(_)), "another may");
    peer.allow(100).await;
    let _first = comes(&multiplex, find).await;
    let _second = comes(&multiplex, find).await;
    assert_eq!(multiplex.census(), (1, 0));
}

#[tokio::test(flavor = "local")]
async fn a_peer_that_comes_to_allow_fewer_streams_is_asked_for_no_more() {
    let multiplex = multiplex(9);
    let mut peer = Silent::with_one(&multiplex).await;
    peer.allow(100).await;
    let now = Instant::now();
    let find = || multiplex.take_stream(now, None);
    let first = comes(&multiplex, find).await;
    let _second = comes(&multiplex, find).await;
    drop(first);
    // One stream is left, which is one too many for another.
    for allowed in [1, 0] {
        peer.allow(allowed).await;
        // The task that learns of it runs behind the one that has answered.
        tokio::task::yield_now().await;
        assert!(find().is_none(), "{allowed}");
        let step = multiplex.step(now, now + LIMIT / 2, None);
        assert!(matches!(step, Step::Dial(_)), "{allowed}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_that_waits_in_a_connection_which_ends_was_not_sent() {
    for ending in [Some(GOAWAY), None] {
        let multiplex = multiplex(9);
        let mut peer = Silent::with_one(&multiplex).await;
        let stream = multiplex.take_stream(Instant::now(), None).unwrap();
        peer.allow(0).await;
        let body = RequestBody::Kept(Bytes::from_static(b"{}"));
        let request = http::Request::post("http://graph/").body(body).unwrap();
        let ends = async {
            for _ in 0..9 {
                tokio::task::yield_now().await;
            }
            let mut last = peer.1.pop().unwrap();
            if let Some(ending) = ending {
                last.write_all(&ending).await.unwrap();
                peer.1.push(last);
            }
        };
        let both = async { tokio::join!(stream.send(request, LIMIT), ends) };
        let told = tokio::time::timeout(PATIENT, both).await;
        let (outcome, ()) = told.expect("it is told");
        let failure = outcome.expect_err("there is no answer");
        assert!(failure.is_dead_connection(), "{failure:?}");
        assert!(failure.unprocessed, "{failure:?}");
        assert!(
            matches!(&failure.body, Some(RequestBody::Kept(body)) if body == "{}"),
            "{failure:?}"
        );
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_that_waits_in_a_connection_which_goes_on_may_be_sent_yet() {
    let test = async {
        let multiplex = multiplex(9);
        let mut peer = Silent::with_one(&multiplex).await;
        let find = || multiplex.take_stream(Instant::now(), None);
        let held = find().unwrap();
        peer.allow(2).await;
        let waits = comes(&multiplex, find).await;
        let send = |stream: Stream, method| {
            let request = http::Request::builder().method(method).uri("http://graph/");
            let request = request.body(RequestBody::Empty).unwrap();
            tokio::task::spawn_local(async move { stream.send(request, LIMIT).await })
        };
        let _held = send(held, "GET");
        peer.hear_head().await;
        peer.allow(0).await;
        let waits = send(waits, "DELETE");
        for _ in 0..9 {
            tokio::task::yield_now().await;
        }
        peer.say(&FAREWELL).await;
        let failure = waits.await.unwrap().expect_err("there is no answer");
        peer.say(&settings(9)).await;
        peer.hear_head().await;
        assert!(!failure.unprocessed, "{failure:?}");
    };
    let ended = tokio::time::timeout(PATIENT, test).await;
    ended.expect("it is told and heard");
}

#[tokio::test(flavor = "local")]
async fn a_body_that_is_let_go_tells_those_who_wait_for_its_place() {
    let clock = AlarmClock::new(LIMIT);
    let notify = Rc::new(CapacityNotify::default());
    let left = Rc::new(Cell::new(1));
    let handed = Rc::new(Handed::new(clock.alarm()));
    let place = (Rc::clone(&left), Rc::clone(&notify));
    handed.left.set(Some(place));
    let mut waiting = pin!(notify.notified(0));
    assert!(!is_told(waiting.as_mut()).await, "nothing has changed");
    drop(RevocableBody(handed));
    assert_eq!(left.get(), 0);
    tokio::time::timeout(PATIENT, waiting)
        .await
        .expect("it is told");
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_breaks_at_once_is_not_taken_for_another_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // As one that was reset: nothing can be written.
    stream.shutdown().await.unwrap();
    let stream = UpstreamStream::Plain(stream.into());
    let multiplex = multiplex(9);
    let opened = multiplex.open(stream, HOUR, TARGET).await;
    let words = opened.expect_err("nothing can be written").to_string();
    assert!(words.contains(TARGET) && words.contains("broke"), "{words}");
    assert!(!words.contains("speak"), "{words}");
}

#[tokio::test(flavor = "local")]
async fn who_wants_a_younger_connection_is_told_of_news_and_of_no_place() {
    let multiplex = multiplex(9);
    let mut younger = pin!(multiplex.turn(None));
    let mut any = pin!(multiplex.turn(Some(multiplex.number())));
    assert!(!is_told(younger.as_mut()).await && !is_told(any.as_mut()).await);
    multiplex.notify.wake_one();
    assert!(!is_told(younger.as_mut()).await && is_told(any).await);
    multiplex.notify.wake_all();
    assert!(is_told(younger).await);
}

#[tokio::test(flavor = "local")]
async fn who_takes_a_place_tells_the_next_of_those_that_are_left() {
    let multiplex = multiplex(9);
    let mut peer = Silent::with_one(&multiplex).await;
    peer.settle(&multiplex, 2).await;
    let mut next = pin!(multiplex.turn(Some(multiplex.number())));
    assert!(!is_told(next.as_mut()).await);
    let _stream = multiplex.take_stream(Instant::now(), None).unwrap();
    assert!(is_told(next).await);
}

#[tokio::test(flavor = "local")]
async fn who_waits_is_told_of_what_ends_and_of_what_is_allowed() {
    let test = async {
        let multiplex = multiplex(1);
        let mut peer = Silent::with_one(&multiplex).await;
        peer.settle(&multiplex, 1).await;
        let stream = multiplex.take_stream(Instant::now(), None).unwrap();
        let mut next = pin!(multiplex.turn(Some(multiplex.number())));
        assert!(!is_told(next.as_mut()).await);
        drop(stream);
        assert!(is_told(next).await, "a stream has ended");
        let mut all = pin!(multiplex.turn(None));
        assert!(!is_told(all.as_mut()).await);
        peer.say(&settings(2)).await;
        all.await;
        peer.1.clear();
        multiplex.turn(None).await;
    };
    assert!(tokio::time::timeout(PATIENT, test).await.is_ok());
}
