//! Queries and conditions, in both APIs.

use serde_json::{Value, json};

use super::client::{Reply, bearer, fetch, once, request};
use super::*;

const ACCOUNT: &str = "/api/data/v9.2/accounts(aaaa0001-0000-0000-0000-000000000000)";

async fn send(
    simulator: &Simulator,
    host: &str,
    line: (&str, &str),
    field: (&str, &str),
    body: &str,
) -> Reply {
    let bearer = bearer(simulator, host).await;
    let mut headers = vec![("authorization", bearer.as_str()), field];
    if field.0 != "content-type" {
        headers.push(("content-type", "application/json"));
    }
    let request = request(line.0, host, line.1, &headers, body.to_owned());
    once(simulator, request).await.unwrap()
}

/// The names of a document's members.
fn names(document: &Value) -> Vec<&str> {
    let members = document.as_object().unwrap();
    members.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn rows_have_the_columns_that_are_selected() {
    let simulator = Simulator::start().await.unwrap();
    let root = "/api/data/v9.2/accounts";
    for select in ["$select=name,revenue", "%24select=name%2Crevenue"] {
        let page = fetch(&simulator, ORGANISATION, &format!("{root}?{select}&$top=2")).await;
        let page = page.json();
        let context = page["@odata.context"].as_str().unwrap();
        assert!(
            context.ends_with("$metadata#accounts(name,revenue)"),
            "{context}"
        );
        for row in page["value"].as_array().unwrap() {
            let expected = ["@odata.etag", "accountid", "name", "revenue"];
            assert_eq!(names(row), expected);
        }
    }
    let one = fetch(&simulator, ORGANISATION, &format!("{ACCOUNT}?$select=name"))
        .await
        .json();
    assert!(
        one["@odata.etag"].is_string() && one["name"].is_string(),
        "{one}"
    );
    assert_eq!(one.get("revenue"), None);
    let context = one["@odata.context"].as_str().unwrap();
    assert!(context.ends_with("#accounts(name)/$entity"), "{context}");
}

#[tokio::test]
async fn older_versions_answer_with_links_of_their_own() {
    let simulator = Simulator::start().await.unwrap();
    for version in ["v9.0", "v9.1", "v9.2"] {
        let target = format!("/api/data/{version}/accounts?$top=9");
        let prefer = ("prefer", "odata.maxpagesize=3,odata.track-changes");
        let page = send(&simulator, ORGANISATION, ("GET", &target), prefer, "").await;
        assert_eq!(page.header("preference-applied"), "odata.maxpagesize=3");
        let link = page.json()["@odata.nextLink"].as_str().unwrap().to_owned();
        assert!(
            link.contains(&format!("/api/data/{version}/accounts?")),
            "{link}"
        );
        assert_eq!(fetch(&simulator, ORGANISATION, &link).await.status, 200);
    }
    let old = fetch(&simulator, ORGANISATION, "/api/data/v8.2/accounts").await;
    assert_eq!(old.status, 404);
    assert_eq!(simulator.violations(), []);
}

#[tokio::test]
async fn a_row_of_a_page_is_the_row_of_its_key() {
    let simulator = Simulator::start().await.unwrap();
    let page = fetch(&simulator, ORGANISATION, "/api/data/v9.2/accounts?$top=3").await;
    let row = &page.json()["value"][2];
    let (id, tag) = (row["accountid"].as_str().unwrap(), &row["@odata.etag"]);
    let target = format!("/api/data/v9.2/accounts({id})");
    let alone = fetch(&simulator, ORGANISATION, &target).await.json();
    assert_eq!((&alone["name"], &alone["@odata.etag"]), (&row["name"], tag));
    let far = target.replace("aaaa0003", "aaaaffffffffffffffff");
    assert_eq!(fetch(&simulator, ORGANISATION, &far).await.status, 200);
    let tag = ("if-match", tag.as_str().unwrap());
    let line = ("PATCH", target.as_str());
    let changed = send(&simulator, ORGANISATION, line, tag, "{}").await;
    assert_eq!(changed.status, 204);
    let line = ("PATCH", ACCOUNT);
    let other = send(&simulator, ORGANISATION, line, tag, "{}").await;
    assert_eq!(other.status, 412);
}

#[tokio::test]
async fn what_a_body_binds_has_to_be_in_the_api_itself() {
    let simulator = Simulator::start().await.unwrap();
    let json = ("content-type", "application/json");
    let rows = "/api/data/v9.2/accounts";
    let users = "/v1.0/users";
    let group = "/v1.0/groups/7";
    let own = "https://contoso.crm.dynamics.com/api/data/v9.2/contacts(1)";
    let proxied = "http://localhost:8080/dynamics/api/data/v9.2/contacts(1)";
    let elsewhere = "https://contoso.crm.dynamics.com/contacts(1)";
    let of_graph = "https://graph.microsoft.com/v1.0/users('7')";
    let proxied_graph = "http://localhost:8080/graph/v1.0/users('7')";
    let mut refused = 0;
    for (host, line, link, status) in [
        (ORGANISATION, ("POST", rows), "/contacts(1)", 204),
        (ORGANISATION, ("POST", rows), own, 204),
        (ORGANISATION, ("PATCH", ACCOUNT), "$1", 204),
        (ORGANISATION, ("POST", rows), proxied, 400),
        (ORGANISATION, ("PATCH", ACCOUNT), proxied, 400),
        (ORGANISATION, ("POST", rows), elsewhere, 400),
        (GRAPH, ("POST", users), of_graph, 201),
        (GRAPH, ("PATCH", group), of_graph, 204),
        (GRAPH, ("POST", users), proxied_graph, 400),
        (GRAPH, ("PATCH", group), proxied_graph, 400),
    ] {
        let body = json!({"of": {"members": [{"user@odata.bind": link}]}}).to_string();
        let reply = send(&simulator, host, line, json, &body).await;
        assert_eq!(reply.status, status, "{line:?} {link}");
        refused += usize::from(status == 400);
    }
    assert_eq!(simulator.violations().len(), refused);
}

#[tokio::test]
async fn a_change_that_is_no_json_is_refused() {
    let simulator = Simulator::start().await.unwrap();
    let (json, text) = ("application/json", "text/plain");
    for (kind, body, status) in [(json, "{", 400), (text, "{}", 400), (json, "{}", 204)] {
        let kind = ("content-type", kind);
        let reply = send(&simulator, ORGANISATION, ("PATCH", ACCOUNT), kind, body).await;
        assert_eq!(reply.status, status, "{kind:?} {body}");
    }
}

#[tokio::test]
async fn what_graph_refuses_of_a_query_is_refused() {
    let simulator = Simulator::start().await.unwrap();
    let users = |query: &str| format!("/v1.0/users?{query}");
    for size in ["0", "1000", "all", "-1"] {
        let reply = fetch(&simulator, GRAPH, &users(&format!("$top={size}"))).await;
        assert_eq!(reply.status, 400, "{size}");
        let code = &reply.json()["error"]["code"];
        assert_eq!(code, "Request_UnsupportedQuery", "{size}");
    }
}

#[tokio::test]
async fn a_link_of_a_row_leads_on() {
    let simulator = Simulator::start().await.unwrap();
    let row = fetch(&simulator, ORGANISATION, ACCOUNT).await.json();
    let link = row["contact_customer_accounts@odata.nextLink"].as_str();
    let contacts = fetch(&simulator, ORGANISATION, link.unwrap()).await;
    assert_eq!(contacts.status, 200);
    assert_eq!(contacts.json()["value"].as_array().map(Vec::len), Some(1));
    assert_eq!(simulator.violations(), []);
}
