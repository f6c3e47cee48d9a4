//! Signals as one stream of meanings: SIGTERM and SIGINT end the program, SIGHUP reloads, or ends what
//! has nothing to reload; on Windows Ctrl-C and Ctrl-Break end it. None that comes once somebody
//! listens is lost.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};

/// The end was asked for.
pub(super) struct End {
    /// By hand: nobody has to be told first.
    pub(super) at_once: bool,
}

/// What asks for the end. None that comes while this exists is lost.
#[cfg(unix)]
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

#[cfg(unix)]
impl Stop {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: None,
        })
    }

    /// The same, and for the end of the terminal as well, unless the program is to outlive it.
    pub(super) fn listen_for_terminal() -> io::Result<Self> {
        let mut stop = Self::listen()?;
        if !outlives_terminal() {
            stop.hang_up = Some(signal(SignalKind::hangup())?);
        }
        Ok(stop)
    }

    /// Waits for SIGTERM or SIGINT, and for SIGHUP where it is listened for.
    pub(super) async fn asked(&mut self) -> End {
        let hung_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => End { at_once: false },
            _ = self.interrupt.recv() => End { at_once: true },
            _ = hung_up => End { at_once: true },
        }
    }
}

/// Whether SIGHUP is ignored, as by `nohup`, which listening would undo.
#[cfg(target_os = "linux")]
fn outlives_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let hang_up = 1 << (rustix::process::Signal::HUP.as_raw() - 1);
    // Without an answer it stays as it is.
    ignored.is_none_or(|mask| mask & hang_up != 0)
}

/// Where the system tells nobody what is ignored: `nohup` leaves no terminal to write to.
#[cfg(all(unix, not(target_os = "linux")))]
fn outlives_terminal() -> bool {
    !io::IsTerminal::is_terminal(&io::stdout())
}

/// The signals that mean something to the proxy. None that comes while this exists is lost.
#[cfg(unix)]
pub(super) struct Signals {
    hang_up: Signal,
    stop: Stop,
    // Held so that it does not end the program: to a file that has reached its limit (RLIMIT_FSIZE)
    // writing fails, and a log that is full stops no requests.
    _file_size: Signal,
}

#[cfg(unix)]
impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            stop: Stop::listen()?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Waits for SIGTERM or SIGINT, and reloads at each SIGHUP until then. Those that come during a
    /// reload are one more after it; the end does not wait for it.
    pub(super) async fn end(&mut self, reload: impl AsyncFn()) -> End {
        let reloads = async {
            loop {
                self.hang_up.recv().await;
                reload().await;
            }
        };
        tokio::select! {
            end = reloads => end,
            end = self.stop.asked() => end,
        }
    }

    /// Waits for SIGTERM or SIGINT: the first during the start, the second during the end.
    pub(super) async fn ended(&mut self) {
        self.stop.asked().await;
    }
}

/// The two that a console of Windows sends.
#[cfg(windows)]
pub(super) struct Stop {
    interrupt: CtrlC,
    // What another process can send to one that it has started.
    stop: CtrlBreak,
}

#[cfg(windows)]
impl Stop {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            stop: ctrl_break()?,
        })
    }

    /// The same: a console that is closed ends what runs in it.
    pub(super) fn listen_for_terminal() -> io::Result<Self> {
        Self::listen()
    }

    /// Waits for Ctrl-C or Ctrl-Break.
    pub(super) async fn asked(&mut self) -> End {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.stop.recv() => {}
        }
        End { at_once: true }
    }
}

/// What asks for the end; nothing on Windows asks for a reload.
#[cfg(windows)]
pub(super) struct Signals(Stop);

#[cfg(windows)]
impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        Stop::listen().map(Self)
    }

    /// Waits for Ctrl-C or Ctrl-Break.
    pub(super) async fn end(&mut self, _reload: impl AsyncFn()) -> End {
        self.0.asked().await
    }

    /// Waits for Ctrl-C or Ctrl-Break: the first during the start, the second during the end.
    pub(super) async fn ended(&mut self) {
        self.0.asked().await;
    }
}
