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
        "/v1.0/%41%7a",
        "/v1.0/...",
        "/v1.0/..a/.b/c..",
        "/v1.0/a%20b",
        "/v1.0/users/",
        "/v1.0/users?",
        "/v1.0/users?a=b?c/d",
        "/v1.0/users?$filter=a eq 'b'".replace(' ', "%20").as_str(),
        "/v1.0/users?$skiptoken=RFNwdAIAAQ%2523%7B1%7d",
        "/v1.0/users?a=../..&b=%2e%2e",
        "/v1.0/users?&&=&",
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
async fn dot_segments_are_refused_in_any_encoding() {
    let stage = Stage::open().await;
    for rest in [
        "/.",
        "/..",
        "/v1.0/../x",
        "/v1.0/./x",
        "/v1.0/%2e%2e/x",
        "/v1.0/%2E./x",
        "/v1.0/.%2e",
        "/v1.0/%252e%252e/x",
        "/v1.0/%25252e%25252e/x",
        "/v1.0/a%2f..%2fb",
        "/v1.0/a%5c..%5cb",
        "/v1.0/a%252f%252e%252e%252fb",
        "/v1.0/a\\b",
        "/v1.0/%00",
        "/v1.0/%0d%0a",
        "/v1.0/%2500",
        "/v1.0/a%",
        "/v1.0/a%4",
        "/v1.0/a%zz",
        "/v1.0/é",
    ] {
        let answer = stage.get(&format!("/graph{rest}")).await;
        assert_eq!(
            answer.refusal(),
            (400, "badRequest".to_owned()),
            "{rest}: {}",
            answer.text()
        );
    }
    assert_eq!(stage.arrivals(GRAPH), 0);
}

