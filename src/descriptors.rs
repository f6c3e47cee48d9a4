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
}
