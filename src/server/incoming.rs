//! The connections that come in at one listener, callers' and the admin side's alike.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::listener::Listener;
use crate::clock;
use crate::descriptors::remedy_of_connections;
use crate::lifeline;

/// The rest after an accept that failed for want of descriptors or memory: long enough for a
/// connection to end, short enough not to be noticed.
const REST: Duration = Duration::from_millis(100);

/// What a caller's socket takes beyond what the caller has room for: four pieces of a body. The
/// kernel's own bound grows to megabytes, and a caller that reads all of it slowly would be seen to
/// make no progress until a third is gone; of this, half.
#[cfg(target_os = "linux")]
const AHEAD: u32 = 128 * 1024;

/// An accepted socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP, with `TCP_NODELAY` and `TCP_NOTSENT_LOWAT`.
    Tcp(std::net::TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

/// A listener registered with the runtime that made it.
#[derive(Debug)]
pub struct Incoming {
    name: String,
    registered: Registered,
    shortage: Shortage,
}

/// How long accepting has to go well before what it lacks is told again. Where callers come and go
/// one descriptor or another is free for a moment, many times a second, and the want is the same one.
const OVER: Duration = Duration::from_secs(60);

/// A want of descriptors or memory, which is told once and not for every accept that fails of it.
#[derive(Debug, Default)]
struct Shortage {
    /// When an accept last failed of it.
    felt: Option<Instant>,
}

impl Shortage {
    /// An accept failed of it. Whether that is to be told.
    fn is_new(&mut self, now: Instant) -> bool {
        let before = self.felt.replace(now);
        before.is_none_or(|before| now.duration_since(before) >= OVER)
    }
}

#[derive(Debug)]
enum Registered {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

impl Incoming {
    /// Registers a listener with the current runtime. Where its descriptor cannot be doubled or
    /// watched the process ends: it would look alive and accept nobody.
    pub fn open(listener: &Listener) -> Self {
        match Self::register(listener) {
            Ok(registered) => Self {
                name: listener.to_string(),
                registered,
                shortage: Shortage::default(),
            },
            Err(error) => lifeline::end(&format!(
                "the task that accepts at {listener} ({error}; {})",
                remedy_of_connections(&error)
            )),
        }
    }

    fn register(listener: &Listener) -> io::Result<Registered> {
        match listener {
            Listener::Tcp(listener) => {
                tokio::net::TcpListener::from_std(listener.try_clone()?).map(Registered::Tcp)
            }
            #[cfg(unix)]
            Listener::Unix(_, listener) => {
                tokio::net::UnixListener::from_std(listener.try_clone()?).map(Registered::Unix)
            }
        }
    }

    /// The next connection, and the address it comes from where it has one. While descriptors or
    /// memory are short this rests and tries again.
    pub async fn next(&mut self) -> (Socket, Option<IpAddr>) {
        loop {
            match self.registered.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    if self.shortage.is_new(Instant::now()) {
                        let (listener, remedy) = (&self.name, remedy_of_connections(&error));
                        tracing::warn!(%error, %listener, "accepting rests; if this lasts, {remedy}");
                    }
                    clock::sleep(REST).await;
                }
            }
        }
    }
}

impl Registered {
    async fn accept(&self) -> io::Result<(Socket, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                // A peer that has gone already makes this fail; that is no failure of accepting.
                let _ = socket.set_nodelay(true);
                #[cfg(target_os = "linux")]
                let _ = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(AHEAD);
                // At `[::]` callers over IPv4 have addresses of IPv6, and are the same callers.
                let peer = peer.ip().to_canonical();
                Ok((Socket::Tcp(socket.into_std()?), Some(peer)))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok((Socket::Unix(socket.into_std()?), None))
            }
        }
    }
}

/// Errors of one connection that was gone before it was accepted. Linux passes on what is pending on
/// the new socket (accept(2)). What is forbidden may be so for all that come, and is rested for.
fn is_of_the_connection(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        const PASSED_ON: [Errno; 3] = [Errno::PROTO, Errno::NOPROTOOPT, Errno::HOSTDOWN];
        let code = error.raw_os_error();
        if PASSED_ON.iter().any(|one| code == Some(one.raw_os_error())) {
            return true;
        }
    }
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
    )
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_shortage_is_told_once_however_often_a_descriptor_is_free_meanwhile() {
        let mut shortage = Shortage::default();
        let start = Instant::now();
        assert!(shortage.is_new(start));
        // Now and then one is accepted in between; it lasts for an hour.
        let mut now = start;
        for _ in 0..3600 {
            now += Duration::from_secs(1);
            assert!(!shortage.is_new(now));
        }
        assert!(!shortage.is_new(now + OVER - Duration::from_millis(1)));
        assert!(shortage.is_new(now + 2 * OVER));
    }

    #[test]
    fn what_one_connection_came_to_stops_no_accepting() {
        let of = |error: Errno| is_of_the_connection(&io::Error::from(error));
        for error in [
            Errno::CONNABORTED,
            Errno::PROTO,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::NETDOWN,
            Errno::TIMEDOUT,
        ] {
            assert!(of(error), "{error:?}");
        }
        for error in [
            Errno::ACCESS,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::PERM,
        ] {
            assert!(!of(error), "{error:?}");
        }
    }
}
