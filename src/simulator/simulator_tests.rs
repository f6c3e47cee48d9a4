//! The simulator as a whole: pages through their links, and the record.

use http::StatusCode;

use super::client::{Client, bearer, get, once, request, status};
use super::*;

async fn simulator() -> Simulator {
    Simulator::start().await.unwrap()
}

#[tokio::test]
async fn pages_of_users_lead_to_every_user_once() {
    let simulator = simulator().await;
    let bearer = bearer(&simulator, GRAPH).await;
    let mut client = Client::open(&simulator, GRAPH, true).await.unwrap();
    let mut link =
        "/v1.0/users?$select=id,displayName&$filter=startsWith(displayName,'A%23')&$top=300"
            .to_owned();
    let mut ids = std::collections::BTreeSet::new();
    let mut pages = 0;
    loop {
        let request = get(GRAPH, &link, &bearer);
        let page = client.send(request).await.unwrap().json();
        pages += 1;
        for user in page["value"].as_array().unwrap() {
            assert!(ids.insert(user["id"].as_str().unwrap().to_owned()));
        }
        let Some(next) = page["@odata.nextLink"].as_str() else {
            break;
        };
        assert!(next.contains("%2c%27A%2523%27"), "{next}");
        next.clone_into(&mut link);
    }
    assert_eq!((pages, ids.len()), (4, 1000));
    assert_eq!(simulator.violations(), []);
}

#[tokio::test]
async fn a_dataverse_link_that_was_tidied_up_is_refused() {
    let simulator = simulator().await;
    let bearer = bearer(&simulator, ORGANISATION).await;
    let headers = [
        ("authorization", bearer.as_str()),
        ("prefer", "odata.maxpagesize=2"),
    ];
    let first = request(
        "GET",
        ORGANISATION,
        "/api/data/v9.2/accounts?$select=name",
        &headers,
        "",
    );
    let first = once(&simulator, first).await.unwrap();
    assert!(first.header("set-cookie").starts_with("ARRAffinity="));
    let page = first.json();
    let link = page["@odata.nextLink"].as_str().unwrap();
    assert!(link.contains("%253ccookie%2520page%253d"), "{link}");
    let second = request("GET", ORGANISATION, link, &headers, "");
    assert_eq!(status(&simulator, second).await, StatusCode::OK);
    assert_eq!(simulator.violations(), []);
    let tidied = link.replace("%253c", "%253C");
    let third = request("GET", ORGANISATION, &tidied, &headers, "");
    assert_eq!(status(&simulator, third).await, StatusCode::BAD_REQUEST);
    assert_eq!(simulator.violations().len(), 1);
}

#[tokio::test]
async fn a_request_is_recorded_as_it_was_written() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let simulator = simulator().await;
    let mut tls = Client::tls(&simulator, GRAPH, b"http/1.1").await.unwrap();
    let head = "POST /v1.0/users?a='%2f HTTP/1.1\r\nHost: graph.microsoft.com\r\nX-Odd-CASE: 1\r\nB: 2\r\nx-odd-case: 3\r\ncontent-length: 4\r\n\r\nbody";
    for _ in 0..2 {
        tls.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = tls.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 401"));
    }
    let seen = simulator
        .wait_for(|seen| seen.number == 2 && seen.status.is_some())
        .await
        .unwrap();
    assert_eq!(seen.target(), "/v1.0/users?a='%2f");
    let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["Host", "X-Odd-CASE", "B", "x-odd-case", "content-length"]
    );
    assert_eq!(seen.text(), "body");
    assert_eq!(seen.body.end, BodyEnd::Whole);
    assert!(!seen.first);
    assert_eq!(seen.connection, 1);
    assert_eq!(simulator.violations().len(), 2);
}
