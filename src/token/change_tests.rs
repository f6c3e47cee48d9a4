//! A credential that changes while a call is under way, and what those hear who wait for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::script::{
    LIMIT, Script, cache, rejected, renew, settle, throttled, token, unavailable, wait,
};
use super::slot_clocks::S;
use super::{Bearer, RenewError, TokenReader};
use crate::clock::still::{advance, run};
use crate::clock::{self, Now, since};
use crate::credential::{ClaimsRequest, Refusal, Rejection, Stamp};
use crate::secret::FilePath;
use crate::secret::file_reader::Unread;

#[test]
fn an_old_secret_that_is_refused_after_the_new_one_came_is_told_to_nobody() {
    run(async {
        let (cache, mut old, mut new) = (cache(), Script::new(), Script::new());
        let reader = TokenReader::new(old.entry(&cache));
        let asked = old.next().await;
        new.entry(&cache);
        let early = wait(reader.entry());
        settle().await;
        asked.refuse(rejected());
        let asked = new.next().await;
        let late = wait(reader.entry());
        settle().await;
        asked.grant(token("token-1", 3600));
        for waiting in [early, late] {
            assert_eq!(waiting.await.unwrap().unwrap().header, "Bearer token-1");
        }
    });
}

#[test]
fn a_forced_renewal_is_made_again_with_the_new_secret() {
    run(async {
        let demand = ClaimsRequest::parse(br#"{"access_token":{"nbf":{"essential":true}}}"#);
        for claims in [None, demand] {
            let (cache, mut old, mut new) = (cache(), Script::new(), Script::new());
            let reader = TokenReader::new(old.entry(&cache));
            old.next().await.grant(token("token-1", 86_400));
            let refused = reader.wait(Now::read(), LIMIT).await.unwrap();
            let renewal = renew(&reader, &refused, claims.clone());
            let asked = old.next().await;
            new.entry(&cache);
            asked.refuse(rejected());
            let asked = new.next().await;
            assert_eq!(asked.request.claims, claims);
            settle().await;
            asked.grant(token("token-2", 86_400));
            assert_eq!(renewal.await.unwrap().unwrap().header, "Bearer token-2");
        }
    });
}

/// A token, and somebody who waits for another: nobody makes calls but the test.
async fn refused_by_hand() -> (TokenReader, JoinHandle<Result<Bearer, RenewError>>) {
    let reader = TokenReader::new(Script::new().entry_alone());
    let entry = reader.entry();
    entry.begin(Now::read());
    entry.finish(Ok(token("token-1", 86_400)).into(), S(1), Now::read(), 0.5);
    let refused = reader.find(Now::read()).unwrap();
    let renewal = renew(&reader, &refused, None);
    settle().await;
    entry.begin(Now::read());
    (reader, renewal)
}

#[test]
fn a_change_just_after_a_failure_is_not_taken_for_the_same_token_again() {
    run(async {
        let (reader, renewal) = refused_by_hand().await;
        let entry = reader.entry();
        entry.finish(Err(unavailable()).into(), S(1), Now::read(), 0.5);
        entry.files_changed(Now::read());
        settle().await;
        entry.begin(Now::read());
        entry.finish(Ok(token("token-2", 86_400)).into(), S(1), Now::read(), 0.5);
        assert_eq!(renewal.await.unwrap().unwrap().header, "Bearer token-2");
    });
}

#[test]
fn a_failure_just_after_a_token_came_does_not_hide_it() {
    run(async {
        let (reader, renewal) = refused_by_hand().await;
        let entry = reader.entry();
        entry.finish(Ok(token("token-2", 86_400)).into(), S(1), Now::read(), 0.5);
        entry.files_changed(Now::read());
        entry.begin(Now::read());
        entry.finish(Err(unavailable()).into(), S(1), Now::read(), 0.5);
        assert_eq!(renewal.await.unwrap().unwrap().header, "Bearer token-2");
    });
}

#[test]
fn who_is_told_of_a_failure_although_a_call_is_due_wakes_whoever_makes_it() {
    run(async {
        let reader = TokenReader::new(Script::new().entry_alone());
        let entry = reader.entry();
        entry.begin(Now::read());
        entry.finish(Err(unavailable()).into(), S(1), Now::read(), 0.5);
        for is_due in [false, true] {
            assert!(reader.wait(Now::read(), LIMIT).await.is_err());
            let soon = clock::now() + Duration::from_millis(1);
            let nudged = clock::until(soon, entry.nudged()).await;
            assert_eq!(nudged.is_some(), is_due);
            advance(S(60)).await;
        }
    });
}

#[test]
fn who_finds_the_token_over_wakes_whoever_renews_it() {
    run(async {
        let reader = TokenReader::new(Script::new().entry_alone());
        let entry = reader.entry();
        entry.begin(Now::read());
        entry.finish(Ok(token("token-1", 3600)).into(), S(1), Now::read(), 0.5);
        for is_over in [false, true] {
            let _ = reader.wait(Now::read(), Duration::from_millis(1)).await;
            let soon = clock::now() + Duration::from_millis(1);
            let nudged = clock::until(soon, entry.nudged()).await;
            assert_eq!(nudged.is_some(), is_over);
            // As after a suspension, which the refresher's timer sleeps through.
            advance(S(3600)).await;
        }
    });
}

#[test]
fn a_fallback_that_is_added_does_not_break_quiet_that_the_server_asked_for() {
    run(async {
        for holds_a_token in [false, true] {
            let (cache, mut alone, mut pair) = (cache(), Script::new(), Script::new());
            let _reader = TokenReader::new(alone.entry(&cache));
            if holds_a_token {
                alone.next().await.grant(token("token-1", 3600));
            }
            alone.next().await.refuse(throttled(60));
            let began = clock::now();
            settle().await;
            let reader = TokenReader::new(pair.entry_with_fallback(&cache));
            cache.retain(&[reader.entry().key().clone()].into());
            settle().await;
            assert!(pair.is_idle());
            match reader.wait(Now::read(), LIMIT).await {
                Ok(bearer) => assert!(holds_a_token, "{bearer:?}"),
                Err(error) => assert!(error.retry_after().unwrap() > S(50), "{error:?}"),
            }
            assert!(since(began) < S(1), "it fails fast");
            let status = reader.entry().status(Now::read());
            assert!(status.last_error.is_some());
            pair.next().await.grant(token("token-2", 3600));
            assert!((S(60)..=S(66)).contains(&since(began)));
            settle().await;
            assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-2");
        }
    });
}

#[test]
fn a_file_that_held_something_else_for_a_moment_is_read_again_soon() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "right").unwrap();
        let (cache, mut script) = (cache(), Script::watching(file.path()));
        script.entry(&cache);
        let asked = script.next().await;
        std::fs::write(file.path(), "wrong").unwrap();
        asked.refuse(rejected());
        settle().await;
        // What was refused was neither seen before the call nor is it there at the next look.
        std::fs::write(file.path(), "right").unwrap();
        let corrected = clock::now();
        let asked = script.next().await;
        assert!(since(corrected) <= S(6), "{:?}", since(corrected));
        asked.refuse(rejected());
        let refused = clock::now();
        script.next().await;
        assert!(since(refused) >= S(60), "nothing has changed since");
    });
}

