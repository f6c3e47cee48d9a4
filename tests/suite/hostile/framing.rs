//! Where one request ends and the next begins: one reading, whatever a caller writes. A request
//! that hides in a body would show at the upstream, by its target.

use super::Want::{Denied, Passed, Refused};
use super::{Fort, talk};

/// A request that must never be one.
const HIDDEN: &str = "GET /graph/sim/bytes/1?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PREFLIGHT: &str = "Origin: https://app.corp\r\nAccess-Control-Request-Method: POST\r\n";

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{body}")
        .into_bytes()
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
}

async fn nothing_hides(fort: &Fort, name: &str, bytes: &[u8]) {
    let reply = talk(fort.program.address, bytes).await;
    let seen = fort.asked();
    assert!(
        !seen.iter().any(|seen| seen.target().contains("smuggled")),
        "{name}: {seen:?}"
    );
    fort.holds(name, &reply.bytes).await;
}

#[tokio::test]
async fn a_body_has_one_length_or_is_refused() {
    let fort = Fort::build("").await;
    let bad = Refused(400, "badRequest");
    let fine = Passed(200, "/sim/sink");
    for (fields, body, want) in [
        ("Transfer-Encoding: gzip, chunked", chunk("hello"), bad),
        ("Transfer-Encoding: chunked, chunked", chunk("hello"), bad),
        ("Transfer-Encoding: , chunked", chunk("hello"), bad),
        (
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            chunk("hello"),
            bad,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            chunk("hello"),
            bad,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            chunk("hello"),
            bad,
        ),
        ("Transfer-Encoding: xchunked", chunk("hello"), bad),
        ("Transfer-Encoding: identity", String::new(), bad),
        ("Transfer-Encoding:", String::new(), bad),
        ("Transfer-Encoding: chunked;q=1", chunk("hello"), bad),
        ("Transfer-Encoding: \"chunked\"", chunk("hello"), bad),
        ("Transfer-Encoding : chunked", chunk("hello"), bad),
        ("Transfer-Encoding:\x0bchunked", chunk("hello"), bad),
        (
            "Transfer-Encoding: chunked\r\n , identity",
            chunk("hello"),
            bad,
        ),
        ("Transfer-Encoding: ChUnKeD", chunk("hello"), fine),
        ("Content-Length: +5", "hello".to_owned(), bad),
        ("Content-Length: -5", "hello".to_owned(), bad),
        ("Content-Length: 0x5", "hello".to_owned(), bad),
        ("Content-Length: 5 5", "hello".to_owned(), bad),
        ("Content-Length: 5, 6", "hello".to_owned(), bad),
        ("Content-Length: 5.0", "hello".to_owned(), bad),
        ("Content-Length:", "hello".to_owned(), bad),
        (
            "Content-Length: 5\r\nContent-Length: 6",
            "hello!".to_owned(),
            bad,
        ),
        (
            "Content-Length: 99999999999999999999",
            "hello".to_owned(),
            bad,
        ),
        (
            "Content-Length: 18446744073709551616",
            "hello".to_owned(),
            bad,
        ),
        ("Content-Length: 005", "hello".to_owned(), fine),
        ("Content-Length: 5", "hello".to_owned(), fine),
    ] {
        fort.face(fields, &post(fields, &body), want).await;
    }
    let old = format!(
        "POST /graph/sim/sink HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunk("hello")
    );
    fort.face("chunked in HTTP/1.0", old.as_bytes(), Denied)
        .await;
    fort.stands().await;
}

