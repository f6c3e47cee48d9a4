//! The commands, as the real binary runs them.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tokenferry::simulator::{LOGIN, SECRET_CANARY, Simulator};

use crate::harness::program::{command, run};
use crate::harness::routes_yaml;

/// A simulator and a file for it.
pub(crate) async fn desk(own: &str) -> (Simulator, TempDir) {
    tokenferry::trust::install_provider();
    let simulator = Simulator::start().await.expect("the simulator starts");
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let text = routes_yaml(&simulator, folder.path(), own);
    std::fs::write(folder.path().join("routes.yaml"), text).expect("the folder can be written");
    (simulator, folder)
}

pub(crate) fn with_file(words: &[&str], folder: &Path) -> Command {
    let mut command = command();
    command
        .args(words)
        .arg("-c")
        .arg(folder.join("routes.yaml"));
    command
}

#[tokio::test]
async fn check_prints_a_table_of_a_file_that_is_fine() {
    let (_simulator, folder) = desk("").await;
    let (code, out, err) = run(with_file(&["check"], folder.path())).await;
    assert_eq!(code, 0, "{out}{err}");
    for word in [
        "graph",
        "/graph",
        "https://graph.microsoft.com",
        "dynamics",
        "contoso",
    ] {
        assert!(out.contains(word), "{word} in {out}");
    }
    assert!(!format!("{out}{err}").contains(SECRET_CANARY));
}

#[tokio::test]
async fn check_of_a_file_without_its_variables_needs_a_word() {
    let own = "\
credentials:
  contoso:
    tenant_id: ${SOME_TENANT}
    client_id: ${SOME_CLIENT}
    client_secret: ${SOME_SECRET}
";
    let (_simulator, folder) = desk(own).await;
    let (code, out, err) = run(with_file(&["check"], folder.path())).await;
    assert_eq!(code, 2);
    let all = format!("{out}{err}");
    for name in ["SOME_TENANT", "SOME_CLIENT", "SOME_SECRET"] {
        assert!(all.contains(name), "{name} in {all}");
    }
    let lenient = with_file(&["check", "--allow-missing-env"], folder.path());
    let (code, out, err) = run(lenient).await;
    assert_eq!(code, 0, "{out}{err}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_ends_the_run_with_2() {
    let (_simulator, folder) = desk("routes: []\n").await;
    for words in [&["run"][..], &[]] {
        let (code, _, err) = run(with_file(words, folder.path())).await;
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("routes"), "{err}");
        assert!(
            err.ends_with("\ntokenferry: not started, 1 problem\n"),
            "{err}"
        );
    }
    let mut missing = command();
    missing.args(["run", "-c", "/nonexistent/routes.yaml"]);
    assert_eq!(run(missing).await.0, 2);
    let mut default = command();
    default.current_dir(folder.path());
    assert_eq!(run(default).await.0, 2, "routes.yaml here is the default");
    let mut named = command();
    named.env("TOKENFERRY_CONFIG", folder.path().join("routes.yaml"));
    assert_eq!(run(named).await.0, 2);
    let mut empty = command();
    empty.args(["schema"]).env("TOKENFERRY_CONFIG", "");
    assert_eq!(run(empty).await.0, 0, "an empty variable is none");
    let mut empty = command();
    empty
        .current_dir(folder.path())
        .env("TOKENFERRY_CONFIG", "");
    let (code, _, err) = run(empty).await;
    assert_eq!(code, 2);
    assert!(err.starts_with("routes.yaml:"), "{err}");
    let mut unknown = command();
    unknown.arg("frobnicate");
    assert_eq!(run(unknown).await.0, 2);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (_simulator, folder) = desk(&format!("listen: {address}\n")).await;
    let (code, _, err) = run(with_file(&["run"], folder.path())).await;
    // The file is fine, and a supervisor may try again.
    assert_eq!(code, 1, "{err}");
    assert!(err.contains(&address.to_string()), "{err}");
}

