//! A quiet that is asked for while a request waits for something else: it goes up no more until that
//! is over, whatever it waited for.

use std::time::{Duration, Instant};

use serde_json::json;
use tokenferry::simulator::{Ending, Fault, GRAPH, Gate, Handshake, LOGIN, Script};

use crate::harness::soon;
use crate::harness::stage::Stage;
use crate::retry_pauses::{HOLDING, ask, busy_behind, refused_behind};
use crate::shared_connections::hold;

/// Waits until the busy upstream's request and that of the test are there.
async fn both_wait(stage: &Stage) {
    let labels = [("route", "graph")];
    stage
        .becomes("tokenferry_requests_in_flight", &labels, 2.0)
        .await;
}

/// How much of the time that the busy upstream's request and that of the test took was not the
/// upstream's.
async fn seconds_here(stage: &Stage) -> f64 {
    let labels = [("route", "graph")];
    let ended = "tokenferry_request_duration_seconds_count";
    stage.becomes(ended, &labels, 2.0).await;
    let whole = "tokenferry_request_duration_seconds_sum";
    let upstream = "tokenferry_upstream_response_seconds_sum";
    stage.number(whole, &labels).await - stage.number(upstream, &labels).await
}

/// A route that tries twice, and whose tokens are over before a pause of five seconds is.
async fn with_short_tokens() -> Stage {
    let own = "workers: 1\nroutes: [{name: graph, path: /graph, upstream: 'https://GRAPH', throttle: hold, retry: {attempts: 2, max_wait: 6s}}]\n";
    let stage = Stage::cold(own, |simulator| {
        simulator.patch_token_reply(json!({"expires_in": 4}));
    })
    .await;
    stage.attempted().await;
    stage
}

#[tokio::test]
async fn a_request_with_another_token_keeps_the_quiet_that_was_asked_for_meanwhile() {
    let stage = Stage::with(HOLDING).await;
    stage.get("/graph/sim/bytes/9").await.expect(200);
    let (answering, renewing) = (Gate::new(), Gate::new());
    let mut other = busy_behind(&stage, &answering, "30").await;
    let mut caller = refused_behind(&stage, &renewing).await;
    answering.open();
    soon(other.answer("GET")).await.expect(429);
    renewing.open();
    let answer = soon(caller.answer("GET")).await;
    assert_eq!(answer.refusal(), (429, "throttled".to_owned()));
    let left: u64 = answer.field("retry-after").parse().expect("seconds");
    assert!((20..=30).contains(&left), "{left}");
    assert_eq!(stage.arrivals("/sim/bytes/1"), 1);
}

#[tokio::test]
async fn a_request_whose_connection_died_keeps_the_quiet_that_was_asked_for_meanwhile() {
    for (throttle, seconds, status) in [("hold", "30", 429), ("{hold: 20s}", "1", 200)] {
        let stage = Stage::with(&HOLDING.replace("hold", throttle)).await;
        let (answering, dying) = (Gate::new(), Gate::new());
        let mut other = busy_behind(&stage, &answering, seconds).await;
        let (after, ending) = (None, Ending::Close);
        for fault in [Fault::Hold(dying.clone()), Fault::Break { after, ending }] {
            let script = Script::on(GRAPH, fault).under("/sim/bytes/1").times(1);
            stage.simulator.script(script);
        }
        let mut caller = ask(&stage, 1).await;
        stage.arrive(1, "/sim/bytes/1").await;
        answering.open();
        soon(other.answer("GET")).await.expect(429);
        if status == 429 {
            // Who asks for quiet is not called either.
            stage.simulator.spoil(GRAPH, Handshake::Stall);
        }
        dying.open();
        soon(caller.answer("GET")).await.expect(status);
        let went_up = if status == 429 { 1 } else { 2 };
        assert_eq!(stage.arrivals("/sim/bytes/1"), went_up);
        if status == 200 {
            assert!(seconds_here(&stage).await >= 0.8);
        }
    }
}

