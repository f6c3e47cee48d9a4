//! What a busy upstream asks for, in answers that came late or from elsewhere, and what a request
//! holds while it waits to be sent again.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokenferry::simulator::{DOWNLOAD, Ending, Fault, GRAPH, Gate, LOGIN, Script};

use crate::harness::answer::Answer;
use crate::harness::caller::Caller;
use crate::harness::stage::Stage;
use crate::harness::{soon, until};

const RETRYING: &str = "\
workers: 1
routes:
  - {name: graph, path: /graph, upstream: 'https://GRAPH', max_concurrency: 1, retry: {attempts: 2}}
  - {name: free, path: /free, upstream: 'https://GRAPH'}
";

pub(crate) const HOLDING: &str = "workers: 1\nroutes: [{name: graph, path: /graph, upstream: 'https://GRAPH', throttle: hold}]\n";

pub(crate) async fn ask(stage: &Stage, number: u8) -> Caller {
    let mut caller = stage.caller().await;
    let lines = format!("GET /graph/sim/bytes/{number} HTTP/1.1");
    caller.ask(&lines).await;
    caller
}

/// Asks for number 2, which is answered 429 when the gate opens, with these seconds of quiet.
pub(crate) async fn busy_behind(stage: &Stage, gate: &Gate, seconds: &str) -> Caller {
    let on = |fault| Script::on(GRAPH, fault).under("/sim/bytes/2");
    stage.simulator.script(on(Fault::Hold(gate.clone())));
    let busy = Fault::answer(429, &[("retry-after", seconds)], "busy");
    stage.simulator.script(on(busy));
    let caller = ask(stage, 2).await;
    stage.arrive(1, "/sim/bytes/2").await;
    caller
}

/// Asks for number 1, whose token is refused once and exchanged when the gate opens.
pub(crate) async fn refused_behind(stage: &Stage, gate: &Gate) -> Caller {
    let refused = Script::on(GRAPH, Fault::answer(401, &[], "")).under("/sim/bytes/1");
    stage.simulator.script(refused.times(1));
    let slow = Script::on(LOGIN, Fault::Hold(gate.clone()));
    stage.simulator.script(slow);
    let calls = stage.simulator.token_calls();
    let caller = ask(stage, 1).await;
    until("another token is asked for", async || {
        stage.simulator.token_calls() > calls
    })
    .await;
    caller
}

#[tokio::test]
async fn a_request_that_waits_to_be_sent_again_holds_no_place() {
    let stage = Stage::with(RETRYING).await;
    let busy = Fault::answer(503, &[("retry-after", "28")], "busy");
    let script = Script::on(GRAPH, busy).under("/sim/bytes/1").times(1);
    stage.simulator.script(script);
    let _first = ask(&stage, 1).await;
    stage.arrive(1, "/sim/bytes/1").await;
    let mut second = ask(&stage, 2).await;
    soon(second.answer("GET")).await.expect(200);
}

#[tokio::test]
async fn a_request_that_finds_quiet_with_its_place_gives_it_back() {
    let own = RETRYING.replace("retry: {attempts: 2}", "throttle: {hold: 20s}");
    let stage = Stage::with(&own).await;
    let gate = Gate::new();
    let held = Script::on(GRAPH, Fault::Hold(gate.clone()));
    stage.simulator.script(held.times(1));
    let busy = Fault::answer(429, &[("retry-after", "1")], "busy");
    stage.simulator.script(Script::on(GRAPH, busy).times(1));
    let mut first = ask(&stage, 1).await;
    stage.arrive(1, "/sim/bytes/1").await;
    let mut second = ask(&stage, 2).await;
    let labels = [("route", "graph")];
    stage
        .becomes("tokenferry_requests_in_flight", &labels, 2.0)
        .await;
    gate.open();
    first.answer("GET").await.expect(429);
    soon(second.answer("GET")).await.expect(200);
}

