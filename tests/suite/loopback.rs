//! `localhost:PORT` on a machine that has one of the two loopback addresses only.

use std::process::{Command, Stdio};

use crate::cli::{desk, with_file};
use crate::harness::lines::Lines;

/// In a network of its own; also for users who may not make one, where the system lets them be root of
/// a space of their own. What follows is the address that is taken away, and the program.
const APART: [&str; 6] = [
    "--user",
    "--map-root-user",
    "--net",
    "sh",
    "-c",
    "ip link set lo up && ip address delete \"$0\" dev lo && exec \"$@\"",
];

/// A command whose machine has no such address.
fn without(address: &str, command: &Command) -> Command {
    let mut apart = Command::new("unshare");
    apart.args(APART).arg(address).arg(command.get_program());
    apart.args(command.get_args());
    apart
}

#[tokio::test]
async fn localhost_is_the_loopback_address_that_the_machine_has() {
    for (taken, left) in [("127.0.0.1/8", "[::1]:"), ("::1/128", "127.0.0.1:")] {
        let tried = without(taken, &Command::new("true")).status();
        if !tried.is_ok_and(|status| status.success()) {
            println!("not tested: no network of one's own is to be had here");
            return;
        }
        let own = "listen: localhost:0\nadmin: localhost:0\n";
        let (_simulator, folder) = desk(own).await;
        let mut apart = without(taken, &with_file(&["run"], folder.path()));
        apart.env("XDG_STATE_HOME", folder.path());
        let apart = apart.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = apart.spawn().unwrap();
        let err = Lines::follow(child.stderr.take().unwrap());
        err.says("metrics, probes and status page").await;
        child.kill().unwrap();
        child.wait().unwrap();
        let lines = err.all();
        let told: Vec<_> = lines
            .iter()
            .filter(|it| it.contains("\"address\""))
            .collect();
        let alone = told.iter().all(|line| line.contains(left));
        assert!(alone && told.len() == 2, "{taken}: {}", err.text());
    }
}
