//! Whoever was refused can be told from the metrics and the log: what, where, who and why.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokenferry::simulator::{Ending, Fault, GRAPH, LOGIN, Script, Simulator};

use crate::harness::caller::Caller;
use crate::harness::numbers::{Numbers, becomes};
use crate::harness::program::Program;
use crate::harness::until;
use crate::tls::{Authority, write_identity};

const KEY: &str = "a-key-of-good-length-0001";

/// Requests, each with its id, and what they are refused with: code, route and caller, if any.
const REFUSED: [[&str; 5]; 13] = [
    [
        "not-allowed",
        "DELETE /asked/sim/bytes/1 HTTP/1.1\nX-Api-Key: a-key-of-good-length-0001",
        "notAllowed",
        "asked",
        "cron",
    ],
    [
        "header",
        "GET /open/sim/bytes/1 HTTP/1.1\nCallerObjectId: x",
        "notAllowed",
        "open",
        "",
    ],
    [
        "nobody",
        "GET /asked/sim/bytes/1 HTTP/1.1",
        "callerUnknown",
        "asked",
        "",
    ],
    [
        "wrong-key",
        "GET /asked/sim/bytes/1 HTTP/1.1\nX-Api-Key: a-key-of-good-length-0002",
        "callerUnknown",
        "asked",
        "",
    ],
    ["no-route", "GET /nowhere HTTP/1.1", "noRoute", "", ""],
    [
        "host",
        "GET /open/sim/bytes/1 HTTP/1.1\nHost: evil.example",
        "hostNotServed",
        "",
        "",
    ],
    [
        "page",
        "GET /open/sim/bytes/1 HTTP/1.1\nOrigin: https://evil.example",
        "crossSite",
        "",
        "",
    ],
    ["path", "GET /open/../x HTTP/1.1", "badRequest", "", ""],
    [
        "method",
        "TRACE /open/x HTTP/1.1",
        "methodNotSupported",
        "",
        "",
    ],
    [
        "expectation",
        "GET /open/x HTTP/1.1\nExpect: 200-maybe",
        "expectationFailed",
        "",
        "",
    ],
    [
        "large",
        "POST /open/sim/sink HTTP/1.1\nContent-Length: 2000",
        "bodyTooLarge",
        "open",
        "",
    ],
    ["long", "GET /open/LONG HTTP/1.1", "uriTooLong", "", ""],
    [
        "fields",
        "GET /open/x HTTP/1.1\nX: LONG",
        "headersTooLarge",
        "",
        "",
    ],
];

#[tokio::test]
async fn each_refusal_is_counted_once_and_logged_once_with_who_where_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key");
    fs::write(&key_file, KEY).unwrap();
    let own = format!(
        "limits: {{request_line: 1KiB, header_block: 1KiB}}\n\
         callers: {{cron: {{api_key_file: '{}'}}}}\n\
         routes:\n\
         - {{name: asked, path: /asked, upstream: 'https://GRAPH', callers: [cron], allow: ['GET /sim/**']}}\n\
         - {{name: open, path: /open, upstream: 'https://GRAPH', max_body_bytes: 1KiB}}\n",
        key_file.display()
    );
    // The log as it is by default.
    let program = Program::start(&own, "").await;
    for [id, lines, code, route, caller] in REFUSED {
        let labels = [("reason", code)];
        let name = "tokenferry_refused_total";
        let before = Numbers::scrape(program.admin).await.sum(name, &labels);
        let lines = format!("{lines}\nclient-request-id: {id}").replace("LONG", &"y".repeat(1100));
        let answer = program.caller().await.exchange(&lines).await;
        assert_eq!(answer.refusal().1, code, "{id}");
        becomes(program.admin, name, &labels, before + 1.0).await;
        let line = program.out.with("/request_id", id).await;
        let told = |value: &str| match value {
            "" => Value::Null,
            value => value.into(),
        };
        assert_eq!(line["code"], code, "{line}");
        assert_eq!(line["route"], told(route), "{line}");
        assert_eq!(line["caller"], told(caller), "{line}");
        assert_eq!(line["attempts"], 0, "{line}");
        let event = program.err.with("/request_id", id).await;
        assert_eq!(event["message"], "request refused", "{event}");
        assert_eq!(event["code"], code, "{event}");
        assert_eq!(event["route"], told(route), "{event}");
        assert_eq!(event["caller"], told(caller), "{event}");
        assert!(
            event["reason"].as_str().is_some_and(|why| why.len() > 20),
            "{event}"
        );
    }
    for output in [&program.out, &program.err] {
        for [id, ..] in REFUSED {
            let with = |line: &&String| line.contains(&format!("\"request_id\":\"{id}\""));
            assert_eq!(output.all().iter().filter(with).count(), 1, "{id}");
        }
        assert!(!output.text().contains("a-key-of-good-length"));
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_counted_and_logged_with_its_address() {
    let program = Program::start("timeouts: {request_head: 200ms}\n", "").await;
    for (bytes, code, reason, count) in [
        ("GARBAGE\r\n\r\n", "badRequest", "not well-formed HTTP", 1.0),
        (
            "GET /graph HTTP/1.1\r\nHost: loc",
            "requestTimeout",
            "timeouts.request_head",
            1.0,
        ),
        // How a client begins that was told https://.
        (
            "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\u{3}",
            "badRequest",
            "the caller speaks TLS",
            2.0,
        ),
    ] {
        let mut caller = program.caller().await;
        caller.send(bytes).await;
        assert_eq!(caller.answer("GET").await.refusal().1, code);
        let told = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            let why = event["reason"].as_str()?.contains(reason);
            why.then_some(event)
        };
        let event = program.err.find(reason, told).await;
        assert_eq!(event["code"], code, "{event}");
        assert_eq!(event["peer"], "127.0.0.1", "{event}");
        let labels = [("reason", code)];
        becomes(program.admin, "tokenferry_refused_total", &labels, count).await;
    }
}

