//! What happens when file descriptors run out: idle connections make room for those that are needed.
#![cfg(target_os = "linux")]

use tokenferry::simulator::{Fault, GRAPH, Gate, LOGIN, ORGANISATION, Script, Simulator};

use crate::harness::answer::Answer;
use crate::harness::caller::Caller;
use crate::harness::program::Program;
use crate::harness::until;

/// What a crowd is on each route.
const CROWD: usize = 25;

async fn start() -> Program {
    started("workers: 1\n").await
}

async fn started(own: &str) -> Program {
    ready(Program::start(own, "").await).await
}

async fn ready(program: Program) -> Program {
    until("there is a token", async || {
        let ready = program.get_admin("/readyz").await;
        ready.status == 200
    })
    .await;
    program
}

/// Leaves it so many descriptors more than it has.
async fn leave(program: &Program, more: usize) {
    let most = u64::try_from(program.open_files().await + more).expect("it is a small number");
    program.limit_files(most);
}

/// A crowd that is at the upstream all at once, and is answered.
async fn crowd(program: &Program, host: &'static str, path: &str) {
    let gate = Gate::new();
    program.simulator.clear();
    program
        .simulator
        .script(Script::on(host, Fault::Hold(gate.clone())));
    let mut callers = Vec::new();
    for _ in 0..CROWD {
        let mut caller = program.caller().await;
        caller.ask(&format!("GET {path} HTTP/1.1")).await;
        callers.push(caller);
    }
    until("all are there", async || {
        program.simulator.seen().len() == CROWD
    })
    .await;
    gate.open();
    for caller in &mut callers {
        caller.answer("GET").await.expect(200);
    }
}

#[tokio::test]
async fn idle_connections_of_one_route_make_room_for_those_of_another() {
    let program = start().await;
    // Enough for one crowd, and for the idle connections of another without its callers.
    leave(&program, 2 * CROWD + CROWD / 2).await;
    crowd(&program, GRAPH, "/graph/sim/bytes/1").await;
    crowd(&program, ORGANISATION, "/dynamics/sim/bytes/1").await;
    program.get_admin("/livez").await.expect(200);
}

#[tokio::test]
async fn idle_connections_make_room_for_one_to_where_a_download_lies() {
    let program = started(
        "workers: 1\nroutes: [{name: graph, path: /graph, upstream: 'https://GRAPH', follow_downloads: ['*.sharepoint.com']}]\n",
    )
    .await;
    let mut caller = Caller::connect(program.address).await;
    caller
        .exchange("GET /graph/sim/bytes/1 HTTP/1.1")
        .await
        .expect(200);
    let before = program.open_files().await;
    crowd(&program, GRAPH, "/graph/sim/bytes/1").await;
    until("the callers of the crowd are gone", async || {
        program.open_files().await < before + CROWD
    })
    .await;
    program.simulator.clear_scripts();
    let kept = program.open_files().await;
    // The limit is one of numbers: those that are free again below others are taken first.
    let mut others = Vec::new();
    for _ in 0..CROWD {
        others.push(Caller::connect(program.address).await);
    }
    until("the others are there", async || {
        program.open_files().await == kept + CROWD
    })
    .await;
    // One of them may have a number far above.
    let most = program.open_files().await - 1;
    program.limit_files(u64::try_from(most).expect("it is a small number"));
    caller
        .exchange("GET /graph/v1.0/drives/d/items/i/content HTTP/1.1")
        .await
        .expect(200);
}

#[tokio::test]
async fn who_waits_until_the_end_is_told_so_however_few_descriptors_are_left() {
    let mut program = started("workers: 1\nlimits: {connections: 1}\n").await;
    let feed = program.simulator.feed("one");
    let mut first = program.caller().await;
    first.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    let mut answer = first.head().await;
    let mut waiting = Vec::new();
    for _ in 0..8 * CROWD {
        let mut caller = program.caller().await;
        caller.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
        waiting.push(caller);
    }
    leave(&program, 2 * CROWD).await;
    program.signal(rustix::process::Signal::INT);
    for caller in &mut waiting {
        let refused = caller.answer("GET").await;
        assert_eq!(refused.refusal(), (503, "overloaded".to_owned()));
    }
    drop(feed);
    assert_eq!(first.chunk(&mut answer).await, None);
    assert!(program.ended().await.success());
}

#[tokio::test]
async fn a_reload_that_no_descriptor_is_left_for_is_refused_and_says_so() {
    let program = start().await;
    // Nothing is below this but the standard streams.
    program.limit_files(3);
    program.signal(rustix::process::Signal::HUP);
    let event = program
        .err
        .with("/message", "the configuration was not reloaded")
        .await;
    let problem = event["problem"].to_string();
    assert!(problem.contains("limit of open files"), "{problem}");
    assert!(!problem.contains("-c FILE"), "{problem}");
}

/// What a request is told once none is left.
async fn without_any(program: &Program, target: &str) -> Answer {
    let mut caller = Caller::connect(program.address).await;
    let unrouted = caller.exchange("GET /nowhere HTTP/1.1").await;
    unrouted.expect(404);
    // Nothing is below this but the standard streams: whatever it closes now leaves it none.
    program.limit_files(3);
    caller.exchange(&format!("GET {target} HTTP/1.1")).await
}

fn lacks_descriptors(answer: &Answer) {
    let text = answer.text();
    assert!(text.contains("limit of open files"), "{text}");
    assert_eq!(answer.refusal(), (503, "overloaded".to_owned()));
    assert_eq!(answer.field("retry-after"), "1");
}

#[tokio::test]
async fn a_request_that_no_descriptor_is_left_for_is_told_so() {
    let program = start().await;
    lacks_descriptors(&without_any(&program, "/graph/sim/bytes/1").await);
}

#[tokio::test]
async fn an_upstream_whose_name_takes_a_descriptor_to_look_up_is_not_blamed() {
    let program = started(
        "workers: 1\nroutes: [{name: named, path: /named, upstream: 'https://localhost:1', scope: 'https://GRAPH/.default'}]\n",
    )
    .await;
    lacks_descriptors(&without_any(&program, "/named/me").await);
}

#[tokio::test]
async fn a_forward_proxy_whose_name_takes_a_descriptor_to_look_up_is_not_blamed() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    let own = format!(
        "workers: 1\nresolve: {{'{LOGIN}:443': '{}'}}\n",
        simulator.address()
    );
    let vars = [("HTTPS_PROXY", "http://localhost:1"), ("NO_PROXY", LOGIN)];
    let program = ready(Program::within(simulator, &own, &vars).await).await;
    lacks_descriptors(&without_any(&program, "/graph/sim/bytes/1").await);
}
