//! Throttling: what the upstream asks for reaches the caller in a form that every SDK reads, and
//! routes that want to keep the quiet for all their callers do.

use std::time::{Duration, Instant};

use serde_json::json;
use tokenferry::simulator::{Fault, GRAPH, Gate, LOGIN, ORGANISATION, Script};

use crate::harness::caller::Caller;
use crate::harness::stage::Stage;
use crate::harness::{soon, until};
use crate::hostile::frame::{Speaker, good, request};

const THROTTLED: &str = "tokenferry_upstream_throttled_total";

fn route(keys: &str) -> String {
    format!(
        "workers: 2\nroutes: [{{name: dynamics, path: /dynamics, upstream: 'https://ORGANISATION', {keys}}}]\n"
    )
}

#[tokio::test]
async fn retry_after_reaches_the_caller_as_whole_seconds() {
    let stage = Stage::open().await;
    for (status, sent, wanted) in [
        (429, vec![("retry-after", "2.128")], "3"),
        (503, vec![("retry-after", "10")], "10"),
        (
            429,
            vec![
                ("retry-after", "Tue, 01 Jan 2030 00:00:30 GMT"),
                ("date", "Tue, 01 Jan 2030 00:00:10 GMT"),
            ],
            "20",
        ),
        (429, vec![], ""),
        (503, vec![], ""),
        (202, vec![("retry-after", "2.5")], "3"),
        (504, vec![("retry-after", "1.5")], "2"),
        (413, vec![("retry-after", "0.1")], "1"),
        (301, vec![("retry-after", "soon")], "soon"),
        (
            500,
            vec![
                ("retry-after", "Tue, 01 Jan 2030 00:00:30 GMT"),
                ("date", "Tue, 01 Jan 2030 00:00:10 GMT"),
            ],
            "20",
        ),
    ] {
        let fault = Fault::answer(status, &sent, "busy");
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let answer = stage.get("/graph/v1.0/x").await.expect(status);
        assert_eq!(answer.field("retry-after"), wanted, "{status} {sent:?}");
        assert_eq!(answer.text(), "busy");
    }
    assert_eq!(stage.number(THROTTLED, &[("route", "graph")]).await, 4.0);
}

#[tokio::test]
async fn nothing_is_retried_by_default_and_nobody_else_is_held() {
    let stage = Stage::open().await;
    let fault = Fault::answer(429, &[("retry-after", "30")], "");
    stage
        .simulator
        .script(Script::on(ORGANISATION, fault).times(1));
    stage.get("/dynamics/sim/bytes/1").await.expect(429);
    stage.get("/dynamics/sim/bytes/1").await.expect(200);
    assert_eq!(stage.arrivals(ORGANISATION), 2);
}

#[tokio::test]
async fn with_hold_the_quiet_is_kept_for_every_caller_of_the_route() {
    let stage = Stage::with(&route("throttle: hold")).await;
    let fault = Fault::answer(429, &[("retry-after", "30")], "busy");
    stage.simulator.script(Script::on(ORGANISATION, fault));
    let first = stage.get("/dynamics/sim/bytes/1").await.expect(429);
    assert_eq!(first.text(), "busy", "the upstream's own answer");
    // More connections than workers: all of them know.
    for _ in 0..6 {
        let answer = stage.get("/dynamics/sim/bytes/1").await;
        assert_eq!(answer.refusal(), (429, "throttled".to_owned()));
        let left: u64 = answer.field("retry-after").parse().unwrap();
        assert!((20..=30).contains(&left), "{left}");
    }
    assert_eq!(stage.arrivals(ORGANISATION), 1);
    stage.reload(&route("throttle: hold"));
    let answer = stage.get("/dynamics/sim/bytes/1").await;
    assert_eq!(
        answer.refusal(),
        (429, "throttled".to_owned()),
        "a reload does not end it"
    );
    assert_eq!(
        stage
            .number("tokenferry_refused_total", &[("reason", "throttled")])
            .await,
        7.0
    );
}

