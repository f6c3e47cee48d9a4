//! Whose turn it is: the first credential's or its fallback's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fallback::Fallback;
use super::reason::Reason;
use super::stamp::Stamp;
use super::stand_in::{
    Seen, StandIn, app_at, ask, build, egress, granted, request, response, secret_in, spec,
};
use super::{Acquired, Credential, CredentialError, Refusal, Rejection};
use crate::config::Name;
use crate::secret::file_reader::FileReader;

const EXPIRED: &str = r#"{"error":"invalid_client","error_codes":[7000222]}"#;
const INVALID: &str = r#"{"error":"invalid_request","error_codes":[50027]}"#;

/// A credential and its fallback, at one Entra.
pub(super) struct Pair {
    entra: StandIn,
    pub(super) folder: tempfile::TempDir,
    pub(super) credential: Arc<Credential>,
}

impl Pair {
    /// Entra takes secrets that begin with `good`, answers `busy` ones with 503, `quiet` ones with 503
    /// and the wish to be left alone for ten minutes, `scope` ones with a
    /// refusal of the scope, and `bad` ones with a code and an error that says little. While it
    /// refuses a `swap`, the first's file is written anew.
    pub(super) async fn start(first: &str, second: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let of_first = folder.path().join("one");
        let entra = StandIn::start(move |seen: &Seen| {
            let secret = seen.field("client_secret").unwrap();
            match secret.split('-').next() {
                Some("good") => granted(&secret),
                Some("busy") => response(503, "", ""),
                Some("quiet") => response(503, "Retry-After: 600\r\n", ""),
                Some("scope") => response(400, "", r#"{"error":"invalid_scope"}"#),
                Some("bad") => response(400, "", INVALID),
                Some("swap") => {
                    std::fs::write(&of_first, "another").unwrap();
                    response(401, "", EXPIRED)
                }
                _ => response(401, "", EXPIRED),
            }
        })
        .await;
        let file = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let mut one = spec("one", secret_in(&file("one", first), entra.app()));
        one.fallback = Some(Name::parse("two").unwrap());
        let two = spec("two", secret_in(&file("two", second), entra.app()));
        let credential = build(&[one, two], &egress()).remove(0);
        Self {
            entra,
            folder,
            credential,
        }
    }

    pub(super) fn asked(&self) -> Vec<String> {
        let seen = self.entra.requests();
        seen.iter()
            .map(|seen| seen.field("client_secret").unwrap())
            .collect()
    }

    async fn acquire(&self) -> Acquired {
        self.credential.acquire(&request()).await
    }

    fn is_active(&self) -> bool {
        self.credential.fallback.as_ref().unwrap().is_active()
    }
}

#[tokio::test]
async fn the_fallback_takes_over_when_the_first_has_expired_and_stays() {
    let pair = Pair::start("old-1", "good-2").await;
    for is_first_asked in [true, false] {
        let acquired = pair.acquire().await;
        let token = acquired.outcome.unwrap();
        assert_eq!(token.secret.expose(), b"good-2");
        assert_eq!(token.fallback.unwrap().as_str(), "two");
        let refused = acquired.first.map(|first| first.error.refuses_credential());
        assert_eq!(refused, is_first_asked.then_some(true));
        // Counted from the start of the call, in which the first was refused a moment later.
        assert!(token.refresh_in.unwrap() < Duration::from_secs(3601));
    }
    assert_eq!(pair.asked(), ["old-1", "good-2", "good-2"]);
    assert!(pair.is_active());
}

#[tokio::test]
async fn the_fallback_takes_over_by_the_code_alone() {
    let pair = Pair::start("bad-1", "good-2").await;
    let token = ask(&pair.credential).await.unwrap();
    assert_eq!(token.secret.expose(), b"good-2");
    assert!(pair.is_active());
}

#[tokio::test]
async fn the_first_is_tried_again_when_its_file_changes() {
    let pair = Pair::start("old-1", "good-2").await;
    ask(&pair.credential).await.unwrap();
    let stamp = pair.credential.stamp().await;
    std::fs::write(pair.folder.path().join("one"), "good-1").unwrap();
    assert!(pair.credential.stamp().await.differs_from(&stamp));
    let acquired = pair.acquire().await;
    assert!(acquired.first.is_none());
    let token = acquired.outcome.unwrap();
    assert_eq!(token.secret.expose(), b"good-1");
    assert_eq!(token.refresh_in, None);
    assert_eq!(token.fallback, None);
    assert!(!pair.is_active());
}

#[tokio::test]
async fn a_first_whose_file_is_absent_for_a_moment_is_left_alone_and_asked_once_there_is_one() {
    let pair = Pair::start("old-1", "good-2").await;
    let file = pair.folder.path().join("one");
    for asked in [1, 3, 4, 5] {
        match file.exists() {
            true => std::fs::remove_file(&file).unwrap(),
            false => std::fs::write(&file, "old-1").unwrap(),
        }
        ask(&pair.credential).await.unwrap();
        assert_eq!(pair.asked().len(), asked, "{:?}", pair.asked());
    }
    let asked = ["good-2", "old-1", "good-2", "good-2", "good-2"];
    assert_eq!(pair.asked(), asked);
}

#[tokio::test]
async fn a_first_whose_file_changed_while_it_was_asked_is_asked_again_whatever_the_file_holds_now()
{
    let pair = Pair::start("swap-1", "good-2").await;
    let file = pair.folder.path().join("one");
    let token = ask(&pair.credential).await.unwrap();
    assert_eq!(token.secret.expose(), b"good-2");
    assert_eq!(std::fs::read(&file).unwrap(), b"another");
    std::fs::write(&file, "swap-1").unwrap();
    ask(&pair.credential).await.unwrap();
    assert_eq!(pair.asked(), ["swap-1", "good-2", "swap-1", "good-2"]);
}

#[tokio::test]
async fn all_tokens_of_the_fallback_learn_that_the_first_is_accepted_again() {
    let pair = Pair::start("old-1", "good-2").await;
    let before = pair.credential.stamp().await;
    ask(&pair.credential).await.unwrap();
    assert!(!pair.credential.stamp().await.differs_from(&before));
    std::fs::write(pair.folder.path().join("one"), "good-1").unwrap();
    let changed = pair.credential.stamp().await;
    ask(&pair.credential).await.unwrap();
    let accepted = pair.credential.stamp().await;
    assert!(accepted.differs_from(&changed));
    ask(&pair.credential).await.unwrap();
    assert!(!pair.credential.stamp().await.differs_from(&accepted));
}

#[tokio::test]
async fn an_outage_or_a_wrong_scope_is_no_reason_for_the_fallback() {
    for first in ["busy-1", "scope-1"] {
        let pair = Pair::start(first, "good-2").await;
        ask(&pair.credential).await.unwrap_err();
        assert_eq!(pair.asked(), [first]);
        assert!(!pair.is_active());
    }
}

#[tokio::test]
async fn a_known_refused_first_that_does_not_answer_leaves_the_fallback_in_place() {
    for first in ["busy-1", "scope-1"] {
        let pair = Pair::start("old-1", "good-2").await;
        ask(&pair.credential).await.unwrap();
        std::fs::write(pair.folder.path().join("one"), first).unwrap();
        for _ in 0..2 {
            let token = ask(&pair.credential).await.unwrap();
            assert_eq!(token.secret.expose(), b"good-2");
            assert!(token.refresh_in.unwrap() < Duration::from_secs(301));
        }
        let asked = ["old-1", "good-2", first, "good-2", "good-2"];
        assert_eq!(pair.asked(), asked, "not at every call");
        std::fs::write(pair.folder.path().join("one"), "good-1").unwrap();
        let token = ask(&pair.credential).await.unwrap();
        assert_eq!(token.secret.expose(), b"good-1");
    }
}

#[tokio::test]
async fn a_first_that_does_not_answer_is_asked_at_every_call_while_the_second_fails_too() {
    let pair = Pair::start("old-1", "busy-2").await;
    ask(&pair.credential).await.unwrap_err();
    std::fs::write(pair.folder.path().join("one"), "busy-1").unwrap();
    for _ in 0..2 {
        ask(&pair.credential).await.unwrap_err();
    }
    let asked = ["old-1", "busy-2", "busy-1", "busy-2", "busy-1", "busy-2"];
    assert_eq!(pair.asked(), asked);
}

#[tokio::test]
async fn a_first_without_its_file_is_refused_like_an_expired_one() {
    let pair = Pair::start("old-1", "good-2").await;
    std::fs::remove_file(pair.folder.path().join("one")).unwrap();
    ask(&pair.credential).await.unwrap();
    assert_eq!(pair.asked(), ["good-2"]);
}

#[tokio::test]
async fn when_both_fail_both_reasons_are_told_each_with_its_name() {
    let pair = Pair::start("old-1", "busy-2").await;
    for is_first_asked in [true, false] {
        let acquired = pair.acquire().await;
        let error = acquired.outcome.unwrap_err();
        for words in [error.words(), error.caller_words()] {
            let (first, second) = words.split_once("; its fallback \"two\": ").unwrap();
            assert!(first.contains("AADSTS7000222"), "{words}");
            assert!(second.contains("503"), "{words}");
        }
        assert!(!error.needs_a_person(), "the second may come back");
        let refused = acquired.first.map(|first| first.error.refuses_credential());
        assert_eq!(refused, is_first_asked.then_some(true));
    }
    let pair = Pair::start("busy-1", "good-2").await;
    assert!(pair.acquire().await.first.is_none(), "one was asked");
}

/// A fallback whose credentials nobody asks.
fn fallback() -> Fallback {
    let platform = super::Platform::detect(|_| None);
    let file = PathBuf::from("/nonexistent");
    let kind = secret_in(&file, app_at("https://login.test"));
    let second = Credential::alone(&spec("two", kind), &egress(), &platform);
    Fallback::new(second.unwrap(), Instant::now())
}

fn refused() -> CredentialError {
    let source_name = "secret".to_owned();
    Rejection::NotText { source_name }.into()
}

fn quiet(seconds: Option<u64>) -> CredentialError {
    CredentialError::Throttled(Box::new(Refusal {
        retry_after: seconds.map(Duration::from_secs),
        ..Refusal::bare(429)
    }))
}

#[test]
fn the_first_is_due_again_after_a_minute_and_within_the_hour_once_the_second_serves() {
    let s = Duration::from_secs;
    let fallback = fallback();
    let (now, stamp) = (Instant::now(), Stamp::default());
    assert!(fallback.first_is_due(&stamp, now));
    let is_due_after = |seconds| fallback.first_is_due(&stamp, now + s(seconds));
    let both_fail = || fallback.both_failed(stamp.clone(), None, refused().into(), now);
    fallback.first_refused(stamp.clone(), &refused(), now);
    assert!(!is_due_after(59) && is_due_after(60), "nobody serves");
    assert_eq!(fallback.second_replaces(), Some(Reason::of(&refused())));
    assert_eq!(fallback.second_replaces(), None, "no news");
    assert!(!is_due_after(2999) && is_due_after(3000));
    assert!(matches!(both_fail(), CredentialError::Both { .. }));
    assert!(!is_due_after(59) && is_due_after(60), "nobody serves now");
    fallback.first_refused(stamp.clone(), &refused(), now);
    assert_eq!(
        fallback.second_replaces(),
        None,
        "no news after another try"
    );
    assert!(fallback.first_accepted(now) && !fallback.is_active());
    fallback.first_refused(stamp.clone(), &refused(), now);
    assert!(fallback.second_replaces().is_some(), "news again");
}

#[test]
fn while_both_fail_the_first_is_asked_when_its_authority_wants() {
    let s = Duration::from_secs;
    for (wanted, rest) in [(1, 1), (600, 600), (9000, 3600)] {
        let (fallback, now, stamp) = (fallback(), Instant::now(), Stamp::default());
        fallback.first_refused(stamp.clone(), &refused(), now);
        let first = quiet(Some(wanted));
        fallback.both_failed(stamp.clone(), Some(&first), refused().into(), now);
        // Another call that did not ask the first.
        fallback.both_failed(stamp.clone(), None, refused().into(), now);
        assert!(
            !fallback.first_is_due(&stamp, now + s(rest - 1)),
            "{wanted}"
        );
        assert!(fallback.first_is_due(&stamp, now + s(rest)), "{wanted}");
    }
}

#[test]
fn a_first_that_does_not_answer_is_due_after_minutes_and_not_before_its_authority_wants() {
    let s = Duration::from_secs;
    for (quiet, rest) in [
        (None, 250),
        (Some(1), 250),
        (Some(900), 900),
        (Some(9000), 3600),
    ] {
        let (fallback, now, stamp) = (fallback(), Instant::now(), Stamp::default());
        let error = self::quiet(quiet);
        let unanswered = || fallback.first_unanswered(stamp.clone(), &error, now);
        assert!(!unanswered() && !fallback.is_active(), "it was not refused");
        fallback.first_refused(stamp.clone(), &refused(), now);
        assert!(unanswered(), "news");
        assert!(!unanswered(), "no news");
        assert!(!fallback.first_is_due(&stamp, now + s(rest - 1)));
        assert!(fallback.first_is_due(&stamp, now + s(rest)));
    }
}

#[test]
fn some_renewal_in_time_finds_the_first_due_whatever_the_seconds_tokens() {
    let stamp = Stamp::default();
    for is_silent in [false, true] {
        let most = Duration::from_secs(if is_silent { 300 } else { 3600 });
        for life in [60, 300, 3599, 3700, 5400, 86_400, 172_800] {
            for early in [0.0, 0.05, 0.1] {
                let fallback = fallback();
                let since = Instant::now();
                fallback.first_refused(stamp.clone(), &refused(), since);
                if is_silent {
                    fallback.first_unanswered(stamp.clone(), &quiet(None), since);
                }
                fallback.second_replaces();
                let mut now = since;
                while !fallback.first_is_due(&stamp, now) {
                    // As the cache renews: at four fifths or as asked for, up to a tenth earlier.
                    let latest = Duration::from_secs(life).mul_f64(0.8);
                    let asked = fallback.renew_within(now).min(latest);
                    now += asked.mul_f64(1.0 - early);
                }
                let after = now - since;
                assert!(after <= most, "{life} s: {after:?}");
            }
        }
    }
}

/// What reads the files of the first.
fn reader_of(pair: &mut Pair) -> &mut FileReader {
    &mut Arc::get_mut(&mut pair.credential).unwrap().reader
}

#[tokio::test]
async fn a_first_whose_files_hung_is_tried_again_within_minutes() {
    let mut pair = Pair::start("good-1", "good-2").await;
    let reader = FileReader::patient_for(Duration::from_millis(20));
    let _hangs = reader.hang().await;
    let reader = std::mem::replace(reader_of(&mut pair), reader);
    let token = ask(&pair.credential).await.unwrap();
    assert_eq!(token.secret.expose(), b"good-2");
    assert!(token.refresh_in.unwrap() < Duration::from_secs(301));
    *reader_of(&mut pair) = reader;
    let fallback = pair.credential.fallback.as_ref().unwrap();
    let stamp = pair.credential.own_stamp().await;
    let is_due_after = |seconds| {
        let then = Instant::now() + Duration::from_secs(seconds);
        fallback.first_is_due(&stamp, then)
    };
    assert!(!is_due_after(200) && is_due_after(250));
}
