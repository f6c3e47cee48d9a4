//! What is done about a token that a fallback got.

use std::sync::Arc;
use std::time::Duration;

use super::script::{
    LIMIT, Script, all_attempted, cache, rejected, renew, settle, throttled, token, unavailable,
};
use super::slot_clocks::S;
use super::{Supplier, TokenEntry, TokenReader};
use crate::clock::still::run;
use crate::clock::{self, Now, since};
use crate::config::Name;
use crate::credential::{
    AccessToken, Acquired, ClaimsRequest, CredentialError, FirstFailure, Reason,
};
use crate::metrics::{RefreshCounts, RefreshOutcome};

fn of_fallback(text: &str) -> AccessToken {
    AccessToken {
        fallback: Some(Name::parse("spare").unwrap()),
        ..token(text, 3600)
    }
}

/// A file with the secret of the first.
fn secret() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old").unwrap();
    file
}

fn fallback(entry: &TokenEntry) -> Option<String> {
    entry
        .status(Now::read())
        .fallback
        .map(|name| name.to_string())
}

#[test]
fn a_token_of_the_fallback_is_named_and_renewed_within_seconds_of_a_change() {
    run(async {
        let file = secret();
        let cache = cache();
        let mut script = Script::watching(file.path());
        let entry = script.entry(&cache);
        script.next().await.grant(of_fallback("token-1"));
        settle().await;
        assert_eq!(fallback(&entry).as_deref(), Some("spare"));
        std::fs::write(file.path(), "new").unwrap();
        let changed = clock::now();
        let asked = script.next().await;
        assert!(since(changed) <= S(5));
        assert_eq!(fallback(&entry).as_deref(), Some("spare"), "until it ends");
        asked.grant(token("token-2", 3600));
        settle().await;
        assert_eq!(fallback(&entry), None);
        std::fs::write(file.path(), "newer").unwrap();
        clock::sleep(S(120)).await;
        assert!(script.is_idle(), "a valid token of the first stays");
    });
}

#[test]
fn a_token_of_the_fallback_is_renewed_when_a_file_changed_only_while_it_was_asked_for() {
    run(async {
        let file = secret();
        let cache = cache();
        let mut script = Script::watching(file.path());
        let _entry = script.entry(&cache);
        let asked = script.next().await;
        std::fs::write(file.path(), "cut").unwrap();
        asked.grant(of_fallback("token-1"));
        settle().await;
        std::fs::write(file.path(), "old").unwrap();
        let restored = clock::now();
        script.next().await.grant(of_fallback("token-2"));
        assert!(since(restored) <= S(5));
        clock::sleep(S(120)).await;
        assert!(script.is_idle(), "nothing has changed since");
    });
}

#[test]
fn a_token_of_the_fallback_is_left_alone_by_a_file_that_cannot_be_read_now_and_then() {
    run(async {
        for (fails, of) in [(1, 2), (1, 3), (2, 3), (1, 4), (3, 5)] {
            for first in 0..of {
                let file = secret();
                let mut script = Script::watching_at_times(file.path(), (fails, of), first);
                let cache = cache();
                script.entry(&cache);
                // The first is known to be refused, and not asked again.
                script.next().await.grant(of_fallback("token-1"));
                clock::sleep(S(600)).await;
                assert!(script.is_idle(), "{fails} of {of} from {first}");
                std::fs::write(file.path(), "new").unwrap();
                let changed = clock::now();
                script.next().await;
                assert!(since(changed) <= S(25), "{:?}", since(changed));
            }
        }
    });
}

#[test]
fn a_token_of_the_fallback_is_renewed_at_once_after_a_reload() {
    run(async {
        let cache = cache();
        let (mut old, mut new) = (Script::new(), Script::new());
        let entry = old.entry(&cache);
        old.next().await.grant(of_fallback("token-1"));
        settle().await;
        new.entry(&cache);
        let reloaded = clock::now();
        new.next().await.grant(token("token-2", 3600));
        settle().await;
        assert!(since(reloaded) < S(1));
        assert_eq!(fallback(&entry), None);
    });
}

#[test]
fn a_fallback_is_not_named_once_its_token_has_run_out() {
    run(async {
        let cache = cache();
        let mut script = Script::new();
        let entry = script.entry(&cache);
        script.next().await.grant(of_fallback("token-1"));
        let _never = script.next().await;
        clock::sleep(S(3600)).await;
        assert_eq!(fallback(&entry), None);
    });
}

/// The first is refused, and the fallback's server wants quiet.
fn both(quiet: u64) -> CredentialError {
    CredentialError::Both {
        first: Reason::of(&rejected()),
        fallback: Name::parse("spare").unwrap(),
        second: Arc::new(throttled(quiet)),
    }
}

