//! What the running program does for its own protection, and what `check` says about a door that is
//! left open.

use std::fs;

use rustix::process::Signal;

use crate::harness::program::{Program, command, run};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    for (name, text) in [
        ("secret", "the-secret-of-the-app"),
        ("short", "hunter2"),
        ("long", "a-key-of-good-length-0001"),
        (
            "none.pem",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ),
        (
            "cut.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nAA",
        ),
    ] {
        fs::write(folder.path().join(name), text).expect("the folder can be written");
    }
    folder
}

#[tokio::test]
async fn a_door_that_is_configured_badly_is_told_by_check_with_its_place() {
    let folder = folder();
    let file = folder.path().join("routes.yaml");
    let shown = folder.path().display().to_string();
    for (lines, code, words) in [
        (
            "callers: {cron: {api_key_file: FOLDER/short}}",
            0,
            "the API key in short is short",
        ),
        (
            "tls: {certificate_file: FOLDER/none.pem, key_file: FOLDER/long, client_ca_file: FOLDER/none.pem}\ncallers: {cron: {client_certificate: x}}",
            2,
            "none.pem holds no PEM certificate",
        ),
        (
            "kubernetes: {issuer: 'https://k', audience: a, ca_file: FOLDER/none.pem, token_file: FOLDER/long}\ncallers: {cron: {service_account: a/b}}",
            2,
            "none.pem holds no PEM certificate",
        ),
        (
            "trust: {ca_file: FOLDER/cut.pem}\ncallers: {cron: {api_key_file: FOLDER/long}}",
            2,
            "section of the CA file cut.pem is broken; copy the file anew from where it was made: a section has no END line",
        ),
    ] {
        let text = format!(
            "credentials: {{a: {{tenant_id: contoso.com, client_id: a, client_secret_file: FOLDER/secret}}}}\n{lines}\n\
             routes: [{{name: g, path: /g, upstream: 'https://graph.microsoft.com', callers: [cron]}}]\n"
        );
        fs::write(&file, text.replace("FOLDER", &shown)).expect("the folder can be written");
        let (got, out, err) = run(crate::cli::with_file(&["check"], folder.path())).await;
        let said = format!("{out}{err}").replace(&format!("{shown}/"), "");
        assert_eq!(got, code, "{lines}\n{said}");
        let placed = said.lines().any(|line| line.starts_with("routes.yaml:2:"));
        assert!(placed && said.contains(words), "{lines}\n{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_core_is_dumped_and_no_other_process_of_the_user_looks_in() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;

    use crate::harness::lines::Lines;

    let folder = folder();
    let open = |name: &str| {
        let path = folder.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let routes = "listen: 127.0.0.1:0\nadmin: off\n\
        credentials: {a: {tenant_id: contoso.com, client_id: a, client_secret: '${SECRET}'}}\n\
        routes: [{name: g, path: /g, upstream: 'http://127.0.0.1:9', scope: 'https://a.example/.default'}]\n";
    fs::write(folder.path().join("routes.yaml"), routes).unwrap();
    // Not by this process: what another test starts meanwhile has the copy open for writing until it
    // has become what it is, and so long the copy cannot be run.
    let copied = std::process::Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_tokenferry"))
        .arg(folder.path().join("program"))
        .status();
    assert!(copied.expect("there is a cp").success());
    open("");
    // Root sees everything, so the program must be somebody else's.
    let user = rustix::process::getuid();
    let mut command = std::process::Command::new(open("program"));
    command
        .env_clear()
        .env("SECRET", "the-secret-of-the-app")
        .args(["run", "-c"])
        .arg(open("routes.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if user.is_root() {
        // `nobody`
        command.uid(65534);
    }
    let mut child = command.spawn().expect("the binary runs");
    let err = Lines::follow(child.stderr.take().expect("a pipe"));
    err.says("listening").await;
    let owner = fs::metadata(format!("/proc/{}/environ", child.id()));
    let owner = owner.expect("it is there").uid();
    let core = core_limit(child.id());
    child.kill().expect("it is there");
    child.wait().expect("it is a child");
    assert_eq!(core, ["0", "0", "bytes"]);
    // The kernel gives these files to root when a process is not dumpable; memory, environment and
    // debugging are closed to its own user then.
    assert_eq!(owner, 0);
}

/// The bounds on core dumps of this process.
#[cfg(target_os = "linux")]
fn core_limit(process: u32) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("it is there");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words = line.expect("Linux lists it").split_whitespace().skip(4);
    words.map(str::to_owned).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_core_is_dumped_of_a_command_that_holds_a_secret_for_a_moment() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let silent = silent.expect("there are ports");
    let address = silent.local_addr().expect("it is bound");
    let folder = folder();
    let file = folder.path().join("routes.yaml");
    let routes = format!(
        "credentials: {{a: {{tenant_id: contoso.com, client_id: a, client_secret: '${{SECRET}}', authority: 'http://{address}'}}}}\n\
         routes: [{{name: g, path: /g, upstream: 'http://127.0.0.1:9', scope: 'https://a.example/.default'}}]\n"
    );
    fs::write(&file, routes).expect("the folder can be written");
    for words in [&["doctor"][..], &["token", "g"]] {
        let mut command = command();
        command
            .env("SECRET", "the-secret-of-the-app")
            .args(words)
            .arg("-c")
            .arg(&file)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut child = command.spawn().expect("the binary runs");
        // It asks, and gets no answer.
        let asked = crate::harness::soon(silent.accept()).await;
        let core = core_limit(child.id());
        child.kill().expect("it is there");
        child.wait().expect("it is a child");
        drop(asked);
        assert_eq!(core, ["0", "0", "bytes"], "{words:?}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_core_is_dumped_of_a_check_which_reads_every_secret() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("routes.yaml");
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo runs").success());
    let mut child = crate::cli::with_file(&["check"], folder.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary runs");
    // It reads, and there is nothing yet.
    let open = move || fs::OpenOptions::new().write(true).open(file);
    let opened = crate::harness::soon(tokio::task::spawn_blocking(open)).await;
    let core = core_limit(child.id());
    child.kill().expect("it is there");
    child.wait().expect("it is a child");
    drop(opened);
    assert_eq!(core, ["0", "0", "bytes"]);
}

#[tokio::test]
async fn an_open_door_is_told_at_the_start_and_when_a_reload_opens_it() {
    const TOLD: &str = "listening beyond loopback without callers";
    let own = |route: &str| {
        format!(
            "listen: 0.0.0.0:0\ncallers: {{cron: {{api_key_file: SECRET_FILE}}}}\nroutes:\n  - {{name: shut, path: /s, upstream: 'https://GRAPH', callers: [cron]}}\n  - {route}\n"
        )
    };
    let shut = own("{name: other, path: /o, upstream: 'https://GRAPH', callers: [cron]}");
    let open = own("{name: other, path: /o, upstream: 'https://GRAPH'}");
    let told = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = event["message"].as_str()?.starts_with(TOLD);
        is_it.then(|| event["routes"].clone())
    };
    let program = Program::start(&open, "").await;
    assert_eq!(program.err.find("the warning", told).await, "other");
    let program = Program::start(&shut, "").await;
    program.rewrite(&open);
    program.signal(Signal::HUP);
    assert_eq!(program.err.find("the warning", told).await, "other");
}

#[tokio::test]
async fn a_reload_that_takes_tls_away_is_told_and_one_that_keeps_it_is_not() {
    const GONE: &str = "tls is gone from the configuration";
    let program = Program::start("tls: local\n", "").await;
    let gone = |line: &str| line.contains(GONE);
    let told = |line: &str| (gone(line) || line.contains("was reloaded")).then(|| gone(line));
    program.signal(Signal::HUP);
    assert!(!program.err.find("the reload", told).await);
    program.rewrite("");
    program.signal(Signal::HUP);
    program.err.says(GONE).await;
}

#[tokio::test]
async fn the_name_of_a_file_does_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a\u{1b}]0;owned\u{7}\u{202e}\nb.yaml");
    let fine = "routes: [{name: a, path: /a, upstream: 'https://a.com'}]\n";
    for words in ["check", "doctor", "run", "demo"] {
        for text in [None, Some("routes: 1\n"), Some(fine)] {
            if let Some(text) = text {
                fs::write(&file, text).unwrap();
            }
            let mut named = command();
            named.arg(words).arg("-c").arg(&file);
            if words == "check" {
                named.arg("--allow-missing-env");
            }
            let (_, out, err) = run(named).await;
            let said = format!("{out}{err}");
            assert!(said.contains("owned"), "{words}: {said}");
            let acts = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
            assert!(
                !said.contains(acts) && !said.contains("\nb.yaml"),
                "{words}: {said:?}"
            );
        }
        let _ = fs::remove_file(&file);
    }
}
