//! A caller that pauses within its request body: no pause of the upstream, whose time limits rest
//! meanwhile.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::soon;
use crate::harness::stage::Stage;

/// More than twice the upstream's limits, and far less than the caller's own.
const PAUSE: Duration = Duration::from_millis(2500);
/// More than a second: a shorter standstill counts, and what is answered is answered all the same.
const LIMITS: &str = "timeouts: {response_head: 1200ms, response_body_idle: 1200ms}";
const UPLOAD: &str = "HTTP/1.1\nTransfer-Encoding: chunked";

#[tokio::test]
async fn the_head_of_the_answer_is_not_waited_for_while_the_caller_pauses() {
    let paused = async |http| {
        let own = format!(
            "{LIMITS}\nroutes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
        );
        let stage = Stage::with(&own).await;
        let mut caller = stage.caller().await;
        caller.ask(&format!("POST /graph/sim/sink {UPLOAD}")).await;
        for piece in ["5\r\nhello\r\n", "0\r\n\r\n"] {
            tokio::time::sleep(PAUSE).await;
            caller.send(piece).await;
        }
        let answer = caller.answer("POST").await;
        assert_eq!(answer.status, 200, "HTTP/{http}: {}", answer.text());
        assert_eq!(answer.json()["length"], 5);
    };
    tokio::join!(paused(1), paused(2));
}

/// An upstream that begins to answer when it sees the head of a request, and ends when that has.
async fn early(http2: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if http2 {
                    answer_http2(stream).await;
                } else {
                    let _ = answer(stream).await;
                }
            });
        }
    });
    port
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let last = b"4\r\nlast\r\n0\r\n\r\n";
    for (end, said) in [("\r\n\r\n", &head[..]), ("\r\n0\r\n\r\n", &last[..])] {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            read.push(stream.read_u8().await?);
        }
        stream.write_all(said).await?;
    }
    Ok(())
}

async fn answer_http2(stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            let mut body = request.into_body();
            let Ok(mut answer) = respond.send_response(Response::new(()), false) else {
                return;
            };
            let _ = answer.send_data(Bytes::from_static(b"first"), false);
            while let Some(Ok(_)) = body.data().await {}
            let _ = answer.send_data(Bytes::from_static(b"last"), true);
        });
    }
}

#[tokio::test]
async fn an_answer_that_waits_for_the_rest_of_a_body_is_not_given_up() {
    let paused = async |http2| {
        let port = early(http2).await;
        let http = 1 + u8::from(http2);
        let stage = Stage::with(&format!(
            "\
{LIMITS}
routes:
  - {{name: early, path: /early, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default', upstream_http: {http}}}
"
        ))
        .await;
        let mut caller = stage.caller().await;
        caller.ask(&format!("POST /early/x {UPLOAD}")).await;
        let mut answer = caller.head().await;
        assert_eq!(answer.status, 200);
        let first = caller.chunk(&mut answer).await;
        assert_eq!(first.as_deref(), Some(&b"first"[..]));
        for piece in ["5\r\nhello\r\n", "0\r\n\r\n"] {
            tokio::time::sleep(PAUSE).await;
            caller.send(piece).await;
        }
        let last = caller.chunk(&mut answer).await;
        assert_eq!(last.as_deref(), Some(&b"last"[..]), "HTTP/{http}");
        assert_eq!(caller.chunk(&mut answer).await, None);
        assert!(answer.whole);
    };
    tokio::join!(paused(false), paused(true));
}

#[tokio::test]
async fn an_upstream_that_takes_no_more_of_a_body_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let stage = Stage::with(&format!(
        "\
{LIMITS}
routes: [{{name: deaf, path: /deaf, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default'}}]
"
    ))
    .await;
    let mut caller = stage.caller().await;
    caller
        .ask("POST /deaf/x HTTP/1.1\nContent-Length: 1000000000")
        .await;
    let (_held, _) = soon(listener.accept()).await.expect("it is dialled");
    let piece = vec![b'x'; 1 << 20];
    // All that lies on the way is full then.
    let full = Duration::from_millis(500);
    while let Ok(Ok(())) = tokio::time::timeout(full, caller.try_send(&piece)).await {}
    let answer = caller.answer("POST").await;
    assert_eq!(answer.refusal(), (504, "upstreamTimeout".to_owned()));
}
