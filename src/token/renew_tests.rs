//! What an upstream's refusal of a token leads to, for the one that was refused and for all others.

use std::time::Duration;

use super::script::{LIMIT, Script, renew, settle, token, unavailable, warm};
use super::{FORCED_PAUSE, RenewError, TokenError, TokenReader};
use crate::clock::still::{advance, run};
use crate::clock::{self, Now, since};
use crate::credential::ClaimsRequest;

#[test]
fn many_refusals_of_one_token_cause_one_call_and_it_stays_in_use() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        let renewals: Vec<_> = (0..1000).map(|_| renew(&reader, &refused, None)).collect();
        let asked = script.next().await;
        assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-1");
        asked.grant(token("token-2", 86_400));
        for renewal in renewals {
            assert_eq!(renewal.await.unwrap().unwrap().header, "Bearer token-2");
        }
        assert!(script.is_idle());
        // A late one finds that it was renewed already.
        let late = reader.renew(&refused, None, LIMIT).await.unwrap();
        assert_eq!(late.header, "Bearer token-2");
    });
}

#[test]
fn the_same_token_again_is_told_apart_from_a_new_one() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        let renewal = renew(&reader, &refused, None);
        script.next().await.grant(token("token-1", 86_000));
        assert!(matches!(renewal.await.unwrap(), Err(RenewError::Same)));
        assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-1");
    });
}

#[test]
fn a_fresh_token_that_is_refused_too_forces_nothing_for_half_a_minute() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        let renewal = renew(&reader, &refused, None);
        script.next().await.grant(token("token-2", 86_400));
        let second = renewal.await.unwrap().unwrap();
        let error = reader.renew(&second, None, LIMIT).await.unwrap_err();
        let RenewError::Paused { left } = error else {
            panic!("{error}");
        };
        // The wall clock, which is not paused, had the smaller part left; by the other, which is, all
        // of it is.
        assert!(left <= FORCED_PAUSE);
        advance(FORCED_PAUSE + Duration::from_millis(1)).await;
        let renewal = renew(&reader, &second, None);
        script.next().await.grant(token("token-3", 86_400));
        assert_eq!(renewal.await.unwrap().unwrap().header, "Bearer token-3");
    });
}

#[test]
fn a_renewal_that_fails_leaves_the_cache_as_it_was() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        let renewal = renew(&reader, &refused, None);
        script.next().await.refuse(unavailable());
        assert!(matches!(renewal.await.unwrap(), Err(RenewError::Failed(_))));
        assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-1");
        // While calls fail, further refusals are told so at once and do not add calls.
        let error = reader.renew(&refused, None, LIMIT).await.unwrap_err();
        assert!(matches!(error, RenewError::Failed(_)));
        assert!(script.is_idle());
    });
}

#[test]
fn demanded_claims_reach_the_call_once() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        let claims = ClaimsRequest::parse(br#"{"access_token":{"nbf":{"essential":true}}}"#);
        let renewal = renew(&reader, &refused, claims.clone());
        let asked = script.next().await;
        assert_eq!(asked.request.claims, claims);
        asked.grant(token("token-2", 86_400));
        renewal.await.unwrap().unwrap();
        let asked = script.next().await;
        assert_eq!(asked.request.claims, None);
    });
}

#[test]
fn a_renewal_under_way_serves_a_refusal_as_well() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        let asked = script.next().await;
        let renewal = renew(&reader, &refused, None);
        settle().await;
        asked.grant(token("token-2", 86_400));
        assert_eq!(renewal.await.unwrap().unwrap().header, "Bearer token-2");
        assert!(script.is_idle());
    });
}

#[test]
fn a_renewal_that_takes_too_long_is_given_up_by_the_request_alone() {
    run(async {
        let mut script = Script::new();
        let (_cache, reader, refused) = warm(&mut script, 86_400).await;
        let renewal = renew(&reader, &refused, None);
        let asked = script.next().await;
        assert!(matches!(renewal.await.unwrap(), Err(RenewError::Failed(_))));
        asked.grant(token("token-2", 86_400));
        settle().await;
        assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-2");
    });
}

#[test]
fn a_renewal_of_a_token_that_nobody_uses_any_more_ends_at_once() {
    run(async {
        let mut script = Script::new();
        let (cache, reader, refused) = warm(&mut script, 86_400).await;
        let began = clock::now();
        let renewal = renew(&reader, &refused, None);
        let _never = script.next().await;
        cache.retain(&[].into());
        let ended = renewal.await.unwrap();
        let Err(RenewError::Failed(error @ TokenError::Retired)) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        assert!(since(began) < Duration::from_secs(1));
    });
}

#[test]
fn a_credential_that_is_given_a_fallback_keeps_its_token_and_one_that_loses_it_does_not() {
    run(async {
        let mut script = Script::new();
        let (cache, _, _) = warm(&mut script, 86_400).await;
        let mut pair = Script::new();
        let entry = pair.entry_with_fallback(&cache);
        let reader = TokenReader::new(entry.clone());
        assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-1");
        cache.retain(&[entry.key().clone()].into());
        settle().await;
        assert!(pair.is_idle(), "it is renewed when it is due");
        pair.next().await.grant(token("token-2", 86_400));
        settle().await;
        assert_eq!(reader.find(Now::read()).unwrap().header, "Bearer token-2");
        // Token 2 may be the fallback's.
        let alone = TokenReader::new(script.entry(&cache));
        assert!(alone.find(Now::read()).is_none());
    });
}
