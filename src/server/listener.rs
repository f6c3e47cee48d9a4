//! Listening sockets, bound before anything is served, so that a port in use is an error at start
//! and tests learn which port they got.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;

#[cfg(unix)]
use socket2::SockAddr;
use socket2::{Domain, Socket, Type};

use crate::config::ListenAddress;

/// Connections that the system holds until they are accepted: a burst of a thousand callers fits, and
/// more than net.core.somaxconn (4096 by default) is not granted.
const BACKLOG: i32 = 4096;

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket, and its file.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// The file of a socket that was bound here, removed when this is dropped.
#[cfg(unix)]
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Its device and inode. At the same path there may be another's by then: the next process
    /// listens while this one drains.
    identity: Option<(u64, u64)>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; check that it is free and that this user may use it")]
pub struct BindError {
    address: String,
    source: io::Error,
}

impl Listener {
    /// Binds an address; `localhost:PORT` is both loopback addresses, with the same port.
    ///
    /// # Errors
    /// When an address is in use or not ours.
    pub fn bind(address: &ListenAddress) -> Result<Vec<Self>, BindError> {
        match address {
            ListenAddress::Tcp(address) => Ok(vec![tcp(*address)?]),
            ListenAddress::Loopback(port) => loopback(*port),
            ListenAddress::Unix(path) => unix(path),
        }
    }

    /// The TCP address, with the port that was given.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(..) => None,
        }
    }
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("a closed socket"),
            },
            #[cfg(unix)]
            Self::Unix(_, file) => write!(f, "unix:{}", file.path.display()),
        }
    }
}

#[cfg(unix)]
impl SocketFile {
    fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            identity: Self::identity(path),
        }
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::symlink_metadata(path).ok()?;
        Some((meta.dev(), meta.ino()))
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && self.identity == Self::identity(&self.path) {
            // Somebody may have removed it already; there is nothing to do about it either way.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn tcp(address: SocketAddr) -> Result<Listener, BindError> {
    let bound = || -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            // `[::]` beside `0.0.0.0` must not be one socket under two names.
            socket.set_only_v6(true)?;
        }
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bound().map(Listener::Tcp).map_err(|source| BindError {
        address: address.to_string(),
        source,
    })
}

/// A machine without IPv6 still has one loopback address.
fn loopback(port: u16) -> Result<Vec<Listener>, BindError> {
    let v4 = tcp((Ipv4Addr::LOCALHOST, port).into())?;
    let port = v4.local_addr().map_or(port, |address| address.port());
    match tcp((Ipv6Addr::LOCALHOST, port).into()) {
        Ok(v6) => Ok(vec![v4, v6]),
        Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(vec![v4]),
    }
}

#[cfg(unix)]
fn unix(path: &PathBuf) -> Result<Vec<Listener>, BindError> {
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::UnixListener;
    let failed = |source| BindError {
        address: format!("unix:{}", path.display()),
        source,
    };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && is_left_behind(path) {
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(vec![Listener::Unix(listener, SocketFile::at(path))])
}

/// Whether the process that listened here is dead: then, and only then, the system refuses. One that
/// has no time for more callers, or that this user may not call, is alive.
#[cfg(unix)]
fn is_left_behind(path: &Path) -> bool {
    let called = || -> io::Result<()> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The queue of one that is busy, or stopped, may be full for ever.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    called().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(not(unix))]
fn unix(path: &PathBuf) -> Result<Vec<Listener>, BindError> {
    Err(BindError {
        address: format!("unix:{}", path.display()),
        source: io::ErrorKind::Unsupported.into(),
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn bind(path: &Path) -> Result<Vec<Listener>, BindError> {
        Listener::bind(&ListenAddress::Unix(path.to_owned()))
    }

    /// A socket that takes this many connections which nobody accepts.
    fn lazy(path: &Path, queue: i32) -> Socket {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let address = SockAddr::unix(path).expect("a short path");
        socket.bind(&address).expect("the path is free");
        socket.listen(queue).expect("it can be listened on");
        socket
    }

    #[test]
    fn the_socket_of_a_successor_outlives_its_predecessor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let first = bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let second = bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_a_dead_process_left_behind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(lazy(&path, 1));
        assert!(path.exists());
        bind(&path).unwrap();
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _alive = lazy(&path, 0);
        let mut waiting = Vec::new();
        loop {
            let caller = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            caller.set_nonblocking(true).unwrap();
            if caller.connect(&SockAddr::unix(&path).unwrap()).is_err() {
                break;
            }
            waiting.push(caller);
        }
        let (tell, told) = std::sync::mpsc::channel();
        let at = path.clone();
        std::thread::spawn(move || tell.send(bind(&at).is_err()));
        let refused = told.recv_timeout(std::time::Duration::from_secs(20));
        assert_eq!(refused, Ok(true));
        assert!(path.exists());
    }

    #[test]
    fn a_socket_that_this_user_may_not_call_is_in_use() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _alive = lazy(&path, 1);
        // To the superuser this closes nothing, and the socket answers.
        let closed = std::fs::Permissions::from_mode(0o0);
        std::fs::set_permissions(&path, closed).unwrap();
        assert!(bind(&path).is_err());
        assert!(path.exists());
    }
}
