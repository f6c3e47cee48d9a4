//! Looks after secrets and certificates between the token calls, which are an hour apart: one that
//! comes to its end is told every day, and a file that was replaced by one that cannot be used is
//! told at once, while the token in use still works. Nobody is asked for a token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::Name;
use crate::credential::{Credential, ending};
use crate::proxy::generation::InForce;

/// How often files are looked at: a rotation that failed is known while the person is still there.
const LOOK: Duration = Duration::from_secs(30);
/// What is still so is told again after this time: a log is searched for a day at a time.
const AGAIN: Duration = Duration::from_secs(86_400);

/// Looks after the credentials of whatever configuration is in force, for ever.
pub(super) async fn watch(in_force: Arc<InForce>) {
    let mut book = Book::default();
    loop {
        let generation = in_force.load();
        match tokio::spawn(states(generation.credentials.clone())).await {
            Ok(states) => {
                for (name, words) in book.news(states, SystemTime::now()) {
                    tracing::warn!(credential = %name, "{words}");
                }
            }
            // Counted and logged where it happened. A file that brings it about must not end the
            // process while the token in use works.
            Err(failed) if failed.is_panic() => {}
            // The runtime is shutting down.
            Err(_) => return,
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is found of one credential.
enum State {
    /// It ends then.
    Ends(SystemTime),
    /// It cannot be used, for this reason.
    Unusable(String),
    /// Nothing to say.
    Well,
}

async fn states(credentials: Vec<Arc<Credential>>) -> Vec<(Name, State)> {
    let mut states = Vec::new();
    for credential in credentials {
        // A file system that does not answer must not keep this from the next credential.
        let state = match credential.check_aside().await {
            Err(error) => State::Unusable(error.words()),
            Ok(()) => credential.expiry().map_or(State::Well, State::Ends),
        };
        states.push((credential.name().clone(), state));
    }
    states
}

/// What was told, and when.
#[derive(Default)]
struct Book(BTreeMap<Name, (Subject, SystemTime)>);

/// What makes a warning another one. Not its words: those count the days.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    End(SystemTime),
    Fault(String),
}

impl Book {
    /// What is to be told at `now`: what was not told before, or a day ago.
    fn news(&mut self, states: Vec<(Name, State)>, now: SystemTime) -> Vec<(Name, String)> {
        let mut told = BTreeMap::new();
        let mut news = Vec::new();
        for (name, state) in states {
            let (subject, words) = match state {
                State::Well => continue,
                State::Ends(end) => match ending(&name, end, now) {
                    Some(words) => (Subject::End(end), words),
                    None => continue,
                },
                State::Unusable(fault) => {
                    let words = format!(
                        "credential \"{name}\" cannot be used at the next token call: {fault}"
                    );
                    (Subject::Fault(fault), words)
                }
            };
            let known = self.0.remove(&name).filter(|(known, at)| {
                // A clock that was set back must not silence it.
                let age = now.duration_since(*at);
                *known == subject && age.is_ok_and(|age| age < AGAIN)
            });
            let at = known.map(|(_, at)| at);
            if at.is_none() {
                news.push((name.clone(), words));
            }
            told.insert(name, (subject, at.unwrap_or(now)));
        }
        self.0 = told;
        news
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const DAY: u64 = 86_400;

    fn day(number: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(number * DAY)
    }

    /// What one credential in this state gives to tell at this time.
    fn told(book: &mut Book, state: State, at: SystemTime) -> Vec<String> {
        let name = Name::parse("app").unwrap();
        let news = book.news(vec![(name, state)], at);
        news.into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn an_end_that_comes_near_is_told_every_day_until_it_is_put_off() {
        let mut book = Book::default();
        let end = day(20_000);
        // Looked at every half hour from two months before to a day after.
        let looks =
            (0..=(61 * 48)).map(|half_hour| day(19_940) + Duration::from_secs(half_hour * 1800));
        let days: Vec<u64> = looks
            .flat_map(|at| {
                let news = told(&mut book, State::Ends(end), at);
                news.into_iter()
                    .map(move |_| at.duration_since(UNIX_EPOCH).unwrap().as_secs() / DAY)
            })
            .collect();
        assert_eq!(days, (19_970..=20_000).collect::<Vec<_>>());
        assert_eq!(
            told(&mut book, State::Ends(day(30_000)), day(20_001)),
            [""; 0]
        );
        let again = told(&mut book, State::Ends(end), day(20_001));
        assert!(
            again[0].contains("\"app\" expired on 2024-10-04"),
            "{again:?}"
        );
    }

    #[test]
    fn another_end_or_fault_is_told_at_once_and_the_same_not_again() {
        let mut book = Book::default();
        let at = day(100);
        let fault = |words: &str| State::Unusable(words.to_owned());
        assert_eq!(told(&mut book, State::Ends(day(110)), at).len(), 1);
        assert_eq!(told(&mut book, State::Ends(day(110)), at).len(), 0);
        assert_eq!(told(&mut book, State::Ends(day(111)), at).len(), 1);
        let words = told(&mut book, fault("no key"), at);
        assert_eq!(
            words,
            ["credential \"app\" cannot be used at the next token call: no key"]
        );
        assert_eq!(told(&mut book, fault("no key"), at).len(), 0);
        assert_eq!(told(&mut book, fault("no file"), at).len(), 1);
        assert_eq!(told(&mut book, State::Well, at).len(), 0);
        assert_eq!(told(&mut book, fault("no file"), at).len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nothing() {
        let mut book = Book::default();
        assert_eq!(told(&mut book, State::Ends(day(110)), day(100)).len(), 1);
        assert_eq!(told(&mut book, State::Ends(day(110)), day(95)).len(), 1);
        assert_eq!(told(&mut book, State::Ends(day(110)), day(95)).len(), 0);
    }
}
