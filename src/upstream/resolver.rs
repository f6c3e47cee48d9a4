//! The addresses of one name, for one worker's way to one upstream. One look-up is in flight at a
//! time, whoever waits for it: it cannot be called off, and holds a thread until the system's resolver
//! gives up, so that a name that is not answered would take the threads from all others.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;

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
        match clock::until(patience, asked.answer()).await {
            Some(Ok(found)) => Ok(found),
            Some(Err(_)) | None => Ok(known),
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
                last_good.replace(Some((clock::now(), addresses.clone())));
            }
            tell.send_replace(Some(answer.map_err(Arc::new)));
        });
        let since = clock::now();
        asked.insert(Asked { since, told }).clone()
    }

    fn known(&self) -> Option<Vec<SocketAddr>> {
        let last_good = self.last_good.borrow();
        let (when, addresses) = last_good.as_ref()?;
        (clock::since(*when) < LAST_GOOD_ANSWER).then(|| addresses.clone())
    }
}

#[cfg(test)]
impl Resolver {
    /// A look-up begins that never ends.
    pub(super) async fn hang(&self) {
        let look_up = self.answer(std::future::pending());
        assert!(clock::until(clock::now(), look_up).await.is_none());
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;
    use crate::clock::still;

    fn address() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 443))
    }

    #[test]
    fn a_look_up_goes_on_without_who_asked_and_serves_who_asks_meanwhile() {
        still::run(async {
            let resolver = Resolver::default();
            let (found, finds) = oneshot::channel();
            let look_up = async { Ok(finds.await.expect("it is told")) };
            let impatient = resolver.answer(look_up);
            let patience = clock::now() + Duration::from_secs(3);
            assert!(clock::until(patience, impatient).await.is_none());
            let (first, second) = (resolver.answer(pending()), resolver.answer(pending()));
            let told = async { found.send(vec![address()]).expect("it goes on") };
            let (first, second, ()) = tokio::join!(first, second, told);
            assert_eq!(first.expect("it is found"), [address()]);
            assert_eq!(second.expect("it is found"), [address()]);
        });
    }

    #[test]
    fn while_dns_is_silent_the_last_good_answer_serves_at_once() {
        still::run(async {
            let resolver = Resolver::default();
            let found = resolver.answer(ready(Ok(vec![address()]))).await;
            found.expect("it is found");
            let begun = clock::now();
            for _ in 0..3 {
                let known = resolver.answer(pending()).await;
                assert_eq!(known.expect("it was known"), [address()]);
                assert_eq!(clock::since(begun), PATIENCE, "since the look-up was begun");
            }
            clock::sleep(LAST_GOOD_ANSWER).await;
            let late = clock::until(clock::now() + PATIENCE, resolver.answer(pending()));
            assert!(late.await.is_none(), "too old");
        });
    }

    #[test]
    fn after_a_look_up_has_ended_or_panicked_the_next_is_begun() {
        still::run(async {
            let resolver = Resolver::default();
            let failed = || ready(Err(io::Error::other("on purpose")));
            assert!(resolver.answer(failed()).await.is_err());
            let panics = async { panic!("on purpose") };
            assert!(resolver.answer(panics).await.is_err());
            assert!(resolver.answer(ready(Ok(Vec::new()))).await.is_err());
            let found = resolver.answer(ready(Ok(vec![address()]))).await;
            assert_eq!(found.expect("it is found"), [address()]);
            let kept = resolver.answer(failed()).await;
            assert_eq!(kept.expect("it was known"), [address()]);
            clock::sleep(LAST_GOOD_ANSWER).await;
            assert!(resolver.answer(failed()).await.is_err(), "too old");
        });
    }
}