#[tokio::test]
async fn a_request_that_waits_for_its_third_token_keeps_the_quiet_that_was_asked_for_meanwhile() {
    let stage = Stage::with(&HOLDING.replace("hold", "{hold: 20s}")).await;
    let (answering, renewing) = (Gate::new(), Gate::new());
    let mut busy = busy_behind(&stage, &answering, "5").await;
    let answering_later = Gate::new();
    let more = Fault::answer(429, &[("retry-after", "30")], "busy");
    for fault in [Fault::Hold(answering_later.clone()), more] {
        let script = Script::on(GRAPH, fault).under("/sim/bytes/3");
        stage.simulator.script(script);
    }
    let mut busier = ask(&stage, 3).await;
    stage.arrive(1, "/sim/bytes/3").await;
    // What is fetched for the request is over before the first quiet is.
    stage.simulator.patch_token_reply(json!({"expires_in": 4}));
    let mut caller = refused_behind(&stage, &renewing).await;
    answering.open();
    soon(busy.answer("GET")).await.expect(429);
    renewing.open();
    let labels = [("outcome", "success")];
    let fetched = "tokenferry_token_refreshes_total";
    stage.becomes(fetched, &labels, 2.0).await;
    let fetching = Gate::new();
    let slow = Script::on(LOGIN, Fault::Hold(fetching.clone()));
    stage.simulator.script(slow);
    stage.becomes("tokenferry_token_waiters", &[], 1.0).await;
    answering_later.open();
    soon(busier.answer("GET")).await.expect(429);
    fetching.open();
    let answer = soon(caller.answer("GET")).await;
    assert_eq!(answer.refusal(), (429, "throttled".to_owned()));
    assert_eq!(stage.arrivals("/sim/bytes/1"), 1);
}

#[tokio::test]
async fn a_request_that_waits_for_a_connection_keeps_the_quiet_that_was_asked_for_meanwhile() {
    for (throttle, seconds, status) in [("hold", "30", 429), ("{hold: 20s}", "1", 200)] {
        let stage = Stage::with(&HOLDING.replace("hold", throttle)).await;
        let answering = Gate::new();
        let mut busy = busy_behind(&stage, &answering, seconds).await;
        // Its connection is the only one, and comes free with the answer.
        stage.simulator.spoil(GRAPH, Handshake::Stall);
        let mut caller = ask(&stage, 1).await;
        both_wait(&stage).await;
        let asked = Instant::now();
        answering.open();
        soon(busy.answer("GET")).await.expect(429);
        soon(caller.answer("GET")).await.expect(status);
        let went_up = stage.arrivals("/sim/bytes/1");
        assert_eq!(went_up, usize::from(status == 200));
        assert!(went_up == 0 || asked.elapsed() >= Duration::from_secs(1));
        assert!(went_up == 0 || seconds_here(&stage).await >= 0.8);
    }
}

#[tokio::test]
async fn a_request_that_waits_for_a_stream_keeps_the_quiet_that_was_asked_for_meanwhile() {
    let stage = Stage::with(&HOLDING.replace("throttle", "upstream_http: 2, throttle")).await;
    // With the busy one as many as the simulator allows on a connection, and another never comes.
    let (ending, mut held) = hold(&stage, 99).await;
    let answering = Gate::new();
    let mut busy = busy_behind(&stage, &answering, "30").await;
    stage.simulator.spoil(GRAPH, Handshake::Stall);
    let mut caller = ask(&stage, 3).await;
    let labels = [("route", "graph")];
    stage
        .becomes("tokenferry_requests_in_flight", &labels, 101.0)
        .await;
    answering.open();
    soon(busy.answer("GET")).await.expect(429);
    let answer = soon(caller.answer("GET")).await;
    assert_eq!(answer.refusal(), (429, "throttled".to_owned()));
    assert_eq!(stage.arrivals("/sim/bytes/3"), 0);
    ending.open();
    while let Some(answer) = soon(held.join_next()).await {
        answer.expect("it does not panic").expect(200);
    }
}

