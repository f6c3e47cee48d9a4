//! HTTP/2 with prior knowledge: the same rules on other framing, and frames that no client sends.

use super::Fort;
use super::frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Outcome, PING, PREFACE, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, Speaker, WINDOW_UPDATE, fields, frame, good, request,
};
use super::wire::talk;

/// Sends frames and waits for the end of stream 1 or of the connection.
pub(super) async fn ask(fort: &Fort, frames: &[u8]) -> Outcome {
    let mut speaker = Speaker::connect(fort.program.address, &[]).await;
    speaker.send(frames).await;
    let ended = |outcome: &Outcome| {
        outcome.ended.contains(&1)
            || outcome.resets.iter().any(|reset| reset.0 == 1)
            || outcome.goaway.is_some_and(|code| code != 0)
    };
    speaker.until(ended).await
}

pub(super) fn status(outcome: &Outcome) -> u16 {
    outcome
        .status
        .iter()
        .find(|status| status.0 == 1)
        .map_or(0, |status| status.1)
}

fn code(outcome: &Outcome) -> String {
    let document: serde_json::Value = serde_json::from_slice(&outcome.data).unwrap_or_default();
    document["error"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_request_is_judged_as_in_the_older_protocol() {
    let fort = Fort::build("").await;
    let base = good("/graph/sim/bytes/1");
    let with = |name: &'static str, value: &'static str| {
        let mut list = base.clone();
        match list.iter_mut().find(|field| field.0 == name) {
            Some(field) => field.1 = value,
            None => list.push((name, value)),
        }
        list
    };
    // 0 stands for a reset stream or a closed connection.
    for (name, value, statuses, expected) in [
        (":authority", "localhost", &[200][..], ""),
        (":authority", "evil.example", &[421], "hostNotServed"),
        (":authority", "evil.example:443", &[421], "hostNotServed"),
        (":authority", "graph.microsoft.com", &[421], "hostNotServed"),
        (":authority", "u:p@localhost", &[400, 0], "badRequest"),
        (
            ":authority",
            "localhost@evil.example",
            &[400, 0],
            "badRequest",
        ),
        (":authority", "localhost/x", &[400, 0], "badRequest"),
        (":authority", "", &[400, 0], "badRequest"),
        ("host", "evil.example", &[400], "badRequest"),
        ("host", "localhost:1", &[400], "badRequest"),
        ("host", "localhost", &[200], ""),
        ("host", "", &[400], "badRequest"),
        (":path", "*", &[400, 0], "badRequest"),
        (":path", "", &[400, 0], "badRequest"),
        (":path", "graph/sim/bytes/1", &[400, 0], "badRequest"),
        (":path", "//evil.example/graph", &[404], "noRoute"),
        (":path", "/\\evil.example", &[400, 0], "badRequest"),
        (
            ":path",
            "http://evil.example/graph/sim/bytes/1",
            &[400, 0],
            "badRequest",
        ),
        (":path", "/graph/sim/../x", &[400], "badRequest"),
        (":path", "/graph/sim/%2e%2e/x", &[400], "badRequest"),
        (
            ":path",
            "/graph/sim/bytes/1 HTTP/1.1",
            &[400, 0],
            "badRequest",
        ),
        (
            ":path",
            "/graph/sim/bytes/1\r\nX: y",
            &[400, 0],
            "badRequest",
        ),
        (":path", "/graph/v1.0/groups", &[403], "notAllowed"),
        (":path", "/graph/sim/bytes/1#x", &[200, 400], ""),
        (":scheme", "ftp", &[400], "badRequest"),
        (":scheme", "https", &[200, 400], ""),
        (":scheme", "", &[400, 0], "badRequest"),
        (":method", "TRACE", &[405], "methodNotSupported"),
        (":method", "get", &[405], "methodNotSupported"),
        (":method", "CONNECT", &[405, 400, 0], "methodNotSupported"),
        (":method", "", &[400, 405, 0], "badRequest"),
        (":method", "GET /x HTTP/1.1", &[400, 0], ""),
        ("origin", "http://evil.example", &[403], "crossSite"),
        ("sec-fetch-site", "cross-site", &[403], "crossSite"),
        ("callerobjectid", "x", &[403], "notAllowed"),
        ("x-http-method-override", "DELETE", &[403], "notAllowed"),
        ("authorization", "Bearer CANARY-evil", &[200], ""),
        ("x-api-key", "CANARY-evil", &[200], ""),
        ("cookie", "a=CANARY-evil", &[200], ""),
        ("x-forwarded-host", "evil.example", &[200], ""),
        ("te", "trailers", &[200], ""),
        ("te", "gzip", &[400, 0], ""),
        ("connection", "close", &[400, 0], ""),
        ("connection", "authorization", &[400, 0], ""),
        ("keep-alive", "5", &[400, 0], ""),
        ("proxy-connection", "x", &[400, 0], ""),
        ("upgrade", "websocket", &[400, 0], ""),
        ("transfer-encoding", "chunked", &[400, 0], ""),
        ("content-length", "5", &[400, 0], ""),
        ("X-Upper", "x", &[400, 0], ""),
        ("x y", "x", &[400, 0], ""),
        ("", "x", &[400, 0], ""),
        ("x", "a\r\nHost: evil.example", &[400, 0], ""),
        ("x", "a\0b", &[400, 0], ""),
        (":unknown", "x", &[400, 0], ""),
        (":protocol", "websocket", &[400, 0], ""),
        (":status", "200", &[400, 0], ""),
        ("expect", "200-maybe", &[417], "expectationFailed"),
    ] {
        let shown = format!("{name}: {value:?}");
        let outcome = ask(&fort, &request(1, &with(name, value))).await;
        let got = status(&outcome);
        assert!(statuses.contains(&got), "{shown}: {got} {outcome:?}");
        if got >= 400 && !expected.is_empty() {
            assert_eq!(code(&outcome), expected, "{shown}");
        }
        let seen = fort.asked();
        assert_eq!(seen.len(), usize::from(got == 200), "{shown}: {seen:?}");
        fort.holds(&shown, &outcome.bytes).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn misordered_and_missing_fields_reach_nobody() {
    let fort = Fort::build("").await;
    let base = good("/graph/sim/bytes/1");
    let mut cases: Vec<(String, Vec<(&str, &str)>)> = Vec::new();
    for missing in 0..base.len() {
        let mut list = base.clone();
        let field = list.remove(missing);
        // Without :authority there must be a Host.
        cases.push((format!("without {}", field.0), list));
    }
    for twice in 0..base.len() {
        let mut list = base.clone();
        list.push(base[twice]);
        cases.push((format!("{} twice", base[twice].0), list));
    }
    let mut late = base.clone();
    late.insert(0, ("x", "y"));
    cases.push(("pseudo fields after others".to_owned(), late));
    for (name, list) in cases {
        let outcome = ask(&fort, &request(1, &list)).await;
        assert!(matches!(status(&outcome), 0 | 400), "{name}: {outcome:?}");
        assert!(fort.asked().is_empty(), "{name}");
        fort.holds(&name, &outcome.bytes).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn frames_that_no_client_sends_end_the_stream_or_the_connection() {
    let fort = Fort::build("").await;
    let head = fields(&good("/graph/sim/bytes/1"));
    let post = |extra: &[(&str, &str)]| {
        let mut list = good("/graph/sim/sink");
        list[0].1 = "POST";
        list.extend_from_slice(extra);
        frame(HEADERS, END_HEADERS, 1, &fields(&list))
    };
    let zero = [0_u8; 4];
    for (name, frames) in [
        ("DATA on no stream", frame(DATA, END_STREAM, 0, b"x")),
        ("DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x")),
        ("HEADERS on stream 0", frame(HEADERS, 5, 0, &head)),
        ("HEADERS on an even stream", frame(HEADERS, 5, 2, &head)),
        (
            "a stream number that goes down",
            [frame(HEADERS, 5, 5, &head), frame(HEADERS, 5, 1, &head)].concat(),
        ),
        (
            "CONTINUATION without HEADERS",
            frame(CONTINUATION, 4, 1, &head),
        ),
        (
            "another frame within a field block",
            [frame(HEADERS, 1, 1, &head[..5]), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        (
            "CONTINUATION of another stream",
            [
                frame(HEADERS, 1, 1, &head[..5]),
                frame(CONTINUATION, 4, 3, &head[5..]),
            ]
            .concat(),
        ),
        ("a broken field block", frame(HEADERS, 5, 1, &[0xff; 32])),
        (
            "a table size beyond the bound",
            frame(HEADERS, 5, 1, &[0x3f, 0xff, 0xff, 0xff, 0x7f]),
        ),
        ("an index of nothing", frame(HEADERS, 5, 1, &[0xfe])),
        ("index 0", frame(HEADERS, 5, 1, &[0x80])),
        (
            "padding longer than the frame",
            frame(HEADERS, 5 | 8, 1, &[200, 1, 2, 3]),
        ),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])),
        ("a short PING", frame(PING, 0, 0, &[1])),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8])),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        ("a short SETTINGS", frame(SETTINGS, 0, 0, &[1])),
        ("SETTINGS ACK with content", frame(SETTINGS, 1, 0, &[0; 6])),
        (
            "a window of 2^31",
            frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        ),
        (
            "a frame size of 1",
            frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        ),
        ("push of 2", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])),
        ("a frame above the size", frame(DATA, 0, 1, &[0; 17 * 1024])),
        ("a window update of 0", frame(WINDOW_UPDATE, 0, 0, &zero)),
        (
            "a window beyond 2^31",
            [
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat(),
        ),
        (
            "WINDOW_UPDATE on an idle stream",
            frame(WINDOW_UPDATE, 0, 7, &[0, 0, 0, 1]),
        ),
        (
            "RST_STREAM on an idle stream",
            frame(RST_STREAM, 0, 1, &zero),
        ),
        ("RST_STREAM on no stream", frame(RST_STREAM, 0, 0, &zero)),
        (
            "a stream that depends on itself",
            frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 1]),
        ),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8])),
        (
            "DATA after the end",
            [
                request(1, &good("/graph/sim/slow?head_ms=200")),
                frame(DATA, 1, 1, b"x"),
            ]
            .concat(),
        ),
        (
            "HEADERS after the end",
            [
                request(1, &good("/graph/sim/slow?head_ms=200")),
                frame(HEADERS, 5, 1, &head),
            ]
            .concat(),
        ),
        (
            "less than was declared",
            [post(&[("content-length", "5")]), frame(DATA, 1, 1, b"hel")].concat(),
        ),
        (
            "more than was declared",
            [
                post(&[("content-length", "5")]),
                frame(DATA, 1, 1, b"hello!"),
            ]
            .concat(),
        ),
        (
            "two lengths",
            [
                post(&[("content-length", "5"), ("content-length", "6")]),
                frame(DATA, 1, 1, b"hello"),
            ]
            .concat(),
        ),
        (
            "trailers with pseudo fields",
            [
                post(&[]),
                frame(DATA, 0, 1, b"x"),
                frame(HEADERS, 5, 1, &fields(&[(":path", "/x")])),
            ]
            .concat(),
        ),
        (
            "a foreign token in trailers",
            [
                post(&[]),
                frame(DATA, 0, 1, b"x"),
                frame(
                    HEADERS,
                    5,
                    1,
                    &fields(&[("authorization", "Bearer evil"), ("callerobjectid", "x")]),
                ),
            ]
            .concat(),
        ),
    ] {
        let mut speaker = Speaker::connect(fort.program.address, &[]).await;
        speaker.send(&frames).await;
        // A good request behind it shows the end of the case, if the connection lasts.
        speaker.send(&request(9, &good("/graph/sim/bytes/2"))).await;
        let outcome = speaker
            .until(|outcome| {
                outcome.ended.contains(&9) || outcome.resets.iter().any(|reset| reset.0 == 9)
            })
            .await;
        let whole = tokenferry::simulator::BodyEnd::Whole;
        for seen in fort.asked() {
            assert!(seen.body.trailers.is_empty(), "{name}: {seen:?}");
            assert!(
                !seen.target().contains("sink")
                    || seen.body.end != whole
                    || name.contains("trailers"),
                "{name}: {seen:?}"
            );
        }
        fort.holds(name, &outcome.bytes).await;
    }
    for (name, bytes) in [
        ("the preface only", PREFACE.to_vec()),
        (
            "a PING before SETTINGS",
            [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        (
            "HTTP/1 after the preface",
            [
                PREFACE,
                b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            ]
            .concat(),
        ),
        ("nothing but ones", [PREFACE, &[0xff; 4096]].concat()),
    ] {
        let mut stream = tokio::net::TcpStream::connect(fort.program.address)
            .await
            .expect("a connection");
        tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes)
            .await
            .expect("it is taken");
        drop(stream);
        fort.holds(name, &[]).await;
    }
    // An upgrade from HTTP/1.1 is ignored.
    let upgrade = b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    let reply = talk(fort.program.address, upgrade).await;
    assert_eq!(reply.status(), 200);
    fort.holds("h2c", &reply.bytes).await;
    fort.stands().await;
}
