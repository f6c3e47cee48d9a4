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

/// What a look-up comes to: at least one address.
pub(super) type Answer = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// What looks the name up.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    asked: RefCell<Option<watch::Receiver<Option<Answer>>>>,
    last_good: Rc<RefCell<Option<(Instant, Vec<SocketAddr>)>>>,
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
        let answer = match asked.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        let answer = answer.unwrap_or_else(|| Err(Arc::new(io::Error::other("it was broken off"))));
        answer.or_else(|failure| self.known().ok_or(failure))
    }

    fn ask<F>(&self, look_up: F) -> watch::Receiver<Option<Answer>>
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + 'static,
    {
        let mut asked = self.asked.borrow_mut();
        // One that has ended, however it did, has dropped its end.
        if let Some(asked) = asked.as_ref().filter(|asked| asked.has_changed().is_ok()) {
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
        *asked = Some(told.clone());
        told
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

    fn address() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 443))
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_goes_on_without_who_asked_and_serves_who_asks_meanwhile() {
        let local = LocalSet::new();
        let resolver = Resolver::default();
        let served = local.run_until(async {
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
    async fn after_a_look_up_has_ended_or_panicked_the_next_is_begun() {
        let local = LocalSet::new();
        let resolver = Resolver::default();
        local
            .run_until(async {
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
