//! A connection on which a body is left whose exchange is over.

use bytes::Bytes;

use super::super::RequestBody;
use super::tests::{LIMIT, PATIENT, Silent, multiplex};
use super::*;

/// SETTINGS that let nothing of a body come (RFC 9113 section 6.5.2).
const NO_WINDOW: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
/// The answer to the first request, 200 and nothing more (RFC 7541 appendix A).
const ANSWER: [u8; 10] = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];

/// A connection with a stream, and with a body that nobody wants any more.
async fn spoilt(multiplex: &Multiplex) -> (Silent, Stream) {
    let mut peer = Silent::with_one(multiplex).await;
    peer.say(&NO_WINDOW).await;
    peer.settle(multiplex, 9).await;
    let take = || multiplex.take_stream(Instant::now(), None).unwrap();
    let (held, left) = (take(), take());
    let body = RequestBody::Kept(Bytes::from_static(b"{}"));
    let request = http::Request::post("http://graph/").body(body).unwrap();
    let answers = async {
        peer.hear_head().await;
        peer.say(&ANSWER).await;
    };
    let (answer, ()) = tokio::join!(left.send(request, LIMIT), answers);
    drop((answer.unwrap(), left));
    for _ in 0..9 {
        tokio::task::yield_now().await;
    }
    (peer, held)
}

#[tokio::test(flavor = "local")]
async fn a_connection_on_which_a_body_is_left_takes_no_other_stream_and_is_waited_for_by_nobody() {
    let test = async {
        let multiplex = multiplex(9);
        let (_peer, _held) = spoilt(&multiplex).await;
        let now = Instant::now();
        assert!(!multiplex.has_room(now));
        assert!(multiplex.take_stream(now, None).is_none());
        let Step::Dial(in_vain) = multiplex.step(now, now, None) else {
            panic!("nobody dials");
        };
        drop(in_vain);
        assert!(matches!(multiplex.step(now, now, None), Step::Fail(_)));
    };
    let ended = tokio::time::timeout(PATIENT, test).await;
    ended.expect("the request is heard");
}

#[tokio::test(flavor = "local")]
async fn a_connection_on_which_nothing_but_a_body_is_left_is_closed_at_once() {
    let test = async {
        let multiplex = multiplex(9);
        let (mut peer, held) = spoilt(&multiplex).await;
        multiplex.sweep(Instant::now());
        assert_eq!(multiplex.census(), (1, 0), "it has a stream");
        drop(held);
        multiplex.sweep(Instant::now());
        assert_eq!(multiplex.census(), (0, 0));
        peer.hear_end().await;
    };
    let ended = tokio::time::timeout(PATIENT, test).await;
    ended.expect("it is closed");
}
