//! What is kept over a reload, and what is let go: taken places, a quiet, an upstream, a host.

use tokenferry::simulator::{Fault, GRAPH, Gate, ORGANISATION, Script};

use crate::harness::caller::Caller;
use crate::harness::soon;
use crate::harness::stage::Stage;

fn route(host: &str, keys: &str) -> String {
    format!("workers: 1\nroutes: [{{name: api, path: /api, upstream: 'https://{host}'{keys}}}]\n")
}

/// A request that is at the upstream, and stays there until the gate opens.
async fn held(stage: &Stage, gate: &Gate) -> Caller {
    let hold = Script::on(ORGANISATION, Fault::Hold(gate.clone()));
    stage.simulator.script(hold.times(1));
    let mut caller = stage.caller().await;
    caller.ask("GET /api/sim/bytes/1 HTTP/1.1").await;
    stage.arrive(1, ORGANISATION).await;
    caller
}

#[tokio::test]
async fn places_that_are_taken_stay_taken() {
    let own = route(ORGANISATION, ", max_concurrency: 1");
    let stage = Stage::with(&own).await;
    let gate = Gate::new();
    let mut first = held(&stage, &gate).await;
    stage.reload(&own);
    let mut second = stage.caller().await;
    second.ask("GET /api/sim/bytes/1 HTTP/1.1").await;
    let labels = [("route", "api")];
    stage
        .becomes("tokenferry_requests_in_flight", &labels, 2.0)
        .await;
    assert_eq!(stage.arrivals(ORGANISATION), 1);
    gate.open();
    first.answer("GET").await.expect(200);
    second.answer("GET").await.expect(200);
}

#[tokio::test]
async fn another_bound_has_places_of_its_own() {
    let stage = Stage::with(&route(ORGANISATION, ", max_concurrency: 1")).await;
    let gate = Gate::new();
    let mut first = held(&stage, &gate).await;
    stage.reload(&route(ORGANISATION, ", max_concurrency: 2"));
    soon(stage.get("/api/sim/bytes/1")).await.expect(200);
    gate.open();
    first.answer("GET").await.expect(200);
}

/// A route that holds back, of which the upstream has just asked for ten minutes of quiet.
async fn asked_for_quiet() -> Stage {
    let stage = Stage::with(&route(ORGANISATION, ", throttle: hold")).await;
    let busy = Fault::answer(429, &[("retry-after", "600")], "busy");
    let busy = Script::on(ORGANISATION, busy);
    stage.simulator.script(busy.times(1));
    stage.get("/api/sim/bytes/1").await.expect(429);
    stage
}

#[tokio::test]
async fn a_quiet_that_another_upstream_asked_for_is_none() {
    let stage = asked_for_quiet().await;
    stage.reload(&route(GRAPH, ", throttle: hold"));
    stage.get("/api/sim/bytes/1").await.expect(200);
}

#[tokio::test]
async fn a_quiet_that_a_reload_has_ended_does_not_come_back() {
    let stage = asked_for_quiet().await;
    for keys in [", throttle: pass", ", throttle: hold"] {
        stage.reload(&route(ORGANISATION, keys));
        stage.get("/api/sim/bytes/1").await.expect(200);
    }
}

#[tokio::test]
async fn connections_of_a_route_that_is_gone_are_counted_no_more() {
    for http in [1, 2] {
        let own = route(ORGANISATION, &format!(", upstream_http: {http}"));
        let stage = Stage::with(&own).await;
        stage.get("/api/sim/bytes/1").await.expect(200);
        let (gauge, labels) = ("tokenferry_upstream_connections", [("route", "api")]);
        stage.becomes(gauge, &labels, 1.0).await;
        stage.reload(&own.replace("name: api", "name: other"));
        stage.becomes(gauge, &labels, 0.0).await;
    }
}

#[tokio::test]
async fn requests_go_where_the_route_leads_now() {
    let stage = Stage::with(&route(ORGANISATION, "")).await;
    for host in [ORGANISATION, GRAPH, ORGANISATION] {
        stage.reload(&route(host, ""));
        let before = stage.arrivals(host);
        stage.get("/api/sim/bytes/1").await.expect(200);
        assert_eq!(stage.arrivals(host), before + 1, "{host}");
    }
}

#[tokio::test]
async fn a_host_that_is_listed_no_more_is_refused_to_a_connection_that_has_named_it() {
    let own = |host| format!("hosts: [{host}]\n{}", route(ORGANISATION, ""));
    let stage = Stage::with(&own("a.example")).await;
    let mut caller = stage.caller().await;
    for (host, status) in [("a.example", 200), ("b.example", 421), ("a.example", 200)] {
        stage.reload(&own(host));
        for _ in 0..2 {
            caller
                .ask("GET /api/sim/bytes/1 HTTP/1.1\nHost: a.example")
                .await;
            caller.answer("GET").await.expect(status);
        }
    }
}
