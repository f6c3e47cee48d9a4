//! A pair of which one is to be left alone.

use std::sync::Arc;
use std::time::Duration;

use super::fallback_tests::Pair;
use super::stand_in::{ask, request};
use super::{AccessToken, CredentialError, TokenRequest};

#[tokio::test]
async fn a_first_that_wants_quiet_is_left_alone_while_the_second_fails_too() {
    let pair = Pair::start("old-1", "busy-2").await;
    ask(&pair.credential).await.unwrap_err();
    std::fs::write(pair.folder.path().join("one"), "quiet-1").unwrap();
    for _ in 0..3 {
        ask(&pair.credential).await.unwrap_err();
    }
    let asked = ["old-1", "busy-2", "quiet-1", "busy-2", "busy-2", "busy-2"];
    assert_eq!(pair.asked(), asked);
}

#[tokio::test]
async fn a_change_of_its_file_does_not_end_quiet_that_the_first_is_to_keep() {
    let pair = Pair::start("old-1", "good-2").await;
    ask(&pair.credential).await.unwrap();
    for secret in ["quiet-1", "good-1"] {
        std::fs::write(pair.folder.path().join("one"), secret).unwrap();
        let token = ask(&pair.credential).await.unwrap();
        assert_eq!(token.secret.expose(), b"good-2", "{secret}");
    }
    assert_eq!(
        pair.asked(),
        ["old-1", "good-2", "quiet-1", "good-2", "good-2"]
    );
}

async fn ask_first(
    pair: &Pair,
    resting: &Arc<CredentialError>,
) -> Result<AccessToken, CredentialError> {
    let request = TokenRequest {
        resting: Some(resting.clone()),
        ..request()
    };
    pair.credential.acquire(&request).await.outcome
}

#[tokio::test]
async fn a_fallback_that_is_to_be_left_alone_is_not_asked_after_a_first_that_changed() {
    let pair = Pair::start("old-1", "quiet-2").await;
    let error = ask(&pair.credential).await.unwrap_err();
    let (second, quiet) = error.resting().unwrap();
    assert_eq!(quiet, Duration::from_mins(10));
    ask_first(&pair, second).await.unwrap_err();
    assert_eq!(pair.asked(), ["old-1", "quiet-2"], "nothing has changed");
    std::fs::write(pair.folder.path().join("one"), "old-3").unwrap();
    let error = ask_first(&pair, second).await.unwrap_err();
    let words = error.words();
    assert!(
        words.contains("AADSTS7000222") && words.contains("\"two\": ") && words.contains("503")
    );
    std::fs::write(pair.folder.path().join("one"), "good-1").unwrap();
    let token = ask_first(&pair, second).await.unwrap();
    assert_eq!(
        (token.secret.expose(), token.fallback),
        (&b"good-1"[..], None)
    );
    assert_eq!(pair.asked(), ["old-1", "quiet-2", "old-3", "good-1"]);
}
