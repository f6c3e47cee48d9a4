//! File descriptors, of which a process may have only so many: each connection takes one.

use std::io;

use socket2::{Domain, Socket, Type};

/// What to do about a want of them, for messages.
pub const REMEDY: &str = "raise the limit of open files (ulimit -n, LimitNOFILE)";

/// Whether something failed because no descriptor was left, to the process or to the system (POSIX
/// `EMFILE`, `ENFILE`). Outside of Unix nobody can tell, and it is never so.
pub fn ran_out(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let code = error.raw_os_error();
        code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// What to do about a failure of the system's: about a want of descriptors where it is one, and else what
/// is told `otherwise`.
pub fn remedy<'a>(error: &io::Error, otherwise: &'a str) -> &'a str {
    if ran_out(error) { REMEDY } else { otherwise }
}

/// What to do where the system does not take or watch a connection.
pub fn remedy_of_connections(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if ran_out(error) => REMEDY,
        _ if lacks_memory(error) => "give this machine more memory, or send fewer requests at once",
        // Of epoll_ctl(2); nothing of a connection is on a disk.
        io::ErrorKind::StorageFull => "raise fs.epoll.max_user_watches",
        _ => "check what confines this service, and the firewall of this machine",
    }
}

/// Whether the system had no memory, or none that it gives to sockets.
pub fn lacks_memory(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) {
        return true;
    }
    error.kind() == io::ErrorKind::OutOfMemory
}

/// Whether none is left. The system's resolver does not say why it fails.
pub fn are_used_up() -> bool {
    probe().is_err_and(|error| ran_out(&error))
}

/// Whether less than an eighth of them is left. A new one has the lowest number that is free (POSIX
/// 2.6), so that those below it are in use.
pub fn are_scarce() -> bool {
    #[cfg(unix)]
    {
        use std::os::fd::AsRawFd;

        use rustix::process::{Resource, getrlimit};
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        match probe() {
            Ok(socket) => u64::try_from(socket.as_raw_fd()).unwrap_or(0) >= limit / 8 * 7,
            Err(error) => ran_out(&error),
        }
    }
    #[cfg(not(unix))]
    false
}

fn probe() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, None)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_a_want_of_descriptors_is_one() {
        for (errno, wanted) in [
            (rustix::io::Errno::MFILE, true),
            (rustix::io::Errno::NFILE, true),
            (rustix::io::Errno::CONNREFUSED, false),
        ] {
            assert_eq!(ran_out(&errno.into()), wanted, "{errno}");
        }
        assert!(!ran_out(&io::Error::other("no number")));
    }

    #[test]
    fn files_are_not_blamed_for_what_else_a_connection_wants() {
        use rustix::io::Errno;
        for (errno, word) in [
            (Errno::MFILE, "open files"),
            (Errno::NFILE, "open files"),
            (Errno::NOSPC, "max_user_watches"),
            (Errno::NOMEM, "memory"),
            (Errno::NOBUFS, "memory"),
            (Errno::PERM, "firewall"),
        ] {
            let remedy = remedy_of_connections(&errno.into());
            assert!(remedy.contains(word), "{errno}: {remedy}");
        }
    }
}