#[test]
fn a_file_that_cannot_be_looked_at_for_a_moment_has_not_changed() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (named, looks) = (FilePath::from(file.path()), AtomicUsize::new(0));
        // Every other look finds no descriptor, say.
        let mut script = Script::stamped(move || match looks.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Stamp::of([&named]),
            _ => Stamp::of_unread(1),
        });
        let cache = cache();
        script.entry(&cache);
        let began = clock::now();
        script.next().await.refuse(rejected());
        let asked = script.next().await;
        assert!(since(began) >= S(60));
        asked.refuse(rejected());
        advance(S(1)).await;
        std::fs::write(file.path(), "new").unwrap();
        let changed = clock::now();
        script.next().await;
        assert!(since(changed) <= S(11));
    });
}

#[test]
fn files_that_were_not_read_in_time_are_asked_for_again_soon() {
    run(async {
        let (cache, mut script) = (cache(), Script::new());
        script.entry(&cache);
        for _ in 0..3 {
            let source_name = "/run/secrets/graph".to_owned();
            let slow = Rejection::Unread {
                source_name,
                why: Unread::TooSlow { within: S(5) },
            };
            script.next().await.refuse(slow.into());
            let refused = clock::now();
            script.next().await.refuse(unavailable());
            assert!(since(refused) <= S(10), "{:?}", since(refused));
        }
    });
}

#[test]
fn a_file_that_cannot_be_read_now_and_then_has_its_refusal_asked_for_once_a_minute() {
    run(async {
        for (fails, of) in [(1, 2), (1, 3), (2, 3), (1, 4), (3, 5)] {
            for first in 0..of {
                let file = tempfile::NamedTempFile::new().unwrap();
                let mut script = Script::watching_at_times(file.path(), (fails, of), first);
                let cache = cache();
                script.entry(&cache);
                let mut asked = script.next().await;
                for _ in 0..4 {
                    asked.refuse(Rejection::Answer(Refusal::bare(401).into()).into());
                    let refused = clock::now();
                    asked = script.next().await;
                    let after = since(refused);
                    assert!(after >= S(60), "{fails} of {of} from {first}: {after:?}");
                }
                asked.refuse(Rejection::Answer(Refusal::bare(401).into()).into());
                for _ in 0..30 {
                    advance(S(1)).await;
                }
                std::fs::write(file.path(), "new").unwrap();
                let changed = clock::now();
                script.next().await;
                assert!(since(changed) <= S(25), "{:?}", since(changed));
            }
        }
    });
}

#[test]
fn a_file_that_cannot_be_read_now_and_then_does_not_hasten_calls_in_an_outage() {
    run(async {
        for first in 0..2 {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut script = Script::watching_at_times(file.path(), (1, 2), first);
            let cache = cache();
            script.entry(&cache);
            let began = clock::now();
            for _ in 0..20 {
                script.next().await.refuse(unavailable());
            }
            assert!(since(began) >= S(60), "{:?}", since(began));
        }
    });
}
