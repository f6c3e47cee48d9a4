//! Links of answers lead through the proxy, as clients follow them without a token of their own.

use serde_json::Value;
use tokenferry::simulator::{Ending, Fault, GRAPH, ORGANISATION, Script};

use crate::harness::stage::Stage;

const USERS: &str = "/graph/v1.0/users";

/// The target of a link that must lead to this proxy.
#[track_caller]
fn target(stage: &Stage, link: &Value) -> String {
    let link = link.as_str().unwrap_or_default();
    let base = format!("http://{}", stage.address());
    let own = link.strip_prefix(&base);
    own.unwrap_or_else(|| panic!("{link} does not begin with {base}"))
        .to_owned()
}

/// A GET as a client sends it that was given the proxy's address.
async fn get(stage: &Stage, target: &str, more: &str) -> crate::harness::answer::Answer {
    let host = stage.address();
    stage
        .ask(&format!("GET {target} HTTP/1.1\nHost: {host}{more}"))
        .await
}

#[tokio::test]
async fn a_thousand_users_are_paged_through_the_links_alone() {
    let stage = Stage::open().await;
    for coding in ["", "\nAccept-Encoding: gzip, br"] {
        let mut ids = std::collections::BTreeSet::new();
        let mut next = format!("{USERS}?$top=100");
        loop {
            let page = get(&stage, &next, coding).await.expect(200);
            assert_eq!(page.field("content-encoding"), "");
            let page = page.json();
            target(&stage, &page["@odata.context"]);
            for user in page["value"].as_array().unwrap() {
                ids.insert(user["id"].as_str().unwrap().to_owned());
            }
            match &page["@odata.nextLink"] {
                Value::Null => break,
                link => next = target(&stage, link),
            }
        }
        assert_eq!(ids.len(), 1000);
    }
    let labels = [("route", "graph")];
    stage
        .becomes("tokenferry_links_rewritten_total", &labels, 38.0)
        .await;
}

