//! The admin endpoints, asked as a listener would ask them.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::BodyExt;
use serde_json::Value;

use super::*;
use crate::config::{Name, Scope};
use crate::metrics::{MethodLabel, RefreshOutcome};
use crate::token::{LastError, TokenStatus};

pub(super) const SCOPE: &str = "https://graph.microsoft.com/.default";

pub(super) struct World {
    pub(super) admin: Admin,
    pub(super) readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    pub(super) report: Arc<Mutex<Report>>,
    pub(super) now: Now,
}

pub(super) fn wall(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(super) fn token(state: TokenState) -> Token {
    Token {
        status: TokenStatus {
            credential: Name::parse("contoso").unwrap(),
            fallback: None,
            scope: Scope::parse(SCOPE).unwrap(),
            state,
            expires: Some(wall(1_000_000 + 4_000)),
            last_renewal: Some(wall(1_000_000 - 125)),
            last_error: None,
            next_call_in: Duration::from_secs(2_000),
            waiters: 0,
        },
        fallback_reason: None,
        credential_expires: None,
    }
}

/// A call that failed an hour ago.
fn failed(words: &str, over: Option<SystemTime>) -> LastError {
    LastError {
        at: wall(1_000_000 - 3_700),
        outcome: RefreshOutcome::Rejected,
        words: words.into(),
        over,
    }
}

/// One route whose token is in `state`, one million seconds after 1970.
pub(super) fn world(state: TokenState) -> World {
    let report = Arc::new(Mutex::new(Report {
        configuration: Configuration::loaded(wall(999_000)),
        routes: vec![Route {
            name: "graph".into(),
            matches: "/graph".into(),
            upstream: "https://graph.microsoft.com".into(),
            credential: "contoso".into(),
            scope: SCOPE.into(),
            token: Some(0),
        }],
        tokens: vec![token(state)],
    }));
    let now = Now {
        wall: wall(1_000_000),
        ..Now::read()
    };
    let metrics = Metrics::new(now.wall);
    let readiness = Arc::new(Readiness::new(now));
    let shown = Arc::clone(&report);
    let admin = Admin::new(
        Arc::clone(&metrics),
        Arc::clone(&readiness),
        Box::new(move || shown.lock().unwrap().clone()),
    );
    World {
        admin,
        readiness,
        metrics,
        report,
        now,
    }
}

impl World {
    pub(super) fn started(state: TokenState) -> Self {
        let world = world(state);
        world.readiness.release(Latch::Configuration);
        world.readiness.release(Latch::Listener);
        world.readiness.release(Latch::Keys);
        world
    }

    fn ask(&self, method: &Method, target: &str) -> Response<String> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let (head, body) = self
            .admin
            .answer(method, path, query, self.now)
            .into_parts();
        // A full body is there at once.
        let mut body = std::pin::pin!(body.collect());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Ok(body)) = body.as_mut().poll(&mut context) else {
            panic!("the body is not there");
        };
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        Response::from_parts(head, text)
    }

    pub(super) fn get(&self, target: &str) -> Response<String> {
        self.ask(&Method::GET, target)
    }

    fn json(&self, target: &str) -> Value {
        serde_json::from_str(self.get(target).body()).unwrap()
    }

    fn is_ready(&self, target: &str) -> bool {
        self.get(target).status() == StatusCode::OK
    }
}

#[test]
fn a_process_is_alive_before_it_is_ready_and_while_it_drains() {
    let world = world(TokenState::Pending);
    assert_eq!(world.get("/livez").body(), "ok\n");
    world.readiness.drain();
    assert_eq!(world.get("/livez").status(), StatusCode::OK);
    assert!(!world.is_ready("/readyz"));
}

