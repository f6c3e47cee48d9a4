//! The token calls of a route: its credential's, and its fallback's whether or not that is needed,
//! because a fallback that does not work is better found before.

use std::time::{Duration, Instant, SystemTime};

use super::super::token::request;
use super::finding::{Finding, Subject};
use crate::config::Scope;
use crate::credential::{AccessToken, Credential, CredentialError, beginning};

/// One call.
pub(super) struct Attempt<'a> {
    /// Whose.
    pub(super) credential: &'a Credential,
    /// How long it took.
    pub(super) took: Duration,
    /// What came of it.
    pub(super) outcome: Result<AccessToken, CredentialError>,
}

impl<'a> Attempt<'a> {
    async fn make(credential: &'a Credential, scope: &Scope) -> Self {
        let began = Instant::now();
        let outcome = credential.acquire_alone(&request(scope)).await;
        Self {
            credential,
            took: began.elapsed(),
            outcome,
        }
    }

    fn result(&self) -> Outcome<'_> {
        Outcome {
            name: self.credential.name().as_str(),
            failure: self.outcome.as_ref().err().map(|error| Failure {
                words: error.words(),
                refused: error.refuses_credential(),
            }),
        }
    }
}

/// Asks with a credential and with its fallback, both at once; gives the one whose token the proxy
/// would use.
pub(super) async fn ask<'a>(
    credential: &'a Credential,
    scope: &Scope,
) -> (Option<Attempt<'a>>, Vec<Finding>) {
    let second = async {
        match credential.fallback() {
            Some(fallback) => Some(Attempt::make(fallback, scope).await),
            None => None,
        }
    };
    let (first, second) = tokio::join!(Attempt::make(credential, scope), second);
    let (choice, mut findings) = choose(
        &first.result(),
        second.as_ref().map(Attempt::result).as_ref(),
    );
    findings.extend(std::iter::once(&first).chain(&second).filter_map(early));
    let chosen = match choice {
        Choice::First => Some(first),
        Choice::Second => second,
        Choice::None => None,
    };
    (chosen, findings)
}

/// What is to be told of a certificate whose time has not come, whatever Entra said of it.
fn early(attempt: &Attempt<'_>) -> Option<Finding> {
    let begin = attempt.credential.begins(SystemTime::now())?;
    let words = beginning(attempt.credential.name(), begin);
    Some(Finding::warning(Subject::Credential, words))
}

/// A call in words.
struct Outcome<'a> {
    name: &'a str,
    failure: Option<Failure>,
}

struct Failure {
    words: String,
    /// Whether it was the credential that was refused: another one may do.
    refused: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    First,
    None,
    Second,
}

fn choose(first: &Outcome<'_>, second: Option<&Outcome<'_>>) -> (Choice, Vec<Finding>) {
    let fault = |outcome: &Outcome<'_>| {
        let words = outcome.failure.as_ref().map(|failure| &failure.words);
        words.map(|words| format!("credential \"{}\": {words}", outcome.name))
    };
    let problem = |words: String| Finding::problem(Subject::Credential, words);
    let warning = |words: String| Finding::warning(Subject::Credential, words);
    let stands_in = |words: String| warning(format!("the fallback could not stand in: {words}"));
    match (&first.failure, second) {
        (None, second) => {
            let found = second.and_then(fault).map(stands_in);
            (Choice::First, found.into_iter().collect())
        }
        (Some(failure), Some(second)) if failure.refused && second.failure.is_none() => {
            let found = fault(first).map(|words| {
                let name = second.name;
                warning(format!(
                    "{words}; its fallback \"{name}\" gives the token instead"
                ))
            });
            (Choice::Second, found.into_iter().collect())
        }
        (Some(_), second) => {
            let faults = [fault(first), second.and_then(fault)];
            (
                Choice::None,
                faults.into_iter().flatten().map(problem).collect(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Severity;

    fn outcome(name: &'static str, failure: Option<bool>) -> Outcome<'static> {
        let words = format!("{name} failed");
        Outcome {
            name,
            failure: failure.map(|refused| Failure { words, refused }),
        }
    }

    #[test]
    fn the_token_is_that_of_the_credential_the_proxy_would_use() {
        let refused = Some(true);
        let outage = Some(false);
        for (first, second, choice, severities) in [
            (None, None, Choice::First, vec![]),
            (None, Some(None), Choice::First, vec![]),
            (None, Some(refused), Choice::First, vec![Severity::Warning]),
            (refused, Some(None), Choice::Second, vec![Severity::Warning]),
            (outage, Some(None), Choice::None, vec![Severity::Problem]),
            (refused, None, Choice::None, vec![Severity::Problem]),
            (
                refused,
                Some(refused),
                Choice::None,
                vec![Severity::Problem; 2],
            ),
        ] {
            let second = second.map(|second| outcome("spare", second));
            let (chosen, found) = choose(&outcome("first", first), second.as_ref());
            assert_eq!(chosen, choice);
            let found: Vec<_> = found.iter().map(|it| it.severity).collect();
            assert_eq!(found, severities, "{choice:?}");
        }
    }

    #[test]
    fn a_fallback_in_use_is_named_with_the_reason() {
        let first = outcome("old", Some(true));
        let (_, found) = choose(&first, Some(&outcome("spare", None)));
        let said = "credential \"old\": old failed; its fallback \"spare\" gives the token instead";
        assert_eq!(found[0].message, said);
    }
}
