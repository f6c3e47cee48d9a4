//! Another configuration while the process runs.

use rustix::process::Signal;
use tokenferry::simulator::{
    CLIENT_ID, Fault, GRAPH, ORGANISATION, Script, TENANT_DOMAIN, TENANT_ID,
};

use crate::harness::program::Program;
use crate::harness::stage::{AT_ONCE, Stage};
use crate::harness::{TWO_ROUTES, soon, until};

const ONE_ROUTE: &str = "routes: [{name: graph, path: /g, upstream: 'https://GRAPH'}]\n";

async fn reloads(program: &Program, outcome: &str, wanted: f64) {
    let labels = [("outcome", outcome)];
    let name = "tokenferry_config_reloads_total";
    crate::harness::numbers::becomes(program.admin, name, &labels, wanted).await;
}

#[tokio::test]
async fn sighup_puts_the_file_in_force() {
    let program = Program::start("", "").await;
    program.get("/graph/sim/bytes/1").await.expect(200);
    program.get("/g/sim/bytes/1").await.expect(404);
    program.rewrite(ONE_ROUTE);
    program.signal(Signal::HUP);
    reloads(&program, "success", 1.0).await;
    program.get("/g/sim/bytes/1").await.expect(200);
    program.get("/graph/sim/bytes/1").await.expect(404);
    program.get_admin("/readyz").await.expect(200);
}

#[tokio::test]
async fn a_file_that_is_refused_changes_nothing_and_is_reported() {
    let program = Program::start("", "").await;
    program.get("/graph/sim/bytes/1").await.expect(200);
    program.rewrite(&format!("{TWO_ROUTES}    frobnicate: 1\n"));
    program.signal(Signal::HUP);
    reloads(&program, "failure", 1.0).await;
    program.get("/graph/sim/bytes/1").await.expect(200);
    program.err.says("frobnicate").await;
    let status = program.get_admin("/status.json").await.expect(200).json();
    let problems = status["configuration"]["refused"]["problems"].as_array();
    let [problem] = problems.expect("a list").as_slice() else {
        panic!("one problem, not {status}");
    };
    assert!(problem.to_string().contains("frobnicate"), "{problem}");
    let page = program.get_admin("/metrics").await.expect(200).text();
    assert!(page.contains("\ntokenferry_config_last_reload_successful 0\n"));

    program.rewrite(TWO_ROUTES);
    program.signal(Signal::HUP);
    reloads(&program, "success", 1.0).await;
    let status = program.get_admin("/status.json").await.expect(200).json();
    assert_eq!(status["configuration"]["refused"], serde_json::Value::Null);
}

#[tokio::test]
async fn each_problem_of_a_reload_is_an_event_of_its_own() {
    let program = Program::start("", "").await;
    let wrong = |n: usize| format!("wrong{}", "g".repeat(n));
    let lines: Vec<String> = (0..30).map(|n| format!("    {}: 1\n", wrong(n))).collect();
    program.rewrite(&format!("{TWO_ROUTES}{}", lines.concat()));
    program.signal(Signal::HUP);
    let message = "the configuration was not reloaded";
    let more = program.err.find("the rest", |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        event["more"].as_u64().map(|more| (more, event))
    });
    let (more, event) = more.await;
    assert!(
        event["message"].as_str().unwrap().starts_with(message),
        "{event}"
    );
    let all = program.err.all();
    let events = all
        .iter()
        .map(|line| serde_json::from_str(line).expect("it is JSON"));
    let problems: Vec<String> = events
        .filter(|event: &serde_json::Value| event["message"] == message)
        .map(|event| event["problem"].as_str().expect("it has one").to_owned())
        .collect();
    assert_eq!(problems.len() as u64 + more, 30, "{problems:?}");
    for (n, problem) in problems.iter().enumerate() {
        let key = format!("unknown key \"{}\"", wrong(n));
        assert!(problem.contains(&key), "{problem}");
        assert_eq!(problem.matches("unknown key").count(), 1, "{problem}");
    }
}

