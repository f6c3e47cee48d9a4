//! Calls that an upstream's demand for claims causes, and what their failures are to all others.

use super::script::{Script, rejected, renew, settle, throttled, token, unavailable, wait, warm};
use super::slot_clocks::S;
use super::{Bearer, RenewError, TokenError, TokenReader, TokenState};
use crate::clock::still::{advance, run};
use crate::clock::{self, Now, since};
use crate::credential::{ClaimsRequest, CredentialError};

fn demand() -> ClaimsRequest {
    ClaimsRequest::parse(br#"{"access_token":{"nbf":{"essential":true}}}"#).unwrap()
}

/// Why the call failed that was or would have been made.
fn failed(renewed: Result<Bearer, RenewError>) -> TokenError {
    match renewed {
        Err(RenewError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Demands claims, for which the call fails like this; what is told of it.
async fn refuse(
    script: &mut Script,
    reader: &TokenReader,
    refused: &Bearer,
    error: CredentialError,
) -> TokenError {
    let renewal = renew(reader, refused, Some(demand()));
    script.next().await.refuse(error);
    failed(renewal.await.unwrap())
}

/// Demands claims, for which a call is made at once and brings a token.
async fn grant(script: &mut Script, reader: &TokenReader, refused: &Bearer) {
    let demanded = clock::now();
    let renewal = renew(reader, refused, Some(demand()));
    let asked = script.next().await;
    assert_eq!(asked.request.claims, Some(demand()));
    assert!(since(demanded) < S(1));
    asked.grant(token("token-2", 86_400));
    assert_eq!(renewal.await.unwrap().unwrap().header, "Bearer token-2");
}

#[test]
fn a_failed_call_with_claims_names_the_pause_that_is_kept() {
    run(async {
        for (error, least, most) in [(unavailable(), 1, 30), (throttled(120), 120, 125)] {
            let mut script = Script::new();
            let (_cache, reader, refused) = warm(&mut script, 86_400).await;
            let told = refuse(&mut script, &reader, &refused, error).await;
            let wait = told.retry_after().unwrap();
            assert!((S(least)..=S(most)).contains(&wait), "{wait:?}");
            let again = renew(&reader, &refused, Some(demand())).await.unwrap();
            let again = failed(again).retry_after().unwrap();
            assert!(again <= wait && wait - again < S(1), "{wait:?} {again:?}");
            assert!(script.is_idle());
            // Then it is asked for. The wall clock, which is not paused, had the smaller part left.
            advance(wait + S(1)).await;
            let _renewal = renew(&reader, &refused, Some(demand()));
            assert_eq!(script.next().await.request.claims, Some(demand()));
        }
    });
}

#[test]
fn a_failed_call_with_claims_is_told_as_that_and_keeps_no_other_renewal_away() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        refuse(&mut script, &reader, &refused, unavailable()).await;
        let status = reader.entry().status(Now::read());
        assert_eq!(status.state, TokenState::Valid);
        assert!(status.last_error.unwrap().over.is_none());
        advance(S(5)).await;
        failed(renew(&reader, &refused, Some(demand())).await.unwrap());
        let renewal = renew(&reader, &refused, None);
        let asked = script.next().await;
        assert_eq!(asked.request.claims, None);
        asked.grant(token("token-2", 86_400));
        let second = renewal.await.unwrap().unwrap();
        assert_eq!(second.header, "Bearer token-2");
        let told = reader.entry().status(Now::read()).last_error.unwrap();
        assert!(told.over.is_some());
        // That one counts.
        for claims in [None, Some(demand())] {
            let again = renew(&reader, &second, claims).await.unwrap();
            assert!(matches!(again, Err(RenewError::Paused { .. })));
        }
    });
}

#[test]
fn who_only_wants_a_token_is_not_told_that_claims_were_refused() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 20).await;
        refuse(&mut script, &reader, &refused, rejected()).await;
        let asked = script.next().await;
        assert_eq!(asked.request.claims, None);
        advance(S(20)).await;
        assert!(reader.find(Now::read()).is_none());
        let waiting = wait(reader.entry());
        settle().await;
        asked.grant(token("token-2", 3600));
        let bearer = waiting.await.unwrap().unwrap();
        assert_eq!(bearer.header, "Bearer token-2");
    });
}

