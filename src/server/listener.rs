//! Listening sockets, bound before anything is served, so that a port in use is an error at start
//! and tests learn which port they got.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;

#[cfg(unix)]
use socket2::SockAddr;
use socket2::{Domain, Socket, Type};

use crate::config::ListenAddress;
use crate::descriptors;
use crate::socket::lacks_family;

/// Connections that the system holds until they are accepted: a burst of a thousand callers fits, and
/// more than net.core.somaxconn (4096 by default) is not granted.
pub(super) const BACKLOG: i32 = 4096;

/// How many ports of the system's choice are tried: where every second is taken on `[::1]`, one start
/// in a thousand fails.
const TRIES: u32 = 10;

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket behind its file. The file goes first, because fields end in their order: a socket
    /// that is open keeps the inode of its file, so that no successor's file can have that number
    /// while it is compared.
    #[cfg(unix)]
    Unix(SocketFile, std::os::unix::net::UnixListener),
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
#[error("cannot listen on {address}; {}", descriptors::remedy(source, REMEDY))]
pub struct BindError {
    address: String,
    source: io::Error,
}

const REMEDY: &str =
    "check that it is free and that this user may use it, or name another with `listen` or `admin`";

impl Listener {
    /// Binds one of the addresses that are listened on; `localhost:PORT` is both loopback addresses,
    /// with the same port, and `[::]:PORT` every address, unless another of `all` has its IPv4 part.
    ///
    /// # Errors
    /// When an address is in use or not ours.
    pub fn bind(address: &ListenAddress, all: &[&ListenAddress]) -> Result<Vec<Self>, BindError> {
        match address {
            ListenAddress::Tcp(at) => Ok(vec![tcp(*at, !address.takes_ipv4_beside(all))?]),
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
            Self::Unix(file, _) => write!(f, "unix:{}", file.path.display()),
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

fn tcp(address: SocketAddr, only_v6: bool) -> Result<Listener, BindError> {
    let bound = || -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            // Said in any case: the system's default is what net.ipv6.bindv6only makes it.
            socket.set_only_v6(only_v6)?;
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

fn loopback(port: u16) -> Result<Vec<Listener>, BindError> {
    both(|| tcp((Ipv4Addr::LOCALHOST, port).into(), true), port)
}

/// A machine without IPv6, or without IPv4, still has one loopback address. A port that the system
/// has chosen for the first may be another's on the second: nobody asked for it, so there are others.
fn both(
    first: impl Fn() -> Result<Listener, BindError>,
    port: u16,
) -> Result<Vec<Listener>, BindError> {
    let mut tries = if port == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        let v4 = match first() {
            Ok(v4) => v4,
            Err(none) if lacks_address(&none.source) => return only_v6(port, none),
            Err(error) => return Err(error),
        };
        let Some(address) = v4.local_addr() else {
            return Ok(vec![v4]);
        };
        match tcp((Ipv6Addr::LOCALHOST, address.port()).into(), true) {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(error) if lacks_address(&error.source) => return Ok(vec![v4]),
            Err(error) if error.source.kind() != io::ErrorKind::AddrInUse || tries == 0 => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
}

/// The other loopback address, where there is none of IPv4: where there is neither, `none` says so.
fn only_v6(port: u16, none: BindError) -> Result<Vec<Listener>, BindError> {
    match tcp((Ipv6Addr::LOCALHOST, port).into(), true) {
        Ok(v6) => Ok(vec![v6]),
        Err(error) if lacks_address(&error.source) => Err(none),
        Err(error) => Err(error),
    }
}

/// Whether this machine lacks the address: it has nothing of that family, or not on its loopback, or
/// keeps it from this service, as `deny network inet6` of AppArmor does. A port that this user may not
/// use is refused on both.
fn lacks_address(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied
    ) || lacks_family(error)
}

#[cfg(unix)]
fn unix(path: &Path) -> Result<Vec<Listener>, BindError> {
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
    Ok(vec![Listener::Unix(SocketFile::at(path), listener)])
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
fn unix(path: &Path) -> Result<Vec<Listener>, BindError> {
    Err(BindError {
        address: format!("unix:{}", path.display()),
        source: io::ErrorKind::Unsupported.into(),
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn bind(path: &Path) -> Result<Vec<Listener>, BindError> {
        Listener::bind(&ListenAddress::Unix(path.to_owned()), &[])
    }

    /// A socket that takes this many connections which nobody accepts.
    fn lazy(path: &Path, queue: i32) -> Socket {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let address = SockAddr::unix(path).expect("a short path");
        socket.bind(&address).expect("the path is free");
        socket.listen(queue).expect("it can be listened on");
        socket
    }

    /// A port that is taken on one loopback address only; none where there is one address only.
    fn half_taken() -> Option<(std::net::TcpListener, u16)> {
        (0..TRIES).find_map(|_| {
            let taken = std::net::TcpListener::bind("[::1]:0").ok()?;
            let port = taken.local_addr().ok()?.port();
            let free = std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
            free.then_some((taken, port))
        })
    }

    #[test]
    fn a_port_of_the_systems_choice_that_is_half_taken_is_not_chosen() {
        let Some((_taken, port)) = half_taken() else {
            assert_eq!(loopback(0).unwrap().len(), 1, "there is one address only");
            return;
        };
        let left = std::cell::RefCell::new(vec![0, port, port]);
        let next = || {
            let port = left.borrow_mut().pop().expect("one was enough");
            tcp((Ipv4Addr::LOCALHOST, port).into(), true)
        };
        let bound = both(next, 0).unwrap();
        let ports: Vec<_> = bound.iter().filter_map(Listener::local_addr).collect();
        assert_eq!(ports.len(), 2);
        assert_eq!(ports[0].port(), ports[1].port());
        // One that was asked for is not replaced by another.
        assert!(loopback(port).is_err());
    }

    #[test]
    fn only_a_machine_without_the_other_is_listened_on_at_one_loopback_address() {
        use rustix::io::Errno;
        for (errno, alone) in [
            (Errno::AFNOSUPPORT, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::ACCESS, true),
            (Errno::PERM, true),
            (Errno::ADDRINUSE, false),
            (Errno::MFILE, false),
            (Errno::NOBUFS, false),
        ] {
            assert_eq!(lacks_address(&errno.into()), alone, "{errno}");
        }
    }

    #[test]
    fn every_address_of_ipv6_leaves_those_of_ipv4_to_whoever_lists_them() {
        if let Err(error) = std::net::TcpListener::bind("[::]:0") {
            println!("not tested: this machine has no IPv6 ({error})");
            return;
        }
        for v4 in ["0.0.0.0", "127.0.0.1"] {
            let both = (0..TRIES).find_map(|_| {
                let free = std::net::TcpListener::bind("[::]:0").and_then(|it| it.local_addr());
                let port = free.unwrap().port();
                let all = [format!("{v4}:{port}"), format!("[::]:{port}")]
                    .map(|text| ListenAddress::parse(&text).unwrap());
                let listed = [&all[0], &all[1]];
                // In either order; the port may have become another's by then.
                let first = Listener::bind(&all[1], &listed).ok()?;
                let second = Listener::bind(&all[0], &listed).ok()?;
                Some((first, second, port))
            });
            let (v6, _v4, port) = both.expect("both can be listened on");
            let alone = ListenAddress::Tcp((Ipv6Addr::UNSPECIFIED, port).into());
            drop(v6);
            assert!(Listener::bind(&alone, &[&alone]).is_err(), "{v4} is taken");
        }
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