/// All that such a caller sees is an answer that it cannot read.
#[tokio::test]
async fn a_caller_without_tls_is_counted_and_logged_where_there_is_tls() {
    let folder = tempfile::tempdir().unwrap();
    write_identity(folder.path(), &Authority::new().identity("localhost"));
    let shown = folder.path().display();
    let own =
        format!("tls: {{certificate_file: '{shown}/tls.pem', key_file: '{shown}/tls.key'}}\n");
    let program = Program::start(&own, "").await;
    let mut caller = program.caller().await;
    caller.ask("GET /graph/sim/bytes/1 HTTP/1.1").await;
    caller.rest().await;
    let told = |line: &str| line.contains("call https://").then(|| line.to_owned());
    let line = program.err.find("the refusal", told).await;
    assert!(line.contains("\"peer\":\"127.0.0.1\""), "{line}");
    let labels = [("reason", "badRequest")];
    becomes(program.admin, "tokenferry_refused_total", &labels, 1.0).await;
}

#[tokio::test]
async fn what_finds_no_place_is_counted_and_logged_too() {
    let own = "limits: {in_flight: 1}\nworkers: 1\n\
        routes:\n\
        - {name: graph, path: /graph, upstream: 'https://GRAPH'}\n";
    let program = Program::start(own, "").await;
    let mut slow = program.caller().await;
    slow.ask("GET /graph/sim/slow?head_ms=3000 HTTP/1.1").await;
    until("there is no place left", async || {
        let answer = program
            .caller()
            .await
            .exchange("GET /graph/sim/bytes/1 HTTP/1.1\nclient-request-id: one-too-many")
            .await;
        answer.status == 503
    })
    .await;
    let event = program.err.with("/code", "overloaded").await;
    assert_eq!(event["request_id"], "one-too-many", "{event}");
    let labels = [("reason", "overloaded")];
    becomes(program.admin, "tokenferry_refused_total", &labels, 1.0).await;
}

#[tokio::test]
async fn who_is_refused_on_the_admin_port_is_counted_and_logged_too() {
    let program = Program::start("", "").await;
    let mut caller = Caller::connect(program.admin).await;
    for (lines, code) in [
        (
            "GET /status.json HTTP/1.1\nHost: evil.example",
            "hostNotServed",
        ),
        (
            "GET /status.json HTTP/1.1\nOrigin: https://evil.example",
            "crossSite",
        ),
    ] {
        assert_eq!(caller.exchange(lines).await.refusal().1, code);
        let event = program.err.with("/code", code).await;
        assert_eq!(
            event["message"], "request refused on the admin listener",
            "{event}"
        );
        let labels = [("reason", code)];
        becomes(program.admin, "tokenferry_refused_total", &labels, 1.0).await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told_in_the_log_with_its_reason() {
    // First: the simulator, which gives a program its token, rests as long as this takes.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 64 << 20]).unwrap();
    let program = Program::start("", "info").await;
    let fields = [
        ("content-encoding", "gzip"),
        ("content-type", "application/json"),
    ];
    let bomb = Fault::answer(200, &fields, encoder.finish().unwrap());
    let cut = Fault::Break {
        after: Some(500),
        ending: Ending::Close,
    };
    for (fault, reason) in [
        (bomb, "a compressed answer grew"),
        (cut, "the upstream's answer broke off"),
    ] {
        program.simulator.script(Script::on(GRAPH, fault).times(1));
        let mut caller = program.caller().await;
        let lines = "GET /graph/sim/bytes/1000 HTTP/1.1\nAccept-Encoding: gzip";
        let answer = caller.exchange(lines).await;
        assert!(!answer.whole, "{reason}");
        let told = |line: &str| {
            let told = line.contains("an answer broke off") && line.contains(reason);
            told.then_some(())
        };
        program.err.find(reason, told).await;
    }
}

#[tokio::test]
async fn a_request_without_a_token_is_logged_with_the_reason_that_the_failed_call_is_logged_with() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    simulator.outage(LOGIN);
    let program = Program::within(simulator, "", &[]).await;
    let answer = program.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (503, "tokenUnavailable".to_owned()));
    let call = program.err.with("/message", "no new token").await;
    let refused = program.err.with("/message", "request refused").await;
    let reason = refused["reason"].as_str().unwrap_or_default();
    let why = reason.strip_prefix("no token for now: ");
    assert_eq!(why, call["reason"].as_str(), "{refused}");
}
