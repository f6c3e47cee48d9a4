//! From addresses to a connection: the next is tried before the last has failed (RFC 8305).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};

use crate::clock;

use super::reach::is_of_its_kind;

/// The pause before the next address is tried beside those in progress (RFC 8305 section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses that are tried at the same time, a file descriptor each. Beyond them the next takes the
/// place of the one that was begun first: an upstream of many addresses that are all silent must not
/// take the descriptors from callers and other upstreams.
const AT_ONCE: usize = 4;

/// Attempts in progress.
#[derive(Default)]
struct Attempts {
    running: JoinSet<io::Result<TcpStream>>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Attempts {
    fn begin(&mut self, address: SocketAddr) {
        self.oldest_first.retain(|attempt| !attempt.is_finished());
        if self.oldest_first.len() >= AT_ONCE
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        let attempt = self.running.spawn_local(dial(address));
        self.oldest_first.push_back(attempt);
    }

    /// What the next that ends comes to; `None` when there is none.
    async fn next(&mut self) -> Option<io::Result<TcpStream>> {
        loop {
            match self.running.join_next().await? {
                Ok(outcome) => return Some(outcome),
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Some(Err(io::Error::other(error))),
            }
        }
    }
}

/// Tries the addresses one after the other, the next joining after a pause or a failure; the first
/// connection wins and the others are dropped.
pub(super) async fn first_to_answer(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut attempts = Attempts::default();
    let mut waiting = addresses.iter().copied();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    if let Some(address) = waiting.next() {
        attempts.begin(address);
    }
    loop {
        tokio::select! {
            ended = attempts.next() => {
                let error = match ended {
                    None => return Err(last),
                    Some(Ok(stream)) => return Ok(stream),
                    Some(Err(error)) => error,
                };
                if !is_of_its_kind(&error) || last.kind() == io::ErrorKind::NotFound {
                    last = error;
                }
            }
            () = clock::sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {}
        }
        if let Some(address) = waiting.next() {
            attempts.begin(address);
        }
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // A peer that vanished without a word is noticed by the kernel, not only by our time limits; and
    // load balancers that forget idle connections after minutes are reminded.
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// IPv6 and IPv4 in turn, the resolver's order within each (RFC 8305 section 4).
pub(super) fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let turns = std::iter::from_fn(|| match (first.next(), second.next()) {
        (None, None) => None,
        turn => Some([turn.0, turn.1]),
    });
    turns.flatten().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "local")]
    async fn silent_addresses_take_few_descriptors_and_do_not_hide_one_that_answers() {
        use socket2::{Domain, Socket, Type};
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        silent
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        silent.listen(0).unwrap();
        let address = silent.local_addr().unwrap().as_socket().unwrap();
        // One fits into its queue, and the kernel does not answer the next.
        let _waits = TcpStream::connect(address).await.unwrap();
        let mut attempts = Attempts::default();
        for _ in 0..3 * AT_ONCE {
            attempts.begin(address);
        }
        let ended = tokio::time::timeout(Duration::from_millis(10), attempts.next()).await;
        assert!(ended.is_err(), "what was given up is no answer");
        assert_eq!(attempts.running.len(), AT_ONCE);
        let answers = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        attempts.begin(answers.local_addr().unwrap());
        assert!(attempts.next().await.unwrap().is_ok());
    }

    #[test]
    fn address_families_take_turns_in_the_order_of_the_resolver() {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<_>>();
        let given = parse(&[
            "[::1]:1",
            "[::2]:1",
            "1.1.1.1:1",
            "[::3]:1",
            "2.2.2.2:1",
            "3.3.3.3:1",
            "4.4.4.4:1",
        ]);
        let wanted = parse(&[
            "[::1]:1",
            "1.1.1.1:1",
            "[::2]:1",
            "2.2.2.2:1",
            "[::3]:1",
            "3.3.3.3:1",
            "4.4.4.4:1",
        ]);
        assert_eq!(interleaved(given), wanted);
    }
}
