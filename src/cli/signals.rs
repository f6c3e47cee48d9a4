//! Signals as one stream of meanings: SIGTERM and SIGINT end the program, SIGHUP reloads. None that
//! comes once somebody listens is lost.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The end was asked for.
pub(super) struct End {
    /// By hand: nobody has to be told first.
    pub(super) at_once: bool,
}

/// The signals that mean something. None that comes while this exists is lost.
#[cfg(unix)]
pub(super) struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

#[cfg(unix)]
impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for SIGTERM or SIGINT, and reloads at each SIGHUP until then. Those that come during a
    /// reload are one more after it; the end does not wait for it.
    pub(super) async fn end(&mut self, reload: impl AsyncFn()) -> io::Result<End> {
        let reloads = async {
            loop {
                self.hang_up.recv().await;
                reload().await;
            }
        };
        tokio::select! {
            end = reloads => end,
            _ = self.terminate.recv() => Ok(End { at_once: false }),
            _ = self.interrupt.recv() => Ok(End { at_once: true }),
        }
    }

    /// Waits for SIGTERM or SIGINT: the first during the start, the second during the end.
    pub(super) async fn ended(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ctrl-C is all there is.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Nothing to be done ahead.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for Ctrl-C.
    pub(super) async fn end(&mut self, _reload: impl AsyncFn()) -> io::Result<End> {
        tokio::signal::ctrl_c().await?;
        Ok(End { at_once: true })
    }

    /// Waits for Ctrl-C.
    pub(super) async fn ended(&mut self) {
        // Without the handler there is no signal to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
