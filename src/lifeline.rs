//! Tasks that the process cannot do without. A panic of one connection ends that connection; a panic
//! of a control task ends the process, so that a supervisor starts it afresh. A proxy that accepts
//! nothing, or whose time limits have stopped, would look alive for ever.

#[cfg(not(unix))]
use std::io::Write;

/// Runs a control task; its panic ends the process with a line that names it. A panic elsewhere, in
/// the course of which the task is dropped, does not: that would be a test that fails.
pub async fn tie<F: Future>(task: &str, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let _lifeline = Lifeline(task);
        future.as_mut().poll(context)
    })
    .await
}

/// Ends the process because a control task has ended, with exit code 1.
pub fn end(task: &str) -> ! {
    // Written here and now: the log's own thread would not get to it.
    say(&format!(
        "tokenferry: {task} died; ending, so that a supervisor starts afresh\n"
    ));
    std::process::exit(1)
}

/// Says it on standard error if somebody takes it at once: the end comes in any case. If standard
/// error is gone there is nobody to tell.
#[cfg(unix)]
fn say(words: &str) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::os::fd::AsFd;
    /// A reader that is alive makes room within this.
    const PATIENCE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    // Not by way of the library, whose lock the log's thread holds while its own write waits.
    let stderr = std::io::stderr();
    let mut waiting = [PollFd::new(&stderr, PollFlags::OUT)];
    // A pipe that has room takes a short line whole.
    if poll(&mut waiting, Some(&PATIENCE)).is_ok_and(|ready| ready > 0) {
        let _ = rustix::io::write(stderr.as_fd(), words.as_bytes());
    }
}

#[cfg(not(unix))]
fn say(words: &str) {
    let _ = std::io::stderr().write_all(words.as_bytes());
}

struct Lifeline<'a>(&'a str);

impl Drop for Lifeline<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            end(self.0);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::{Command, Output};

    /// What the test of this name comes to in a process of its own, whose life hangs by what `act` does;
    /// `None` in that process.
    pub(crate) fn alone(name: &str, act: impl FnOnce()) -> Option<Output> {
        if std::env::var_os(CHILD).is_some() {
            act();
            return None;
        }
        Some(again(name).output().expect("a test can be started"))
    }

    fn again(name: &str) -> Command {
        let program = std::env::current_exe().expect("a test runs from its file");
        let mut command = Command::new(program);
        command
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1");
        command
    }

    /// Set in a process of a test's own.
    const CHILD: &str = "LIFELINE_CHILD";

    #[test]
    fn a_panic_of_a_control_task_ends_the_process_and_names_it() {
        let name = "lifeline::tests::a_panic_of_a_control_task_ends_the_process_and_names_it";
        let alone = alone(name, || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(async {
                let task = tokio::spawn(super::tie("the tested task", async {
                    panic!("on purpose")
                }));
                let _: Result<(), _> = task.await;
            });
        });
        let Some(output) = alone else { return };
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("tokenferry: the tested task died"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn a_standard_error_that_nobody_reads_does_not_hold_up_the_end() {
        use std::io::Write;
        let name = "lifeline::tests::a_standard_error_that_nobody_reads_does_not_hold_up_the_end";
        if std::env::var_os(CHILD).is_some() {
            super::end("the tested task");
        }
        let (reader, mut writer) = std::io::pipe().unwrap();
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        while writer.write(&[b'x'; 4096]).is_ok() {}
        rustix::fs::fcntl_setfl(&writer, flags).unwrap();
        let mut child = again(name)
            .stdout(std::process::Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(child.wait().unwrap().code()));
        let ended = told.recv_timeout(std::time::Duration::from_secs(20));
        // Lets a child go that waits.
        drop(reader);
        assert_eq!(ended, Ok(Some(1)));
    }

    #[test]
    fn a_control_task_that_a_panic_elsewhere_takes_along_does_not_end_the_process() {
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.unwrap();
            runtime.spawn(super::tie("the tested task", std::future::pending::<()>()));
            runtime.block_on(async {
                tokio::task::yield_now().await;
                panic!("a test that fails")
            })
        });
        let ended: std::thread::Result<()> = thread.join();
        assert!(ended.is_err());
    }
}
