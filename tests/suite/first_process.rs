//! Commands as the first process of a container, which the kernel ends by no signal that they do not
//! listen for.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;

use crate::cli::desk;
use crate::harness::program::command;
use crate::harness::{found, soon};

/// In a tree of processes of its own; also for users who may not make one, where the system lets them
/// be root of a space of their own.
const APART: [&str; 4] = ["--user", "--map-root-user", "--pid", "--fork"];

/// The only child of a process.
fn child_of(parent: u32) -> Option<Pid> {
    let parent = format!("PPid:\t{parent}\n");
    let processes = std::fs::read_dir("/proc").expect("Linux has it");
    let mut numbers =
        processes.filter_map(|it| it.ok()?.file_name().into_string().ok()?.parse().ok());
    let child = numbers.find(|number: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{number}/status"));
        // It may have ended meanwhile.
        status.is_ok_and(|status| status.contains(&parent))
    });
    child.and_then(Pid::from_raw)
}

#[tokio::test]
async fn doctor_and_token_end_at_a_signal_as_the_first_process_too() {
    let tried = Command::new("unshare").args(APART).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("not tested: no tree of processes of one's own is to be had here");
        return;
    }
    for words in [&["doctor"][..], &["token", "graph"]] {
        // It takes connections and says nothing.
        let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = deaf.local_addr().unwrap();
        let resolve = format!("resolve:\n  \"login.microsoftonline.com:443\": \"{at}\"\n");
        let (_simulator, folder) = desk(&resolve).await;
        let file = folder.path().join("routes.yaml");
        let mut apart = Command::new("unshare");
        apart.args(APART).arg(command().get_program()).args(words);
        apart.arg("-c").arg(&file).env_clear();
        let apart = apart.stdout(Stdio::null()).stderr(Stdio::piped());
        let apart = apart.spawn().unwrap();
        let (_waits, _) = soon(deaf.accept()).await.unwrap();
        let first = found("the first process", async || child_of(apart.id())).await;
        kill_process(first, Signal::TERM).unwrap();
        let ended = tokio::task::spawn_blocking(|| apart.wait_with_output());
        let ended = soon(ended).await.unwrap().unwrap();
        let err = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{words:?}: {err}");
        assert!(err.contains("ended by a signal"), "{words:?}: {err}");
    }
}
