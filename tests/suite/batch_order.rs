//! What depends on what inside a batch stays with the service that runs it, and nothing of a batch
//! runs that is not allowed as a whole.

use serde_json::{Value, json};
use tokenferry::simulator::{GRAPH, ORGANISATION};

use crate::harness::answer::Answer;
use crate::harness::stage::Stage;

const LIMITED: &str = "\
routes:
  - name: graph
    path: /graph
    upstream: https://GRAPH
    allow: [GET /v1.0/users/**, DELETE /v1.0/groups/*]
";

async fn post(stage: &Stage, batch: &Value) -> Answer {
    let host = stage.address();
    let lines =
        format!("POST /graph/v1.0/$batch HTTP/1.1\nHost: {host}\nContent-Type: application/json");
    stage.ask_with(&lines, batch.to_string()).await
}

/// A batch of operations: method, url and the ids that it depends on. Ids count from one.
fn batch(operations: &[(&str, &str, Value)]) -> Value {
    let numbered = (1..).zip(operations);
    let requests: Vec<Value> = numbered
        .map(|(id, (method, url, on))| {
            json!({"id": format!("Id{id}"), "method": method, "url": url, "dependsOn": on})
        })
        .collect();
    json!({"requests": requests})
}

/// The statuses inside, by id.
fn statuses(answer: &Answer) -> Vec<(String, u64)> {
    let document = answer.json();
    let responses = document["responses"].as_array().expect("responses");
    let text = |id: &Value| id.as_str().expect("an id").to_owned();
    let one = |one: &Value| (text(&one["id"]), one["status"].as_u64().expect("a status"));
    let mut found: Vec<_> = responses.iter().map(one).collect();
    found.sort();
    found
}

fn numbers(answer: &Answer) -> Vec<u64> {
    statuses(answer).into_iter().map(|one| one.1).collect()
}

#[tokio::test]
async fn what_depends_on_a_failed_operation_of_a_batch_fails_with_it() {
    let stage = Stage::with(LIMITED).await;
    let page = "/users?$top=1";
    // Each for the one before it: ids are the same in any case.
    let serial = [
        ("GET", page, json!([])),
        ("GET", "/users/nobody/nothing", json!(["Id1"])),
        ("GET", page, json!(["ID2"])),
        ("GET", page, json!(["id3"])),
    ];
    // Several for one.
    let same = [
        ("GET", "/users/nobody/nothing", Value::Null),
        ("GET", page, json!(["Id1"])),
        ("GET", page, Value::Null),
        ("GET", page, json!(["Id1"])),
    ];
    for (operations, expected) in [
        (&serial, [200, 404, 424, 424]),
        (&same, [404, 424, 200, 424]),
    ] {
        let batch = batch(operations);
        let answer = post(&stage, &batch).await.expect(200);
        assert_eq!(numbers(&answer), expected, "{}", answer.text());
        assert_eq!(stage.last().text(), batch.to_string());
    }
}

#[tokio::test]
async fn nothing_of_a_batch_runs_when_one_operation_is_refused() {
    let stage = Stage::with(LIMITED).await;
    for (refused, operations) in [
        (
            1,
            [
                ("DELETE", "/users/1", json!([])),
                ("GET", "/users", json!(["Id1"])),
            ],
        ),
        (
            2,
            [
                ("DELETE", "/groups/1", json!([])),
                ("DELETE", "/users/1", json!(["Id1"])),
            ],
        ),
    ] {
        let answer = post(&stage, &batch(&operations)).await;
        assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()));
        let named = format!(
            "operation {refused} of the batch: the route's allow does not let DELETE /v1.0/users/1 through"
        );
        assert!(answer.message().contains(&named), "{}", answer.message());
    }
    assert_eq!(stage.arrivals(GRAPH), 0);
}

#[tokio::test]
async fn an_order_that_graph_does_not_take_is_its_own_to_refuse() {
    let stage = Stage::with(LIMITED).await;
    let page = "/users?$top=1";
    let on = |all: [Value; 3]| batch(&all.map(|on| ("GET", page, on)));
    for (wanted, batch) in [
        (
            "Invalid dependency for request Id: Id1",
            on([json!(["Id1"]), json!([]), json!([])]),
        ),
        (
            "Invalid dependency for request Id: Id2",
            on([json!([]), json!(["Id3"]), json!(["Id2"])]),
        ),
        (
            "Invalid dependency for request Id: Id3",
            on([json!([]), json!([]), json!(["Id9"])]),
        ),
        (
            "Invalid dependency for request Id: Id2",
            on([json!([]), json!("Id1"), json!([])]),
        ),
        (
            "fully sequential or fully parallel",
            on([json!([]), json!(["Id1"]), json!(["Id1", "Id2"])]),
        ),
        ("fully sequential or fully parallel", {
            let mut four = on([json!([]), json!([]), json!(["Id1"])]);
            let last = json!({"id": "4", "method": "GET", "url": page, "dependsOn": ["Id2"]});
            four["requests"].as_array_mut().unwrap().push(last);
            four
        }),
    ] {
        let answer = post(&stage, &batch).await.expect(400);
        assert_eq!(answer.json()["error"]["code"], "BadRequest", "{batch}");
        let text = answer.text();
        assert!(text.contains(wanted), "{wanted}: {text}");
        // Not ours.
        assert!(answer.all("proxy-status").is_empty(), "{text}");
        assert_eq!(stage.last().text(), batch.to_string());
    }
}

#[tokio::test]
async fn a_dependency_under_another_name_is_none() {
    let stage = Stage::with(LIMITED).await;
    let mut batch = batch(&[
        ("GET", "/users/nobody/nothing", json!([])),
        ("GET", "/users?$top=1", json!([])),
    ]);
    // As the SDK for Python writes it.
    let second = batch["requests"][1].as_object_mut().unwrap();
    second.remove("dependsOn");
    second.insert("depends_on".to_owned(), json!(["Id1"]));
    let answer = post(&stage, &batch).await.expect(200);
    assert_eq!(numbers(&answer), [404, 200]);
}

#[tokio::test]
async fn each_operation_of_a_multipart_batch_says_that_it_is_not_encoded() {
    let stage = Stage::open().await;
    let host = stage.address();
    let lines = format!(
        "POST /dynamics/api/data/v9.2/$batch HTTP/1.1\nHost: {host}\nContent-Type: multipart/mixed; boundary=b"
    );
    let operation = |encoding: &str| {
        format!(
            "Content-Type: application/http\r\n{encoding}\r\nGET accounts?$top=1 HTTP/1.1\r\n\r\n\r\n"
        )
    };
    let bare = |encoding: &str| format!("--b\r\n{}--b--\r\n", operation(encoding));
    let change_set = |encoding: &str| {
        let change = operation(encoding).replace("GET", "DELETE");
        let head = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n";
        format!("{head}--c\r\n{change}--c--\r\n--b--\r\n")
    };
    for (encoding, read) in [
        ("Content-Transfer-Encoding: binary\r\n", true),
        ("content-transfer-encoding: Binary\r\n", true),
        ("Content-Transfer-Encoding: 8bit\r\n", false),
        ("", false),
    ] {
        for body in [bare(encoding), change_set(encoding)] {
            let answer = stage.ask_with(&lines, body.clone()).await;
            assert_eq!(stage.last().text(), body);
            let refused = answer.text().contains("its value must be 'binary'");
            assert_eq!(refused, !read, "{body}{}", answer.text());
            assert!(answer.all("proxy-status").is_empty(), "{}", answer.text());
        }
    }
    // What is hidden from who reads it as it stands does not go up.
    let before = stage.arrivals(ORGANISATION);
    for encoding in ["base64", "quoted-printable"] {
        let field = format!("Content-Transfer-Encoding: {encoding}\r\n");
        let answer = stage.ask_with(&lines, bare(&field)).await;
        assert_eq!(answer.refusal(), (400, "badRequest".to_owned()));
        assert!(answer.message().contains("Content-Transfer-Encoding"));
    }
    assert_eq!(stage.arrivals(ORGANISATION), before);
}
