//! What becomes of a token when a reload gives its credential a fallback, or takes its routes away.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tokio::task::spawn_local;
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::script::{
    Script, all_attempted, cache, rejected, renew, settle, throttled, token, unavailable, wait,
    warm,
};
use super::slot_clocks::S;
use super::{RenewError, TokenCache, TokenError, TokenReader};
use crate::clock::still::{advance, run};
use crate::clock::{self, Now};
use crate::credential::ClaimsRequest;

/// A credential that has just failed without a fallback, and the same with one.
async fn failing_alone() -> (TokenCache, Script, Script) {
    let (mut alone, cache) = (Script::new(), cache());
    alone.entry(&cache);
    alone.next().await.refuse(unavailable());
    settle().await;
    (cache, alone, Script::new())
}

#[test]
fn a_token_that_is_taken_over_keeps_its_dates() {
    run(async {
        let (mut alone, pair) = (Script::new(), Script::new());
        let (cache, reader, _) = warm(&mut alone, 3600).await;
        let (before, entry) = (reader.entry(), pair.entry_with_fallback(&cache));
        let expires = |at: &super::TokenEntry| at.status(Now::read()).expires;
        assert!(expires(before).is_some());
        assert_eq!(expires(&entry), expires(before));
        let renewed = |at: &super::TokenEntry| at.status(Now::read()).last_renewal;
        assert!(renewed(before).is_some());
        assert_eq!(renewed(&entry), renewed(before));
    });
}

#[test]
fn what_failed_without_a_fallback_is_not_told_while_the_fallback_is_asked() {
    run(async {
        let (cache, _alone, mut pair) = failing_alone().await;
        let waiter = wait(&pair.entry_with_fallback(&cache));
        let asked = pair.next().await;
        settle().await;
        assert!(!waiter.is_finished());
        asked.grant(token("token-1", 3600));
        assert_eq!(waiter.await.unwrap().unwrap().header, "Bearer token-1");
    });
}

#[test]
fn who_joins_the_first_call_of_an_heir_hears_of_that_and_not_of_one_before() {
    run(async {
        let (mut alone, mut pair) = (Script::new(), Script::new());
        let (cache, _reader, bearer) = warm(&mut alone, 3600).await;
        alone.next().await.refuse(throttled(60));
        settle().await;
        let reader = TokenReader::new(pair.entry_with_fallback(&cache));
        let asked = pair.next().await;
        let waiter = renew(&reader, &bearer, None);
        settle().await;
        assert!(!waiter.is_finished());
        asked.grant(token("token-2", 3600));
        assert_eq!(waiter.await.unwrap().unwrap().header, "Bearer token-2");
    });
}

#[test]
fn quiet_about_claims_is_told_with_its_reason_by_an_heir_too() {
    run(async {
        let (mut alone, pair) = (Script::new(), Script::new());
        let (cache, reader, bearer) = warm(&mut alone, 3600).await;
        let wanted = || ClaimsRequest::parse(br#"{"nbf":1}"#);
        let first = renew(&reader, &bearer, wanted());
        alone.next().await.refuse(throttled(60));
        assert!(first.await.unwrap().is_err());
        let heir = TokenReader::new(pair.entry_with_fallback(&cache));
        let told = renew(&heir, &bearer, wanted()).await.unwrap();
        let Err(RenewError::Failed(TokenError::Unavailable { retry_after, .. })) = told else {
            panic!("{told:?}");
        };
        assert!((S(50)..=S(66)).contains(&retry_after), "{retry_after:?}");
    });
}

#[test]
fn a_token_that_no_route_uses_is_renewed_no_more() {
    run(async {
        let mut script = Script::new();
        let (cache, reader, _) = warm(&mut script, 3600).await;
        cache.retain(&BTreeSet::new());
        clock::sleep(S(7200)).await;
        assert!(script.is_idle());
        drop(reader);
    });
}

#[test]
fn a_first_attempt_that_is_called_off_is_waited_for_no_more() {
    run(async {
        let mut script = Script::new();
        let cache = cache();
        script.entry(&cache);
        let _never = script.next().await;
        let all = cache.clone();
        let attempted = spawn_local(async move { all_attempted(&all).await });
        settle().await;
        assert!(!attempted.is_finished());
        cache.retain(&BTreeSet::new());
        settle().await;
        assert!(attempted.is_finished());
    });
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Level>>>);

impl<S: Subscriber> Layer<S> for Told {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.lock().unwrap().push(*event.metadata().level());
    }
}

#[test]
fn the_end_of_failures_is_told_where_a_fallback_ended_them() {
    let told = Told::default();
    let heard = tracing_subscriber::registry().with(told.clone());
    // With one subscriber alone, a test beside this one might decide that nobody listens.
    let _another = Dispatch::new(tracing_subscriber::registry());
    let _told_here = tracing::subscriber::set_default(heard);
    run(async {
        let (cache, _alone, mut pair) = failing_alone().await;
        assert!(told.0.lock().unwrap().contains(&Level::WARN));
        let heir = pair.entry_with_fallback(&cache);
        pair.next().await.grant(token("token-1", 3600));
        settle().await;
        assert!(heir.status(Now::read()).last_error.unwrap().over.is_some());
        assert!(told.0.lock().unwrap().contains(&Level::INFO));
    });
}

#[test]
fn a_failure_is_told_aloud_once_per_change_of_what_it_is() {
    let told = Told::default();
    let heard = tracing_subscriber::registry().with(told.clone());
    let _another = Dispatch::new(tracing_subscriber::registry());
    let _told_here = tracing::subscriber::set_default(heard);
    run(async {
        let entry = Script::new().entry_alone();
        for (outcome, level) in [
            (Err(unavailable()), Level::WARN),
            (Err(unavailable()), Level::DEBUG),
            (Err(rejected()), Level::ERROR),
            (Err(rejected()), Level::DEBUG),
            (Err(unavailable()), Level::WARN),
            (Ok(token("token-1", 3600)), Level::INFO),
            (Err(unavailable()), Level::WARN),
            (Err(unavailable()), Level::DEBUG),
        ] {
            advance(S(3600)).await;
            told.0.lock().unwrap().clear();
            entry.begin(Now::read());
            entry.finish(outcome.into(), S(1), Now::read(), 0.5);
            assert_eq!(*told.0.lock().unwrap(), [level]);
        }
    });
}
