//! Secrets stay where they are, whatever fails. The log of these programs is at its most verbose,
//! and is looked through at the end of each test.

use tokenferry::simulator::{Ending, Fault, GRAPH, Handshake, LOGIN, Script, TICKET_CANARY};

use super::Want::{Denied, Harmless, Refused};
use super::{Fort, ask, get, talk};

#[tokio::test]
async fn no_failure_of_the_upstream_tells_the_token() {
    let fort = Fort::build(
        "routes:
  - {name: graph, path: /graph, upstream: 'https://GRAPH'}
  - {name: two, path: /two, upstream: 'https://GRAPH', upstream_http: 2}
",
    )
    .await;
    let broken = |after, ending| Fault::Break { after, ending };
    let tell = |value: &str| vec![("www-authenticate".to_owned(), value.to_owned())];
    for fault in [
        Fault::status(401),
        Fault::Answer {
            status: http::StatusCode::UNAUTHORIZED,
            headers: tell("Bearer error=\"invalid_token\""),
            body: Vec::new(),
        },
        Fault::graph_403(),
        Fault::graph_429(Some("1")),
        Fault::graph_503(None),
        Fault::html_502(),
        Fault::status(500),
        Fault::Goaway,
        Fault::Unprocessed,
        Fault::Raw(b"garbage\r\n\r\n".to_vec(), Ending::Close),
        broken(None, Ending::Reset),
        broken(Some(5), Ending::Close),
    ] {
        let shown = format!("{fault:?}");
        let script = Script::on(GRAPH, fault).under("/sim/status");
        for target in ["/graph/sim/status/200", "/two/sim/status/200"] {
            fort.program.simulator.script(script.clone().times(3));
            let reply = talk(fort.program.address, &get(target)).await;
            fort.program.simulator.clear_scripts();
            assert!(reply.status() != 0, "{shown}");
            fort.holds(&shown, &reply.bytes).await;
        }
    }
    for handshake in [
        Handshake::Expired,
        Handshake::Untrusted,
        Handshake::WrongName,
        Handshake::Reset,
    ] {
        let shown = format!("{handshake:?}");
        fort.program.simulator.spoil(GRAPH, handshake);
        fort.program.simulator.close_idle(GRAPH, Ending::Close);
        let reply = talk(fort.program.address, &get("/graph/sim/status/200")).await;
        fort.program.simulator.recover(GRAPH);
        // A pooled connection may have been used before the handshake was spoilt.
        assert!(matches!(reply.status(), 200 | 502), "{shown}: {reply:?}");
        fort.holds(&shown, &reply.bytes).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn no_request_makes_the_proxy_tell_what_it_sent() {
    let fort = Fort::build("").await;
    let echo = talk(fort.program.address, &get("/graph/sim/echo")).await;
    assert_eq!(echo.status(), 200);
    fort.holds("an echo", &echo.bytes).await;
    for (name, bytes, want) in [
        (
            "TRACE",
            ask("TRACE /graph/sim/echo HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0"),
            Refused(405, "methodNotSupported"),
        ),
        (
            "a token in the query",
            get("/graph/sim/bytes/1?access_token=x"),
            Harmless,
        ),
        (
            "a file of the machine",
            get("/etc/passwd"),
            Refused(404, "noRoute"),
        ),
        (
            "the configuration",
            get("/routes.yaml"),
            Refused(404, "noRoute"),
        ),
        (
            "the environment",
            get("/proc/self/environ"),
            Refused(404, "noRoute"),
        ),
        ("the metrics here", get("/metrics"), Refused(404, "noRoute")),
        (
            "the metadata service",
            get("/metadata/identity/oauth2/token"),
            Refused(404, "noRoute"),
        ),
        ("a template", get("/graph/${AZURE_CLIENT_SECRET}"), Denied),
        (
            "a terminal's codes",
            get("/graph/%1b%5b2J"),
            Refused(400, "badRequest"),
        ),
        (
            "an id that is a line",
            ask(
                "GET /graph/nothing HTTP/1.1\r\nHost: localhost\r\nclient-request-id: \"},{\"a\":\"b",
            ),
            Denied,
        ),
    ] {
        fort.face(name, &bytes, want).await;
    }
    for line in fort.program.out.all() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&line);
        assert!(
            parsed.is_ok(),
            "one line of the access log is one document: {line}"
        );
    }
    fort.stands().await;
}

#[tokio::test]
async fn no_failure_of_entra_tells_the_secret() {
    let fort = Fort::build("").await;
    fort.program.simulator.expire_tokens(None);
    for (name, fault) in [
        ("a wrong secret", Fault::Entra(7_000_215)),
        ("an expired secret", Fault::Entra(7_000_222)),
        ("an unknown app", Fault::Entra(700_016)),
        (
            "no JSON",
            Fault::answer(200, &[("content-type", "text/html")], "<html>CLIENT</html>"),
        ),
        (
            "half an answer",
            Fault::answer(200, &[], "{\"access_token\":"),
        ),
        (
            "no answer",
            Fault::Break {
                after: None,
                ending: Ending::Close,
            },
        ),
        ("an empty answer", Fault::status(200)),
        (
            "a redirect",
            Fault::answer(307, &[("location", "https://evil.example/token")], ""),
        ),
        ("a breakdown", Fault::status(500)),
        ("too many", Fault::plain_429("1")),
    ] {
        fort.program.simulator.script(Script::on(LOGIN, fault));
        fort.program.simulator.revoke_tokens(None);
        let reply = talk(fort.program.address, &get("/graph/sim/status/200")).await;
        fort.program.simulator.clear_scripts();
        assert!(
            matches!(reply.status(), 200 | 502 | 503),
            "{name}: {reply:?}"
        );
        assert!(
            reply.status() < 500 || !reply.code().is_empty(),
            "{name}: {reply:?}"
        );
        let text = String::from_utf8_lossy(&reply.bytes).into_owned();
        assert!(!text.contains(super::CANARY), "{name}: {text}");
    }
    assert!(
        fort.program
            .simulator
            .violations()
            .iter()
            .all(|violation| !format!("{violation:?}").contains("evil"))
    );
    super::assert_clean("the log", &fort.program.err.text());
    super::assert_clean("the access log", &fort.program.out.text());
}

#[tokio::test]
async fn a_download_ticket_reaches_its_caller_and_no_log() {
    let fort = Fort::build("").await;
    let reply = talk(
        fort.program.address,
        &get("/open/v1.0/drives/d/items/i/content"),
    )
    .await;
    let text = String::from_utf8_lossy(&reply.bytes).into_owned();
    // Whoever asked for the file gets its address, which is a secret of its own.
    assert!(
        reply.status() == 302 && text.contains(TICKET_CANARY),
        "{text}"
    );
    fort.program.simulator.clear();
    fort.serves("a download").await;
    fort.stands().await;
}
