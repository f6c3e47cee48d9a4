//! Graph: who is let in, what changes, and every place where a link or a file hides.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::{Reply, ask, bearer, fetch, form, get, once, request, status};
use std::time::Duration;

use super::*;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn send(simulator: &Simulator, method: &str, target: &str, body: &Value) -> Reply {
    let bearer = bearer(simulator, GRAPH).await;
    let headers = [("authorization", bearer.as_str()), JSON];
    once(
        simulator,
        request(method, GRAPH, target, &headers, body.to_string()),
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn tokens_are_judged_by_owner_age_and_standing() {
    let simulator = Simulator::start().await.unwrap();
    let get = |bearer: &str| get(GRAPH, "/v1.0/users", bearer);
    let good = bearer(&simulator, GRAPH).await;
    let other = bearer(&simulator, ORGANISATION).await;
    let reply = once(&simulator, get(&other)).await.unwrap();
    assert_eq!(reply.status, 401);
    let challenge = "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\"";
    assert_eq!(reply.header("www-authenticate"), challenge);
    assert_eq!(reply.json()["error"]["code"], "InvalidAuthenticationToken");
    assert_eq!(status(&simulator, get("Bearer made-up")).await, 401);
    let nothing = request("GET", GRAPH, "/v1.0/users", &[], "");
    assert_eq!(status(&simulator, nothing).await, 401);
    let two = [
        ("authorization", good.as_str()),
        ("authorization", good.as_str()),
    ];
    let two = request("HEAD", GRAPH, "/v1.0/users", &two, "");
    assert_eq!(status(&simulator, two).await, 401);
    assert_eq!(simulator.violations().len(), 4);
    simulator.expire_tokens(good.strip_prefix("Bearer "));
    assert_eq!(status(&simulator, get(&good)).await, 401);
    // A token cannot know that it was declared expired.
    assert_eq!(simulator.violations().len(), 4);
    simulator.set_token_lifetime(Duration::ZERO, None);
    let dead = bearer(&simulator, GRAPH).await;
    assert_eq!(status(&simulator, get(&dead)).await, 401);
    assert_eq!(simulator.violations()[4].what, "a token past its expiry");
}

#[tokio::test]
async fn a_claims_challenge_is_met_by_a_token_that_was_asked_for_with_them() {
    let simulator = Simulator::start().await.unwrap();
    let plain = bearer(&simulator, GRAPH).await;
    simulator.demand_claims(
        GRAPH,
        Some(json!({"access_token": {"nbf": {"essential": true, "value": "1893456000"}}})),
    );
    let get = |bearer: &str| get(GRAPH, "/v1.0/users", bearer);
    let reply = once(&simulator, get(&plain)).await.unwrap();
    assert_eq!(reply.status, 401);
    let challenge = reply.header("www-authenticate");
    let (_, rest) = challenge
        .split_once("error=\"insufficient_claims\", claims=\"")
        .unwrap();
    let claims = STANDARD.decode(rest.split('"').next().unwrap()).unwrap();
    let mut asked: Value = serde_json::from_slice(&claims).unwrap();
    asked["access_token"]["xms_cc"] = json!({"values": ["cp1"]});
    let mut form = form(&simulator, "https://graph.microsoft.com/.default");
    form.push(("claims", asked.to_string()));
    let reply = ask(&simulator, &form).await.json();
    let fresh = format!("Bearer {}", reply["access_token"].as_str().unwrap());
    assert_eq!(status(&simulator, get(&fresh)).await, 200);
    assert_eq!(status(&simulator, get(&plain)).await, 401);
    simulator.demand_claims(GRAPH, None);
    assert_eq!(status(&simulator, get(&plain)).await, 200);
    assert_eq!(simulator.violations(), []);
}

#[tokio::test]
async fn users_can_be_made_and_deleted() {
    let simulator = Simulator::start().await.unwrap();
    let made = send(
        &simulator,
        "POST",
        "/beta/users",
        &json!({"displayName": "New"}),
    )
    .await;
    assert_eq!(made.status, 201);
    let location = made.header("location").to_owned();
    assert!(
        location.starts_with("https://graph.microsoft.com/beta/users/6666"),
        "{location}"
    );
    assert_eq!(
        send(&simulator, "DELETE", &location, &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(fetch(&simulator, GRAPH, &location).await.status, 404);
    assert_eq!(fetch(&simulator, GRAPH, "/v1.0/me").await.status, 400);
    assert_eq!(simulator.violations(), []);
}

#[tokio::test]
async fn an_empty_page_leads_to_a_full_one() {
    let simulator = Simulator::start().await.unwrap();
    let empty = fetch(&simulator, GRAPH, "/v1.0/groups").await.json();
    assert_eq!(empty["value"], json!([]));
    let next = empty["@odata.nextLink"].as_str().unwrap();
    let full = fetch(&simulator, GRAPH, next).await.json();
    assert_eq!(full["value"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_reference_has_to_name_graph_itself() {
    let simulator = Simulator::start().await.unwrap();
    let target = "/v1.0/groups/g/members/$ref";
    let good = json!({"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/u"});
    assert_eq!(send(&simulator, "POST", target, &good).await.status, 204);
    assert_eq!(simulator.violations(), []);
    let foreign = json!({"@odata.id": "http://localhost:8080/graph/v1.0/directoryObjects/u"});
    assert_eq!(send(&simulator, "POST", target, &foreign).await.status, 400);
    let bound = json!({"members@odata.bind": ["http://localhost:8080/graph/v1.0/x"]});
    assert_eq!(
        send(&simulator, "PATCH", "/v1.0/groups/g", &bound)
            .await
            .status,
        400
    );
    assert_eq!(simulator.violations().len(), 2);
}

#[tokio::test]
async fn files_lie_behind_a_ticket_and_must_not_see_a_token() {
    let simulator = Simulator::start().await.unwrap();
    let moved = fetch(&simulator, GRAPH, "/v1.0/drives/b!x/root:/a/b.txt:/content").await;
    assert_eq!(moved.status, 302);
    let location = moved.header("location").to_owned();
    assert!(location.contains(TICKET_CANARY));
    let file = once(&simulator, request("GET", DOWNLOAD, &location, &[], ""))
        .await
        .unwrap();
    assert_eq!((file.status.as_u16(), file.body.len()), (200, 65_536));
    let part = request("GET", DOWNLOAD, &location, &[("range", "bytes=10-19")], "");
    let part = once(&simulator, part).await.unwrap();
    assert_eq!(
        (part.status.as_u16(), &part.body[..]),
        (206, &file.body[10..20])
    );
    assert_eq!(simulator.violations(), []);
    let bearer = bearer(&simulator, GRAPH).await;
    let leaked = get(DOWNLOAD, &location, &bearer);
    assert_eq!(status(&simulator, leaked).await, 401);
    assert_eq!(simulator.violations().len(), 1);
    let (unopened, _) = location.split_once("&tempauth=").unwrap();
    let unopened = request("GET", DOWNLOAD, unopened, &[], "");
    assert_eq!(status(&simulator, unopened).await, 401);
}

#[tokio::test]
async fn a_piece_of_a_file_is_as_long_as_it_says_and_within_the_file() {
    let simulator = Simulator::start().await.unwrap();
    let target = "/v1.0/drives/b!x/root:/a.bin:/createUploadSession";
    let session = send(&simulator, "POST", target, &json!({})).await.json();
    let url = session["uploadUrl"].as_str().unwrap();
    let (_, target) = url.split_once("/sites/").unwrap();
    for (range, expected) in [
        ("bytes 0-2/6", 416),
        ("bytes 3-6/6", 416),
        ("bytes 0-3/6", 202),
        ("bytes 2-5/6", 201),
    ] {
        let fields = [("content-range", range)];
        let piece = request(
            "PUT",
            DOWNLOAD,
            &format!("/sites/{target}"),
            &fields,
            "abcd",
        );
        assert_eq!(status(&simulator, piece).await, expected, "{range}");
    }
}

#[tokio::test]
async fn a_batch_runs_what_is_in_it() {
    let simulator = Simulator::start().await.unwrap();
    simulator
        .script(Script::on(GRAPH, Fault::graph_429(Some("10"))).under("/v1.0/users/u/messages"));
    let batch = json!({"requests": [
        {"id": "1", "method": "GET", "url": "/users?$top=1"},
        {"id": "2", "method": "GET", "url": "users/u/messages?$top=1"},
        {"id": "3", "method": "DELETE", "url": "/users/x"},
        {"id": "4", "method": "GET", "url": "/users/u/photo/$value"},
        {"id": "5", "method": "GET", "url": "https://graph.microsoft.com/v1.0/users"},
        {"id": "6", "method": "POST", "url": "/users", "body": {"displayName": "x"}},
        {"id": "7", "method": "POST", "url": "/users", "body": {"displayName": "x"},
         "headers": {"Content-Type": "application/json"}},
        {"id": "8", "method": "GET", "url": "/users?$filter=webUrl eq 'https://a/$batch'"},
        {"id": "9", "method": "POST", "url": "/$batch", "body": {"requests": []}},
    ]});
    let reply = send(&simulator, "POST", "/v1.0/$batch", &batch).await;
    assert_eq!(reply.status, 200);
    let document = reply.json();
    let responses = document["responses"].as_array().unwrap();
    assert_eq!(responses[0]["id"], "9");
    let of = |id: &str| responses.iter().find(|one| one["id"] == id).unwrap();
    let statuses: Vec<u64> = ["1", "2", "3", "4", "5", "6", "7", "8", "9"]
        .map(|id| of(id)["status"].as_u64().unwrap())
        .into();
    assert_eq!(statuses, [200, 429, 404, 200, 400, 400, 201, 200, 400]);
    assert!(
        of("1")["body"]["@odata.nextLink"]
            .as_str()
            .unwrap()
            .starts_with("https://graph.microsoft.com/v1.0/users?$top=1&$skip")
    );
    assert_eq!(of("2")["headers"]["retry-after"], "10");
    assert!(STANDARD.decode(of("4")["body"].as_str().unwrap()).is_ok());
    assert!(of("7")["headers"]["location"].is_string());
    assert_eq!(simulator.violations().len(), 2);
    let many: Vec<Value> = (0..21)
        .map(|id| json!({"id": id.to_string(), "method": "GET", "url": "/users"}))
        .collect();
    assert_eq!(
        send(
            &simulator,
            "POST",
            "/v1.0/$batch",
            &json!({"requests": many})
        )
        .await
        .status,
        400
    );
}

#[tokio::test]
async fn a_batch_needs_an_id_of_its_own_for_each_operation() {
    let simulator = Simulator::start().await.unwrap();
    let reads = |id: Value| json!({"id": id, "method": "GET", "url": "/users?$top=1"});
    for requests in [
        [reads(json!("1")), reads(json!("1"))],
        [reads(json!("a")), reads(json!("A"))],
        [reads(json!("1")), reads(Value::Null)],
        [reads(json!("1")), reads(json!(2))],
    ] {
        let batch = json!({"requests": requests});
        let reply = send(&simulator, "POST", "/v1.0/$batch", &batch).await;
        assert_eq!(reply.status, 400, "{batch}");
    }
    assert_eq!(simulator.violations(), []);
    let mut own = reads(json!("1"));
    own["headers"] = json!({"Authorization": "Bearer x"});
    let batch = json!({"requests": [own]});
    send(&simulator, "POST", "/v1.0/$batch", &batch).await;
    assert_eq!(simulator.violations().len(), 1);
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let simulator = Simulator::start().await.unwrap();
    let bearer = bearer(&simulator, GRAPH).await;
    let packed = gzip::packed(b"{\"displayName\":\"packed\"}").unwrap();
    let headers = [
        ("authorization", bearer.as_str()),
        JSON,
        ("content-encoding", "gzip"),
    ];
    let post = request("POST", GRAPH, "/v1.0/users", &headers, packed);
    let reply = once(&simulator, post).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["displayName"]),
        (201, &json!("packed"))
    );
}
