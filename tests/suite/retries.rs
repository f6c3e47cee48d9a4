//! Connections that die, and what is sent again and what is not.

use tokenferry::simulator::{Ending, Fault, GRAPH, Gate, Handshake, Script};

use crate::harness::stage::Stage;
use crate::harness::{soon, until};

const ONE_WORKER: &str = "workers: 1\n";
const HTTP2: &str = "\
workers: 1
routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: 2}]
";

const OVERRIDABLE: &str = "\
workers: 1
routes:
  - name: graph
    path: /graph
    upstream: https://GRAPH
    keep_headers: [X-HTTP-Method-Override]
    retry: {attempts: 3}
";

async fn retries(stage: &Stage) -> f64 {
    let labels = [("route", "graph")];
    stage
        .number("tokenferry_upstream_retries_total", &labels)
        .await
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_costs_no_error() {
    for ending in [Ending::Close, Ending::Notify, Ending::Reset] {
        let stage = Stage::with(ONE_WORKER).await;
        for method in ["GET", "POST", "DELETE"] {
            stage.get("/graph/sim/status/200").await;
            until("the connection is idle, and ended", async || {
                stage.simulator.close_idle(GRAPH, ending) == 1
            })
            .await;
            until("it is gone", async || {
                stage.simulator.connections(GRAPH) == 0
            })
            .await;
            let lines = format!("{method} /graph/sim/sink HTTP/1.1\nContent-Length: 0");
            stage.ask(&lines).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_stale_connection_costs_one_silent_retry() {
    for ending in [Ending::Close, Ending::Reset] {
        let stage = Stage::with(ONE_WORKER).await;
        stage.get("/graph/sim/bytes/1").await.expect(200);
        let fault = Fault::Break {
            after: None,
            ending,
        };
        stage
            .simulator
            .script(Script::on(GRAPH, fault).reused().times(1));
        for method in ["GET", "HEAD"] {
            let lines = format!("{method} /graph/sim/bytes/1 HTTP/1.1");
            assert_eq!(stage.ask(&lines).await.status, 200);
        }
        assert_eq!(retries(&stage).await, 1.0);
        assert_eq!(stage.arrivals(GRAPH), 4, "one of them twice");
    }
}

#[tokio::test]
async fn stale_connections_cost_one_retry_however_many_there_are() {
    let stage = Stage::with(ONE_WORKER).await;
    stage.leave_stale(GRAPH, "/graph/sim/bytes/1").await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
    assert_eq!(retries(&stage).await, 1.0);
}

#[tokio::test]
async fn a_connection_that_brought_a_503_is_not_used_again() {
    let stage = Stage::with(ONE_WORKER).await;
    for status in [429, 503, 500] {
        let fault = Fault::answer(status, &[], "busy");
        stage.get("/graph/sim/bytes/1").await.expect(200);
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        stage.get("/graph/sim/bytes/1").await.expect(status);
        stage.get("/graph/sim/bytes/1").await.expect(200);
        let seen = stage.simulator.seen();
        let [.., before, next] = seen.as_slice() else {
            panic!("three requests arrived");
        };
        let is_other = before.connection != next.connection;
        assert_eq!(is_other, status == 503, "{status}");
    }
}

#[tokio::test]
async fn a_write_that_the_upstream_may_have_read_is_never_sent_twice() {
    let stage = Stage::with(ONE_WORKER).await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for body in ["", "hello"] {
            stage.get("/graph/sim/bytes/1").await.expect(200);
            stage.simulator.clear();
            let fault = Fault::Break {
                after: None,
                ending: Ending::Close,
            };
            stage.simulator.script(Script::on(GRAPH, fault).times(1));
            let lines = format!("{method} /graph/sim/sink HTTP/1.1");
            let answer = stage.ask_with(&lines, body).await;
            assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
            assert!(answer.message().contains("may or may not"));
            assert_eq!(stage.arrivals(GRAPH), 1, "{method} {body}");
        }
    }
    assert_eq!(retries(&stage).await, 0.0);
}

#[tokio::test]
async fn a_method_override_that_goes_up_counts_as_a_write() {
    let stage = Stage::with(OVERRIDABLE).await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\nX-HTTP-Method-Override: PATCH");
    let fault = Fault::Break {
        after: None,
        ending: Ending::Close,
    };
    stage.simulator.script(Script::on(GRAPH, fault).times(1));
    let answer = stage.ask(&ask("/graph/sim/bytes/1")).await;
    assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
    assert_eq!(stage.arrivals(GRAPH), 1);
    stage.simulator.clear();
    stage.ask(&ask("/graph/sim/status/503")).await.expect(503);
    assert_eq!(stage.arrivals(GRAPH), 1);
    assert_eq!(retries(&stage).await, 0.0);
}

#[tokio::test]
async fn a_request_that_fails_on_a_fresh_connection_too_is_given_up() {
    let stage = Stage::with(ONE_WORKER).await;
    let fault = Fault::Break {
        after: None,
        ending: Ending::Close,
    };
    stage.simulator.script(Script::on(GRAPH, fault));
    let answer = stage.get("/graph/sim/bytes/1").await;
    assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
    assert_eq!(stage.arrivals(GRAPH), 2);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_never_asked_for_again() {
    let stage = Stage::with(ONE_WORKER).await;
    let fault = Fault::Break {
        after: Some(10),
        ending: Ending::Close,
    };
    stage.simulator.script(Script::on(GRAPH, fault).times(1));
    let answer = stage.get("/graph/sim/bytes/1000").await;
    assert!(!answer.whole);
    assert_eq!(stage.arrivals(GRAPH), 1);
}

#[tokio::test]
async fn what_http2_says_was_not_processed_is_sent_again() {
    let stage = Stage::with(HTTP2).await;
    stage.get("/graph/sim/bytes/1").await.expect(200);
    for method in ["GET", "POST"] {
        let before = stage.arrivals(GRAPH);
        stage
            .simulator
            .script(Script::on(GRAPH, Fault::Unprocessed).times(1));
        let lines = format!("{method} /graph/sim/sink HTTP/1.1\nContent-Length: 0");
        let answer = stage.ask(&lines).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        assert_eq!(stage.arrivals(GRAPH), before + 2);
    }
    assert_eq!(retries(&stage).await, 2.0);
}

#[tokio::test]
async fn of_what_was_not_processed_a_small_body_is_kept_and_sent_again_and_a_large_one_is_not() {
    let stage = Stage::with(HTTP2).await;
    for (length, status, attempts) in [(5, 200, 2), (100_000, 502, 1)] {
        stage.simulator.clear();
        let fault = Script::on(GRAPH, Fault::Unprocessed).times(1);
        stage.simulator.script(fault);
        let post = "POST /graph/sim/sink HTTP/1.1";
        let answer = stage.ask_with(post, "x".repeat(length)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 200 {
            assert_eq!(answer.json()["length"], length);
        }
        assert_eq!(stage.arrivals(GRAPH), attempts);
    }
}

#[tokio::test]
async fn a_get_with_a_small_body_is_repeated_like_any_other() {
    let stage = Stage::with(ONE_WORKER).await;
    let fault = Fault::Break {
        after: None,
        ending: Ending::Close,
    };
    stage.simulator.script(Script::on(GRAPH, fault).times(1));
    let get = "GET /graph/sim/sink HTTP/1.1";
    let answer = stage.ask_with(get, "hello").await.expect(200);
    assert_eq!(answer.json()["length"], 5);
    assert_eq!(stage.arrivals(GRAPH), 2);
}

#[tokio::test]
async fn a_get_is_not_repeated_once_a_byte_of_the_answer_has_come() {
    let stage = Stage::with(ONE_WORKER).await;
    for begun in [
        "H",
        "HTTP/1.1 200 OK\r\nX",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    ] {
        stage.simulator.clear();
        let fault = Fault::Raw(begun.into(), Ending::Close);
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let answer = stage.get("/graph/sim/bytes/1").await;
        assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
        assert_eq!(stage.arrivals(GRAPH), 1, "{begun}");
    }
}

#[tokio::test]
async fn a_connection_that_says_goodbye_serves_what_it_has_and_is_replaced() {
    for own in [ONE_WORKER, HTTP2] {
        let stage = Stage::with(own).await;
        for _ in 0..3 {
            stage
                .simulator
                .script(Script::on(GRAPH, Fault::Goaway).times(1));
            stage.get("/graph/sim/bytes/10").await.expect(200);
            stage.get("/graph/sim/bytes/10").await.expect(200);
        }
        assert_eq!(stage.arrivals(GRAPH), 6);
        assert!(stage.last().connection > 3);
    }
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept_and_shared() {
    for own in [ONE_WORKER, HTTP2] {
        let stage = Stage::with(own).await;
        for _ in 0..5 {
            stage.get("/graph/sim/bytes/10").await.expect(200);
        }
        assert_eq!(stage.simulator.connections(GRAPH), 1);
    }
}

#[tokio::test]
async fn auto_takes_what_the_upstream_offers() {
    let own = "workers: 1\nroutes: [{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: auto}]\n";
    for offered in [true, false] {
        let stage = Stage::cold(own, |simulator| simulator.offer_http2(offered)).await;
        stage.attempted().await;
        for _ in 0..3 {
            stage.get("/graph/sim/bytes/10").await.expect(200);
        }
        let seen = stage.last();
        let expected = if offered {
            http::Version::HTTP_2
        } else {
            http::Version::HTTP_11
        };
        assert_eq!(seen.version, expected);
        assert_eq!(stage.simulator.connections(GRAPH), 1);
    }
    let own = own.replace("auto", "2");
    let stage = Stage::cold(&own, |simulator| simulator.offer_http2(false)).await;
    stage.attempted().await;
    for spoilt in [None, Some(Handshake::Unsettled)] {
        if let Some(spoilt) = spoilt {
            stage.simulator.spoil(GRAPH, spoilt);
        }
        let answer = stage.get("/graph/sim/bytes/10").await;
        assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
        let words = "does not speak HTTP/2; set the route's upstream_http to 1 or auto";
        assert!(answer.message().contains(words), "{}", answer.message());
    }
}

#[tokio::test]
async fn streams_beyond_what_the_upstream_allows_wait_for_no_other() {
    let stage = Stage::with(HTTP2).await;
    let gate = Gate::new();
    stage
        .simulator
        .script(Script::on(GRAPH, Fault::Hold(gate.clone())).under("/sim/sink"));
    let caller = stage.caller2().await;
    let mut held = tokio::task::JoinSet::new();
    for number in 0..250 {
        // Streams of one connection have a bound of their own.
        let caller = if number % 90 == 0 {
            stage.caller2().await
        } else {
            caller.clone()
        };
        held.spawn(async move { caller.exchange("GET", "/graph/sim/sink").await.status });
    }
    let free = stage.get("/graph/sim/bytes/1");
    soon(free).await.expect(200);
    gate.open();
    while let Some(status) = soon(held.join_next()).await {
        assert_eq!(status.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_retry_keeps_the_quiet_that_was_asked_of_another_request() {
    let stage = Stage::with(
        "\
workers: 1
routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', throttle: hold, retry: {attempts: 2}}]
",
    )
    .await;
    let busy = |after| Fault::answer(429, &[("retry-after", after)], "busy");
    let gate = Gate::new();
    let (short, long) = ("/sim/bytes/1", "/sim/bytes/2");
    // Long enough for the other answer to come meanwhile, on a machine that stands still.
    let shortly = Script::on(GRAPH, busy("5")).under(short).times(1);
    stage.simulator.script(shortly);
    let hold = Fault::Hold(gate.clone());
    stage.simulator.script(Script::on(GRAPH, hold).under(long));
    stage
        .simulator
        .script(Script::on(GRAPH, busy("60")).under(long));
    let mut callers = [stage.caller().await, stage.caller().await];
    for (number, caller) in callers.iter_mut().enumerate() {
        let target = [long, short][number];
        caller.ask(&format!("GET /graph{target} HTTP/1.1")).await;
        stage.arrive(number + 1, GRAPH).await;
    }
    gate.open();
    for mut caller in callers {
        caller.answer("GET").await.expect(429);
    }
    assert_eq!(stage.arrivals(GRAPH), 2);
}