#[tokio::test]
async fn a_request_that_is_sent_again_waits_for_a_place_like_any_other() {
    let stage = Stage::with(RETRYING).await;
    let (gate, answering) = (Gate::new(), Gate::new());
    let first = || Script::on(GRAPH, Fault::Hold(answering.clone())).under("/sim/bytes/1");
    stage.simulator.script(first().times(1));
    let busy = Fault::answer(503, &[("retry-after", "0")], "busy");
    let script = Script::on(GRAPH, busy).under("/sim/bytes/1").times(1);
    stage.simulator.script(script);
    let held = Script::on(GRAPH, Fault::Hold(gate.clone()));
    stage.simulator.script(held.under("/sim/bytes/2"));
    let mut callers = Vec::new();
    for number in [1, 2] {
        callers.push(ask(&stage, number).await);
        let labels = [("route", "graph")];
        let waiting = f64::from(number);
        stage
            .becomes("tokenferry_requests_in_flight", &labels, waiting)
            .await;
    }
    answering.open();
    stage.arrive(1, "/sim/bytes/2").await;
    stage.get("/free/sim/bytes/3").await.expect(200);
    assert_eq!(stage.arrivals("/sim/bytes/1"), 1, "there is one place");
    gate.open();
    for mut caller in callers {
        soon(caller.answer("GET")).await.expect(200);
    }
    assert_eq!(stage.arrivals("/sim/bytes/1"), 2);
}

#[tokio::test]
async fn a_retry_that_finds_quiet_with_its_place_gives_it_back() {
    let stage = Stage::with(&RETRYING.replace("retry:", "throttle: hold, retry:")).await;
    let (refusing, answering) = (Gate::new(), Gate::new());
    let again = Fault::answer(503, &[("retry-after", "0")], "busy");
    for fault in [Fault::Hold(refusing.clone()), again] {
        let script = Script::on(GRAPH, fault).under("/sim/bytes/1").times(1);
        stage.simulator.script(script);
    }
    let mut retried = ask(&stage, 1).await;
    stage.arrive(1, "/sim/bytes/1").await;
    let on = |fault| Script::on(GRAPH, fault).under("/sim/bytes/2");
    stage.simulator.script(on(Fault::Hold(answering.clone())));
    let busy = Fault::answer(429, &[("retry-after", "3")], "busy");
    stage.simulator.script(on(busy));
    let mut other = ask(&stage, 2).await;
    let (in_flight, labels) = ("tokenferry_requests_in_flight", [("route", "graph")]);
    stage.becomes(in_flight, &labels, 2.0).await;
    refusing.open();
    stage.arrive(1, "/sim/bytes/2").await;
    stage.get("/free/sim/bytes/9").await.expect(200);
    let mut last = ask(&stage, 3).await;
    stage.becomes(in_flight, &labels, 3.0).await;
    answering.open();
    soon(other.answer("GET")).await.expect(429);
    // It has waited behind the other two for the only place.
    let answer = soon(last.answer("GET")).await;
    assert_eq!(answer.refusal(), (429, "throttled".to_owned()));
    soon(retried.answer("GET")).await.expect(200);
}

#[tokio::test]
async fn what_is_waited_for_here_counts_as_no_time_of_the_upstream() {
    let stage = Stage::with(
        "workers: 1
routes:
  - {name: held, path: /held, upstream: 'https://GRAPH', max_concurrency: 1, throttle: {hold: 15s}}
  - {name: again, path: /again, upstream: 'https://GRAPH', retry: {attempts: 2}}
",
    )
    .await;
    for (route, status) in [("held", 429), ("again", 200)] {
        let gate = Gate::new();
        let held = Script::on(GRAPH, Fault::Hold(gate.clone()));
        stage.simulator.script(held.times(2));
        let busy = Fault::answer(429, &[("retry-after", "1")], "busy");
        stage.simulator.script(Script::on(GRAPH, busy).times(1));
        let labels = [("route", route)];
        let mut callers = Vec::new();
        // Both are there when the quiet begins, so that one of them waits for all of it.
        for (number, status) in [(1.0, status), (2.0, 200)] {
            let mut caller = stage.caller().await;
            let lines = format!("GET /{route}/sim/bytes/1 HTTP/1.1");
            caller.ask(&lines).await;
            let in_flight = "tokenferry_requests_in_flight";
            stage.becomes(in_flight, &labels, number).await;
            callers.push((caller, status));
        }
        gate.open();
        for (mut caller, status) in callers {
            caller.answer("GET").await.expect(status);
        }
        let ended = "tokenferry_request_duration_seconds_count";
        stage.becomes(ended, &labels, 2.0).await;
        let whole = "tokenferry_request_duration_seconds_sum";
        let upstream = "tokenferry_upstream_response_seconds_sum";
        let whole = stage.number(whole, &labels).await;
        let upstream = stage.number(upstream, &labels).await;
        assert!(whole - upstream >= 0.8, "{route}: {whole} {upstream}");
    }
}

