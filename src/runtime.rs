//! Runtimes, each with one thread for blocking work (looking up a name, reading a file) that is there
//! from the start and stays. When the system has no further thread to give, such work waits for that
//! one; tokio would panic if there were none.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// Longer than anything runs: no thread that has come is given back.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// The runtime of one thread.
///
/// # Errors
/// When the system has no event queue or no thread for it.
pub fn single() -> io::Result<Runtime> {
    let runtime = builder().build()?;
    keep_a_thread(runtime.handle())?;
    Ok(runtime)
}

/// What a runtime of one thread is made with; it then needs [`keep_a_thread`].
pub fn builder() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().thread_keep_alive(FOR_EVER);
    builder
}

/// Starts the thread for what blocks.
///
/// # Errors
/// When the system has none.
pub fn keep_a_thread(runtime: &Handle) -> io::Result<()> {
    let started = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| ()))));
    started.map_err(|_| {
        io::Error::other("no thread is to be had; raise the limit of processes and threads")
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Runs in a process of its own, which gets no more threads; asked for by the test below.
    const CHILD: &str = "RUNTIME_CHILD";

    #[test]
    #[cfg(target_os = "linux")]
    fn what_blocks_waits_for_the_thread_that_stays_when_there_is_no_other() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let name =
            "runtime::tests::what_blocks_waits_for_the_thread_that_stays_when_there_is_no_other";
        if std::env::var_os(CHILD).is_some() {
            let runtime = super::single().unwrap();
            // A thread needs a stack, and there is no memory for another one.
            let memory = getrlimit(Resource::As);
            let none = Rlimit {
                current: Some(0),
                maximum: memory.maximum,
            };
            setrlimit(Resource::As, none).unwrap();
            let work = || std::thread::Builder::new().spawn(|| ()).is_err();
            let (first, second) = (runtime.spawn_blocking(work), runtime.spawn_blocking(work));
            setrlimit(Resource::As, memory).unwrap();
            runtime.block_on(async {
                first.await.unwrap();
                second.await.unwrap();
            });
            return;
        }
        let program = std::env::current_exe().unwrap();
        let output = Command::new(program)
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }
}
