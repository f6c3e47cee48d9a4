//! A fault of ours: it costs the exchange or the connection that met it, is counted and logged, and
//! nothing more. What panics here is a subscriber of the log, when it is told of a certain request.

use std::process::Command;

use tokenferry::simulator::SECRET_CANARY;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::harness::caller2::{empty, request};
use crate::harness::lines::Lines;
use crate::harness::stage::Stage;
use crate::harness::{program, soon};

/// Asks for the tests below in a process of its own, as a subscriber and a hook for panics are the
/// process's.
const CHILD: &str = "PANICS_CHILD";

/// The id of requests that are bad luck.
const UNLUCKY: &str = "thirteen";

/// Writes events down, and panics at one of them.
struct Trap(Lines);

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl<S: Subscriber> Layer<S> for Trap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        let line = format!("{}\n", words.0);
        // Never fails: it is memory.
        let _ = std::io::Write::write_all(&mut self.0.clone(), line.as_bytes());
        assert!(
            !line.contains(UNLUCKY),
            "somebody worked on {SECRET_CANARY} and {line}"
        );
    }
}

/// Whether this is the process of its own; if not, it is run, and has to end well.
async fn alone(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command
        .args(["--exact", &format!("panics::{test}"), "--nocapture"])
        .env(CHILD, "1");
    let (code, out, err) = program::run(command).await;
    assert!(code == 0 && out.contains("1 passed"), "{out}\n{err}");
    false
}

/// One worker with few places, and what its log says.
async fn trapped() -> (Stage, Lines) {
    let log = Lines::new();
    let subscriber = tracing_subscriber::registry().with(Trap(log.clone()));
    tracing::subscriber::set_global_default(subscriber).expect("it is the first");
    let stage = Stage::with("workers: 1\nlimits: {in_flight: 3}\n").await;
    stage.app().count_panics();
    (stage, log)
}

#[tokio::test]
async fn a_panic_costs_its_own_connection_only_and_is_counted() {
    if !alone("a_panic_costs_its_own_connection_only_and_is_counted").await {
        return;
    }
    let (stage, log) = trapped().await;
    let mut bystander = stage.caller().await;
    bystander
        .exchange("GET /graph/sim/bytes/3 HTTP/1.1")
        .await
        .expect(200);
    let mut slow = stage.caller().await;
    slow.ask("GET /graph/sim/slow?head_ms=500 HTTP/1.1").await;
    for _ in 0..6 {
        let mut unlucky = stage.caller().await;
        unlucky
            .exchange("GET /graph/sim/bytes/3 HTTP/1.1")
            .await
            .expect(200);
        unlucky
            .ask(&format!(
                "GET /nowhere HTTP/1.1\nclient-request-id: {UNLUCKY}"
            ))
            .await;
        unlucky.expect_close().await;
        // The place of the exchange is free again: there are three.
        bystander
            .exchange("GET /graph/sim/bytes/3 HTTP/1.1")
            .await
            .expect(200);
    }
    slow.answer("GET").await.expect(200);
    stage.becomes("tokenferry_panics_total", &[], 6.0).await;
    stage
        .becomes("tokenferry_requests_in_flight", &[], 0.0)
        .await;
    let line = stage.log.with("/request_id", UNLUCKY).await;
    assert_eq!(line["outcome"], "dropped");
    let told = log.find("the fault", |line| {
        line.contains("a fault in tokenferry")
            .then(|| line.to_owned())
    });
    let told = told.await;
    assert!(
        told.contains("panics.rs:") && told.contains("worker-0"),
        "{told}"
    );
    assert!(!log.text().contains(SECRET_CANARY), "{}", log.text());
}

#[tokio::test]
async fn a_panic_of_one_stream_leaves_the_others_of_its_connection() {
    if !alone("a_panic_of_one_stream_leaves_the_others_of_its_connection").await {
        return;
    }
    let (stage, _) = trapped().await;
    let caller = stage.caller2().await;
    let companion = caller.clone();
    let slow = tokio::spawn(async move {
        companion
            .exchange("GET", "/graph/sim/slow?head_ms=500")
            .await
    });
    let unlucky = [("client-request-id", UNLUCKY)];
    for _ in 0..6 {
        let outcome = soon(caller.send(request("GET", "/nowhere", &unlucky, empty()))).await;
        assert!(outcome.is_err(), "{outcome:?}");
        caller
            .exchange("GET", "/graph/sim/bytes/3")
            .await
            .expect(200);
    }
    soon(slow).await.expect("it is not cancelled").expect(200);
    assert!(!caller.is_closed());
    stage.becomes("tokenferry_panics_total", &[], 6.0).await;
}
