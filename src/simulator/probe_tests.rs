//! The probes, and the record of what went through them.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use super::client::{Client, bearer, fetch, get, once, request, status};
use super::*;

#[tokio::test]
async fn a_large_body_is_hashed_and_not_kept() {
    let simulator = Simulator::start().await.unwrap();
    let bearer = bearer(&simulator, GRAPH).await;
    let body = Bytes::from(vec![b'y'; 3 * 1024 * 1024]);
    let put = request(
        "PUT",
        GRAPH,
        "/sim/sink",
        &[("authorization", &bearer)],
        body.clone(),
    );
    let reply = once(&simulator, put).await.unwrap().json();
    let hash = digest(&SHA256, &body);
    assert_eq!(reply["sha256"], ident::hex(hash.as_ref()));
    let seen = simulator.seen().pop().unwrap();
    assert_eq!((seen.body.length, seen.body.bytes), (3 * 1024 * 1024, None));
    assert_eq!(seen.body.sha256.unwrap(), hash.as_ref());
    assert_eq!(seen.body.end, BodyEnd::Whole);
}

#[tokio::test]
async fn a_download_that_nobody_reads_to_its_end_is_recorded_as_aborted() {
    let simulator = Simulator::start().await.unwrap();
    let bearer = bearer(&simulator, GRAPH).await;
    for http2 in [false, true] {
        simulator.clear();
        let mut client = Client::open(&simulator, GRAPH, http2).await.unwrap();
        let get = get(GRAPH, "/sim/bytes/99999999999", &bearer);
        {
            let reading = std::pin::pin!(client.send(get));
            let begun = simulator.wait_for(|seen| seen.status.is_some());
            let begun = std::pin::pin!(begun);
            futures_select(reading, begun).await;
        }
        drop(client);
        simulator
            .wait_for(|seen| seen.answer == BodyEnd::Aborted)
            .await
            .unwrap();
    }
}

/// Polls both until the second is ready.
async fn futures_select<A, B>(first: A, second: B)
where
    A: Future + Unpin,
    B: Future + Unpin,
{
    tokio::select! {
        _ = first => panic!("nobody reads a hundred gigabytes that fast"),
        _ = second => {}
    }
}

#[tokio::test]
async fn pages_have_about_the_size_asked_for_and_compress() {
    let simulator = Simulator::start().await.unwrap();
    let page = fetch(&simulator, GRAPH, "/sim/page/150").await;
    assert!(
        (150 * 1024..152 * 1024).contains(&page.body.len()),
        "{}",
        page.body.len()
    );
    assert!(page.json()["value"][15]["directReports@odata.nextLink"].is_string());
    let packed = fetch(&simulator, GRAPH, "/sim/gzip-page/150").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(gzip::unpacked(&packed.body).unwrap(), page.body);
    let bearer = bearer(&simulator, GRAPH).await;
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept-encoding", "br, gzip"),
    ];
    let users = request("GET", GRAPH, "/v1.0/users?$top=50", &headers, "");
    let reply = once(&simulator, users).await.unwrap();
    assert_eq!(reply.header("content-encoding"), "gzip");
}

#[tokio::test]
async fn without_a_record_nothing_is_kept() {
    let simulator = Simulator::start().await.unwrap();
    simulator.record(false);
    assert_eq!(
        fetch(&simulator, GRAPH, "/v1.0/users?$top=1").await.status,
        200
    );
    assert_eq!(simulator.seen().len(), 0);
    simulator.record(true);
    assert_eq!(
        fetch(&simulator, GRAPH, "/v1.0/users?$top=1").await.status,
        200
    );
    assert_eq!(simulator.seen().len(), 2);
}

#[tokio::test]
async fn what_a_proxy_must_strip_is_refused() {
    let simulator = Simulator::start().await.unwrap();
    let bearer = bearer(&simulator, GRAPH).await;
    for (name, value) in [
        ("x-forwarded-for", "10.0.0.1"),
        ("cookie", "a=b"),
        ("connection", "x-private"),
        ("x-api-key", "k"),
        ("content-type", "a/b"),
    ] {
        let twice = ("content-type", "c/d");
        let headers = [("authorization", bearer.as_str()), twice, (name, value)];
        let get = request("GET", GRAPH, "/v1.0/users", &headers, "");
        assert_eq!(status(&simulator, get).await, 400, "{name}");
    }
    assert_eq!(simulator.violations().len(), 5);
    let mut absolute = get(GRAPH, "/v1.0/users", &bearer);
    *absolute.uri_mut() = "https://graph.microsoft.com/v1.0/users".parse().unwrap();
    assert_eq!(status(&simulator, absolute).await, 400);
    let elsewhere = request("GET", ORGANISATION, "/api/data/v9.2/accounts", &[], "");
    let mut client = Client::open(&simulator, GRAPH, false).await.unwrap();
    assert_eq!(client.status(elsewhere).await, 400);
}

#[tokio::test]
async fn shutting_down_ends_connections() {
    let simulator = Simulator::start().await.unwrap();
    let bearer = bearer(&simulator, GRAPH).await;
    let mut client = Client::open(&simulator, GRAPH, false).await.unwrap();
    let get = || get(GRAPH, "/v1.0/users?$top=1", &bearer);
    client.send(get()).await.unwrap();
    simulator.shutdown().await;
    assert!(client.send(get()).await.is_err());
}
