//! The addresses of an endpoint. A look-up is given less time than a call: of one that waits for both it
//! would only be known that it took too long, and a name server that is silent is not the first that
//! anybody thinks of.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::clock;

/// DNS that answers does so within tenths of a second, or after 5 s where the first name server is silent
/// and the second is not. A connection to Entra may take 8 s, a call to a cluster's issuer 10.
const WITHIN: Duration = Duration::from_secs(6);

/// The system's resolver, in time.
pub(super) struct InTime;

impl Resolve for InTime {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let look_up = tokio::net::lookup_host((name.as_str(), 0));
            let found = in_time(WITHIN, look_up).await?;
            let found: Vec<SocketAddr> = found.collect();
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

async fn in_time<T>(
    within: Duration,
    look_up: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let found = clock::within(within, look_up).await;
    found.unwrap_or_else(|| {
        let words = format!("DNS had no answer within {} s", within.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, words))
    })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn dns_that_is_silent_is_told_as_that() {
        let silent = in_time(Duration::ZERO, pending::<io::Result<()>>()).await;
        let words = silent.expect_err("nothing is found").to_string();
        assert_eq!(words, "DNS had no answer within 0 s");
        assert!(in_time(WITHIN, ready(Ok(()))).await.is_ok());
    }
}