#[test]
fn readiness_waits_for_the_first_attempts_and_says_so() {
    let world = World::started(TokenState::Pending);
    assert!(!world.is_ready("/readyz"));
    let body = world.json("/readyz");
    assert_eq!(body["waiting_for"], serde_json::json!(["tokens"]));
    assert_eq!(body["routes"][0]["route"], "graph");
    assert_eq!(body["routes"][0]["token"], "pending");
    world.report.lock().unwrap().tokens = vec![token(TokenState::Unavailable)];
    assert!(world.is_ready("/readyz"));
}

#[test]
fn a_token_that_is_new_after_a_reload_does_not_take_readiness_back() {
    let world = World::started(TokenState::Valid);
    assert!(world.is_ready("/readyz"));
    world.report.lock().unwrap().tokens = vec![token(TokenState::Pending)];
    assert!(world.is_ready("/readyz"));
    assert!(!world.is_ready("/readyz?tokens"));
}

#[test]
fn an_outage_of_entra_shows_only_to_those_who_ask_for_tokens() {
    for (state, served) in [
        (TokenState::Failing, true),
        (TokenState::Rejected, false),
        (TokenState::Unavailable, false),
        (TokenState::Valid, true),
    ] {
        let world = World::started(state);
        assert!(world.is_ready("/readyz"), "{state:?}");
        assert!(world.is_ready("/readyz?token&verbose"), "{state:?}");
        assert_eq!(world.is_ready("/readyz?tokens"), served, "{state:?}");
        assert_eq!(
            world.is_ready("/readyz?verbose&tokens=1"),
            served,
            "{state:?}"
        );
        assert_eq!(world.json("/readyz?tokens")["tokens_served"], served);
    }
}

#[test]
fn no_report_before_the_configuration_counts_as_tried_tokens() {
    let world = world(TokenState::Valid);
    world.report.lock().unwrap().tokens.clear();
    world.readiness.release(Latch::Listener);
    world.readiness.release(Latch::Keys);
    assert!(!world.is_ready("/readyz"));
    world.report.lock().unwrap().tokens = vec![token(TokenState::Pending)];
    world.readiness.release(Latch::Configuration);
    assert!(!world.is_ready("/readyz"));
}

#[test]
fn the_metrics_page_says_what_it_is() {
    let world = world(TokenState::Valid);
    let answer = world.get("/metrics");
    assert_eq!(answer.headers()["content-type"], metrics::CONTENT_TYPE);
    assert!(
        answer
            .body()
            .contains("# TYPE tokenferry_refused_total counter\n")
    );
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let world = World::started(TokenState::Valid);
    for path in ["/", "/livez", "/readyz", "/status.json"] {
        let (get, head) = (world.get(path), world.ask(&Method::HEAD, path));
        assert_eq!(head.status(), get.status());
        assert!(head.body().is_empty());
        assert_eq!(
            head.headers()["content-length"],
            get.body().len().to_string()
        );
        assert_eq!(
            head.headers()["content-type"],
            get.headers()["content-type"]
        );
    }
}

#[test]
fn what_is_not_there_is_refused_in_the_form_of_all_refusals() {
    let world = world(TokenState::Valid);
    let absent = world.get("/debug/pprof");
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        absent.headers()["proxy-status"],
        "tokenferry; error=destination_not_found"
    );
    let error = &serde_json::from_str::<Value>(absent.body()).unwrap()["error"];
    assert_eq!(error["code"], "noRoute");
    assert!(error["message"].as_str().unwrap().contains("/metrics"));
    assert_eq!(error["innerError"]["date"], "1970-01-12T13:46:40.000Z");
    assert_eq!(
        error["innerError"]["request-id"].as_str().unwrap().len(),
        36
    );

    let posted = world.ask(&Method::POST, "/readyz");
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(posted.headers()["allow"], "GET, HEAD");
    assert!(posted.body().contains("methodNotSupported"));
}

#[test]
fn no_answer_may_be_stored_sniffed_or_framed() {
    let world = world(TokenState::Valid);
    for path in [
        "/",
        "/livez",
        "/readyz",
        "/metrics",
        "/status.json",
        "/none",
    ] {
        let answer = world.get(path);
        let headers = answer.headers();
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
    }
}

