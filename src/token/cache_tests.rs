//! The cache with scripted suppliers and paused time: who calls, who waits, who is told what.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::script::{
    Asked, LIMIT, Script, all_attempted, cache, rejected, settle, token, unavailable, wait, warm,
};
use super::slot_clocks::S;
use super::{Supplier, TokenError, TokenReader, TokenState};
use crate::clock::still::run;
use crate::clock::{self, Now, since};
use crate::code::Code;
use crate::credential::{Acquired, TokenRequest};
use crate::lifeline;
use crate::metrics::RefreshOutcome;

#[test]
fn a_token_is_found_while_its_renewal_hangs_and_swapped_when_it_ends() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, _) = warm(&mut script, 3600).await;
        let began = clock::now();
        let asked = script.next().await;
        assert!((S(2592)..=S(2881)).contains(&since(began)));
        assert_eq!(asked.request.within, S(10));
        let first = reader.find(Now::read()).unwrap();
        assert_eq!(first.header, "Bearer token-1");
        asked.grant(token("token-2", 3600));
        settle().await;
        let second = reader.find(Now::read()).unwrap();
        assert_eq!(second.header, "Bearer token-2");
        assert_ne!(first.serial, second.serial);
    });
}

#[test]
fn an_outage_is_not_noticed_until_the_token_is_over_and_ends_by_itself() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, _) = warm(&mut script, 3600).await;
        let began = clock::now();
        // Every call fails until the token is over.
        let mut calls = 0;
        while since(began) < S(3570) {
            let asked = script.next().await;
            // An issuer that is slow is given the time it takes, once a connection cannot be to blame.
            assert_eq!(asked.request.within, S(if calls == 0 { 10 } else { 30 }));
            if since(began) < S(3570) {
                assert_eq!(
                    reader.wait(Now::read(), LIMIT).await.unwrap().header,
                    "Bearer token-1"
                );
            }
            asked.refuse(unavailable());
            calls += 1;
            assert!(calls < 200, "{calls} calls");
        }
        let before = clock::now();
        let error = reader.wait(Now::read(), LIMIT).await.unwrap_err();
        assert_eq!(since(before), Duration::ZERO, "it fails fast");
        assert!((S(1)..=S(61)).contains(&error.retry_after().unwrap()));
        assert!(reader.find(Now::read()).is_none());
        // Nobody asks, and it recovers.
        let asked = script.next().await;
        assert_eq!(asked.request.within, S(30));
        asked.grant(token("token-2", 3600));
        settle().await;
        assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-2");
    });
}

#[test]
fn a_first_call_that_none_could_follow_in_time_is_not_cut_short() {
    run(async {
        let mut script = Script::new();
        let _warm = warm(&mut script, 180).await;
        assert_eq!(script.next().await.request.within, S(30));
    });
}

#[test]
fn a_permanent_refusal_is_asked_again_once_a_minute() {
    run(async {
        let (cache, mut script) = (cache(), Script::new());
        let reader = TokenReader::new(script.entry(&cache));
        let began = clock::now();
        for _ in 0..10 {
            script.next().await.refuse(rejected());
            settle().await;
            let error = reader.wait(Now::read(), LIMIT).await.unwrap_err();
            assert!(matches!(error, TokenError::Rejected { .. }));
            assert_eq!(
                (error.code(), error.retry_after()),
                (Code::TokenRejected, None)
            );
            assert!(!error.caller_words().contains("/run/secrets"), "{error}");
        }
        assert!((S(540)..=S(600)).contains(&since(began)));
        let status = &cache.entries()[0].status(Now::read());
        assert_eq!(status.state, TokenState::Rejected);
        assert!(
            status
                .last_error
                .as_ref()
                .unwrap()
                .words
                .contains("/run/secrets")
        );
    });
}

#[test]
fn a_changed_secret_file_is_tried_within_seconds() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "wrong").unwrap();
        let (cache, mut script) = (cache(), Script::watching(&file));
        let reader = TokenReader::new(script.entry(&cache));
        script.next().await.refuse(rejected());
        std::fs::write(&file, "right").unwrap();
        let began = clock::now();
        let asked = script.next().await;
        assert!(since(began) <= S(5));
        // Requests wait for this call instead of being told of the last.
        let waiting = wait(reader.entry());
        settle().await;
        asked.grant(token("token-1", 3600));
        assert_eq!(waiting.await.unwrap().unwrap().header, "Bearer token-1");
    });
}

#[test]
fn a_request_does_not_wait_longer_than_it_may() {
    run(async {
        let (cache, mut script) = (cache(), Script::new());
        let reader = TokenReader::new(script.entry(&cache));
        let _never: Asked = script.next().await;
        let began = clock::now();
        let error = reader.wait(Now::read(), LIMIT).await.unwrap_err();
        assert_eq!(since(began), LIMIT);
        assert_eq!(
            (error.code(), error.retry_after()),
            (Code::TokenUnavailable, Some(S(5)))
        );
    });
}