#[tokio::test]
async fn tokens_and_connections_outlive_a_reload() {
    let stage = Stage::with("workers: 1\n").await;
    for _ in 0..3 {
        stage.get("/graph/sim/bytes/1").await.expect(200);
        let target = "/dynamics/api/data/v9.2/accounts?$top=1";
        stage.get(target).await.expect(200);
        stage.reload("workers: 1\n");
    }
    assert_eq!(stage.simulator.token_calls(), 2);
    for host in [GRAPH, ORGANISATION] {
        assert_eq!(stage.connections_used(host).len(), 1, "{host}");
    }
}

#[tokio::test]
async fn a_request_in_flight_ends_by_the_rules_it_began_with() {
    let stage = Stage::open().await;
    let feed = stage.simulator.feed("one");
    let mut caller = stage.caller().await;
    caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    let mut answer = caller.head().await;
    stage.reload("routes: [{name: other, path: /other, upstream: 'https://ORGANISATION'}]\n");
    assert!(feed.send("on").await);
    assert_eq!(caller.chunk(&mut answer).await.unwrap(), b"on");
    drop(feed);
    assert_eq!(caller.chunk(&mut answer).await, None);
    assert!(answer.whole);
    caller
        .exchange("GET /graph/sim/bytes/1 HTTP/1.1")
        .await
        .expect(404);
    let line = stage.log.with("/route", "graph").await;
    assert_eq!(line["outcome"], "complete");
}

#[tokio::test]
async fn a_request_in_flight_keeps_no_idle_connections_of_what_it_began_with() {
    let stage = Stage::with("workers: 1\n").await;
    let feed = stage.simulator.feed("one");
    let mut caller = stage.caller().await;
    caller.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    caller.head().await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
    let gauge = "tokenferry_upstream_connections";
    let becomes = async |state, wanted| {
        let labels = [("route", "graph"), ("state", state)];
        stage.becomes(gauge, &labels, wanted).await;
    };
    becomes("idle", 1.0).await;
    stage.reload("workers: 1\ntimeouts: {connect: 7s}\n");
    // Long before those that rest are closed anyway.
    let closed = becomes("idle", 0.0);
    let closed = tokio::time::timeout(AT_ONCE, closed).await;
    closed.expect("they are closed at once");
    becomes("active", 1.0).await;
    drop(feed);
    becomes("active", 0.0).await;
    becomes("idle", 0.0).await;
}

#[tokio::test]
async fn a_new_route_gets_its_token_without_disturbing_others() {
    let stage = Stage::with(ONE_ROUTE).await;
    stage.get("/g/sim/bytes/1").await.expect(200);
    stage.reload(TWO_ROUTES);
    stage.attempted().await;
    stage
        .get("/dynamics/api/data/v9.2/accounts?$top=1")
        .await
        .expect(200);
    assert_eq!(stage.simulator.token_calls(), 2);
}

#[tokio::test(flavor = "local")]
async fn requests_go_on_while_the_file_is_reloaded_again_and_again() {
    let stage = Stage::open().await;
    let address = stage.address();
    let served = std::rc::Rc::new(std::cell::Cell::new(0));
    for _ in 0..8 {
        let served = std::rc::Rc::clone(&served);
        tokio::task::spawn_local(async move {
            let mut caller = crate::harness::caller::Caller::connect(address).await;
            for _ in 0..25 {
                caller
                    .exchange("GET /graph/sim/bytes/1000 HTTP/1.1")
                    .await
                    .expect(200);
                served.set(served.get() + 1);
            }
        });
    }
    // A busy machine takes its time for all of them, but not for a few.
    for some in 1..=25 {
        until("some more are served", async || {
            stage.reload("");
            served.get() >= 8 * some
        })
        .await;
    }
    assert_eq!(stage.simulator.token_calls(), 2);
}

