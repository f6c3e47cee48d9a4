//! Looks after secrets and certificates between the token calls, which are an hour apart: one that
//! comes to its end is told every day, and a file that was replaced by one that cannot be used is
//! told at once, while the token in use still works. Nobody is asked for a token. The certificate
//! that callers are shown is looked after as well: who refuses it never makes a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::config::Name;
use crate::credential::{Credential, beginning, ending};
use crate::proxy::generation::InForce;
use crate::server::tls::Tls;

/// How often files are looked at: a rotation that failed is known while the person is still there.
const LOOK: Duration = Duration::from_secs(30);
/// What is still so is told again after this time: a log is searched for a day at a time.
const AGAIN: Duration = Duration::from_secs(86_400);

/// Looks after the credentials and the certificate of whatever configuration is in force, for ever.
pub(super) async fn watch(in_force: Arc<InForce>, tls: Arc<Tls>) {
    let (mut book, mut of_tls) = (Book::default(), Book::default());
    loop {
        let now = SystemTime::now();
        let complaint = tls.complaint(now);
        let complaint = complaint.map(|words| ((), Subject::Fault(words.clone()), words));
        for ((), words) in of_tls.news(complaint, now) {
            tracing::warn!("{words}");
        }
        let states = states(in_force.load().credentials.clone()).await;
        let now = SystemTime::now();
        let found = states.into_iter().filter_map(|state| state.found(now));
        for (name, words) in book.news(found, now) {
            tracing::warn!(credential = %name, "{words}");
        }
        clock::sleep(LOOK).await;
    }
}

/// What is known of one credential.
struct State {
    name: Name,
    /// Why it cannot be used.
    fault: Option<String>,
    /// When it begins, if it has not.
    begin: Option<SystemTime>,
    /// When it ends.
    end: Option<SystemTime>,
}

impl State {
    /// What is to be told of it at `now`.
    fn found(self, now: SystemTime) -> Option<(Name, Subject, String)> {
        let Self {
            name,
            fault,
            begin,
            end,
        } = self;
        let (subject, words) = match (fault, begin, end) {
            (Some(fault), ..) => {
                let words =
                    format!("credential \"{name}\" cannot be used at the next token call: {fault}");
                (Subject::Fault(fault), words)
            }
            (None, Some(begin), _) => (Subject::Begin(begin), beginning(&name, begin)),
            (None, None, Some(end)) => (Subject::End(end), ending(&name, end, now)?),
            (None, None, None) => return None,
        };
        Some((name, subject, words))
    }
}

async fn states(credentials: Vec<Arc<Credential>>) -> Vec<State> {
    let mut states = Vec::new();
    for credential in credentials {
        // A file system that does not answer must not keep this from the next credential.
        let fault = credential.check_aside().await.err();
        states.push(State {
            name: credential.name().clone(),
            fault: fault.map(|error| error.words()),
            begin: credential.begins(SystemTime::now()),
            end: credential.expiry(),
        });
    }
    states
}

/// What was told of whom, and when.
struct Book<K>(BTreeMap<K, (Subject, SystemTime)>);

impl<K> Default for Book<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// What makes a warning another one. Not its words: those count the days.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Begin(SystemTime),
    End(SystemTime),
    Fault(String),
}

impl<K: Ord + Clone> Book<K> {
    /// What of all that is found is to be told at `now`: what was not told before, or a day ago.
    fn news(
        &mut self,
        found: impl IntoIterator<Item = (K, Subject, String)>,
        now: SystemTime,
    ) -> Vec<(K, String)> {
        let mut told = BTreeMap::new();
        let mut news = Vec::new();
        for (of, subject, words) in found {
            let known = self.0.remove(&of).filter(|(known, at)| {
                // A clock that was set back must not silence it.
                let age = now.duration_since(*at);
                *known == subject && age.is_ok_and(|age| age < AGAIN)
            });
            let at = known.map(|(_, at)| at);
            if at.is_none() {
                news.push((of.clone(), words));
            }
            told.insert(of, (subject, at.unwrap_or(now)));
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

    /// What one credential with this end or this fault gives to tell at this time.
    fn told(book: &mut Book<Name>, state: State, at: SystemTime) -> Vec<String> {
        let news = book.news(state.found(at), at);
        news.into_iter().map(|(_, words)| words).collect()
    }

    fn state(end: Option<SystemTime>, fault: Option<&str>) -> State {
        State {
            name: Name::parse("app").unwrap(),
            fault: fault.map(str::to_owned),
            begin: None,
            end,
        }
    }

    fn ends(end: SystemTime) -> State {
        state(Some(end), None)
    }

    #[test]
    fn an_end_that_comes_near_is_told_every_day_until_it_is_put_off() {
        let mut book = Book::default();
        let end = day(20_000);
        // Looked at every half hour from two months before to a day after.
        let looks =
            (0..=(61 * 48)).map(|half_hour| day(19_940) + Duration::from_secs(half_hour * 1800));
        let times: Vec<SystemTime> = looks
            .flat_map(|at| told(&mut book, ends(end), at).into_iter().map(move |_| at))
            .collect();
        let first_look = Duration::from_secs(1800);
        let expected = (19_970..=20_000).map(|number| day(number) + first_look);
        assert_eq!(times, expected.collect::<Vec<_>>());
        assert_eq!(told(&mut book, ends(day(30_000)), day(20_001)), [""; 0]);
        let again = told(&mut book, ends(end), day(20_001));
        assert!(
            again[0].contains("\"app\" expired on 2024-10-04"),
            "{again:?}"
        );
    }

    #[test]
    fn another_end_or_fault_is_told_at_once_and_the_same_not_again() {
        let mut book = Book::default();
        let at = day(100);
        let fault = |words| state(None, Some(words));
        assert_eq!(told(&mut book, ends(day(110)), at).len(), 1);
        assert_eq!(told(&mut book, ends(day(110)), at).len(), 0);
        assert_eq!(told(&mut book, ends(day(111)), at).len(), 1);
        let words = told(&mut book, fault("no key"), at);
        assert_eq!(
            words,
            ["credential \"app\" cannot be used at the next token call: no key"]
        );
        assert_eq!(told(&mut book, fault("no key"), at).len(), 0);
        assert_eq!(told(&mut book, fault("no file"), at).len(), 1);
        assert_eq!(told(&mut book, state(None, None), at).len(), 0);
        assert_eq!(told(&mut book, fault("no file"), at).len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nothing() {
        let mut book = Book::default();
        assert_eq!(told(&mut book, ends(day(110)), day(100)).len(), 1);
        assert_eq!(told(&mut book, ends(day(110)), day(95)).len(), 1);
        assert_eq!(told(&mut book, ends(day(110)), day(95)).len(), 0);
    }
}