#[test]
fn one_scope_that_hangs_does_not_touch_another() {
    run(async {
        let cache = cache();
        let (mut stuck, mut fine) = (
            Script::new(),
            Script::for_scope("https://other.test/.default"),
        );
        let _entry = stuck.entry(&cache);
        let _never: Asked = stuck.next().await;
        let reader = TokenReader::new(fine.entry(&cache));
        fine.next().await.grant(token("token-1", 3600));
        let bearer = reader.wait(Now::read(), LIMIT).await.unwrap();
        assert_eq!(bearer.header, "Bearer token-1");
        assert_eq!(cache.entries().len(), 2);
    });
}

#[test]
fn a_new_secret_keeps_the_valid_token_and_is_used_at_the_next_call() {
    run(async {
        let (mut old, mut new) = (Script::new(), Script::new());
        let (cache, reader, _) = warm(&mut old, 3600).await;
        let entry = new.entry(&cache);
        assert!(Arc::ptr_eq(&entry, reader.entry()));
        assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-1");
        new.next().await.grant(token("token-2", 3600));
        settle().await;
        assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-2");
        assert!(old.is_idle());
    });
}

#[test]
fn a_new_credential_after_a_refusal_is_tried_at_once() {
    run(async {
        let (cache, mut old, mut new) = (cache(), Script::new(), Script::new());
        let reader = TokenReader::new(old.entry(&cache));
        old.next().await.refuse(rejected());
        settle().await;
        let began = clock::now();
        new.entry(&cache);
        new.next().await.grant(token("token-1", 3600));
        assert_eq!(since(began), Duration::ZERO);
        assert!(reader.wait(Now::read(), LIMIT).await.is_ok());
    });
}

#[test]
fn tokens_that_no_route_uses_are_stopped_and_their_waiters_told() {
    run(async {
        let (cache, mut script) = (cache(), Script::new());
        let waiter = wait(&script.entry(&cache));
        let _never: Asked = script.next().await;
        settle().await;
        cache.retain(&BTreeSet::new());
        assert!(matches!(waiter.await.unwrap(), Err(TokenError::Retired)));
        assert!(cache.entries().is_empty());
    });
}

#[test]
fn a_renewal_that_panics_ends_the_process_and_is_named() {
    let name = "token::cache_tests::a_renewal_that_panics_ends_the_process_and_is_named";
    let alone = lifeline::tests::alone(name, || {
        run(async {
            async fn fail(_: TokenRequest) -> Acquired {
                panic!("on purpose")
            }
            let cache = cache();
            let _entry = Script::entry_of(&cache, Supplier::new(fail));
            // If nothing ends it, it ends well.
            let _ = clock::until(clock::now() + LIMIT, all_attempted(&cache)).await;
        });
    });
    let Some(output) = alone else { return };
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    let named = "tokenferry: the task that renews a token (credential contoso, scope https://graph.test/.default) died";
    assert!(text.contains(named), "{text}");
}

#[test]
fn the_status_tells_what_is_served_and_what_failed() {
    run(async {
        let (cache, mut script) = (cache(), Script::new());
        let entry = script.entry(&cache);
        assert_eq!(entry.status(Now::read()).state, TokenState::Pending);
        script.next().await.grant(token("token-1", 3600));
        settle().await;
        let status = entry.status(Now::read());
        assert_eq!(status.state, TokenState::Valid);
        assert!(status.last_error.is_none() && status.last_renewal.is_some());
        assert!(status.next_call_in <= S(2880));
        assert!(status.expires.is_some());
        script.next().await.refuse(unavailable());
        settle().await;
        let status = entry.status(Now::read());
        assert_eq!(status.state, TokenState::Failing);
        let told = status.last_error.unwrap();
        assert_eq!(told.outcome, RefreshOutcome::Unavailable);
        assert_eq!(told.over, None);
    });
}

#[test]
fn the_last_error_is_kept_when_it_is_over_and_told_as_over_since_the_first_token_after_it() {
    run(async {
        let (cache, mut script) = (cache(), Script::new());
        let entry = script.entry(&cache);
        script.next().await.refuse(unavailable());
        script.next().await.grant(token("token-1", 3600));
        settle().await;
        let status = entry.status(Now::read());
        assert_eq!(status.state, TokenState::Valid);
        let told = status.last_error.unwrap();
        assert_eq!(told.over, status.last_renewal);
        script.next().await.grant(token("token-2", 3600));
        settle().await;
        let later = entry.status(Now::read());
        assert_ne!(later.last_renewal, status.last_renewal);
        assert_eq!(later.last_error.unwrap().over, told.over);
    });
}

#[test]
fn no_print_of_a_reader_shows_the_token() {
    run(async {
        let mut script = Script::new();
        let (cache, reader, bearer) = warm(&mut script, 3600).await;
        assert!(bearer.header.is_sensitive());
        let shown = format!(
            "{bearer:?} {reader:?} {:?}",
            cache.entries()[0].status(Now::read())
        );
        assert!(!shown.contains("token-1"), "{shown}");
    });
}