#[tokio::test]
async fn a_date_counts_from_when_the_answer_came() {
    let stage = Stage::open().await;
    let then = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
    let late = Fault::Latency(Duration::from_secs(3));
    stage.simulator.script(Script::on(GRAPH, late));
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {then}\r\nContent-Length: 0\r\n\r\n"
    );
    let busy = Fault::Raw(head.into_bytes(), Ending::Close);
    stage.simulator.script(Script::on(GRAPH, busy));
    let answer = stage.get("/graph/sim/bytes/1").await.expect(429);
    let left: u64 = answer.field("retry-after").parse().expect("seconds");
    assert!((30..=58).contains(&left), "{left}");
}

#[tokio::test]
async fn hosts_of_downloads_are_heard_as_the_upstream_is() {
    let stage = Stage::with(
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', throttle: hold, follow_downloads: ['*.sharepoint.com']}]\n",
    )
    .await;
    let dates = [
        ("retry-after", "Tue, 01 Jan 2030 00:00:30 GMT"),
        ("date", "Tue, 01 Jan 2030 00:00:10 GMT"),
    ];
    for status in [429, 504] {
        let busy = Fault::answer(status, &dates, "busy");
        stage.simulator.script(Script::on(DOWNLOAD, busy).times(1));
        let content = "/graph/v1.0/drives/d/items/i/content";
        let answer = stage.get(content).await.expect(status);
        assert_eq!(answer.field("retry-after"), "20");
    }
    let throttled = "tokenferry_upstream_throttled_total";
    let labels = [("route", "graph")];
    assert_eq!(stage.number(throttled, &labels).await, 1.0);
    // It is another service that has asked for quiet.
    stage.get("/graph/sim/bytes/1").await.expect(200);
}

#[tokio::test]
async fn an_answer_that_says_when_to_ask_again_and_not_that_it_is_busy_asks_for_no_quiet() {
    let stage = Stage::with(HOLDING).await;
    for status in [202, 413, 500] {
        let later = Fault::answer(status, &[("retry-after", "600")], "");
        stage.simulator.script(Script::on(GRAPH, later).times(1));
        stage.get("/graph/sim/bytes/1").await.expect(status);
    }
    stage.get("/graph/sim/bytes/1").await.expect(200);
}

#[tokio::test]
async fn a_quiet_of_before_a_reload_holds_up_nothing_on_a_route_that_keeps_none() {
    let route = |keys: &str| {
        format!(
            "workers: 1\nroutes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', {keys}}}]\n"
        )
    };
    let stage = Stage::with(&route("throttle: hold")).await;
    let busy = |after| Fault::answer(503, &[("retry-after", after)], "busy");
    stage
        .simulator
        .script(Script::on(GRAPH, busy("600")).times(1));
    stage.get("/graph/sim/bytes/1").await.expect(503);
    stage.reload(&route("throttle: pass, retry: {attempts: 2}"));
    stage
        .simulator
        .script(Script::on(GRAPH, busy("0")).times(1));
    let mut caller = ask(&stage, 1).await;
    soon(caller.answer("GET")).await.expect(200);
}

#[tokio::test]
async fn a_request_whose_token_is_exchanged_holds_no_place_while_entra_is_silent() {
    let stage = Stage::with(RETRYING).await;
    stage.get("/graph/sim/bytes/9").await.expect(200);
    let renewing = Gate::new();
    let mut first = refused_behind(&stage, &renewing).await;
    let _second = ask(&stage, 2).await;
    stage.arrive(1, "/sim/bytes/2").await;
    renewing.open();
    soon(first.answer("GET")).await.expect(200);
}

