//! Hostile upstreams: what is not a proper answer becomes 502 or breaks off, and nothing in an
//! answer makes the proxy or a browser do something.

use tokenferry::simulator::{Ending, Fault, GRAPH, Script};

use super::wire::Reply;
use super::{Fort, get, talk};

async fn answered(fort: &Fort, fault: Fault) -> Reply {
    fort.program.simulator.clear_scripts();
    fort.program
        .simulator
        .script(Script::on(GRAPH, fault).under("/sim/status").times(2));
    let reply = talk(fort.program.address, &get("/graph/sim/status/200")).await;
    fort.program.simulator.clear_scripts();
    reply
}

#[tokio::test]
async fn what_is_no_answer_becomes_502() {
    let fort = Fort::build("").await;
    for (name, bytes) in [
        ("nothing", &b""[..]),
        ("text", b"hello"),
        ("HTTP/0.9", b"<html>hello</html>"),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("no status", b"HTTP/1.1\r\n\r\n"),
        ("a status of letters", b"HTTP/1.1 abc OK\r\n\r\n"),
        ("a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
        ("NUL in a value", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ("a control character in a value", b"HTTP/1.1 200 OK\r\nX: \x01\r\nContent-Length: 0\r\n\r\n"),
        ("a blank in a name", b"HTTP/1.1 200 OK\r\nBad Name: 1\r\nContent-Length: 0\r\n\r\n"),
        ("CR in a value", b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        ("a length with a plus", b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na"),
        ("a switch of protocols", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        ("a coding that was not asked for", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("a coding to the end of the connection", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello"),
        ("HTTP/2", b"\0\0\0\x04\0\0\0\0\0"),
    ] {
        let reply = answered(&fort, Fault::Raw(bytes.to_vec(), Ending::Notify)).await;
        assert_eq!(reply.status(), 502, "{name}: {reply:?}");
        assert_eq!(reply.code(), "upstreamUnreachable", "{name}");
        fort.holds(name, &reply.bytes).await;
    }
    let huge = format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(2 * 1024 * 1024)
    );
    let reply = answered(&fort, Fault::Raw(huge.into_bytes(), Ending::Notify)).await;
    assert_eq!(reply.status(), 502);
    fort.holds("a huge head", &reply.bytes).await;
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n",
        "X: y\r\n".repeat(2000)
    );
    let reply = answered(&fort, Fault::Raw(many.into_bytes(), Ending::Notify)).await;
    assert_eq!(reply.status(), 502);
    fort.holds("many fields", &reply.bytes).await;
    let final_one = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    let few = interim.repeat(100) + final_one;
    let reply = answered(&fort, Fault::Raw(few.into_bytes(), Ending::Notify)).await;
    assert_eq!(reply.status(), 200);
    let endless = interim.repeat(8000) + final_one;
    let reply = answered(&fort, Fault::Raw(endless.into_bytes(), Ending::Notify)).await;
    assert_eq!(reply.status(), 502);
    fort.holds("interim answers without end", &reply.bytes)
        .await;
    fort.stands().await;
}

#[tokio::test]
async fn bytes_after_an_answer_are_nobody_elses() {
    let fort = Fort::build("").await;
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
    for (name, bytes) in [
        (
            "another answer",
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{evil}"),
        ),
        (
            "after 204",
            format!(
                "HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n{evil}",
                evil.len()
            ),
        ),
        (
            "after 304",
            format!(
                "HTTP/1.1 304 Not Modified\r\nContent-Length: {}\r\n\r\n{evil}",
                evil.len()
            ),
        ),
        (
            "both framings",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{evil}"
            ),
        ),
        (
            "a coding nobody asked for",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                .to_owned(),
        ),
        (
            "a coding that is not last",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n{evil}"),
        ),
        (
            "many interim answers",
            format!(
                "{}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(50)
            ),
        ),
    ] {
        // The connection stays open where somebody might use it again.
        let ending = if name.starts_with("a coding") || name.starts_with("many") {
            Ending::Notify
        } else {
            Ending::Hang
        };
        let reply = answered(&fort, Fault::Raw(bytes.into_bytes(), ending)).await;
        assert!(reply.status() != 0, "{name}: {reply:?}");
        for _ in 0..3 {
            let next = talk(fort.program.address, &get("/graph/sim/bytes/4")).await;
            let body = next.answers.first().map(|answer| answer.2.clone());
            assert_eq!(body.as_deref(), Some(&b"xxxx"[..]), "{name}: {next:?}");
        }
        fort.holds(name, &reply.bytes).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_never_followed() {
    let fort = Fort::build("").await;
    let bait = format!("http://{}/x", fort.bait());
    for status in [301, 302, 303, 307, 308] {
        for location in [
            "https://evil.example/x",
            "https://graph.microsoft.com.evil.example/x",
            "//evil.example/x",
            "/v1.0/elsewhere",
            bait.as_str(),
            "https://evil.example\\@graph.microsoft.com/",
            "javascript:alert(1)",
        ] {
            let reply = answered(&fort, Fault::answer(status, &[("location", location)], "")).await;
            assert_eq!(reply.status(), status, "{location}: {reply:?}");
            let asked = fort.asked().len();
            assert_eq!(asked, 1, "{location}");
            fort.holds(location, &reply.bytes).await;
        }
    }
    fort.stands().await;
}
