//! Web pages: a rebound name, a foreign origin, and what a listed one may do.

use super::Want::{Passed, Refused};
use super::{Fort, ask, wire};

#[tokio::test]
async fn only_served_hosts_are_served() {
    let fort = Fort::build("").await;
    let elsewhere = Refused(421, "hostNotServed");
    let bad = Refused(400, "badRequest");
    let fine = Passed(200, "/sim/bytes/1");
    for (host, want) in [
        ("localhost", fine),
        ("LOCALHOST", fine),
        ("localhost.", fine),
        ("localhost:1", fine),
        ("app.localhost", fine),
        ("127.0.0.1", fine),
        ("[::1]:8080", fine),
        ("10.1.2.3", fine),
        ("host.docker.internal", fine),
        ("gateway", fine),
        ("tokenferry.tools.svc", fine),
        ("tokenferry.tools.svc.cluster.local.", fine),
        ("gateway.corp", fine),
        ("evil.example", elsewhere),
        ("evil.example:8080", elsewhere),
        ("evil.example.", elsewhere),
        ("localhost.evil.example", elsewhere),
        ("127.0.0.1.evil.example", elsewhere),
        ("127.0.0.1.nip.io", elsewhere),
        ("gateway.corp.evil.example", elsewhere),
        ("evilgateway.corp", elsewhere),
        ("x.gateway.corp", elsewhere),
        ("svc.evil.example", elsewhere),
        ("graph.microsoft.com", elsewhere),
        ("", bad),
        ("a b", bad),
        ("a,b", bad),
        ("localhost, evil.example", bad),
        ("u@localhost", bad),
        ("localhost/x", bad),
        ("localhost?x", bad),
        ("localhost#x", bad),
        ("localhost:abc", bad),
        ("localhost:99999", bad),
        ("[::1", bad),
        ("http://localhost", bad),
        ("localhost\\evil.example", bad),
        ("%6cocalhost", bad),
    ] {
        let bytes = ask(&format!("GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: {host}"));
        fort.face(host, &bytes, want).await;
    }
    for (name, lines, want) in [
        ("no host", "GET /graph/sim/bytes/1 HTTP/1.1", bad),
        ("no host, old", "GET /graph/sim/bytes/1 HTTP/1.0", bad),
        (
            "two hosts",
            "GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
            bad,
        ),
        (
            "the same twice",
            "GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\nHost: localhost",
            bad,
        ),
        (
            "served elsewhere",
            "GET http://localhost/graph/sim/bytes/1 HTTP/1.1\r\nHost: evil.example",
            fine,
        ),
        (
            "forwarded",
            "GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost",
            elsewhere,
        ),
    ] {
        fort.face(name, &ask(lines), want).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn a_foreign_page_can_neither_read_nor_write() {
    let fort = Fort::build("").await;
    let foreign = Refused(403, "crossSite");
    for fields in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: file://",
        "Origin: ",
        "Origin: https://localhost.evil.example",
        "Origin: http://app.corp",
        "Origin: https://app.corp:444",
        "Origin: https://app.corp.evil.example",
        "Origin: https://evilapp.corp",
        "Origin: https://app.corp/",
        "Origin: https://app.corp https://evil.example",
        "Origin: https://evil.example\r\nOrigin: https://app.corp",
        "Origin: https://app.corp\r\nOrigin: https://evil.example",
        "Origin: http://localhost:1",
        "Origin: http://127.0.0.1",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document",
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site",
        "Origin: http://evil.example\r\nSec-Fetch-Site: same-origin",
        "Origin: http://evil.example\r\nUser-Agent: kube-probe/1.30",
    ] {
        for method in ["GET", "POST"] {
            let bytes = ask(&format!(
                "{method} /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n{fields}"
            ));
            let reply = fort.face(fields, &bytes, foreign).await;
            assert!(!reply.head().contains("access-control-"), "{reply:?}");
        }
        let preflight = ask(&format!(
            "OPTIONS /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\n{fields}"
        ));
        let reply = fort.face(fields, &preflight, foreign).await;
        assert!(!reply.head().contains("access-control-"), "{reply:?}");
    }
    let rebound = "Host: evil.example:8080\r\nOrigin: http://evil.example:8080\r\nSec-Fetch-Site: same-origin";
    let bytes = ask(&format!("GET /graph/sim/bytes/1 HTTP/1.1\r\n{rebound}"));
    fort.face("a rebound name", &bytes, Refused(421, "hostNotServed"))
        .await;
    fort.stands().await;
}

#[tokio::test]
async fn a_listed_page_and_our_own_may_call() {
    let fort = Fort::build("").await;
    for (fields, allowed) in [
        ("Host: localhost", ""),
        ("Host: localhost\r\nSec-Fetch-Site: none", ""),
        ("Host: localhost\r\nSec-Fetch-Site: same-origin", ""),
        (
            "Host: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin",
            "",
        ),
        ("Host: localhost:8080\r\nOrigin: http://localhost:8080", ""),
        (
            "Host: localhost\r\nOrigin: https://app.corp\r\nSec-Fetch-Site: cross-site",
            "https://app.corp",
        ),
    ] {
        let bytes = ask(&format!("GET /graph/sim/bytes/1 HTTP/1.1\r\n{fields}"));
        let reply = fort.face(fields, &bytes, Passed(200, "/sim/bytes/1")).await;
        let head = reply.head();
        let own = head
            .lines()
            .find_map(|line| line.strip_prefix("access-control-allow-origin: "));
        assert_eq!(own.unwrap_or_default(), allowed, "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        if !allowed.is_empty() {
            assert!(head.contains("vary: ") && head.contains("origin"), "{head}");
        }
    }
    fort.stands().await;
}

#[tokio::test]
async fn the_admin_pages_have_the_same_fence() {
    let fort = Fort::build("").await;
    for (fields, status) in [
        ("Host: localhost", 200),
        ("Host: evil.example", 421),
        (
            "Host: evil.example:8081\r\nOrigin: http://evil.example:8081\r\nSec-Fetch-Site: same-origin",
            421,
        ),
        ("Host: localhost\r\nOrigin: http://evil.example", 403),
        (
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors",
            403,
        ),
        (
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document",
            200,
        ),
        ("Host: localhost\r\nHost: localhost", 400),
        ("X: no host", 400),
    ] {
        for page in ["/", "/metrics", "/status.json", "/livez", "/readyz"] {
            let bytes = ask(&format!("GET {page} HTTP/1.1\r\n{fields}"));
            let reply = wire::talk(fort.program.admin, &bytes).await;
            assert_eq!(reply.status(), status, "{page} {fields}");
            fort.holds(fields, &reply.bytes).await;
        }
    }
    for bytes in [
        &b"\xff\xff\xff\xff\r\n\r\n"[..],
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let reply = wire::talk(fort.program.admin, bytes).await;
        assert!((400..500).contains(&reply.status()), "{reply:?}");
        fort.holds("admin", &reply.bytes).await;
    }
    fort.stands().await;
}
