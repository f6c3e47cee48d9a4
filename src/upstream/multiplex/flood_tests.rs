//! A peer that sends without end what brings nothing.

use super::super::RequestBody;
use super::tests::{LIMIT, PATIENT, Silent, comes, multiplex};
use super::*;

/// PING (RFC 9113 section 6.7).
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/// SETTINGS that settle nothing (section 6.5).
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// An interim answer to the first request: 103, spelt out (RFC 7541 section 6.2.2).
const HINTS: [u8; 14] = [0, 0, 5, 1, 4, 0, 0, 0, 1, 8, 3, b'1', b'0', b'3'];

#[tokio::test(flavor = "local")]
async fn a_peer_that_sends_frames_without_end_is_given_up_and_the_reason_told() {
    for frame in [&PING[..], &SETTINGS, &HINTS] {
        let test = async {
            let multiplex = multiplex(9);
            let mut peer = Silent::with_one(&multiplex).await;
            peer.settle(&multiplex, 9).await;
            let stream = comes(&multiplex, || multiplex.take_stream(Instant::now(), None)).await;
            let request = http::Request::get("http://graph/").body(RequestBody::Empty);
            let flood = async {
                peer.hear_head().await;
                // Twice as many as it may send.
                peer.say(&frame.repeat(2100)).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                outcome = stream.send(request.unwrap(), LIMIT) => outcome.err(),
                () = flood => None,
            }
        };
        let outcome = tokio::time::timeout(PATIENT, test).await;
        let failure = outcome.expect("it is not waited for").expect("it fails");
        let words = format!("{failure:?}");
        assert!(words.contains("too many frames"), "{words}");
    }
}
