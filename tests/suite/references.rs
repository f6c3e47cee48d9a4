//! References to this proxy in requests reach the upstream as its own: it knows no others.

use tokenferry::simulator::{Fault, GRAPH, Gate, Script};

use crate::harness::answer::Answer;
use crate::harness::caller::Caller;
use crate::harness::caller2::{request, unsized_body};
use crate::harness::stage::Stage;

/// A POST or PATCH of a body with its length.
async fn send(stage: &Stage, line: &str, kind: &str, body: &str) -> Answer {
    let host = stage.address();
    let lines = format!("{line} HTTP/1.1\nHost: {host}\nContent-Type: {kind}");
    stage.ask_with(&lines, body).await
}

#[tokio::test]
async fn references_of_this_proxy_in_bodies_become_the_upstreams() {
    let stage = Stage::open().await;
    let base = format!("http://{}/graph", stage.address());
    let line = "POST /graph/v1.0/groups/7/members/$ref";
    let body = format!(r#"{{"@odata.id": "{base}/v1.0/directoryObjects/1"}}"#);
    send(&stage, line, "application/json", &body)
        .await
        .expect(204);
    let sent = stage.last();
    let rewritten = r#"{"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/1"}"#;
    assert_eq!(sent.text(), rewritten);
    assert_eq!(
        sent.header_values("content-length"),
        [rewritten.len().to_string()]
    );
    let uncoded = "application/json\nContent-Encoding: identity";
    send(&stage, line, uncoded, &body).await.expect(204);
    assert_eq!(stage.last().text(), rewritten);

    let body =
        format!(r#"{{"members@odata.bind":["{base}/v1.0/directoryObjects/1"],"text":"{base}/x"}}"#);
    let line = "PATCH /graph/v1.0/groups/7";
    send(&stage, line, "application/json", &body)
        .await
        .expect(204);
    let sent = stage.last().text();
    assert!(
        sent.contains("[\"https://graph.microsoft.com/") && sent.contains(&format!("{base}/x"))
    );
}

#[tokio::test]
async fn a_route_that_leaves_links_alone_leaves_those_of_requests_alone() {
    let routes =
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', rewrite_links: false}]\n";
    let stage = Stage::with(routes).await;
    let base = format!("http://{}/graph/v1.0/directoryObjects/1", stage.address());
    let target = format!("/v1.0/groups/7/members/$ref?$id={base}");
    let body = format!(r#"{{"@odata.id":"{base}"}}"#);
    let line = format!("POST /graph{target}");
    let script = Script::on(GRAPH, Fault::answer(204, &[], ""));
    stage.simulator.script(script);
    send(&stage, &line, "application/json", &body)
        .await
        .expect(204);
    let sent = stage.last();
    assert_eq!(sent.target(), target);
    assert_eq!(sent.text(), body);
}

/// An upload of as much as may be kept.
pub(crate) async fn large(stage: &Stage) -> Caller {
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 65536")
        .await;
    caller.send(vec![b'x'; 65_536]).await;
    caller
}

/// All bodies that may be kept together; they wait for the gate.
pub(crate) async fn keep_all(stage: &Stage) -> (Gate, Vec<Caller>) {
    let gate = Gate::new();
    let script = Script::on(GRAPH, Fault::Hold(gate.clone())).times(256);
    stage.simulator.script(script);
    let mut callers = Vec::new();
    for _ in 0..256 {
        callers.push(large(stage).await);
    }
    stage.arrive(256, "/sim/").await;
    (gate, callers)
}

#[tokio::test]
async fn references_are_turned_also_when_no_body_can_be_kept_any_more() {
    let stage = Stage::with("workers: 1\n").await;
    let (gate, callers) = keep_all(&stage).await;
    let body = format!(
        r#"{{"@odata.id":"http://{}/graph/v1.0/users/1"}}"#,
        stage.address()
    );
    send(&stage, "POST /graph/sim/sink", "application/json", &body)
        .await
        .expect(200);
    let rewritten = r#"{"@odata.id":"https://graph.microsoft.com/v1.0/users/1"}"#;
    assert_eq!(stage.last().text(), rewritten);
    gate.open();
    for mut caller in callers {
        caller.answer("POST").await.expect(200);
    }
}

#[tokio::test]
async fn bodies_that_hold_no_reference_or_are_large_or_compressed_pass_untouched() {
    let stage = Stage::open().await;
    let base = format!("http://{}/graph", stage.address());
    let odd = "{\"a\" : \"\u{e9}\\u00e9\",, broken";
    let large = format!(
        r#"{{"@odata.id":"{base}/x","pad":"{}"}}"#,
        "x".repeat(65_536)
    );
    let text = format!(r#"{{"@odata.id":"{base}/x"}}"#);
    for (kind, body) in [
        ("application/json", odd),
        ("application/json", &large),
        ("application/json\nContent-Encoding: gzip", &text),
        ("text/plain", &text),
    ] {
        send(&stage, "POST /graph/sim/sink", kind, body)
            .await
            .expect(200);
        assert_eq!(stage.last().text(), body);
    }
}

#[tokio::test]
async fn references_in_bodies_of_unknown_length_are_turned_where_these_are_small() {
    let stage = Stage::open().await;
    let base = format!("http://{}/graph", stage.address());
    let text = |base: &str, pad: usize| {
        let pad = "x".repeat(pad);
        format!(r#"{{"@odata.id":"{base}/v1.0/users/1","pad":"{pad}"}}"#)
    };
    let least = text(&base, 0).len();
    let graph = "https://graph.microsoft.com";
    for (pad, rewritten) in [
        (0, true),
        (50_000, true),
        (65_536 - least, true),
        (65_537 - least, false),
        (300_000, false),
    ] {
        let body = text(&base, pad);
        let mut caller = stage.caller().await;
        caller
            .ask(&format!(
                "POST /graph/sim/sink HTTP/1.1\nHost: {}\nContent-Type: application/json\n\
                 Transfer-Encoding: chunked",
                stage.address()
            ))
            .await;
        for piece in body.as_bytes().chunks(20_000) {
            let piece = std::str::from_utf8(piece).unwrap();
            caller
                .send(format!("{:x}\r\n{piece}\r\n", piece.len()))
                .await;
        }
        caller.send("0\r\n\r\n").await;
        caller.answer("POST").await.expect(200);
        let sent = stage.last();
        if rewritten {
            let wanted = text(graph, pad);
            assert!(sent.text() == wanted, "{pad}");
            let length = wanted.len().to_string();
            assert_eq!(sent.header_values("content-length"), [length], "{pad}");
            assert_eq!(sent.header("transfer-encoding"), None, "{pad}");
        } else {
            assert!(sent.text() == body, "{pad}");
            assert_eq!(
                sent.header_values("transfer-encoding"),
                ["chunked"],
                "{pad}"
            );
        }
        let body = text("http://localhost/graph", pad);
        let fields = [("content-type", "application/json")];
        let streamed = request(
            "POST",
            "/graph/sim/sink",
            &fields,
            unsized_body(body.clone()),
        );
        let answer = stage.caller2().await.send(streamed).await.unwrap();
        assert_eq!(answer.status(), 200, "{pad}");
        let sent = stage.last().text();
        let rewritten = body.len() <= 65_536;
        let wanted = if rewritten { text(graph, pad) } else { body };
        assert!(sent == wanted, "{pad}");
    }
}

#[tokio::test]
async fn files_that_are_sent_pass_untouched() {
    let stage = Stage::open().await;
    let text = format!(r#"{{"@odata.id":"http://{}/graph/x"}}"#, stage.address());
    for (line, fields) in [
        ("PUT /graph/v1.0/drive/root:/a.json:/content", ""),
        ("PUT /graph/v1.0/things(1)/file/$value", ""),
        (
            "PATCH /graph/v1.0/things(1)/file",
            "\nx-ms-file-name: a.json",
        ),
        (
            "PATCH /graph/v1.0/things(1)/file",
            "\nContent-Range: bytes 0-41/42",
        ),
    ] {
        let kind = format!("application/json{fields}");
        send(&stage, line, &kind, &text).await;
        assert_eq!(stage.last().text(), text, "{line}");
    }
}

#[tokio::test]
async fn what_speaks_of_the_bytes_of_a_body_goes_when_they_change() {
    let stage = Stage::open().await;
    let kind = "application/json\nContent-MD5: x\nDigest: x\nContent-Digest: x\nRepr-Digest: x";
    let own = format!(r#"{{"@odata.id":"http://{}/graph/x"}}"#, stage.address());
    let other = r#"{"@odata.id":"https://other.example/x"}"#;
    for (body, wanted) in [(own.as_str(), 0), (other, 1)] {
        send(&stage, "POST /graph/sim/sink", kind, body)
            .await
            .expect(200);
        let seen = stage.last();
        for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
            assert_eq!(seen.header_values(name).len(), wanted, "{name}");
        }
    }
}

#[tokio::test]
async fn references_of_this_proxy_in_queries_become_the_upstreams() {
    let stage = Stage::open().await;
    let host = stage.address();
    for (query, wanted) in [
        (
            format!("$id=http://{host}/dynamics/api/data/v9.2/contacts(1)&x=%2F"),
            "$id=https://contoso.crm.dynamics.com/api/data/v9.2/contacts(1)&x=%2F",
        ),
        (
            format!(
                "a=1&%24id=http%3A%2F%2F{}%2Fdynamics%2Fx",
                host.to_string().replace(':', "%3A")
            ),
            "a=1&%24id=https%3A%2F%2Fcontoso.crm.dynamics.com%2Fx",
        ),
        (
            "$id=https://other.example/x".to_owned(),
            "$id=https://other.example/x",
        ),
        ("$filter=id=1".to_owned(), "$filter=id=1"),
    ] {
        let lines = format!("DELETE /dynamics/sim/bytes/0?{query} HTTP/1.1\nHost: {host}");
        stage.ask(&lines).await.expect(200);
        let target = stage.last().target();
        assert_eq!(target, format!("/sim/bytes/0?{wanted}"));
    }
}
