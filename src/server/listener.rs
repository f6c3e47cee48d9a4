//! Listening sockets, bound before anything is served, so that a port in use is an error at start
//! and tests learn which port they got.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

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
    /// A Unix socket; its file is removed when this is dropped.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener, PathBuf),
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
            Self::Unix(_, path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Somebody may have removed it already; there is nothing to do about it either way.
            let _ = std::fs::remove_file(path);
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
    use std::os::unix::net::{UnixListener, UnixStream};
    let failed = |source| BindError {
        address: format!("unix:{}", path.display()),
        source,
    };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    // A socket that a dead process left behind; one that answers is somebody's.
    if is_socket && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(vec![Listener::Unix(listener, path.clone())])
}

#[cfg(not(unix))]
fn unix(path: &PathBuf) -> Result<Vec<Listener>, BindError> {
    Err(BindError {
        address: format!("unix:{}", path.display()),
        source: io::ErrorKind::Unsupported.into(),
    })
}