#[tokio::test]
async fn routes_whose_credentials_are_one_identity_share_a_token_and_its_state() {
    let stage = Stage::with(&routes(
        "{name: a, path: /a, CREDENTIAL first}, {name: b, path: /b, CREDENTIAL second}",
    ))
    .await;
    stage.get("/a/sim/bytes/1").await.expect(200);
    stage.get("/b/sim/bytes/1").await.expect(200);
    assert_eq!(stage.simulator.token_calls(), 1);
    let hits = "tokenferry_token_cache_hits_total";
    stage.becomes(hits, &[("credential", "first")], 2.0).await;
    assert_tokens_are_there(&stage).await;
}

#[tokio::test]
async fn a_token_goes_by_the_name_that_its_credential_has_now() {
    let stage = Stage::with(&routes("{name: a, path: /a, CREDENTIAL first}")).await;
    stage.get("/a/sim/bytes/1").await.expect(200);
    stage.reload(&routes("{name: a, path: /a, CREDENTIAL second}"));
    stage.get("/a/sim/bytes/1").await.expect(200);
    assert_eq!(stage.simulator.token_calls(), 1);
    let hits = "tokenferry_token_cache_hits_total";
    stage.becomes(hits, &[("credential", "second")], 1.0).await;
    assert_tokens_are_there(&stage).await;
}

#[tokio::test]
async fn calls_for_a_token_are_counted_on_when_a_reload_makes_another_of_it() {
    let one = "{name: a, path: /a, CREDENTIAL first}";
    let two = "{name: a, path: /a, CREDENTIAL second}";
    let stage = Stage::with(&routes(one)).await;
    let count = async |credential: &str| {
        let labels = [("credential", credential), ("outcome", "success")];
        let calls = "tokenferry_token_refreshes_total";
        let calls = stage.number(calls, &labels).await;
        let timed = "tokenferry_token_refresh_duration_seconds_count";
        (calls, stage.number(timed, &labels[..1]).await)
    };
    assert_eq!(count("first").await, (1.0, 1.0));
    // Another capability is another token of the same name.
    let capable =
        |list: &str| routes(list).replace("client_id", "continuous_access: true, client_id");
    stage.reload(&capable(one));
    stage.attempted().await;
    assert_eq!(count("first").await, (2.0, 2.0));
    stage.reload(&capable(two));
    assert_eq!(count("first").await, (2.0, 2.0));
    assert_eq!(count("second").await, (0.0, 0.0));
    stage.reload(&routes(one));
    stage.attempted().await;
    assert_eq!(count("first").await, (3.0, 3.0));
}

#[tokio::test]
async fn a_quiet_outlives_a_reload_for_the_identity_that_was_asked_for_it_alone() {
    let one = "{name: a, path: /a, throttle: hold, CREDENTIAL first}";
    let stage = Stage::with(&routes(one)).await;
    let busy = Fault::answer(429, &[("retry-after", "30")], "");
    stage.simulator.script(Script::on(GRAPH, busy).times(1));
    stage.get("/a/sim/bytes/1").await.expect(429);
    stage.reload(&routes(&one.replace("first", "second")));
    let answer = stage.get("/a/sim/bytes/1").await;
    assert_eq!(answer.refusal(), (429, "throttled".to_owned()));
    // Another app has another budget.
    stage.reload(&routes(one).replace(TENANT_ID, TENANT_DOMAIN));
    stage.get("/a/sim/bytes/1").await.expect(200);
}

/// These routes to Graph, with two names for one identity.
fn routes(list: &str) -> String {
    let identity = format!(
        "{{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret_file: SECRET_FILE}}"
    );
    let list = list.replace("CREDENTIAL", "upstream: 'https://GRAPH', credential:");
    format!("credentials: {{first: {identity}, second: {identity}}}\nroutes: [{list}]\n")
}

