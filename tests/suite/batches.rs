//! A batch is no way around a route's rules.

use serde_json::{Value, json};
use tokenferry::simulator::{GRAPH, ORGANISATION};

use crate::harness::answer::Answer;
use crate::harness::stage::Stage;
use crate::harness::until;

const LIMITED: &str = "\
routes:
  - name: graph
    path: /graph
    upstream: https://GRAPH
    max_batch_bytes: 5000
    allow: [GET /v1.0/users/**]
  - name: dynamics
    path: /dynamics
    upstream: https://ORGANISATION
    allow: [GET /api/data/v9.2/accounts/**]
";
const GRAPH_BATCH: &str = "/graph/v1.0/$batch";
const DYNAMICS_BATCH: &str = "/dynamics/api/data/v9.2/$batch";

async fn post(stage: &Stage, path: &str, kind: &str, body: &str) -> Answer {
    let host = stage.address();
    let lines = format!("POST {path} HTTP/1.1\nHost: {host}\nContent-Type: {kind}");
    stage.ask_with(&lines, body).await
}

fn requests(operations: &[(&str, &str)]) -> Value {
    let operations = operations.iter().enumerate();
    let requests: Vec<Value> = operations
        .map(|(id, (method, url))| json!({"id": id.to_string(), "method": method, "url": url}))
        .collect();
    json!({"requests": requests})
}

fn multipart(operations: &[&str]) -> String {
    let mut text = String::new();
    for operation in operations {
        text.push_str("--batch_7\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n");
        text.push_str(operation);
        text.push_str("\r\n\r\n\r\n");
    }
    text.push_str("--batch_7--\r\n");
    text
}

const MULTIPART: &str = "multipart/mixed; boundary=batch_7";

#[tokio::test]
async fn what_only_looks_like_a_batch_is_no_way_around_allow() {
    let stage = Stage::with(LIMITED).await;
    let body = multipart(&["GET /v1.0/users/1 HTTP/1.1\r\n"]);
    for path in [
        "/graph/v1.0/drives/1/root:/$batch%23x:/createUploadSession",
        "/graph/v1.0/accounts(name='/$batch%3F')/act",
        "/graph/v1.0/$batch;a=b",
        "/graph/v1.0/$batch()",
    ] {
        let answer = post(&stage, path, MULTIPART, &body).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(
            answer.text().contains("$batch"),
            "{path}: {}",
            answer.text()
        );
    }
    assert_eq!(stage.arrivals(GRAPH), 0);
}

#[tokio::test]
async fn a_kept_method_override_on_a_batch_is_held_to_what_is_allowed() {
    let stage = Stage::with(
        "routes:\n- {name: graph, path: /graph, upstream: 'https://GRAPH', keep_headers: [X-HTTP-Method], allow: [GET /v1.0/users/**]}\n",
    )
    .await;
    let body = requests(&[("GET", "/users")]).to_string();
    let kind = "application/json\nX-HTTP-Method: DELETE";
    let answer = post(&stage, GRAPH_BATCH, kind, &body).await;
    assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()));
    let mut inside = requests(&[("GET", "/users")]);
    inside["requests"][0]["headers"] = json!({"X-HTTP-Method": "DELETE"});
    let inside = inside.to_string();
    let answer = post(&stage, GRAPH_BATCH, "application/json", &inside).await;
    assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()));
    let named = "does not let GET /v1.0/users through with the method of its override header; ";
    assert!(answer.message().contains(named), "{}", answer.message());
    post(&stage, GRAPH_BATCH, "application/json", &body)
        .await
        .expect(200);
}

#[tokio::test]
async fn a_batch_of_allowed_operations_goes_up_as_it_was_judged() {
    let stage = Stage::with(LIMITED).await;
    let batch = requests(&[("GET", "/users?$top=1"), ("GET", "users?$top=2")]).to_string();
    let answer = post(&stage, GRAPH_BATCH, "application/json", &batch)
        .await
        .expect(200);
    let base = format!("http://{}/graph/v1.0/", stage.address());
    for response in answer.json()["responses"].as_array().unwrap() {
        assert_eq!(response["status"], 200);
        let next = response["body"]["@odata.nextLink"].as_str().unwrap();
        assert!(next.starts_with(&base), "{next}");
    }
    let sent = stage.last();
    assert_eq!(sent.text(), batch);
    assert_eq!(
        sent.header_values("content-length"),
        [batch.len().to_string()]
    );

    let batch =
        multipart(&["GET /api/data/v9.2/accounts?$top=1 HTTP/1.1\r\nAccept: application/json"]);
    let answer = post(&stage, DYNAMICS_BATCH, MULTIPART, &batch)
        .await
        .expect(200);
    assert!(answer.text().contains(&format!(
        "http://{}/dynamics/api/data/v9.2/$metadata",
        stage.address()
    )));
    assert_eq!(stage.last().text(), batch);
}

#[tokio::test]
async fn an_operation_that_is_not_allowed_is_named_without_its_query() {
    let stage = Stage::with(LIMITED).await;
    let json = |url: &str| requests(&[("GET", "/users/1"), ("patch", url)]).to_string();
    let part = "DELETE contacts(1)?$select=word HTTP/1.1\r\n";
    let long = format!("/groups/{}", "x".repeat(3000));
    for (batch, kind, body, named) in [
        (
            GRAPH_BATCH,
            "application/json",
            json("/groups/2?$search=word"),
            "2 of the batch: the route's allow does not let PATCH /v1.0/groups/2 through; ".to_owned(),
        ),
        (
            DYNAMICS_BATCH,
            MULTIPART,
            multipart(&[part]),
            "1 of the batch: the route's allow does not let DELETE /api/data/v9.2/contacts(1) through; "
                .to_owned(),
        ),
        (
            GRAPH_BATCH,
            "application/json",
            json(&long),
            format!("PATCH /v1.0/groups/{}… through; ", "x".repeat(187)),
        ),
    ] {
        let answer = post(&stage, batch, kind, &body).await;
        assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()));
        let message = answer.message();
        assert!(message.contains(&named), "{message}");
        assert!(!message.contains("word"), "{message}");
    }
}

#[tokio::test]
async fn the_headers_of_a_route_do_not_reach_the_operations_of_a_batch() {
    let stage = Stage::with(
        "routes:\n- {name: graph, path: /graph, upstream: 'https://GRAPH', request_headers: {set: {X-Team: blue}, remove: [Prefer]}}\n",
    )
    .await;
    let batch = json!({"requests": [{"id": "1", "method": "GET", "url": "/users", "headers": {"Prefer": "a", "X-Team": "red"}}]}).to_string();
    let kind = "application/json\nPrefer: b";
    post(&stage, GRAPH_BATCH, kind, &batch).await.expect(200);
    let sent = stage.last();
    assert_eq!(
        (sent.header("x-team"), sent.header("prefer")),
        (Some("blue".to_owned()), None)
    );
    assert_eq!(sent.text(), batch);
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_is_refused_on_every_route() {
    let stage = Stage::open().await;
    for (kind, body) in [
        ("application/json", "{"),
        ("application/json", r#"{"requests":[],"Requests":[]}"#),
        (
            "application/json\nContent-Encoding: gzip",
            r#"{"requests":[]}"#,
        ),
        ("text/plain", r#"{"requests":[]}"#),
        (MULTIPART, "--other\r\n"),
    ] {
        let answer = post(&stage, GRAPH_BATCH, kind, body).await;
        assert_eq!(
            answer.refusal(),
            (400, "badRequest".to_owned()),
            "{kind} {body}"
        );
    }
    let batch = json!({"requests": [{"id": "1", "method": "GET", "url": "/users", "headers": {"CallerObjectId": "7"}}]});
    let answer = post(&stage, GRAPH_BATCH, "application/json", &batch.to_string()).await;
    assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()));
    assert_eq!(stage.arrivals(GRAPH), 0);
}

/// Dataverse takes a thousand, Finance and Operations five times as many.
#[tokio::test]
async fn too_many_operations_for_an_upstream_are_its_own_to_refuse() {
    let stage = Stage::with(LIMITED).await;
    let operation = "GET /api/data/v9.2/accounts?$top=1 HTTP/1.1\r\n";
    for (many, ours) in [(1001, false), (5000, false), (5001, true)] {
        let body = multipart(&vec![operation; many]);
        let answer = post(&stage, DYNAMICS_BATCH, MULTIPART, &body).await;
        assert_eq!(answer.status, 400, "{many}");
        let said = answer.text().contains("at most 1000 operations");
        assert_eq!(said, !ours, "{many}: {}", answer.text());
        assert_eq!(answer.all("proxy-status").is_empty(), !ours, "{many}");
    }
}

#[tokio::test]
async fn a_compressed_batch_is_read_and_goes_up_plain() {
    let stage = Stage::with(LIMITED).await;
    for (url, status) in [("/users?$top=1", 200), ("/groups", 403)] {
        let batch = requests(&[("GET", url)]).to_string();
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, batch.as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        let lines = format!(
            "POST {GRAPH_BATCH} HTTP/1.1\nContent-Type: application/json\nContent-Encoding: gzip\nDigest: x"
        );
        assert_eq!(stage.ask_with(&lines, packed).await.status, status);
        if status == 200 {
            let sent = stage.last();
            assert_eq!(sent.text(), batch);
            for name in ["content-encoding", "digest"] {
                assert_eq!(sent.header(name), None);
            }
        }
    }
    // 5000 bytes are allowed, however small they were packed.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, &[b' '; 5001]).unwrap();
    let packed = packer.finish().unwrap();
    let lines = format!(
        "POST {GRAPH_BATCH} HTTP/1.1\nContent-Type: application/json\nContent-Encoding: gzip"
    );
    let answer = stage.ask_with(&lines, packed).await;
    assert_eq!(answer.refusal(), (413, "bodyTooLarge".to_owned()));
}

#[tokio::test]
async fn a_batch_is_read_within_its_bound() {
    let stage = Stage::with(LIMITED).await;
    let mut batch = requests(&[("GET", "/users?$top=1")]).to_string();
    batch.push_str(&" ".repeat(5000 - batch.len()));
    post(&stage, GRAPH_BATCH, "application/json", &batch)
        .await
        .expect(200);
    batch.push(' ');
    let answer = post(&stage, GRAPH_BATCH, "application/json", &batch).await;
    assert_eq!(answer.refusal(), (413, "bodyTooLarge".to_owned()));
    assert!(answer.message().contains("max_batch_bytes"));
    let mut caller = stage.caller().await;
    caller.ask(&format!("POST {GRAPH_BATCH} HTTP/1.1\nContent-Type: application/json\nTransfer-Encoding: chunked")).await;
    let _ = caller
        .try_send(format!("{:x}\r\n{batch}\r\n0\r\n\r\n", batch.len()))
        .await;
    let answer = caller.answer("POST").await;
    assert_eq!(answer.refusal(), (413, "bodyTooLarge".to_owned()));
}

#[tokio::test]
async fn addresses_of_this_proxy_in_a_batch_are_turned_to_the_upstream() {
    let stage = Stage::open().await;
    let base = format!("http://{}", stage.address());
    let url = format!("{base}/graph/v1.0/users?$top=1");
    let batch = requests(&[("GET", &url)]).to_string();
    let answer = post(&stage, GRAPH_BATCH, "application/json", &batch)
        .await
        .expect(200);
    assert_eq!(answer.json()["responses"][0]["status"], 200);
    // Outside of Graph a leading slash would name the root of the host.
    let url = format!("{base}/dynamics/api/data/v9.2/accounts?$top=1");
    let batch = requests(&[("GET", &url)]).to_string();
    post(&stage, DYNAMICS_BATCH, "application/json", &batch).await;
    let sent = stage.last();
    let relative = requests(&[("GET", "accounts?$top=1")]).to_string();
    assert_eq!((sent.host.as_str(), sent.text()), (ORGANISATION, relative));
    let root = "/dynamics/api/data/v9.2";
    let link = format!("$id={base}{root}/contacts(1)");
    let lines = [
        format!("GET {base}{root}/accounts?$top=1 HTTP/1.1"),
        format!("DELETE /api/data/v9.2/accounts(1)/contacts/$ref?{link} HTTP/1.1"),
        format!("DELETE accounts(1)/contacts/$ref?{link} HTTP/1.1"),
        // As .NET's `HttpMessageContent` writes it.
        format!(
            "GET {root}/accounts?$top=1 HTTP/1.1\r\nHost: {}",
            stage.address()
        ),
    ];
    let lines = lines.each_ref().map(String::as_str);
    let answer = post(&stage, DYNAMICS_BATCH, MULTIPART, &multipart(&lines))
        .await
        .expect(200);
    let count = |status: &str| answer.text().matches(status).count();
    let counts = (count("HTTP/1.1 200"), count("HTTP/1.1 204"));
    assert_eq!(counts, (2, 2), "{}", answer.text());
}

#[tokio::test]
async fn operations_relative_to_the_batch_are_held_to_what_is_allowed() {
    let stage = Stage::with(LIMITED).await;
    let batch = multipart(&["GET accounts?$top=1 HTTP/1.1"]);
    let answer = post(&stage, DYNAMICS_BATCH, MULTIPART, &batch)
        .await
        .expect(200);
    assert!(answer.text().contains("HTTP/1.1 200"), "{}", answer.text());
    assert_eq!(stage.last().text(), batch);
    for other in ["GET contacts HTTP/1.1", "DELETE accounts(1) HTTP/1.1"] {
        let answer = post(&stage, DYNAMICS_BATCH, MULTIPART, &multipart(&[other])).await;
        assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()), "{other}");
        assert!(answer.message().contains("allow"), "{}", answer.message());
    }
}

#[tokio::test]
async fn batch_says_whether_batches_pass_unread_or_not_at_all() {
    let stage = Stage::with(
        "routes:\n  - {name: pass, path: /pass, upstream: 'https://GRAPH', batch: pass}\n  - {name: refuse, path: /refuse, upstream: 'https://GRAPH', batch: refuse}\n",
    )
    .await;
    let batch = requests(&[("GET", "/users?$top=1")]).to_string();
    let kind = "application/json";
    post(&stage, "/pass/v1.0/$batch", kind, &batch)
        .await
        .expect(200);
    post(&stage, "/pass/v1.0/$batch", kind, "{")
        .await
        .expect(400);
    let answer = post(&stage, "/refuse/v1.0/$batch", kind, &batch).await;
    assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()));
    assert!(answer.message().contains("batch: refuse"));
}

#[tokio::test]
async fn a_batch_whose_token_is_refused_is_sent_again() {
    let stage = Stage::open().await;
    stage.simulator.revoke_tokens(None);
    let batch = requests(&[("GET", "/users?$top=1")]).to_string();
    post(&stage, GRAPH_BATCH, "application/json", &batch)
        .await
        .expect(200);
    assert_eq!(stage.arrivals(GRAPH), 2);
}

#[tokio::test]
async fn batches_hold_a_bounded_amount_together_however_many_workers_there_are() {
    let stage = Stage::with("workers: 4\n").await;
    // 2 MiB and more take 4 MiB, and 64 MiB is there.
    let piece = vec![b' '; 3 << 20];
    let mut callers = Vec::new();
    for _ in 0..20 {
        let mut caller = stage.caller().await;
        let kind = "Content-Type: application/json\nContent-Length: 4194304";
        caller
            .ask(&format!("POST {GRAPH_BATCH} HTTP/1.1\n{kind}"))
            .await;
        let _ = caller.try_send(&piece).await;
        callers.push(caller);
    }
    until("what does not fit is refused", async || {
        let labels = [("reason", "overloaded")];
        let refused = stage.number("tokenferry_refused_total", &labels).await;
        refused >= 4.0
    })
    .await;
    drop(callers);
    let small = requests(&[("GET", "/users")]).to_string();
    until("the room is given back", async || {
        let answer = post(&stage, GRAPH_BATCH, "application/json", &small).await;
        answer.status == 200
    })
    .await;
}