#[test]
fn quiet_that_the_fallback_is_to_keep_holds_up_no_first_that_has_changed() {
    run(async {
        let file = secret();
        let cache = cache();
        let (mut script, mut other) =
            (Script::watching(file.path()), Script::watching(file.path()));
        let entry = script.entry(&cache);
        let asked = script.next().await;
        assert!(asked.request.resting.is_none());
        let began = clock::now();
        asked.refuse(both(600));
        settle().await;
        for text in ["new", "newer"] {
            std::fs::write(file.path(), text).unwrap();
            let changed = clock::now();
            let asked = script.next().await;
            assert!(since(changed) <= S(5), "{:?}", since(changed));
            assert!(
                asked.request.resting.is_some(),
                "the fallback is left alone"
            );
            asked.refuse(both(600));
            settle().await;
        }
        other.entry(&cache);
        let asked = other.next().await;
        assert!(since(began) <= S(30) && asked.request.resting.is_some());
        asked.refuse(both(600));
        let expected = RefreshCounts::default().of("contoso", "graph");
        expected.ended(RefreshOutcome::Throttled, Duration::ZERO);
        assert_eq!(entry.refreshes(), expected.totals(), "one was asked once");
        // Whoever mends the first without a new file need not wait for the fallback's quiet, either.
        let mut asked = other.next().await;
        for calls in 0..20 {
            let passed = since(began);
            assert_eq!(
                asked.request.resting.is_some(),
                passed < S(600),
                "{passed:?}"
            );
            if passed >= S(600) {
                assert!(calls >= 8, "{calls}");
                break;
            }
            asked.refuse(both(600));
            let refused = clock::now();
            asked = other.next().await;
            assert!(since(refused) <= S(66), "{:?}", since(refused));
            let is_soon = since(refused) < S(60) && since(began) < S(600);
            assert!(!is_soon, "{:?}", since(refused));
        }
        assert!(since(began) <= S(610));
        // That of the first holds whatever changes.
        asked.refuse(throttled(600));
        std::fs::write(file.path(), "newest").unwrap();
        clock::sleep(S(590)).await;
        assert!(other.is_idle());
    });
}

#[test]
fn a_call_of_the_first_alone_is_counted_in_the_fallbacks_quiet() {
    run(async {
        let (cache, mut script) = (cache(), Script::new());
        let entry = script.entry(&cache);
        script.next().await.refuse(both(600));
        let asked = script.next().await;
        assert!(asked.request.resting.is_some());
        asked.refuse(unavailable());
        settle().await;
        let expected = RefreshCounts::default().of("contoso", "graph");
        expected.ended(RefreshOutcome::Throttled, Duration::ZERO);
        expected.ended(RefreshOutcome::Unavailable, Duration::ZERO);
        assert_eq!(entry.refreshes(), expected.totals());
    });
}

#[test]
fn a_first_that_a_reload_changes_during_the_call_is_asked_at_once_in_the_fallbacks_quiet() {
    run(async {
        let cache = cache();
        let (mut old, mut new) = (Script::new(), Script::new());
        old.entry(&cache);
        let asked = old.next().await;
        new.entry(&cache);
        let refused = clock::now();
        asked.refuse(both(600));
        let asked = new.next().await;
        assert!(since(refused) < S(1));
        assert!(
            asked.request.resting.is_some(),
            "the fallback is left alone"
        );
    });
}

#[test]
fn quiet_of_the_fallback_after_claims_holds_up_no_first_that_has_changed() {
    run(async {
        let file = secret();
        let cache = cache();
        let mut script = Script::watching(file.path());
        let reader = TokenReader::new(script.entry(&cache));
        script.next().await.grant(of_fallback("token-1"));
        let bearer = reader.wait(Now::read(), LIMIT).await.unwrap();
        let renewal = renew(&reader, &bearer, ClaimsRequest::parse(br#"{"nbf":1}"#));
        script.next().await.refuse(both(600));
        assert!(renewal.await.unwrap().is_err());
        std::fs::write(file.path(), "new").unwrap();
        let changed = clock::now();
        let asked = script.next().await;
        assert!(since(changed) <= S(5));
        assert!(
            asked.request.resting.is_some(),
            "the fallback is left alone"
        );
    });
}

#[test]
fn two_calls_of_a_pair_are_counted_as_two_each_with_its_own_time() {
    let both_refused = || Acquired {
        outcome: Err(rejected()),
        first: Some(FirstFailure {
            error: rejected(),
            took: S(9),
        }),
    };
    let first_silent = || Acquired {
        outcome: Ok(of_fallback("token-1")),
        first: Some(FirstFailure {
            error: unavailable(),
            took: S(9),
        }),
    };
    let cases: [(fn() -> Acquired, _, _); 2] = [
        (
            both_refused,
            RefreshOutcome::Rejected,
            RefreshOutcome::Rejected,
        ),
        (
            first_silent,
            RefreshOutcome::Unavailable,
            RefreshOutcome::Success,
        ),
    ];
    for (acquired, first, second) in cases {
        run(async move {
            let supplier = Supplier::new(move |_| async move {
                clock::sleep(S(10)).await;
                acquired()
            });
            let cache = cache();
            let entry = Script::entry_of(&cache, supplier);
            all_attempted(&cache).await;
            let expected = RefreshCounts::default().of("contoso", "graph");
            expected.ended(first, S(9));
            expected.ended(second, S(1));
            assert_eq!(entry.refreshes(), expected.totals());
        });
    }
}
