//! What a newcomer runs first.

use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::caller::Caller;
use crate::harness::found;
use crate::harness::lines::Lines;
use crate::harness::program::{command, run};

/// A demo that a failing test does not leave behind.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Host and target of the address in a line to try, as sh, PowerShell and cmd.exe alike hand it to
/// curl: only double quotes are quotes to all of them.
fn tried(line: &str) -> Option<(SocketAddr, String)> {
    let word = line.trim().strip_prefix("curl ")?;
    let quoted = word
        .strip_prefix('"')
        .and_then(|word| word.strip_suffix('"'));
    let special = |c: char| "?*&;'".contains(c);
    let url = quoted.unwrap_or(word);
    // Between two `%` cmd.exe looks for a variable.
    let changed = url.contains(['$', '`', '\\', '!']) || url.matches('%').count() > 1;
    assert!(
        !changed && (quoted.is_some() || !word.contains(special)),
        "a shell changes {word}"
    );
    let url = url.strip_prefix("http://")?;
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    Some((host.parse().ok()?, format!("/{path}")))
}

/// Whether both pages of users are shown to their end: what is cut makes no good impression.
fn answers_whole(out: &str) -> bool {
    let pages = out.lines().filter(|line| line.contains("Fake"));
    let ends: Vec<bool> = pages.map(|line| line.ends_with("}]")).collect();
    ends == [true, true]
}

#[tokio::test]
async fn the_demo_shows_answers_and_counters_and_leaves() {
    let mut demo = command();
    demo.args(["demo", "--exit"]);
    let (code, out, err) = run(demo).await;
    assert_eq!(code, 0, "{out}{err}");
    let shown = [
        "/graph/v1.0/users?$top=2",
        "@odata.nextLink",
        "$skiptoken=",
        "/dynamics/api/data/v9.2/accounts",
        "tokenferry_token_cache_hits_total{",
        "tokenferry_token_refreshes_total{",
    ];
    for words in shown {
        assert!(out.contains(words), "{words} in {out}");
    }
    let answers = out.lines().filter(|line| line.starts_with("  \""));
    let longest = answers.map(|line| line.chars().count()).max();
    assert!(longest.is_some_and(|longest| longest <= 163), "{out}");
    let whole = answers_whole(&out);
    assert!(whole, "what it shows of users is cut: {out}");
    // Of the columns that it asks for, and no more.
    assert!(
        out.contains("accounts(name)") && !out.contains("revenue"),
        "{out}"
    );
}

#[tokio::test]
async fn the_demo_works_where_a_forward_proxy_leads_out() {
    // Nobody listens there, so whatever goes by it fails; and the second could not be used at all.
    for (name, value) in [
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
    ] {
        let mut demo = command();
        demo.args(["demo", "--exit"])
            .env_remove("HTTPS_PROXY")
            .env_remove("NO_PROXY")
            .env(name, value);
        let (code, out, err) = run(demo).await;
        assert_eq!(code, 0, "{name}: {out}{err}");
    }
}

#[tokio::test]
async fn the_demo_works_whatever_the_folder_for_temporary_files_is_called() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["O'Brien", "${HOME}", "a \"quoted\" name: #1"] {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let mut demo = command();
        demo.args(["demo", "--exit"]).env("TMPDIR", path);
        let (code, out, err) = run(demo).await;
        assert_eq!(code, 0, "{name}: {out}{err}");
    }
}

#[tokio::test]
async fn a_folder_for_temporary_files_that_is_not_there_is_told_with_what_names_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = command();
    let missing = folder.path().join("missing");
    demo.args(["demo", "--exit"]).env("TMPDIR", &missing);
    let (code, out, err) = run(demo).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let missing = missing.to_str().unwrap();
    assert!(err.contains("set TMPDIR") && err.contains(missing), "{err}");
}