#[tokio::test]
async fn with_a_wait_requests_go_on_when_the_quiet_is_over() {
    let stage = Stage::with(&route("throttle: {hold: 15s}")).await;
    let fault = Fault::answer(429, &[("retry-after", "0.3")], "busy");
    stage
        .simulator
        .script(Script::on(ORGANISATION, fault).times(1));
    let begun = Instant::now();
    stage.get("/dynamics/sim/bytes/1").await.expect(429);
    let answers = (0..5).map(|_| stage.get("/dynamics/sim/bytes/1"));
    for answer in futures(answers.collect()).await {
        answer.expect(200);
    }
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_wait_that_is_too_short_ends_in_429_with_what_is_left() {
    let stage = Stage::with(&route("throttle: {hold: 200ms}")).await;
    let fault = Fault::answer(503, &[("retry-after", "30")], "busy");
    stage
        .simulator
        .script(Script::on(ORGANISATION, fault).times(1));
    stage.get("/dynamics/sim/bytes/1").await.expect(503);
    let begun = Instant::now();
    let answer = stage.get("/dynamics/sim/bytes/1").await;
    assert_eq!(answer.refusal(), (429, "throttled".to_owned()));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(stage.arrivals(ORGANISATION), 1);
}

#[tokio::test]
async fn no_more_requests_are_there_at_once_than_max_concurrency() {
    let stage = Stage::with(&route("max_concurrency: 3")).await;
    let gate = Gate::new();
    stage
        .simulator
        .script(Script::on(ORGANISATION, Fault::Hold(gate.clone())));
    let address = stage.address();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..12 {
        asked.spawn(async move {
            let mut caller = Caller::connect(address).await;
            caller
                .exchange("GET /dynamics/sim/bytes/1 HTTP/1.1")
                .await
                .status
        });
    }
    stage.arrive(3, ORGANISATION).await;
    let labels = [("route", "dynamics")];
    stage
        .becomes("tokenferry_requests_in_flight", &labels, 12.0)
        .await;
    assert_eq!(stage.arrivals(ORGANISATION), 3);
    gate.open();
    while let Some(status) = soon(asked.join_next()).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(stage.arrivals(ORGANISATION), 12);
}

#[tokio::test]
async fn who_waits_for_a_place_longest_goes_first() {
    // On one worker, so that whoever is counted is in the queue before the next one is read.
    let own = route("max_concurrency: 1").replace("workers: 2", "workers: 1");
    let stage = Stage::with(&own).await;
    let gate = Gate::new();
    stage
        .simulator
        .script(Script::on(ORGANISATION, Fault::Hold(gate.clone())));
    let labels = [("route", "dynamics")];
    let mut callers = Vec::new();
    for number in 1..=5 {
        let mut caller = stage.caller().await;
        caller
            .ask(&format!("GET /dynamics/sim/bytes/{number} HTTP/1.1"))
            .await;
        stage
            .becomes("tokenferry_requests_in_flight", &labels, f64::from(number))
            .await;
        callers.push(caller);
    }
    gate.open();
    for mut caller in callers {
        caller.answer("GET").await.expect(200);
    }
    let seen = stage.sent_to(ORGANISATION).into_iter();
    let order: Vec<_> = seen.map(|seen| seen.target()).collect();
    let wanted = (1..=5).map(|number| format!("/sim/bytes/{number}"));
    assert_eq!(order, wanted.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_caller_that_leaves_gives_its_place_back() {
    let stage = Stage::with(&route("max_concurrency: 1")).await;
    let gate = Gate::new();
    stage
        .simulator
        .script(Script::on(ORGANISATION, Fault::Hold(gate.clone())).times(1));
    let mut first = stage.caller().await;
    first.ask("GET /dynamics/sim/bytes/1 HTTP/1.1").await;
    stage.arrive(1, ORGANISATION).await;
    let mut second = stage.caller().await;
    second.ask("GET /dynamics/sim/bytes/1 HTTP/1.1").await;
    drop(first);
    second.answer("GET").await.expect(200);
    gate.open();
}

#[tokio::test]
async fn throttled_operations_of_a_batch_are_counted() {
    let stage = Stage::open().await;
    let limit = Fault::graph_429(Some("7"));
    let busy = Script::on(GRAPH, limit).under("/v1.0/users/busy");
    stage.simulator.script(busy);
    let url =
        |name: &str, id: &str| json!({"id": id, "method": "GET", "url": format!("/users/{name}")});
    let batch =
        json!({"requests": [url("busy", "1"), url("busy", "2"), url("x", "3")]}).to_string();
    for coding in ["", "\nAccept-Encoding: gzip"] {
        let lines =
            format!("POST /graph/v1.0/$batch HTTP/1.1\nContent-Type: application/json{coding}");
        let answer = stage.ask_with(&lines, &batch).await.expect(200);
        assert_eq!(answer.text().matches("\"status\":429").count(), 2);
    }
    stage.becomes(THROTTLED, &[("route", "graph")], 4.0).await;
    let limit = Fault::answer(429, &[("retry-after", "7")], "busy");
    let busy = Script::on(ORGANISATION, limit).under("/api/data/v9.2/tasks");
    stage.simulator.script(busy);
    let part = "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET /api/data/v9.2/tasks HTTP/1.1\r\n\r\n\r\n";
    let batch = format!("{part}{part}--b--\r\n");
    let lines = "POST /dynamics/api/data/v9.2/$batch HTTP/1.1\nPrefer: odata.continue-on-error\nContent-Type: multipart/mixed; boundary=b";
    let mut caller = stage.caller().await;
    let lines = format!("{lines}\nContent-Length: {}", batch.len());
    caller.ask(&lines).await;
    caller.send(&batch).await;
    let answer = caller.answer("POST").await.expect(200);
    assert_eq!(answer.text().matches("HTTP/1.1 429").count(), 2);
    let labels = [("route", "dynamics")];
    stage.becomes(THROTTLED, &labels, 2.0).await;
}

#[tokio::test]
async fn a_route_that_asks_for_it_gets_idempotent_requests_retried() {
    let stage = Stage::with(&route("retry: {attempts: 3}")).await;
    let busy = || Fault::answer(503, &[("retry-after", "0")], "busy");
    for (method, wanted, attempts) in [("GET", 200, 3), ("PUT", 200, 3), ("POST", 503, 1)] {
        stage.simulator.clear();
        stage.simulator.clear_scripts();
        stage
            .simulator
            .script(Script::on(ORGANISATION, busy()).times(2));
        let mut caller = stage.caller().await;
        let body = if method == "GET" { "" } else { "hello" };
        let path = if method == "GET" { "bytes/1" } else { "sink" };
        let length = if body.is_empty() {
            "X-A: b"
        } else {
            "Content-Length: 5"
        };
        caller
            .ask(&format!("{method} /dynamics/sim/{path} HTTP/1.1\n{length}"))
            .await;
        caller.send(body).await;
        caller.answer(method).await.expect(wanted);
        assert_eq!(stage.arrivals(ORGANISATION), attempts, "{method}");
        let last = stage.last();
        assert_eq!(last.text(), body);
    }
    let labels = [("route", "dynamics"), ("reason", "status")];
    assert_eq!(
        stage
            .number("tokenferry_upstream_retries_total", &labels)
            .await,
        4.0
    );
}

#[tokio::test]
async fn without_a_token_to_retry_with_the_answer_is_passed_on_and_no_retry_counted() {
    let own = format!(
        "timeouts: {{token_wait: 1s}}\n{}",
        route("retry: {attempts: 3}")
    );
    let stage = Stage::cold(&own, |simulator| {
        simulator.patch_token_reply(json!({"expires_in": 3}));
    })
    .await;
    stage.attempted().await;
    let gate = Gate::new();
    let hold = Fault::Hold(gate.clone());
    stage.simulator.script(Script::on(ORGANISATION, hold));
    let busy = Fault::answer(503, &[("retry-after", "0")], "busy");
    stage.simulator.script(Script::on(ORGANISATION, busy));
    let mut caller = stage.caller().await;
    caller.ask("GET /dynamics/sim/bytes/1 HTTP/1.1").await;
    stage.arrive(1, ORGANISATION).await;
    stage.simulator.outage(LOGIN);
    until("its token is over", async || {
        let ready = stage.ask_admin("GET /readyz?tokens HTTP/1.1").await;
        ready.status == 503
    })
    .await;
    gate.open();
    let answer = caller.answer("GET").await.expect(503);
    assert_eq!(answer.text(), "busy");
    assert_eq!(stage.arrivals(ORGANISATION), 1);
    let labels = [("route", "dynamics"), ("reason", "status")];
    let retries = stage.number("tokenferry_upstream_retries_total", &labels);
    assert_eq!(retries.await, 0.0);
}

#[tokio::test]
async fn a_pause_that_is_too_long_is_not_waited_for_however_it_is_said() {
    let stage = Stage::with(&route("retry: {attempts: 3, max_wait: 2s}")).await;
    for status in [429, 503, 504] {
        for (after, date) in [
            ("5.5", ""),
            (
                "Thu, 01 Jan 1970 00:00:50 GMT",
                "Thu, 01 Jan 1970 00:00:00 GMT",
            ),
        ] {
            stage.simulator.clear();
            let busy = Fault::answer(status, &[("retry-after", after), ("date", date)], "busy");
            stage
                .simulator
                .script(Script::on(ORGANISATION, busy).times(1));
            stage.get("/dynamics/sim/bytes/1").await.expect(status);
            assert_eq!(stage.arrivals(ORGANISATION), 1, "{status} {after}");
        }
    }
}

#[tokio::test]
async fn retries_end_with_their_attempts_and_their_budget() {
    let stage = Stage::with(&format!(
        "{}workers: 1\n",
        route("retry: {attempts: 2}").replace("workers: 2\n", "")
    ))
    .await;
    let busy = Fault::answer(429, &[("retry-after", "0")], "busy");
    stage.simulator.script(Script::on(ORGANISATION, busy));
    for _ in 0..50 {
        stage.get("/dynamics/sim/bytes/1").await.expect(429);
    }
    let labels = [("route", "dynamics"), ("reason", "status")];
    let retries = stage
        .number("tokenferry_upstream_retries_total", &labels)
        .await;
    // Ten in reserve, and one for every five of the 49 that do not find it full.
    assert_eq!(retries, 19.0);
    assert_eq!(stage.arrivals(ORGANISATION), 50 + retries as usize);
}

/// Waits for all of them.
async fn futures<T>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut done = Vec::new();
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| match one.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}

#[tokio::test]
async fn an_answer_that_waits_for_its_reader_alone_keeps_no_place() {
    let own =
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', max_concurrency: 1}]\n";
    let stage = Stage::with(own).await;
    let mut shut = Speaker::connect(stage.address(), &[(4, 1)]).await;
    shut.send(&request(1, &good("/graph/sim/bytes/10000")))
        .await;
    shut.until(|outcome| !outcome.data.is_empty()).await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
    assert_eq!(shut.outcome.data.len(), 1, "the rest is not sent");
}