#[test]
fn the_status_tells_numbers_times_and_reasons() {
    let world = World::started(TokenState::Rejected);
    let cells = world.metrics.route_cells(0, "graph");
    for status in [200, 400, 499, 500, 999] {
        cells.request_started();
        cells.request_ended(MethodLabel::Get, status, Duration::from_millis(30), 0, 10);
    }
    cells.request_started();
    cells.throttled();
    world.metrics.refusals(0).refused(Code::TokenRejected);
    let failed = failed(
        "AADSTS7000215: the secret is wrong; set the right one",
        None,
    );
    world.report.lock().unwrap().tokens[0].status.last_error = Some(failed);
    let status = world.json("/status.json");
    let route = &status["routes"][0];
    assert_eq!(route["token"], "rejected");
    assert_eq!(route["requests"], 5);
    assert_eq!(route["in_flight"], 1);
    assert_eq!(route["client_errors"], 2);
    assert_eq!(route["server_errors"], 2);
    assert_eq!(route["throttled"], 1);
    assert_eq!(route["mean_seconds"], 0.03);
    let token = &status["tokens"][0];
    assert_eq!(token["expires_in_seconds"], 4_000);
    assert_eq!(token["renewed_seconds_ago"], 125);
    assert_eq!(token["next_attempt_in_seconds"], 2_000);
    assert_eq!(token["credential_expires_at"], Value::Null);
    assert_eq!(token["credential_expires_in_seconds"], Value::Null);
    assert_eq!(token["failure"]["at"], "1970-01-12T12:45:00.000Z");
    assert_eq!(token["past_failure"], Value::Null);
    assert_eq!(status["refused"], serde_json::json!({"tokenRejected": 1}));
    assert_eq!(status["configuration"]["refused"], Value::Null);

    let page = world.get("/").into_body();
    assert!(page.contains("1 h 6 min"), "{page}");
    assert!(page.contains("2 min 5 s ago"), "{page}");
    assert!(page.contains("AADSTS7000215"), "{page}");
    assert!(page.contains("(1 h 1 min ago)"), "{page}");
    assert!(
        page.contains("<title>tokenferry: 1 token is missing</title>"),
        "{page}"
    );
}

#[test]
fn an_error_that_is_over_is_told_as_past_and_not_as_present() {
    let world = World::started(TokenState::Valid);
    let over = Some(wall(1_000_000 - 125));
    let failed = failed("AADSTS7000215: the secret is wrong", over);
    world.report.lock().unwrap().tokens[0].status.last_error = Some(failed);
    let token = &world.json("/status.json")["tokens"][0];
    assert_eq!(token["failure"], Value::Null);
    let past = serde_json::json!({
        "at": "1970-01-12T12:45:00.000Z",
        "seconds_ago": 3_700,
        "message": "AADSTS7000215: the secret is wrong",
        "over_at": "1970-01-12T13:44:35.000Z",
        "over_seconds_ago": 125,
    });
    assert_eq!(token["past_failure"], past);
    let page = world.get("/").into_body();
    let told = "Over for 2 min 5 s. The last call that failed, 1 h 1 min ago: AADSTS7000215";
    assert!(page.contains(told), "{page}");
    assert!(world.is_ready("/readyz?tokens"));
}

#[test]
fn the_status_tells_of_a_secret_that_is_over_and_of_refusals_of_the_admin_listener() {
    let world = World::started(TokenState::Valid);
    world.report.lock().unwrap().tokens[0].credential_expires = Some(wall(1_000_000 - 90_000));
    world.admin.refuse(Code::NoRoute, "a reason", world.now);
    let status = world.json("/status.json");
    let token = &status["tokens"][0];
    assert_eq!(token["credential_expires_at"], "1970-01-11T12:46:40.000Z");
    assert_eq!(token["credential_expires_in_seconds"], -90_000);
    assert_eq!(status["refused"], serde_json::json!({"noRoute": 1}));
}