#[tokio::test]
async fn a_reader_who_leaves_early_makes_no_command_fail() {
    for words in [&["schema"][..], &["demo", "--exit"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = command();
        command.args(words).stdout(writer);
        let (code, _, err) = run(command).await;
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
    }
}

#[tokio::test]
async fn a_file_without_its_option_is_refused_with_the_option() {
    for words in [["check", "routes.yaml"], ["run", "routes.yaml"]] {
        let mut command = command();
        command.args(words);
        let (code, _, err) = run(command).await;
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("[-c FILE]"), "{err}");
    }
}

/// A demo that stays up, what it says, and where it writes.
struct Shown {
    demo: Demo,
    out: Lines,
    folder: tempfile::TempDir,
}

impl Shown {
    async fn start() -> Self {
        let mut demo = command();
        demo.arg("demo");
        Self::of(demo).await
    }

    async fn of(demo: Command) -> Self {
        let shown = Self::begin(demo);
        shown.out.says("Ctrl-C").await;
        shown
    }

    fn begin(mut demo: Command) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        demo.env("TMPDIR", folder.path());
        let mut child = demo.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = Lines::follow(child.stdout.take().expect("a pipe"));
        let demo = Demo(child);
        Self { demo, out, folder }
    }

    /// How it ends at this signal, leaving nothing behind.
    async fn end(self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.demo.0), signal).expect("it is there");
        let demo = std::cell::RefCell::new(self.demo);
        let ended = || async { demo.borrow_mut().0.try_wait().expect("it is a child") };
        let status = found("the demo ends", ended).await;
        let left = std::fs::read_dir(self.folder.path()).expect("it is there");
        let left: Vec<_> = left
            .map(|entry| entry.expect("it can be read").path())
            .collect();
        assert!(left.is_empty(), "{signal:?} {status}: {left:?}");
        status
    }
}

#[tokio::test]
async fn the_demo_stays_up_for_the_lines_it_prints_until_a_signal() {
    let shown = Shown::start().await;
    let lines = shown.out.all();
    let mut lines: Vec<_> = lines.iter().filter_map(|line| tried(line)).collect();
    assert_eq!(lines.len(), 3, "{}", shown.out.text());
    // Where files lie is a name of somebody else's, to all but the proxy.
    let file = "/graph/v1.0/drives/d/items/i/content".to_owned();
    lines.push((lines[0].0, file));
    for (address, target) in lines {
        let mut caller = Caller::connect(address).await;
        let answer = caller.exchange(&format!("GET {target} HTTP/1.1")).await;
        answer.expect(200);
    }
    assert_eq!(shown.end(Signal::TERM).await.code(), Some(0));
}

#[tokio::test]
async fn a_demo_that_is_ended_while_it_starts_leaves_nothing_behind() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut demo = command();
        demo.arg("demo");
        let shown = Shown::begin(demo);
        let files = || async { std::fs::read_dir(shown.folder.path()).ok()?.next() };
        found("the demo has a folder", files).await.unwrap();
        let ended = shown.end(signal).await;
        assert!(ended.code().is_some(), "{ended}");
    }
}

/// Whether this process ignores SIGHUP, and what it starts does so too.
#[cfg(target_os = "linux")]
fn ignores_hang_up(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the process has a status");
    let ignored = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let ignored = ignored.expect("it is a mask");
    ignored & (1 << (Signal::HUP.as_raw() - 1)) != 0
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_demo_ends_with_its_terminal() {
    if ignores_hang_up("self") {
        println!("not tested: under nohup, what the demo gets by it stays up");
        return;
    }
    let shown = Shown::start().await;
    assert_eq!(shown.end(Signal::HUP).await.code(), Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_demo_outlives_its_terminal_where_it_is_to() {
    let mut shell = Command::new("sh");
    shell
        .env_clear()
        .args(["-c", "trap '' HUP; exec \"$0\" demo"]);
    shell.arg(command().get_program());
    let shown = Shown::of(shell).await;
    assert!(ignores_hang_up(&shown.demo.0.id().to_string()));
    assert_eq!(shown.end(Signal::TERM).await.code(), Some(0));
}