/// As Python's urllib3 does with every address, and with it `requests`.
#[tokio::test]
async fn a_link_leads_on_for_a_client_that_writes_its_triplets_in_capitals() {
    let stage = Stage::open().await;
    let page = get(&stage, &format!("{USERS}?$top=100"), "").await;
    let next = target(&stage, &page.expect(200).json()["@odata.nextLink"]);
    let capitals = next.replace("%7d", "%7D");
    assert_ne!(capitals, next);
    let second = get(&stage, &capitals, "").await.expect(200).json();
    assert_eq!(second["value"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn the_five_headers_are_turned_on_every_status() {
    let stage = Stage::open().await;
    let base = format!("http://{}/graph", stage.address());
    for status in [200, 201, 202, 204, 302, 410, 500] {
        let location = "https://graph.microsoft.com/v1.0/x?token=a%2523b";
        let headers = [
            ("location", location),
            ("content-location", location),
            ("odata-entityid", location),
            (
                "operation-location",
                "HTTPS://Graph.Microsoft.com:443/v1.0/x",
            ),
            ("azure-asyncoperation", "https://other.example/x"),
            ("link", location),
        ];
        let fault = Fault::answer(status, &headers, "");
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let answer = get(&stage, USERS, "").await.expect(status);
        let rewritten = format!("{base}/v1.0/x?token=a%2523b");
        for name in ["location", "content-location", "odata-entityid"] {
            assert_eq!(answer.field(name), rewritten, "{status}");
        }
        assert_eq!(answer.field("operation-location"), format!("{base}/v1.0/x"));
        assert_eq!(
            answer.field("azure-asyncoperation"),
            "https://other.example/x"
        );
        assert_eq!(answer.field("link"), location);
    }
}

#[tokio::test]
async fn a_root_relative_location_gets_the_prefix_on_redirects_only() {
    let stage = Stage::open().await;
    for (status, wanted) in [
        (302, "/graph/v1.0/x"),
        (308, "/graph/v1.0/x"),
        (202, "/v1.0/x"),
    ] {
        let fault = Fault::answer(status, &[("location", "/v1.0/x")], "");
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let answer = get(&stage, USERS, "").await.expect(status);
        assert_eq!(answer.field("location"), wanted);
    }
}

#[tokio::test]
async fn rewritten_answers_lose_what_spoke_of_their_bytes_and_keep_their_version() {
    let stage = Stage::open().await;
    let body = r#"{"@odata.nextLink":"https:\/\/graph.microsoft.com\/v1.0\/x","text":"https://graph.microsoft.com/v1.0/x"}"#;
    let headers = [
        ("content-type", "application/json"),
        ("content-md5", "x"),
        ("digest", "x"),
        ("accept-ranges", "bytes"),
        ("etag", "W/\"7\""),
    ];
    let fault = Fault::answer(200, &headers, body);
    stage.simulator.script(Script::on(GRAPH, fault));
    let answer = get(&stage, USERS, "").await.expect(200);
    let text = format!(
        r#"{{"@odata.nextLink":"http://{}/graph\/v1.0\/x","text":"https://graph.microsoft.com/v1.0/x"}}"#,
        stage.address()
    );
    assert_eq!(answer.text(), text);
    for name in ["content-md5", "digest", "accept-ranges"] {
        assert_eq!(answer.all(name).len(), 0, "{name}");
    }
    assert_eq!(answer.field("etag"), "W/\"7\"");
    let host = stage.address();
    let lines = format!("HEAD {USERS} HTTP/1.1\nHost: {host}");
    let head = stage.ask(&lines).await;
    assert_eq!((head.status, head.field("content-length")), (200, ""));
}

/// An answer in JSON that comes in one piece, framed like this.
fn framed(framing: &str, body: &str) -> Script {
    let text =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{framing}\r\n\r\n{body}");
    Script::on(GRAPH, Fault::Raw(text.into(), Ending::Close)).times(1)
}

#[tokio::test]
async fn digests_that_come_as_trailers_go_with_the_bytes_they_spoke_of() {
    let stage = Stage::open().await;
    let json = r#"{"@odata.nextLink":"https://graph.microsoft.com/v1.0/x"}"#;
    let body = format!(
        "{:x}\r\n{json}\r\n0\r\nContent-Digest: x\r\nX-Rows: 1\r\n\r\n",
        json.len()
    );
    let framing = "Transfer-Encoding: chunked\r\nTrailer: Content-Digest, X-Rows";
    stage.simulator.script(framed(framing, &body));
    let lines = format!("GET {USERS} HTTP/1.1\nTE: trailers\nConnection: TE");
    let answer = stage.ask(&lines).await;
    assert!(answer.text().contains("/graph/v1.0/x"), "{answer:?}");
    assert_eq!(answer.trailers, [("x-rows".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn a_short_answer_that_is_there_goes_down_with_its_new_length() {
    let stage = Stage::open().await;
    let json = r#"{"@odata.nextLink":"https://graph.microsoft.com/v1.0/x"}"#;
    let length = format!("Content-Length: {}", json.len());
    let chunks = format!(
        "{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        30,
        &json[..30],
        json.len() - 30,
        &json[30..]
    );
    for (framing, body) in [
        (length.as_str(), json),
        ("Transfer-Encoding: chunked", &chunks),
    ] {
        stage.simulator.script(framed(framing, body));
        let answer = get(&stage, USERS, "").await.expect(200);
        let text = format!(
            r#"{{"@odata.nextLink":"http://{}/graph/v1.0/x"}}"#,
            stage.address()
        );
        assert_eq!(answer.text(), text, "{framing}");
        assert_eq!(answer.field("content-length"), text.len().to_string());
        stage.simulator.script(framed(framing, body));
        let answer = stage.caller2().await.exchange("GET", USERS).await;
        let (length, body) = (answer.field("content-length"), answer.body.len());
        assert_eq!(length, body.to_string(), "{framing}");
    }
    // A cut one is never ended politely, however short, and a long one is not gathered.
    stage.simulator.script(framed("Content-Length: 99", json));
    let answer = get(&stage, USERS, "").await;
    assert!(!answer.whole, "{answer:?}");
    let long = get(&stage, "/graph/v1.0/users?$top=999", "").await;
    let long = long.expect(200);
    assert!(long.body.len() > 100_000 && long.field("content-length").is_empty());
}

#[tokio::test]
async fn files_are_never_touched() {
    let stage = Stage::open().await;
    let body = r#"{"@odata.nextLink":"https://graph.microsoft.com/v1.0/x"}"#;
    let json = ("content-type", "application/json");
    let length = body.len().to_string();
    for (path, status, header, more) in [
        ("/v1.0/x", 206, ("x-a", "b"), ""),
        ("/v1.0/x", 200, ("x-a", "b"), "\nRange: bytes=0-"),
        ("/v1.0/x/$value", 200, ("x-a", "b"), ""),
        ("/v1.0/drives/d/items/i/content", 200, ("x-a", "b"), ""),
        (
            "/v1.0/x",
            200,
            ("content-disposition", "attachment; filename=\"a.json\""),
            "",
        ),
    ] {
        let fault = Fault::answer(status, &[json, header], body);
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let answer = get(&stage, &format!("/graph{path}"), more)
            .await
            .expect(status);
        assert_eq!(answer.text(), body, "{path} {more}");
        assert_eq!(answer.field("content-length"), length);
    }
}

#[tokio::test]
async fn rewrite_links_says_how_much_is_turned() {
    let stage = Stage::with(
        "routes:\n  - {name: all, path: /all, upstream: 'https://GRAPH', rewrite_links: all}\n  - {name: off, path: /off, upstream: 'https://GRAPH', rewrite_links: false}\n  - {name: keys, path: /keys, upstream: 'https://GRAPH', link_keys: [nextLink]}\n",
    )
    .await;
    let body =
        r#"{"nextLink":"https://graph.microsoft.com/a","other":"https://graph.microsoft.com/b"}"#;
    let headers = [
        ("content-type", "application/json"),
        ("location", "https://graph.microsoft.com/c"),
    ];
    stage
        .simulator
        .script(Script::on(GRAPH, Fault::answer(200, &headers, body)));
    let graph = "https://graph.microsoft.com".to_owned();
    let base = format!("http://{}", stage.address());
    for (route, next, other) in [
        ("all", format!("{base}/all"), format!("{base}/all")),
        ("off", graph.clone(), graph.clone()),
        ("keys", format!("{base}/keys"), graph.clone()),
    ] {
        let answer = get(
            &stage,
            &format!("/{route}/v1.0/x"),
            "\nAccept-Encoding: deflate;q=0.1, br",
        )
        .await;
        let text = format!(r#"{{"nextLink":"{next}/a","other":"{other}/b"}}"#);
        assert_eq!(answer.text(), text, "{route}");
        assert_eq!(
            answer.field("location") == "https://graph.microsoft.com/c",
            route == "off"
        );
        let sent = stage.last();
        let wanted = if route == "off" {
            "deflate;q=0.1, br"
        } else {
            "deflate"
        };
        assert_eq!(sent.header("accept-encoding").as_deref(), Some(wanted));
    }
}

#[tokio::test]
async fn links_begin_as_the_caller_addressed_the_proxy_or_as_public_url_says() {
    let routes = "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH'}]\n";
    let stage = Stage::with(routes).await;
    let port = stage.address().port();
    for host in [
        format!("localhost:{port}"),
        "tokenferry.tools.svc".to_owned(),
    ] {
        let lines = format!("GET {USERS}?$top=1 HTTP/1.1\nHost: {host}");
        let next = stage.ask(&lines).await.expect(200).json()["@odata.nextLink"].to_string();
        assert!(
            next.starts_with(&format!("\"http://{host}/graph/v1.0/")),
            "{next}"
        );
        let lines = format!("GET http://{host}{USERS}?$top=1 HTTP/1.1\nHost: {host}");
        let next = stage.ask(&lines).await.expect(200).json()["@odata.nextLink"].to_string();
        assert!(
            next.starts_with(&format!("\"http://{host}/graph/v1.0/")),
            "{next}"
        );
    }
    let caller = stage.caller2().await;
    let next = caller
        .exchange("GET", &format!("{USERS}?$top=1"))
        .await
        .json();
    assert!(
        next["@odata.nextLink"]
            .as_str()
            .unwrap()
            .starts_with("http://localhost/graph/")
    );

    let stage = Stage::with(&format!(
        "public_url: https://api.contoso.example/ferry\n{routes}"
    ))
    .await;
    let lines = format!("GET {USERS}?$top=1 HTTP/1.1");
    let next = stage.ask(&lines).await.expect(200).json()["@odata.nextLink"].to_string();
    assert!(
        next.starts_with("\"https://api.contoso.example/ferry/graph/v1.0/"),
        "{next}"
    );
}

#[tokio::test]
async fn a_link_of_another_routes_upstream_leads_to_that_route() {
    let stage = Stage::open().await;
    let body = format!(
        r#"{{"@odata.nextLink":"https://{ORGANISATION}/api/data/v9.2/a","x@odata.nextLink":"https://contoso.api.crm.dynamics.com/b","y@odata.nextLink":"https://unknown.example/c"}}"#
    );
    let fault = Fault::answer(200, &[("content-type", "application/json")], body.clone());
    stage.simulator.script(Script::on(GRAPH, fault));
    let page = get(&stage, USERS, "").await.expect(200).json();
    assert_eq!(
        target(&stage, &page["@odata.nextLink"]),
        "/dynamics/api/data/v9.2/a"
    );
    assert_eq!(target(&stage, &page["x@odata.nextLink"]), "/dynamics/b");
    assert_eq!(page["y@odata.nextLink"], "https://unknown.example/c");
}

#[tokio::test]
async fn a_rewritten_answer_streams_as_it_comes_and_breaks_as_it_breaks() {
    let stage = Stage::open().await;
    let feed = stage.simulator.feed("rows");
    let mut caller = stage.caller().await;
    let host = stage.address();
    caller
        .ask(&format!(
            "GET /graph/sim/feed/rows?type=application/json HTTP/1.1\nHost: {host}"
        ))
        .await;
    assert!(feed.send(r#"{"value":[1,2,3],"@odata.ne"#).await);
    let mut answer = caller.head().await;
    let first = caller.chunk(&mut answer).await.unwrap();
    assert!(first.starts_with(br#"{"value":[1,2,3]"#), "{first:?}");
    assert!(
        feed.send(r#"xtLink":"https://graph.microsoft.com/v1.0/x"}"#)
            .await
    );
    let mut rest = first;
    while !rest.ends_with(b"}") {
        rest.extend(caller.chunk(&mut answer).await.unwrap());
    }
    let text = format!(r#"{{"value":[1,2,3],"@odata.nextLink":"http://{host}/graph/v1.0/x"}}"#);
    assert_eq!(String::from_utf8(rest).unwrap(), text);
    feed.break_off().await;
    assert_eq!(caller.chunk(&mut answer).await, None);
    assert!(!answer.whole, "a truncated answer is not ended politely");
}

#[tokio::test]
async fn a_compressed_answer_that_is_cut_or_corrupt_is_not_ended_politely() {
    let stage = Stage::open().await;
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    let body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03not deflate at all";
    let fault = Fault::answer(200, &headers, body);
    stage.simulator.script(Script::on(GRAPH, fault).times(1));
    let answer = get(&stage, USERS, "\nAccept-Encoding: gzip").await;
    assert!(!answer.whole);
}