/// No probe, page or alert takes a token for missing.
async fn assert_tokens_are_there(stage: &Stage) {
    let ready = stage.ask_admin("GET /readyz?tokens HTTP/1.1").await;
    let ready = ready.expect(200).json();
    for route in ready["routes"].as_array().expect("a list") {
        assert_eq!(route["token"], "valid", "{ready}");
    }
    let page = stage.ask_admin("GET /metrics HTTP/1.1").await.text();
    let name = "tokenferry_token_expiry_timestamp_seconds{";
    let missing = |line: &&str| line.starts_with(name) && line.ends_with(" 0");
    assert_eq!(page.lines().find(missing), None);
}

#[tokio::test]
async fn an_upstream_that_is_an_open_listener_is_refused() {
    let program = Program::start("", "").await;
    for (count, open) in [(1.0, program.address), (2.0, program.admin)] {
        program.rewrite(&format!(
            "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\n\
             routes: [{{name: loop, path: /loop, upstream: 'http://{open}'}}]\n"
        ));
        program.signal(Signal::HUP);
        reloads(&program, "failure", count).await;
        let status = program.get_admin("/status.json").await.expect(200).text();
        assert!(status.contains("this proxy itself"), "{status}");
    }
    program.get("/loop/x").await.expect(404);
    program.get("/graph/sim/bytes/1").await.expect(200);
}

#[tokio::test]
async fn keys_that_a_reload_leaves_alone_are_told_as_long_as_they_differ_from_the_start() {
    let program = Program::start("", "").await;
    let said = |words: &str| program.err.text().matches(words).count();
    for (reloads, limit, told) in [(1, 7, 1), (2, 7, 2), (3, 10_000, 2)] {
        program.rewrite(&format!("limits: {{in_flight: {limit}}}\n"));
        program.signal(Signal::HUP);
        until("it is reloaded", async || said("was reloaded") == reloads).await;
        assert_eq!(said("limits.in_flight"), told, "{}", program.err.text());
    }
}

#[tokio::test]
async fn limits_of_a_head_stay_as_they_were_at_the_start() {
    let program = Program::start("", "").await;
    program.rewrite(&format!(
        "limits: {{request_line: 8, header_block: 8, headers: 1}}\n{TWO_ROUTES}"
    ));
    program.signal(Signal::HUP);
    reloads(&program, "success", 1.0).await;
    program.err.says("limits.request_line").await;
    let mut caller = program.caller().await;
    let answer = caller
        .exchange("GET /graph/sim/bytes/1 HTTP/1.1\nAccept: */*\nX-One: 1")
        .await;
    answer.expect(200);
}

/// A pipe stands for a file on a file system that does not answer: whoever reads it waits for as
/// long as what this returns is open. Comes back once somebody reads.
async fn hanging(program: &Program) -> std::fs::File {
    let file = program.file();
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo runs").success());
    program.signal(Signal::HUP);
    let open = move || std::fs::OpenOptions::new().write(true).open(file);
    let opened = soon(tokio::task::spawn_blocking(open)).await;
    opened
        .expect("opening does not panic")
        .expect("it is a pipe")
}

#[tokio::test]
async fn a_file_that_hangs_holds_up_its_reload_and_nothing_else() {
    let mut program = Program::start("timeouts: {drain_delay: 0s}\n", "").await;
    let (file, good) = (program.file(), program.folder().join("good.yaml"));
    std::fs::rename(&file, &good).expect("the folder can be written");
    let hangs = hanging(&program).await;
    program.get_admin("/livez").await.expect(200);
    program.get("/graph/sim/bytes/1").await.expect(200);
    let words = "hangs: the files were not read within 10 s";
    program.err.says(words).await;
    reloads(&program, "failure", 1.0).await;
    let status = program.get_admin("/status.json").await.text();
    assert!(status.contains(words), "{status}");

    // The next one reads what is there by then, also while that still hangs.
    std::fs::rename(&good, &file).expect("the folder can be written");
    program.signal(Signal::HUP);
    reloads(&program, "success", 1.0).await;
    drop(hangs);

    std::fs::remove_file(&file).expect("it is there");
    let _hangs = hanging(&program).await;
    program.get_admin("/livez").await.expect(200);
    program.signal(Signal::TERM);
    assert!(program.ended().await.success());
}
