//! The real binary, in front of a simulator of this process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokenferry::simulator::Simulator;

use super::answer::Answer;
use super::caller::Caller;
use super::lines::Lines;
use super::{allow_files, found, routes_yaml};

/// A running `tokenferry`. It ends with this value.
pub(crate) struct Program {
    pub(crate) simulator: Simulator,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    folder: TempDir,
    child: Child,
}

/// The command, with nothing of this process's environment but what a program needs to run.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenferry"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs a command that ends by itself, in the threads of the runtime that may block.
pub(crate) async fn run(mut command: Command) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = super::soon(output).await.expect("the thread ends");
    let output = output.expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

impl Program {
    /// `run` with these lines of configuration.
    pub(crate) async fn start(own: &str, levels: &str) -> Self {
        let simulator = Simulator::start().await.expect("the simulator starts");
        Self::within(simulator, own, &[("TOKENFERRY_LOG", levels)]).await
    }

    /// `run` in front of this simulator, with these variables in its environment.
    pub(crate) async fn within(simulator: Simulator, own: &str, vars: &[(&str, &str)]) -> Self {
        Self::writing_to(Stdio::piped(), simulator, own, vars).await
    }

    /// The same with this standard output; of one that is no pipe `out` has nothing.
    pub(crate) async fn writing_to(
        out: Stdio,
        simulator: Simulator,
        own: &str,
        vars: &[(&str, &str)],
    ) -> Self {
        allow_files();
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let text = routes_yaml(&simulator, folder.path(), own);
        let file = folder.path().join("routes.yaml");
        std::fs::write(&file, text).expect("the folder can be written");
        let mut child = command()
            .env("XDG_STATE_HOME", folder.path())
            .envs(vars.iter().copied())
            .arg("run")
            .arg("-c")
            .arg(&file)
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let out = child.stdout.take().map_or_else(Lines::new, Lines::follow);
        let err = Lines::follow(child.stderr.take().expect("a pipe"));
        let address = announced(&err, "listening").await;
        let admin = announced(&err, "metrics, probes and status page").await;
        Self {
            simulator,
            out,
            err,
            address,
            admin,
            folder,
            child,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder().join("routes.yaml")
    }

    /// Writes other lines of configuration; they count after a reload.
    pub(crate) fn rewrite(&self, own: &str) {
        let text = routes_yaml(&self.simulator, self.folder(), own);
        std::fs::write(self.file(), text).expect("the folder can be written");
    }

    pub(crate) async fn caller(&self) -> Caller {
        Caller::connect(self.address).await
    }

    /// One GET on a connection of its own.
    pub(crate) async fn get(&self, target: &str) -> Answer {
        let mut caller = self.caller().await;
        caller.exchange(&format!("GET {target} HTTP/1.1")).await
    }

    /// One GET to the admin listener.
    pub(crate) async fn get_admin(&self, target: &str) -> Answer {
        let mut caller = Caller::connect(self.admin).await;
        caller.exchange(&format!("GET {target} HTTP/1.1")).await
    }

    /// Leaves it this many file descriptors.
    #[cfg(target_os = "linux")]
    pub(crate) fn limit_files(&self, most: u64) {
        self.limit(rustix::process::Resource::Nofile, most);
    }

    /// Leaves it this much of something.
    #[cfg(target_os = "linux")]
    pub(crate) fn limit(&self, what: rustix::process::Resource, most: u64) {
        use rustix::process::{Rlimit, getrlimit, prlimit};
        let maximum = getrlimit(what).maximum;
        let limit = Rlimit {
            current: Some(maximum.map_or(most, |maximum| most.min(maximum))),
            maximum,
        };
        prlimit(Some(Pid::from_child(&self.child)), what, limit)
            .expect("the limit of a child can be set");
    }

    /// The file descriptors that it has open.
    #[cfg(target_os = "linux")]
    pub(crate) async fn open_files(&self) -> usize {
        if let Ok(files) = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())) {
            return files.count();
        }
        // To all but root the process does not show them. It counts them itself, with the connection
        // on which it is asked, and the folder in which it looks.
        let own = super::numbers::Numbers::scrape(self.admin)
            .await
            .sum("process_open_fds", &[]);
        own as usize - 2
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process is there");
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = std::cell::RefCell::new(&mut self.child);
        found("the process ends", || async {
            child
                .borrow_mut()
                .try_wait()
                .expect("the process is a child")
        })
        .await
    }

    /// Whether it runs still.
    pub(crate) fn runs(&mut self) -> bool {
        let ended = self.child.try_wait().expect("the process is a child");
        ended.is_none()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory so far in KiB.
    pub(crate) fn most_resident(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        number
            .and_then(|number| number.parse().ok())
            .expect("memory is a number of KiB")
    }
}

/// The address of an event of the log.
async fn announced(err: &Lines, message: &str) -> SocketAddr {
    err.find(message, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = event.to_string();
        if !text.contains(&format!("\"{message}\"")) {
            return None;
        }
        address_in(&event)
    })
    .await
}

fn address_in(event: &Value) -> Option<SocketAddr> {
    match event {
        Value::Object(fields) => match fields.get("address").and_then(Value::as_str) {
            Some(address) => address.parse().ok(),
            None => fields.values().find_map(address_in),
        },
        _ => None,
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
