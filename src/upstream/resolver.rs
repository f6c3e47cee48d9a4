//! The addresses of one name, for one worker's way to one upstream. One look-up is in flight at a
//! time, whoever waits for it: it cannot be called off, and holds a thread until the system's resolver
//! gives up, so that a name that is not answered would take the threads from all others.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long the last good answer of DNS serves when DNS itself fails.
const LAST_GOOD_ANSWER: Duration = Duration::from_secs(300);

/// How long a look-up may take before the last good answer serves instead. DNS that answers does so
/// within tenths of a second; silent, it takes ten, which is longer than a connection may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a look-up comes to: at least one address.
pub(super) type Answer = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// What looks the name up.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    asked: RefCell<Option<Asked>>,
    last_good: Rc<RefCell<Option<Good>>>,
}

/// Addresses, and since when they are known.
type Good = (Instant, Vec<SocketAddr>);

/// A look-up in flight.
#[derive(Clone, Debug)]
struct Asked {
    since: Instant,
    told: watch::Receiver<Option<Answer>>,
}

impl Asked {
    /// Whether it goes on. One that has ended, however it did, has dropped the other end.
    fn goes_on(&self) -> bool {
        self.told.has_changed().is_ok()
    }

    async fn answer(&mut self) -> Answer {
        let told = self.told.wait_for(Option::is_some).await;
        let answer = told.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| Err(Arc::new(io::Error::other("it was broken off"))))
    }
}

impl Resolver {
    /// The addresses of `host`, always the same one, as the system's resolver has them.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Answer {
        let host = host.to_owned();
        self.answer(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await?;
            Ok(found.collect())
        })
        .await
    }

    /// The answer of the look-up that is in flight, or else of this one.
    async fn answer<F>(&self, look_up: F) -> Answer
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + 'static,
    {
        let mut asked = self.ask(look_up);
        let Some(known) = self.known() else {
            return asked.answer().await;
        };
        let patience = asked.since + PATIENCE;
        match tokio::time::timeout_at(patience, asked.answer()).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) | Err(_) => Ok(known),
        }
    }

    fn ask<F>(&self, look_up: F) -> Asked
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + 'static,
    {
        let mut asked = self.asked.borrow_mut();
        if let Some(asked) = asked.as_ref().filter(|asked| asked.goes_on()) {
            return asked.clone();
        }
        let (tell, told) = watch::channel(None);
        let last_good = Rc::clone(&self.last_good);
        tokio::task::spawn_local(async move {
            let answer = match look_up.await {
                Ok(addresses) if addresses.is_empty() => {
                    Err(io::Error::new(io::ErrorKind::NotFound, "no address"))
                }
                answer => answer,
            };
            if let Ok(addresses) = &answer {
                last_good.replace(Some((Instant::now(), addresses.clone())));
            }
            tell.send_replace(Some(answer.map_err(Arc::new)));
        });
        let since = Instant::now();
        asked.insert(Asked { since, told }).clone()
    }

    fn known(&self) -> Option<Vec<SocketAddr>> {
        let last_good = self.last_good.borrow();
        let (when, addresses) = last_good.as_ref()?;
        (when.elapsed() < LAST_GOOD_ANSWER).then(|| addresses.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;
    use tokio::task::LocalSet;

    use super::*;

    /// Runs it as long as a test may take; the clock is the runtime's and stands still.
    async fn in_time<F: Future>(test: F) -> F::Output {
        let local = LocalSet::new();
        let ended = tokio::time::timeout(LAST_GOOD_ANSWER * 2, local.run_until(test)).await;
        ended.expect("it ends in time")
    }

    fn address() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 443))
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_goes_on_without_who_asked_and_serves_who_asks_meanwhile() {
        let resolver = Resolver::default();
        let served = in_time(async {
            let (found, finds) = oneshot::channel();
            let look_up = async { Ok(finds.await.expect("it is told")) };
            let impatient = resolver.answer(look_up);
            let given_up = tokio::time::timeout(Duration::from_secs(3), impatient).await;
            assert!(given_up.is_err());
            let (first, second) = (resolver.answer(pending()), resolver.answer(pending()));
            let told = async { found.send(vec![address()]).expect("it goes on") };
            let (first, second, ()) = tokio::join!(first, second, told);
            (first, second)
        });
        let (first, second) = served.await;
        assert_eq!(first.expect("it is found"), [address()]);
        assert_eq!(second.expect("it is found"), [address()]);
    }

    #[tokio::test(start_paused = true)]
    async fn while_dns_is_silent_the_last_good_answer_serves_at_once() {
        let resolver = Resolver::default();
        in_time(async {
            let found = resolver.answer(ready(Ok(vec![address()]))).await;
            found.expect("it is found");
            let begun = Instant::now();
            for _ in 0..3 {
                let known = resolver.answer(pending()).await;
                assert_eq!(known.expect("it was known"), [address()]);
                assert_eq!(begun.elapsed(), PATIENCE, "since the look-up was begun");
            }
            tokio::time::sleep(LAST_GOOD_ANSWER).await;
            let late = tokio::time::timeout(PATIENCE, resolver.answer(pending()));
            assert!(late.await.is_err(), "too old");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_look_up_has_ended_or_panicked_the_next_is_begun() {
        let resolver = Resolver::default();
        in_time(async {
            let failed = || ready(Err(io::Error::other("on purpose")));
            assert!(resolver.answer(failed()).await.is_err());
            let panics = async { panic!("on purpose") };
            assert!(resolver.answer(panics).await.is_err());
            assert!(resolver.answer(ready(Ok(Vec::new()))).await.is_err());
            let found = resolver.answer(ready(Ok(vec![address()]))).await;
            assert_eq!(found.expect("it is found"), [address()]);
            let kept = resolver.answer(failed()).await;
            assert_eq!(kept.expect("it was known"), [address()]);
            tokio::time::sleep(LAST_GOOD_ANSWER).await;
            assert!(resolver.answer(failed()).await.is_err(), "too old");
        })
        .await;
    }
}