#[tokio::test]
async fn a_prefix_matches_at_a_segment_boundary_only() {
    let stage = Stage::open().await;
    for target in ["/graphs/v1.0", "/grap", "/GRAPH/v1.0", "/", "/%67raph/v1.0"] {
        let answer = stage.get(target).await;
        assert_eq!(answer.refusal(), (404, "noRoute".to_owned()), "{target}");
    }
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
async fn a_name_that_is_rebound_to_this_address_gets_nothing() {
    let stage = Stage::open().await;
    for host in [
        "evil.example",
        "graph.microsoft.com",
        "localhost.evil.example",
    ] {
        let lines = format!("GET /graph/v1.0/users HTTP/1.1\nHost: {host}");
        let answer = stage.ask(&lines).await;
        assert_eq!(
            answer.refusal(),
            (421, "hostNotServed".to_owned()),
            "{host}"
        );
        assert!(answer.message().contains("hosts"), "{}", answer.message());
    }
    for host in [
        "localhost:1",
        "LOCALHOST",
        "tools.localhost",
        "127.0.0.1",
        "[::1]:80",
        "host.docker.internal",
        "tokenferry",
        "tokenferry.tools.svc",
        "tokenferry.tools.svc.cluster.local.",
    ] {
        let lines = format!("GET /graph/v1.0/users?$top=1 HTTP/1.1\nHost: {host}");
        assert_eq!(stage.ask(&lines).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_request_has_one_valid_host() {
    let stage = Stage::open().await;
    for head in [
        "GET /graph/v1.0/users HTTP/1.1\r\n\r\n",
        "GET /graph/v1.0/users HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /graph/v1.0/users HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET /graph/v1.0/users HTTP/1.1\r\nHost: a@localhost\r\n\r\n",
        "GET /graph/v1.0/users HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
        "GET /graph/v1.0/users HTTP/1.1\r\nHost: localhost:99999\r\n\r\n",
    ] {
        let mut caller = stage.caller().await;
        caller.send(head).await;
        let answer = caller.answer("GET").await;
        assert_eq!(answer.refusal(), (400, "badRequest".to_owned()), "{head}");
    }
}

#[tokio::test]
async fn absolute_form_counts_for_a_host_that_is_served() {
    let stage = Stage::open().await;
    let lines = "GET http://localhost/graph/v1.0/users?$top=1 HTTP/1.1\nHost: other.example";
    stage.ask(lines).await.expect(200);
    let last = stage.last();
    assert_eq!(last.target(), "/v1.0/users?$top=1");
    assert_eq!(last.header_values("host"), [GRAPH]);
    for target in [
        "http://evil.example/graph/v1.0/users",
        "https://graph.microsoft.com/v1.0/users",
    ] {
        let lines = format!("GET {target} HTTP/1.1\nHost: localhost");
        let answer = stage.ask(&lines).await;
        assert_eq!(answer.refusal(), (421, "hostNotServed".to_owned()));
    }
}

#[tokio::test]
async fn methods_that_are_no_requests_of_an_api_are_refused() {
    let stage = Stage::open().await;
    for line in [
        "TRACE /graph/v1.0/users HTTP/1.1",
        "FROBNICATE /graph/v1.0/users HTTP/1.1",
        "get /graph/v1.0/users HTTP/1.1",
        "CONNECT localhost:80 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
    ] {
        let answer = stage.ask(line).await;
        assert!(matches!(answer.status, 400 | 405), "{line}: {answer:?}");
        answer.code();
    }
    assert_eq!(stage.arrivals(GRAPH), 0);
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let stage = Stage::with("browser_origins: ['https://tools.example']\n").await;
    for fields in [
        "Origin: https://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        let answer = stage
            .ask(&format!("GET /graph/v1.0/users HTTP/1.1\n{fields}"))
            .await;
        assert_eq!(answer.refusal(), (403, "crossSite".to_owned()), "{fields}");
    }
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
    for line in [
        "GET /graph/100% HTTP/1.1",
        "GET /graph/a/../b HTTP/1.1",
        "TRACE /graph/v1.0/users HTTP/1.1",
        "GET /graph/v1.0/users HTTP/1.1\nHost: evil.example",
    ] {
        let refused = stage
            .ask(&format!("{line}\nOrigin: https://tools.example"))
            .await;
        assert!((400..=499).contains(&refused.status), "{line}");
        let allowed = refused.field("access-control-allow-origin");
        assert_eq!(allowed, "https://tools.example", "{line}: it may read why");
        let other = stage
            .ask(&format!("{line}\nOrigin: https://evil.example"))
            .await;
        assert_eq!(other.field("access-control-allow-origin"), "", "{line}");
    }
    let preflight = stage
        .ask("OPTIONS /graph/v1.0/users HTTP/1.1\nOrigin: https://tools.example\nAccess-Control-Request-Method: GET")
        .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.field("x-content-type-options"), "nosniff");
    let forwarded = stage.arrivals(GRAPH);
    assert_eq!(forwarded, 2, "preflights are answered here");
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
async fn allow_lets_through_what_it_lists_and_nothing_else() {
    let stage = Stage::with(
        "\
routes:
  - name: graph
    path: /graph
    upstream: https://GRAPH
    allow:
      - GET /v1.0/users/**
      - POST /v1.0/users/*/sendMail
",
    )
    .await;
    stage.get("/graph/v1.0/users?$top=1").await.expect(200);
    let head = stage.ask("HEAD /graph/v1.0/users?$top=1 HTTP/1.1").await;
    assert_eq!(head.status, 200);
    for line in [
        "GET /graph/v1.0/groups HTTP/1.1",
        "GET /graph/v1.0/Users HTTP/1.1",
        "DELETE /graph/v1.0/users/x HTTP/1.1",
        "POST /graph/v1.0/users/a%2Fb/sendMail HTTP/1.1\nContent-Length: 0",
        "POST /graph/v1.0/$batch HTTP/1.1\nContent-Length: 0",
        "POST /graph/v1.0/%24BATCH HTTP/1.1\nContent-Length: 0",
    ] {
        let answer = stage.ask(line).await;
        assert_eq!(answer.refusal(), (403, "notAllowed".to_owned()), "{line}");
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