#[tokio::test]
async fn a_request_that_waited_for_its_first_token_keeps_the_quiet_that_was_asked_for_meanwhile() {
    let route = |scope: &str| {
        format!(
            "workers: 1\nroutes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', throttle: hold, scope: '{scope}'}}]\n"
        )
    };
    let stage = Stage::with(&route("https://graph.microsoft.com/.default")).await;
    let (answering, fetching) = (Gate::new(), Gate::new());
    let mut other = busy_behind(&stage, &answering, "30").await;
    let slow = Script::on(LOGIN, Fault::Hold(fetching.clone()));
    stage.simulator.script(slow);
    stage.reload(&route("https://graph.microsoft.com//.default"));
    let mut caller = ask(&stage, 1).await;
    both_wait(&stage).await;
    answering.open();
    soon(other.answer("GET")).await.expect(429);
    fetching.open();
    let answer = soon(caller.answer("GET")).await;
    assert_eq!(answer.refusal(), (429, "throttled".to_owned()));
    assert_eq!(stage.arrivals("/sim/bytes/1"), 0);
}

#[tokio::test]
async fn a_retry_that_waited_for_its_token_keeps_the_quiet_that_was_asked_for_meanwhile() {
    let stage = with_short_tokens().await;
    let (refusing, answering, renewing) = (Gate::new(), Gate::new(), Gate::new());
    let held = Script::on(GRAPH, Fault::Hold(refusing.clone()));
    stage.simulator.script(held.under("/sim/bytes/1").times(1));
    let busy = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\nX-Check: 1\r\n\r\n";
    let busy = Fault::Raw(busy.into(), Ending::Close);
    let script = Script::on(GRAPH, busy).under("/sim/bytes/1").times(1);
    stage.simulator.script(script);
    let mut other = busy_behind(&stage, &answering, "30").await;
    let mut caller = stage.caller().await;
    caller
        .ask("GET /graph/sim/bytes/1 HTTP/1.1\nTE: trailers\nConnection: TE")
        .await;
    stage.arrive(1, "/sim/bytes/1").await;
    // The token is over before the pause is: no call that is answered begins from here on.
    let slow = Script::on(LOGIN, Fault::Hold(renewing.clone()));
    stage.simulator.script(slow);
    refusing.open();
    stage.becomes("tokenferry_token_waiters", &[], 1.0).await;
    assert_eq!(stage.arrivals("/sim/bytes/1"), 1, "it waits to ask again");
    answering.open();
    soon(other.answer("GET")).await.expect(429);
    renewing.open();
    let answer = soon(caller.answer("GET")).await.expect(503);
    assert_eq!(answer.text(), "busy");
    assert_eq!(answer.trailers, [("x-check".to_owned(), "1".to_owned())]);
    assert_eq!(stage.arrivals("/sim/bytes/1"), 1);
}

#[tokio::test]
async fn a_retry_that_waited_for_the_end_of_a_quiet_has_the_token_of_then() {
    let stage = with_short_tokens().await;
    let (refusing, answering) = (Gate::new(), Gate::new());
    let busy = Fault::answer(503, &[("retry-after", "0")], "busy");
    for fault in [Fault::Hold(refusing.clone()), busy] {
        let script = Script::on(GRAPH, fault).under("/sim/bytes/1").times(1);
        stage.simulator.script(script);
    }
    let _other = busy_behind(&stage, &answering, "5").await;
    let mut caller = ask(&stage, 1).await;
    stage.arrive(1, "/sim/bytes/1").await;
    answering.open();
    let throttled = "tokenferry_upstream_throttled_total";
    stage.becomes(throttled, &[("route", "graph")], 1.0).await;
    refusing.open();
    soon(caller.answer("GET")).await.expect(200);
    let tokens = stage.sent_to("/sim/bytes/1");
    let tokens: Vec<_> = tokens.iter().map(|it| it.header("authorization")).collect();
    assert_eq!(tokens.len(), 2);
    assert!(tokens[0] != tokens[1], "the first is over by then");
}
