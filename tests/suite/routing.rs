//! Which requests pass, and that what passes arrives byte for byte.

use tokenferry::simulator::GRAPH;

use crate::harness::stage::Stage;

/// What the target looked like at the upstream.
async fn arrived(stage: &Stage, target: &str) -> String {
    stage.simulator.clear();
    let answer = stage.get(target).await;
    assert!(
        answer.all("proxy-status").is_empty(),
        "{target}: {}",
        answer.text()
    );
    let seen = stage.sent_to(GRAPH);
    assert_eq!(seen.len(), 1, "{target}");
    seen[0].target()
}

#[tokio::test]
async fn path_and_query_arrive_byte_for_byte() {
    let stage = Stage::open().await;
    for rest in [
        "/v1.0/users('x')",
        "/v1.0/users(%27x%27)",
        "/v1.0/me/drive/root:/a/b:/content",
        "/v1.0/a%2Fb",
        "/v1.0/a%2fb",
        "/v1.0/a%252fb",
        "/v1.0/%253c",
        "/v1.0/!x",
        "/v1.0//a//b",
        "//v1.0/a",
        "/v1.0/a;b=c,d",
        "/v1.0/a@b&c=d+e$f*g~h",
        "/v1.0/%E2%82%AC",
        "/v1.0/%41%7a%25",
        "/v1.0/...",
        "/v1.0/..a/.b/c..",
        "/v1.0/%2e%2ea",
        "/v1.0/a;..",
        "/..;/v1.0",
        "/v1.0/a%20b",
        "/v1.0/users/",
        "/v1.0/users?",
        "/v1.0/users?a=b?c/d",
        "/v1.0/users?$filter=a eq 'b'".replace(' ', "%20").as_str(),
        "/v1.0/users?$skiptoken=RFNwdAIAAQ%2523%7B1%7d",
        "/v1.0/users?a=../..&b=%2e%2e",
        "/v1.0/users?&&=&",
        "/v1.0/users?a=%00&b=%zz&c=d\\e",
        "/v1.0/[x]",
        "/v1.0/{x}|^",
        "",
        "/",
        "?a=b",
    ] {
        let expected = match rest {
            "" => "/".to_owned(),
            rest if rest.starts_with('?') => format!("/{rest}"),
            rest => rest.to_owned(),
        };
        let target = format!("/graph{rest}");
        assert_eq!(arrived(&stage, &target).await, expected);
    }
    stage.simulator.clear();
}

#[tokio::test]
async fn the_most_specific_route_wins() {
    let stage = Stage::with(
        "\
routes:
  - {name: all, path: /, upstream: 'https://GRAPH/all'}
  - {name: long, path: /a/b, upstream: 'https://GRAPH/long'}
  - {name: short, path: /a, upstream: 'https://GRAPH/short'}
  - {name: suffix, host: '*.tools.example', upstream: 'https://GRAPH/suffix'}
  - {name: exact, host: one.tools.example, upstream: 'https://GRAPH/exact'}
  - {name: exact-long, host: one.tools.example, path: /a, upstream: 'https://GRAPH/exact-long'}
",
    )
    .await;
    for (host, target, expected) in [
        ("localhost", "/x", "/all/x"),
        ("localhost", "/a", "/short"),
        ("localhost", "/a/bc", "/short/bc"),
        ("localhost", "/a/b/c", "/long/c"),
        ("two.tools.example", "/a/b/c", "/suffix/a/b/c"),
        ("one.tools.example", "/b", "/exact/b"),
        ("ONE.tools.example.", "/a/b", "/exact-long/b"),
    ] {
        let lines = format!("GET {target} HTTP/1.1\nHost: {host}");
        let answer = stage.ask(&lines).await;
        assert!(answer.all("proxy-status").is_empty(), "{}", answer.text());
        assert_eq!(stage.last().target(), expected, "{host} {target}");
    }
    stage.simulator.clear();
}

#[tokio::test]
async fn a_listed_page_reads_answers_and_preflights_are_answered_here() {
    let stage = Stage::with("browser_origins: ['https://tools.example']\n").await;
    let lines = "GET /graph/v1.0/users?$top=1 HTTP/1.1\nOrigin: https://tools.example";
    let answer = stage.ask(lines).await.expect(200);
    assert_eq!(
        answer.field("access-control-allow-origin"),
        "https://tools.example"
    );
    assert!(answer.all("vary").contains(&"Origin"), "{answer:?}");
    // What a browser keeps of this is no answer to the page.
    let kept = stage.ask("GET /graph/v1.0/users?$top=1 HTTP/1.1").await;
    assert_eq!(kept.field("access-control-allow-origin"), "");
    assert!(kept.all("vary").contains(&"Origin"), "{kept:?}");
    let preflight = stage
        .ask("OPTIONS /graph/v1.0/users HTTP/1.1\nOrigin: https://tools.example\nAccess-Control-Request-Method: GET")
        .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.field("x-content-type-options"), "nosniff");
    let forwarded = stage.arrivals(GRAPH);
    assert_eq!(forwarded, 2);
}

#[tokio::test]
async fn a_batch_is_a_post_and_no_other_method_gets_past_allow_as_one() {
    let stage = Stage::with(
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', allow: [GET /v1.0/users/**]}]\n",
    )
    .await;
    let body = r#"{"requests":[{"id":"1","method":"GET","url":"/users"}]}"#;
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let lines = format!("{method} /graph/v1.0/$batch HTTP/1.1\nContent-Type: application/json");
        let answer = stage.ask_with(&lines, body).await;
        assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()), "{method}");
    }
}

#[tokio::test]
async fn an_upstream_on_loopback_may_be_plain() {
    let stage = Stage::with("routes: [{name: local, path: /local, upstream: 'PLAIN/sim'}]\n").await;
    let answer = stage.get("/local/bytes/5?chunked=1").await.expect(200);
    assert_eq!(answer.body, b"xxxxx");
    let seen = stage.last();
    assert_eq!(seen.target(), "/sim/bytes/5?chunked=1");
    assert_eq!(seen.header_values("authorization").len(), 1);
}

#[tokio::test]
async fn rows_of_a_table_pass_where_its_name_is_listed_with_any_key() {
    let stage = Stage::with(
        "routes: [{name: dynamics, path: /dynamics, upstream: 'https://ORGANISATION', allow: ['GET /api/data/v9.2/accounts(*)/**']}]\n",
    )
    .await;
    let row = "accounts(aaaa0001-0000-0000-0000-000000000000)";
    let get = async |rest: &str| stage.get(&format!("/dynamics/api/data/v9.2/{rest}")).await;
    let answer = get(row).await.expect(200);
    assert!(answer.json()["name"].is_string());
    let contact = row.replace("accounts", "contacts");
    let blank = ["accounts(%20)", "accounts(%E2%80%83)", "accounts(%2520)"];
    for other in ["accounts", "accounts()", contact.as_str()]
        .into_iter()
        .chain(blank)
    {
        let answer = get(other).await;
        assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()), "{other}");
    }
    let refused = stage
        .ask(&format!("DELETE /dynamics/api/data/v9.2/{row} HTTP/1.1"))
        .await;
    assert_eq!(refused.refusal(), (403, "notAllowed".to_owned()));
}