#[tokio::test]
async fn a_place_that_cannot_be_written_may_be_tried_again() {
    let (_simulator, folder) = desk("tls: local\n").await;
    for (word, expected) in [("check", 0), ("run", 1)] {
        let mut unwritable = with_file(&[word], folder.path());
        unwritable.env("XDG_STATE_HOME", folder.path().join("routes.yaml"));
        let (code, _, err) = run(unwritable).await;
        assert_eq!(code, expected, "{word}: {err}");
        assert_eq!(err.contains("cannot use"), word == "run", "{err}");
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_ones_are_refused_with_their_options() {
    let (_simulator, folder) = desk("").await;
    for (listen, admin, said) in [
        ("nonsense", "no", "write localhost:8080 ("),
        (
            "0.0.0.0:70000",
            "1.1.1.1:x",
            "a port is a number from 0 to 65535",
        ),
        ("unix:", "unix:", "unix: is followed by the path"),
    ] {
        let words = ["run", "--listen", listen, "--admin", admin];
        let (code, _, err) = run(with_file(&words, folder.path())).await;
        assert_eq!(code, 2, "{err}");
        for (option, text) in [("--listen", listen), ("--admin", admin)] {
            let told = format!("{option} takes an address, not \"{text}\": {said}");
            assert!(err.contains(&told), "{told} in {err}");
        }
    }
}

#[tokio::test]
async fn one_address_for_both_listeners_is_refused() {
    let (_simulator, folder) = desk("").await;
    let words = [
        "run",
        "--listen",
        "127.0.0.1:8889",
        "--admin",
        "0.0.0.0:8889",
    ];
    let (code, _, err) = run(with_file(&words, folder.path())).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("cannot both be listened on"), "{err}");
}

#[tokio::test]
async fn token_prints_claims_or_the_token_itself() {
    let (simulator, folder) = desk("").await;
    let (code, out, err) = run(with_file(&["token", "graph"], folder.path())).await;
    assert_eq!(code, 0, "{err}");
    let claims: serde_json::Value = serde_json::from_str(&out).expect("it is JSON alone");
    assert!(
        claims["aud"].is_string() && claims["roles"].is_array(),
        "{claims}"
    );
    assert!(err.contains("expires in "), "{err}");
    let token = simulator.tokens().pop().unwrap();
    assert!(!out.contains(&token));
    let signature = token.rsplit('.').next().unwrap();
    assert!(!format!("{out}{err}").contains(signature));

    let (code, out, _) = run(with_file(&["token", "graph", "--raw"], folder.path())).await;
    assert_eq!(code, 0);
    assert_eq!(out, simulator.tokens().pop().unwrap() + "\n");
}

#[tokio::test]
async fn token_says_why_there_is_none() {
    let (simulator, folder) = desk("").await;
    let (code, out, err) = run(with_file(&["token", "nowhere"], folder.path())).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("graph") && err.contains("dynamics"), "{err}");
    simulator.expire_client_secrets();
    let (code, out, err) = run(with_file(&["token", "graph"], folder.path())).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("AADSTS7000222"), "{err}");
    assert!(!err.contains(SECRET_CANARY));
    simulator.outage(LOGIN);
    let (code, _, err) = run(with_file(&["token", "graph"], folder.path())).await;
    assert_eq!(code, 1);
    assert!(err.contains(LOGIN), "{err}");
}

