//! Timers beside the runtimes of workers.
//!
//! A runtime with timers looks through them, and reads the clock, before and after each time that it
//! waits for its sockets. A worker waits twice in an exchange, which sets none, and looking would be 3 %
//! of one of 1 KB. So workers' runtimes have no timers, and one thread keeps those of all of them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioTimer;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

thread_local! {
    static OF_THIS_THREAD: RefCell<Option<Arc<Timers>>> = const { RefCell::new(None) };
}

/// A thread that keeps timers for others. It ends with the last thread that uses it.
#[derive(Debug)]
pub struct Timers {
    runtime: Handle,
    _in_use: oneshot::Sender<Infallible>,
}

impl Timers {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none.
    pub fn start() -> io::Result<Arc<Self>> {
        let (tell, told) = mpsc::channel();
        let (in_use, unused) = oneshot::channel();
        // The runtime is the thread's from its first moment: one that is dropped here, for want of a
        // thread, would panic where this is called on another runtime.
        std::thread::Builder::new()
            .name("timers".to_owned())
            .spawn(move || {
                let built = Builder::new_current_thread().enable_time().build();
                let handle = built.as_ref().map(|runtime| runtime.handle().clone());
                // Who asked waits for it.
                let _ = tell.send(handle.map_err(|error| error.kind()));
                if let Ok(runtime) = built {
                    // Ends once the other end is gone.
                    let _ = runtime.block_on(unused);
                }
            })?;
        let runtime = told.recv().map_err(io::Error::other)?;
        Ok(Arc::new(Self {
            runtime: runtime?,
            _in_use: in_use,
        }))
    }

    /// From now on, whatever waits on this thread does so by these.
    pub fn serve_this_thread(self: Arc<Self>) {
        OF_THIS_THREAD.set(Some(self));
    }
}

/// Makes a timer where this thread has its timers: in the runtime that it runs, unless there are others.
pub(super) fn with_timers<T>(make: impl FnOnce() -> T) -> T {
    OF_THIS_THREAD.with_borrow(|timers| {
        let _here = timers.as_ref().map(|timers| timers.runtime.enter());
        make()
    })
}

/// hyper's timers.
#[derive(Clone, Copy, Debug)]
pub struct HyperTimer;

impl hyper::rt::Timer for HyperTimer {
    fn sleep(&self, pause: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        with_timers(|| TokioTimer::new().sleep(pause))
    }

    fn sleep_until(&self, due: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        with_timers(|| TokioTimer::new().sleep_until(due))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, due: Instant) {
        TokioTimer::new().reset(sleep, due);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::Write;
    use std::net::TcpStream;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::runtime::{LocalOptions, LocalRuntime};

    use super::*;
    use crate::clock::{now, since, sleep, within};

    const WHILE: Duration = Duration::from_millis(20);
    const PATIENT: Duration = Duration::from_secs(20);

    fn without_timers() -> LocalRuntime {
        let mut builder = Builder::new_current_thread();
        builder.enable_io();
        builder.build_local(LocalOptions::default()).unwrap()
    }

    /// Runs it as a worker would, on a thread of its own.
    fn served(timers: &Arc<Timers>, test: impl AsyncFnOnce() + Send + 'static) {
        let timers = Arc::clone(timers);
        let thread = std::thread::spawn(move || {
            timers.serve_this_thread();
            without_timers().block_on(test());
        });
        thread.join().unwrap();
    }

    /// Runs in a process of its own, which gets no thread; asked for by the test below.
    #[cfg(target_os = "linux")]
    const CHILD: &str = "TIMERS_CHILD";

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_thread_that_is_not_to_be_had_is_an_error_also_on_a_runtime() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        if std::env::var_os(CHILD).is_some() {
            // A thread needs a stack of 2 MiB, and there is memory for all else only.
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let taken = status.lines().find_map(|it| it.strip_prefix("VmSize:"));
            let taken = taken.and_then(|it| it.trim().strip_suffix(" kB")).unwrap();
            let memory = getrlimit(Resource::As);
            let none = Rlimit {
                current: Some(taken.parse::<u64>().unwrap() * 1024 + (256 << 10)),
                maximum: memory.maximum,
            };
            setrlimit(Resource::As, none).unwrap();
            let refused = Timers::start().is_err();
            setrlimit(Resource::As, memory).unwrap();
            assert!(refused, "there was a thread");
            return;
        }
        let name =
            "clock::timers::tests::a_thread_that_is_not_to_be_had_is_an_error_also_on_a_runtime";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--nocapture", "--exact", name])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
        assert!(ran, "there is no test of this name");
    }

    #[test]
    fn who_has_no_timers_waits_by_those_that_serve_its_thread() {
        let timers = Timers::start().unwrap();
        for _ in 0..2 {
            served(&timers, async || {
                let began = now();
                sleep(WHILE).await;
                assert!(since(began) >= WHILE);
                assert_eq!(within(WHILE, pending::<()>()).await, None);
                assert!(since(began) >= 2 * WHILE);
                assert_eq!(within(PATIENT, async { 7 }).await, Some(7));
                let latest = tokio::task::spawn_local(sleep(PATIENT));
                let late = tokio::task::spawn_local(sleep(2 * WHILE));
                let soon = tokio::task::spawn_local(sleep(WHILE));
                soon.await.unwrap();
                late.await.unwrap();
                assert!(!latest.is_finished());
            });
        }
    }

    #[test]
    fn what_came_in_time_goes_before_a_limit_that_passed_while_nobody_looked() {
        let timers = Timers::start().unwrap();
        served(&timers, async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut ours, _) = listener.accept().await.unwrap();
            let read = tokio::task::spawn_local(async move {
                let mut byte = [0];
                within(WHILE, ours.read(&mut byte))
                    .await
                    .map(Result::unwrap)
            });
            // The thread does something else from before the byte comes until the limit is over.
            let busy = tokio::task::spawn_local(async move {
                theirs.write_all(b"x").unwrap();
                let began = now();
                while since(began) < 3 * WHILE {
                    std::hint::spin_loop();
                }
                theirs
            });
            assert_eq!(read.await.unwrap(), Some(1));
            busy.await.unwrap();
        });
    }

    #[test]
    fn hyper_waits_by_them_too_and_may_put_off_what_it_waits_for() {
        use hyper::rt::Timer;
        let timers = Timers::start().unwrap();
        served(&timers, async || {
            let began = now();
            let timer = HyperTimer;
            timer.sleep(WHILE).await;
            timer.sleep_until(began + 2 * WHILE).await;
            assert!(since(began) >= 2 * WHILE);
            let mut put_off = timer.sleep(Duration::ZERO);
            timer.reset(&mut put_off, began + 4 * WHILE);
            put_off.await;
            assert!(since(began) >= 4 * WHILE);
        });
    }

    #[test]
    fn they_last_as_long_as_a_thread_that_they_serve_and_no_longer() {
        let timers = Timers::start().unwrap();
        let ended = {
            let _entered = timers.runtime.enter();
            tokio::spawn(pending::<()>())
        };
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            timers.serve_this_thread();
            told.recv().unwrap();
            without_timers().block_on(sleep(WHILE));
        });
        assert!(!ended.is_finished());
        tell.send(()).unwrap();
        thread.join().unwrap();
        // What runs there is cancelled when they end.
        assert!(without_timers().block_on(ended).unwrap_err().is_cancelled());
    }
}