#[test]
fn claims_that_are_demanded_during_a_retry_follow_it() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 3600).await;
        script.next().await.refuse(unavailable());
        let retry = script.next().await;
        let renewal = renew(&reader, &refused, Some(demand()));
        settle().await;
        retry.grant(token("token-2", 3600));
        let asked = script.next().await;
        assert_eq!(asked.request.claims, Some(demand()));
        asked.grant(token("token-3", 3600));
        assert_eq!(renewal.await.unwrap().unwrap().header, "Bearer token-3");
    });
}

#[test]
fn claims_that_are_demanded_during_a_retry_that_fails_hear_of_it_once_it_has() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 3600).await;
        script.next().await.refuse(unavailable());
        let retry = script.next().await;
        let renewal = renew(&reader, &refused, Some(demand()));
        settle().await;
        retry.refuse(rejected());
        let error = failed(renewal.await.unwrap());
        assert!(matches!(error, TokenError::Rejected { .. }));
        assert!(script.is_idle());
        // They did not use up what may be forced.
        script.next().await.grant(token("token-2", 3600));
        settle().await;
        let second = reader.find(Now::read()).unwrap();
        let _renewal = renew(&reader, &second, Some(demand()));
        assert_eq!(script.next().await.request.claims, Some(demand()));
    });
}

#[test]
fn claims_that_were_refused_are_asked_for_at_once_with_a_credential_that_changed() {
    run(async {
        for error in [rejected(), unavailable()] {
            let (mut old, mut new) = (Script::new(), Script::new());
            let (cache, reader, refused) = warm(&mut old, 86_400).await;
            refuse(&mut old, &reader, &refused, error).await;
            new.entry(&cache);
            grant(&mut new, &reader, &refused).await;
        }
    });
}

#[test]
fn claims_that_were_refused_are_asked_for_within_seconds_of_a_new_secret() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut script = Script::watching(file.path());
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        refuse(&mut script, &reader, &refused, rejected()).await;
        std::fs::write(file.path(), "new").unwrap();
        advance(S(6)).await;
        settle().await;
        assert!(script.is_idle(), "what is held is renewed when it is due");
        grant(&mut script, &reader, &refused).await;
    });
}

#[test]
fn a_slow_call_with_claims_is_given_more_time_at_the_next() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        for within in [10, 30] {
            let renewal = renew(&reader, &refused, Some(demand()));
            let asked = script.next().await;
            assert_eq!(asked.request.within, S(within));
            asked.refuse(unavailable());
            failed(renewal.await.unwrap());
            advance(S(60)).await;
        }
        // Others are in no hurry: a connection that hangs is replaced soon.
        let _renewal = renew(&reader, &refused, None);
        assert_eq!(script.next().await.request.within, S(10));
    });
}

#[test]
fn quiet_that_the_server_asked_for_is_kept_by_every_forced_call_and_outlasts_a_change() {
    run(async {
        let mut script = Script::new();
        let (cache, reader, refused) = warm(&mut script, 86_400).await;
        refuse(&mut script, &reader, &refused, throttled(120)).await;
        let began = clock::now();
        advance(S(31)).await;
        let error = failed(renew(&reader, &refused, None).await.unwrap());
        assert!(error.retry_after().unwrap() > S(80));
        // A new secret is no new application: the server counts on.
        script.entry(&cache);
        reader.entry().files_changed(Now::read());
        let error = failed(renew(&reader, &refused, Some(demand())).await.unwrap());
        assert!(error.retry_after().unwrap() > S(80));
        settle().await;
        assert!(script.is_idle());
        // What changed is tried when it is over.
        advance(S(126) - since(began)).await;
        let _renewal = renew(&reader, &refused, Some(demand()));
        assert_eq!(script.next().await.request.claims, Some(demand()));
        assert!(since(began) < S(127));
    });
}