#[tokio::test]
async fn what_may_be_the_body_of_a_refused_request_is_no_request() {
    let fort = Fort::build("").await;
    // All but the first are answered before the names of their fields are looked at.
    for (line, fields, status) in [
        ("POST /graph/sim/sink", "", 400),
        ("POST /none", "", 404),
        ("OPTIONS /graph/sim/sink", PREFLIGHT, 204),
    ] {
        for field in ["Transfer_Encoding: chunked", "Content_Length: 79"] {
            let text =
                format!("{line} HTTP/1.1\r\n{fields}Host: localhost\r\n{field}\r\n\r\n{HIDDEN}");
            let reply = talk(fort.program.address, text.as_bytes()).await;
            let came_of_it = (reply.status(), reply.answers.len(), fort.asked().len());
            assert_eq!(came_of_it, (status, 1, 0), "{reply:?}");
            assert!(reply.closed && reply.head().contains("connection: close"));
            fort.holds(line, &reply.bytes).await;
        }
    }
    fort.stands().await;
}

#[tokio::test]
async fn no_request_is_lost_behind_trailers_that_end_otherwise() {
    let fort = Fort::build("").await;
    for end in ["0\r\n\n", "0\r\nX: a\n\r\n", "0\r\nX: a\r\n\n"] {
        let first = post(
            "Transfer-Encoding: chunked",
            &format!("5\r\nhello\r\n{end}"),
        );
        let next = "DELETE /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let bytes = [&first, next.as_bytes(), HIDDEN.as_bytes()].concat();
        let reply = talk(fort.program.address, &bytes).await;
        // An answer to the third would be taken for that to the second.
        assert!(reply.answers.len() <= 1, "{end:?}: {reply:?}");
        assert!(reply.closed, "{end:?}: {reply:?}");
        if reply.status() == 200 {
            assert!(
                reply.head().contains("connection: close"),
                "{end:?}: {reply:?}"
            );
        }
        let seen = fort.asked();
        assert!(
            seen.iter().all(|seen| seen.target().ends_with("/sink")),
            "{seen:?}"
        );
        fort.holds(end, &reply.bytes).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn chunks_are_well_formed_or_the_request_fails() {
    let fort = Fort::build("").await;
    let field = "Transfer-Encoding: chunked";
    for body in [
        "g\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        ";5\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "3\r\nhello\r\n0\r\n\r\n",
    ] {
        let reply = talk(fort.program.address, &post(field, body)).await;
        assert!(
            reply.status() == 400 || reply.answers.is_empty(),
            "{body:?}: {reply:?}"
        );
        let seen = fort.asked();
        let whole = tokenferry::simulator::BodyEnd::Whole;
        assert!(
            !seen.iter().any(|seen| seen.body.end == whole),
            "{body:?}: {seen:?}"
        );
        fort.holds(body, &reply.bytes).await;
    }
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(64 * 1024));
    let reply = talk(fort.program.address, &post(field, &extension)).await;
    assert!(
        reply.status() == 400 || reply.answers.is_empty(),
        "{reply:?}"
    );
    fort.holds("an endless extension", &reply.bytes).await;
    let trailers = format!("5\r\nhello\r\n0\r\n{}\r\n", "X: y\r\n".repeat(20_000));
    let reply = talk(fort.program.address, &post(field, &trailers)).await;
    assert!(
        matches!(reply.status(), 0 | 400 | 431),
        "{:?}",
        reply.status()
    );
    fort.holds("endless trailers", &reply.bytes).await;
    for trailer in [
        "Authorization: Bearer evil",
        "Host: evil.example",
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        "CallerObjectId: x",
        "X-HTTP-Method-Override: DELETE",
        "Cookie: a=b",
        "Connection: x",
    ] {
        for announced in [
            "",
            "\r\nTrailer: authorization, host, callerobjectid, cookie, x-http-method-override",
        ] {
            let body = format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n");
            let reply = talk(
                fort.program.address,
                &post(&format!("{field}{announced}"), &body),
            )
            .await;
            for seen in fort.asked() {
                assert!(seen.body.trailers.is_empty(), "{trailer}: {seen:?}");
            }
            fort.holds(trailer, &reply.bytes).await;
        }
    }
    fort.stands().await;
}

#[tokio::test]
async fn no_request_hides_in_another() {
    let fort = Fort::build("").await;
    let length = HIDDEN.len();
    let zero = format!("0\r\n\r\n{HIDDEN}");
    for (name, bytes) in [
        (
            "CL.TE",
            post(
                &format!(
                    "Content-Length: {}\r\nTransfer-Encoding: chunked",
                    zero.len()
                ),
                &zero,
            ),
        ),
        (
            "TE.CL",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 4",
                &chunk(HIDDEN),
            ),
        ),
        (
            "TE and CL of 0",
            post(
                "Content-Length: 0\r\nTransfer-Encoding: chunked",
                &chunk(HIDDEN),
            ),
        ),
        (
            "TE.TE",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-encoding: x",
                &chunk(HIDDEN),
            ),
        ),
        (
            "TE in a list",
            post("Transfer-Encoding: gzip, chunked", &chunk(HIDDEN)),
        ),
        (
            "a length",
            post(&format!("Content-Length: {length}"), HIDDEN),
        ),
        (
            "a length twice",
            post(
                &format!("Content-Length: {length}\r\nContent-Length: 0"),
                HIDDEN,
            ),
        ),
        (
            "a length in a list",
            post(&format!("Content-Length: {length}, 0"), HIDDEN),
        ),
        (
            "a length of another case",
            post(
                &format!("Content-Length: 0\r\ncontent-length: {length}"),
                HIDDEN,
            ),
        ),
        (
            "a chunk",
            post("Transfer-Encoding: chunked", &chunk(HIDDEN)),
        ),
        (
            "an extension",
            post(
                "Transfer-Encoding: chunked",
                &format!("5;\n{HIDDEN}\r\nhello\r\n0\r\n\r\n"),
            ),
        ),
        (
            "a length with a plus",
            post(&format!("Content-Length: +{length}"), HIDDEN),
        ),
    ] {
        nothing_hides(&fort, name, &bytes).await;
    }
    for (name, head) in [
        ("GET with a length", "GET /graph/sim/bytes/1 HTTP/1.1"),
        ("refused with a length", "GET /graph/nothing HTTP/1.1"),
        (
            "refused before the host",
            "TRACE /graph/sim/bytes/1 HTTP/1.1",
        ),
        ("CONNECT with a length", "CONNECT evil.example:443 HTTP/1.1"),
        ("HEAD with a length", "HEAD /graph/sim/bytes/1 HTTP/1.1"),
        (
            "an upgrade",
            "GET /graph/sim/bytes/1 HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade",
        ),
        (
            "an expectation",
            "POST /graph/sim/sink HTTP/1.1\r\nExpect: 100-continue",
        ),
        (
            "a wrong expectation",
            "POST /graph/sim/sink HTTP/1.1\r\nExpect: x",
        ),
    ] {
        let bytes =
            format!("{head}\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{HIDDEN}");
        nothing_hides(&fort, name, bytes.as_bytes()).await;
    }
    let after_close = format!(
        "GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n{HIDDEN}"
    );
    nothing_hides(&fort, "after close", after_close.as_bytes()).await;
    let after_old = format!("GET /graph/sim/bytes/1 HTTP/1.0\r\nHost: localhost\r\n\r\n{HIDDEN}");
    nothing_hides(&fort, "after HTTP/1.0", after_old.as_bytes()).await;
    fort.stands().await;
}

#[tokio::test]
async fn sloppy_but_plain_framing_is_one_request() {
    let fort = Fort::build("").await;
    for (name, bytes) in [
        (
            "bare line ends",
            &b"GET /graph/sim/bytes/1 HTTP/1.1\nHost: localhost\n\n"[..],
        ),
        (
            "an empty line before",
            b"\r\n\r\nGET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        (
            "blanks around a value",
            b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost:   localhost  \r\n\r\n",
        ),
    ] {
        let reply = talk(fort.program.address, bytes).await;
        assert!(matches!(reply.status(), 200 | 400), "{name}: {reply:?}");
        assert!(fort.asked().len() < 2, "{name}");
        fort.holds(name, &reply.bytes).await;
    }
    fort.stands().await;
}
