//! Upstreams of HTTP/2 that end a stream early or apart, in frames that come when they like.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::harness::soon;
use crate::harness::stage::Stage;
use crate::hostile::frame::frame;

/// An upstream that ends each stream in a frame of its own, when `ending` has a permit for it; how
/// many of its streams were reset before.
async fn ends_apart(ending: Arc<Semaphore>, resets: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (ending, resets) = (Arc::clone(&ending), Arc::clone(&resets));
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else {
                    return;
                };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let (ending, resets) = (Arc::clone(&ending), Arc::clone(&resets));
                    tokio::spawn(async move {
                        let (method, path) = (request.method(), request.uri().path());
                        let (status, length) = match path {
                            "/none" => (204, None),
                            "/empty" => (200, Some("0")),
                            _ => (200, Some("5")),
                        };
                        let mut head = Response::builder().status(status);
                        if let Some(length) = length {
                            head = head.header("content-length", length);
                        }
                        let head = head.body(()).expect("a head");
                        let Ok(mut answer) = respond.send_response(head, false) else {
                            return;
                        };
                        if method == "GET" && length == Some("5") {
                            let _ = answer.send_data(Bytes::from_static(b"whole"), false);
                        }
                        tokio::select! {
                            _ = std::future::poll_fn(|cx| answer.poll_reset(cx)) => {
                                resets.fetch_add(1, Ordering::SeqCst);
                            }
                            _ = ending.acquire() => {
                                let _ = answer.send_data(Bytes::new(), true);
                            }
                        }
                    });
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn an_answer_that_is_there_is_whole_before_its_stream_ends_and_resets_nothing() {
    let (ending, resets) = (Arc::new(Semaphore::new(0)), Arc::default());
    let port = ends_apart(Arc::clone(&ending), Arc::clone(&resets)).await;
    let stage = Stage::with(&format!(
        "\
workers: 1
routes:
  - {{name: apart, path: /apart, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default', upstream_http: 2}}
"
    ))
    .await;
    for (number, method, path, body) in [
        (0, "GET", "x", "whole"),
        (1, "GET", "empty", ""),
        (2, "GET", "none", ""),
        (3, "HEAD", "x", ""),
        (4, "GET", "x", "whole"),
    ] {
        let mut caller = stage.caller().await;
        let id = format!("apart-{number}");
        caller
            .ask(&format!(
                "{method} /apart/{path} HTTP/1.1\nclient-request-id: {id}"
            ))
            .await;
        let answer = soon(caller.answer(method)).await;
        assert!(answer.status < 300 && answer.whole, "{answer:?}");
        assert_eq!(answer.text(), body);
        let line = stage.log.with("/request_id", &id).await;
        assert_eq!(line["outcome"], "complete", "{id}");
    }
    // The frames of later requests came behind what was said about earlier ones.
    assert_eq!(resets.load(Ordering::SeqCst), 0);
    ending.add_permits(1);
    let labels = [("route", "apart"), ("state", "active")];
    stage
        .becomes("tokenferry_upstream_connections", &labels, 0.0)
        .await;
}

/// How an upstream lets a request go of which it has seen the head.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    /// REFUSED_STREAM: it was not acted on.
    Stream,
    /// The connection ends.
    Connection,
    /// GOAWAY: neither it nor any other is acted on (RFC 9113 section 6.8).
    Goodbye,
}

/// An upstream that lets its first request go, and answers others with their body; how many came.
async fn refuses_first(refusal: Refusal, came: Arc<Semaphore>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let mut first = true;
        while let Ok((stream, _)) = listener.accept().await {
            if first && matches!(refusal, Refusal::Goodbye) {
                first = false;
                tokio::spawn(says_goodbye(stream, Arc::clone(&came)));
                continue;
            }
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                continue;
            };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                came.add_permits(1);
                match (std::mem::take(&mut first), refusal) {
                    (true, Refusal::Stream) => respond.send_reset(Reason::REFUSED_STREAM),
                    (true, _) => break,
                    (false, _) => drop(tokio::spawn(echo(request, respond))),
                }
            }
        }
    });
    port
}

/// Waits for the head of the first request, says goodbye and lets go of what comes.
async fn says_goodbye(mut stream: TcpStream, came: Arc<Semaphore>) {
    let head_of_first = frame(1, 4, 1, b"");
    let mut read = Vec::new();
    drop(stream.write_all(&frame(4, 0, 0, b"")).await);
    while !read.windows(9).any(|head| head[3..] == head_of_first[3..]) {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    came.add_permits(1);
    drop(stream.write_all(&frame(7, 0, 0, &[0; 8])).await);
    while stream.read_buf(&mut read).await.unwrap_or(0) > 0 {
        read.clear();
    }
}

async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut body = request.into_body();
    let mut whole = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        whole.extend_from_slice(&data);
        // More than the window at first may come.
        let _ = body.flow_control().release_capacity(data.len());
    }
    if let Ok(mut answer) = respond.send_response(Response::new(()), false) {
        let _ = answer.send_data(Bytes::from(whole), true);
    }
}

/// The proxy in front of such an upstream.
async fn before_hasty(refusal: Refusal, came: &Arc<Semaphore>) -> Stage {
    let port = refuses_first(refusal, Arc::clone(came)).await;
    Stage::with(&format!(
        "\
workers: 1
routes:
  - {{name: hasty, path: /hasty, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default', upstream_http: 2}}
"
    ))
    .await
}

#[tokio::test]
async fn a_request_that_was_let_go_before_its_body_was_there_is_sent_again_with_all_of_it() {
    for (refusal, method) in [(Refusal::Stream, "POST"), (Refusal::Connection, "GET")] {
        let came = Arc::new(Semaphore::new(0));
        let stage = before_hasty(refusal, &came).await;
        let mut caller = stage.caller().await;
        caller
            .ask(&format!("{method} /hasty/x HTTP/1.1\nContent-Length: 10"))
            .await;
        caller.send("first").await;
        soon(came.acquire()).await.expect("it is open").forget();
        // What the upstream does next is not told to anybody here: it is for the proxy to wait.
        caller.send("later").await;
        let answer = soon(caller.answer(method)).await;
        assert_eq!(answer.status, 200, "{refusal:?}: {}", answer.text());
        assert_eq!(answer.text(), "firstlater", "{refusal:?}");
    }
}

#[tokio::test]
async fn a_request_that_was_let_go_before_any_of_its_body_came_is_sent_again_however_large_it_is() {
    for refusal in [Refusal::Stream, Refusal::Goodbye] {
        let came = Arc::new(Semaphore::new(0));
        let stage = before_hasty(refusal, &came).await;
        let mut caller = stage.caller().await;
        // More than is kept.
        let body = "x".repeat(70_000);
        let length = body.len();
        caller
            .ask(&format!("POST /hasty/x HTTP/1.1\nContent-Length: {length}"))
            .await;
        // It goes up again before any of the body is there.
        tokio::select! {
            came = soon(came.acquire_many(2)) => came.expect("it is open").forget(),
            answer = caller.answer("POST") => panic!("{refusal:?}: {}", answer.text()),
        }
        caller.send(&body).await;
        let answer = soon(caller.answer("POST")).await;
        assert_eq!(answer.status, 200, "{refusal:?}: {}", answer.text());
        assert_eq!(answer.text(), body, "{refusal:?}");
    }
}