#[tokio::test]
async fn schema_prints_json() {
    let mut schema = command();
    schema.arg("schema");
    let (code, out, _) = run(schema).await;
    assert_eq!(code, 0);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(schema["properties"]["routes"].is_object(), "{out}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_cannot_be_written_is_no_success() {
    let (_simulator, folder) = desk("").await;
    for words in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["schema"],
        &["check"],
        &["demo", "--exit"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = command();
        command
            .args(words)
            .env("TOKENFERRY_CONFIG", folder.path().join("routes.yaml"))
            .stdout(full.expect("Linux has it"));
        // `output` would take standard output for itself.
        let child = command.stderr(std::process::Stdio::piped()).spawn();
        let ended = tokio::task::spawn_blocking(|| child?.wait_with_output());
        let ended = crate::harness::soon(ended).await.unwrap().unwrap();
        let err = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{words:?}: {err}");
        let told =
            "cannot write to standard output; look at where it leads: No space left on device";
        assert!(err.contains(told), "{words:?}: {err}");
    }
}

#[tokio::test]
async fn the_command_line_overrides_the_addresses_of_the_file() {
    use crate::harness::lines::Lines;
    let (_simulator, folder) = desk("listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\n").await;
    let mut command = with_file(
        &["run", "--listen", "127.0.0.1:0", "--admin", "off"],
        folder.path(),
    );
    let mut child = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let err = Lines::follow(child.stderr.take().unwrap());
    let listening = |line: &str| line.contains("\"listening\"").then(|| line.to_owned());
    let line = err.find("listening", listening).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        line.contains("127.0.0.1:") && !line.contains("127.0.0.1:1\""),
        "{line}"
    );
    assert!(!err.text().contains("status page"), "{}", err.text());
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_file_that_is_listened_on_is_told() {
    use crate::harness::lines::Lines;
    let (_simulator, folder) = desk("").await;
    let address = format!("unix:{}", folder.path().join("socket").display());
    let words = ["run", "--listen", &address, "--admin", "off"];
    let mut child = with_file(&words, folder.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let err = Lines::follow(child.stderr.take().unwrap());
    let told =
        |line: &str| (line.contains("\"listening\"") && line.contains(&address)).then_some(());
    err.find("listening", told).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn the_command_line_cannot_make_an_upstream_of_the_proxy_itself() {
    let own = "routes: [{name: graph, path: /graph, upstream: 'http://127.0.0.1:8889'}]\n";
    let (_simulator, folder) = desk(own).await;
    for option in ["--listen", "--admin"] {
        let words = ["run", option, "127.0.0.1:8889"];
        let (code, _, err) = run(with_file(&words, folder.path())).await;
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("this proxy itself"), "{err}");
    }
}

#[tokio::test]
async fn options_of_run_count_before_its_name_too() {
    let (_simulator, folder) = desk("").await;
    for (words, said) in [
        (["--listen", "nonsense", "run"], "--listen takes an address"),
        (["--admin", "nonsense", "run"], "; or off, to have none"),
    ] {
        let (code, _, err) = run(with_file(&words, folder.path())).await;
        assert_eq!(code, 2, "{words:?}: {err}");
        assert!(err.contains(said), "{words:?}: {err}");
    }
    let twice = ["--listen", "127.0.0.1:0", "run", "--listen", "127.0.0.1:0"];
    let (code, _, err) = run(with_file(&twice, folder.path())).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("--listen is given twice"), "{err}");
}

#[tokio::test]
async fn options_of_run_are_refused_where_nothing_runs() {
    let (_simulator, folder) = desk("").await;
    for option in [
        ["--listen", "nonsense"],
        ["--admin", "off"],
        ["--workers", "1"],
    ] {
        for command in [
            &["check"][..],
            &["doctor"],
            &["token", "graph"],
            &["schema"],
        ] {
            let words = [&option[..], command].concat();
            let (code, out, err) = run(with_file(&words, folder.path())).await;
            assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {err}");
            let said = format!("{} is an option of run", option[0]);
            assert!(
                err.contains(&said) && err.contains("Usage"),
                "{words:?}: {err}"
            );
        }
    }
}

#[tokio::test]
async fn a_configuration_is_refused_where_none_is_read() {
    let (_simulator, folder) = desk("").await;
    for command in ["schema", "demo"] {
        let (code, out, err) = run(with_file(&[command], folder.path())).await;
        assert_eq!((code, out.as_str()), (2, ""), "{command}: {err}");
        assert!(
            err.contains("--config names ") && err.contains("reads no configuration"),
            "{command}: {err}"
        );
        let mut help = crate::harness::program::command();
        help.args([command, "--help"]);
        let (_, out, _) = run(help).await;
        assert!(!out.contains("--config"), "{command}: {out}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_start_that_too_few_descriptors_are_left_for_says_what_to_raise() {
    let (_simulator, folder) = desk("workers: 1\n").await;
    // Those that this process inherited are not to count: `make` hands two to all that it runs.
    let script = "exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-; ulimit -n $0; exec \"$@\"";
    // Three are the standard streams, and one worker needs more than the most of these.
    for most in 4..=12 {
        let start = with_file(&["run"], folder.path());
        let mut limited = Command::new("/bin/sh");
        limited
            .env_clear()
            .args(["-c", script, &most.to_string()])
            .arg(start.get_program())
            .args(start.get_args());
        let (code, _, err) = run(limited).await;
        assert!(code == 1 || code == 2, "{most}: {code} {err}");
        assert!(err.contains("raise the limit"), "{most}: {err}");
        assert!(!err.contains("panicked"), "{most}: {err}");
    }
}