/// A caller of whose body five bytes of ten have gone up, to an upstream that answers so before the rest.
async fn half_a_body(stage: &Stage, busy: Fault) -> Caller {
    stage
        .simulator
        .script(Script::on(GRAPH, busy).early().times(1));
    let mut caller = stage.caller().await;
    caller
        .ask("PUT /graph/sim/sink HTTP/1.1\nContent-Length: 10")
        .await;
    caller.send("first").await;
    caller
}

#[tokio::test]
async fn a_busy_upstream_that_answers_before_the_body_is_there_gets_it_whole_later() {
    let stage = Stage::with(RETRYING).await;
    let busy = Fault::answer(503, &[("retry-after", "0")], "busy");
    let mut caller = half_a_body(&stage, busy).await;
    stage.arrive(1, "/sim/sink").await;
    caller.send("later").await;
    let answer = soon(caller.answer("PUT")).await.expect(200);
    assert_eq!(answer.json()["length"], 10);
}

#[tokio::test]
async fn a_long_answer_to_half_a_body_is_passed_on_without_waiting_for_the_rest() {
    // What the rest of a body is waited for, where that is.
    let patient = format!("timeouts: {{token_wait: 5m}}\n{RETRYING}");
    let stage = Stage::with(&patient).await;
    let text = "busy ".repeat(8_000);
    let busy = Fault::answer(503, &[], text.as_str());
    let mut caller = half_a_body(&stage, busy).await;
    let answer = soon(caller.answer("PUT")).await.expect(503);
    assert_eq!(answer.text(), text);
    assert_eq!(stage.sent_to(GRAPH).len(), 1);
}

#[tokio::test]
async fn who_waits_behind_a_refused_token_goes_up_with_the_next_one() {
    let stage = Stage::with(RETRYING).await;
    stage.get("/graph/sim/bytes/9").await.expect(200);
    let renewing = Gate::new();
    let mut first = refused_behind(&stage, &renewing).await;
    let mut second = ask(&stage, 2).await;
    let labels = [("route", "graph")];
    stage
        .becomes("tokenferry_requests_in_flight", &labels, 2.0)
        .await;
    stage.get("/free/sim/bytes/3").await.expect(200);
    renewing.open();
    soon(first.answer("GET")).await.expect(200);
    soon(second.answer("GET")).await.expect(200);
    let asked = stage.sent_to(GRAPH);
    let order: Vec<_> = asked.iter().map(|seen| seen.target()).collect();
    let bytes = |number| format!("/sim/bytes/{number}");
    assert_eq!(order, [9, 1, 3, 1, 2].map(bytes));
}

/// The answer to a request whose token was refused, and whose next one is over before the quiet is; the
/// upstream demands these claims of the one after that.
async fn refused_before_a_long_quiet(claims: Option<Value>) -> Answer {
    let own = "workers: 1\nroutes: [{name: graph, path: /graph, upstream: 'https://GRAPH', throttle: {hold: 20s}}]\n";
    let stage = Stage::with(own).await;
    let (answering, renewing) = (Gate::new(), Gate::new());
    let mut other = busy_behind(&stage, &answering, "8").await;
    // Renewed 4.8 s after its call began, and usable when it comes, unless that is 5.4 s after.
    let short = json!({"expires_in": 6});
    stage.simulator.patch_token_reply(short);
    let mut caller = refused_behind(&stage, &renewing).await;
    answering.open();
    soon(other.answer("GET")).await.expect(429);
    stage.simulator.demand_claims(GRAPH, claims);
    renewing.open();
    let answer = soon(caller.answer("GET")).await;
    assert_eq!(stage.arrivals("/sim/bytes/1"), 2);
    answer
}

#[tokio::test]
async fn a_request_refused_its_token_takes_the_one_that_is_in_use_when_it_may_go_up_again() {
    refused_before_a_long_quiet(None).await.expect(200);
}

#[tokio::test]
async fn a_token_that_came_in_a_quiet_is_not_taken_for_the_one_that_was_fetched_for_the_request() {
    let claims = json!({"access_token": {"nbf": {"essential": true, "value": "1893456000"}}});
    let answer = refused_before_a_long_quiet(Some(claims)).await;
    assert_eq!(answer.refusal(), (502, "tokenRefused".to_owned()));
    let message = answer.message();
    assert!(message.contains("when Retry-After has passed"), "{message}");
}
