//! Runtimes, each with one thread for blocking work (looking up a name, reading a file) that is there
//! from the start and stays. When the system has no further thread to give, such work waits for that
//! one; tokio would panic if there were none.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// Longer than anything runs: no thread that has come is given back.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

thread_local! {
    /// Whether this thread asks for another, which tokio panics about where there is none.
    static ASKS: Cell<bool> = const { Cell::new(false) };
}

/// Leaves it to [`keep_a_thread`] alone to tell that there is no thread. The process has one hook for
/// panics, so this is for whoever owns it.
pub fn tell_once_of_no_thread() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !ASKS.get() {
            tell(panic);
        }
    }));
}

/// The runtime of one thread.
///
/// # Errors
/// When the system has no event queue or no thread for it.
pub fn single() -> io::Result<Runtime> {
    has_room()?;
    let runtime = builder().enable_time().build()?;
    keep_a_thread(runtime.handle())?;
    Ok(runtime)
}

/// Whether there are as many descriptors as tokio takes: an event queue twice, what wakes it, and three
/// for signals, which are the process's. It panics where it does not get those.
fn has_room() -> io::Result<()> {
    #[cfg(unix)]
    {
        let pair = std::os::unix::net::UnixStream::pair;
        let _at_once = [pair()?, pair()?, pair()?];
    }
    Ok(())
}

/// What a runtime of one thread without timers is made with; it then needs [`keep_a_thread`].
pub fn builder() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_io().thread_keep_alive(FOR_EVER);
    builder
}

/// Starts the thread for what blocks.
///
/// # Errors
/// When the system has none.
pub fn keep_a_thread(runtime: &Handle) -> io::Result<()> {
    ASKS.set(true);
    let started = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| ()))));
    ASKS.set(false);
    started.map_err(|_| {
        io::Error::other("no thread is to be had; raise the limit of processes and threads")
    })
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::Command;

    /// Runs in a process of its own, which gets no more threads; asked for by the test below.
    const CHILD: &str = "RUNTIME_CHILD";

    /// Whether no thread of this process but the one that asks has anything to do.
    fn all_others_sleep() -> bool {
        let own = std::fs::read_link("/proc/thread-self").unwrap();
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.map(|task| task.unwrap()).all(|task| {
            let state = std::fs::read_to_string(task.path().join("stat")).unwrap();
            Some(&*task.file_name()) == own.file_name() || state.contains(") S ")
        })
    }

    #[test]
    fn what_blocks_waits_for_the_thread_that_stays_when_there_is_no_other() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let name =
            "runtime::tests::what_blocks_waits_for_the_thread_that_stays_when_there_is_no_other";
        if std::env::var_os(CHILD).is_some() {
            let runtime = super::single().unwrap();
            // While it starts, the thread that stays takes memory of its own.
            while !all_others_sleep() {
                std::thread::yield_now();
            }
            // A thread needs a stack of 2 MiB, and there is memory for all else only.
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let taken = status.lines().find_map(|it| it.strip_prefix("VmSize:"));
            let taken = taken.and_then(|it| it.trim().strip_suffix(" kB")).unwrap();
            let taken = taken.parse::<u64>().unwrap() * 1024;
            let memory = getrlimit(Resource::As);
            let none = Rlimit {
                current: Some(taken + (256 << 10)),
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
