//! Uploads to an HTTP/2 upstream that answers and gives no window for the rest: it may leave the
//! stream as it is (RFC 9113 section 8.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use tokenferry::simulator::{Fault, GRAPH, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::caller2::{read, request};
use crate::harness::stage::Stage;
use crate::harness::{soon, until};
use crate::http2::piecewise;

/// More than the window that an upstream gives at first, and than what is held on the way.
const LARGE: usize = 2_000_000;

/// More than that window, and few enough for what is on the way to take.
const STUCK: usize = 200_000;

/// How long is read, and let go, of what comes after an answer.
const LINGER: Duration = Duration::from_secs(2);

/// Whether more of an upload can be sent; it must be until that time is over.
fn is_taken<E: std::fmt::Debug>(sent: Result<(), E>, begun: Instant) -> bool {
    let is_late = |error: &E| assert!(begun.elapsed() >= LINGER, "it is not taken: {error:?}");
    sent.inspect_err(is_late).is_ok()
}

/// An upstream that answers GET with 200, `/open` with a head and a first piece, and anything else
/// with 413; it reads no body, gives no window and resets nothing.
struct Deaf {
    port: u16,
    /// Connections that are open.
    open: Arc<AtomicUsize>,
}

impl Deaf {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    serve(stream).await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, open }
    }

    async fn stage(&self) -> Stage {
        let port = self.port;
        Stage::with(&format!(
            "\
workers: 1
timeouts: {{response_head: 5s, response_body_idle: 1500ms}}
routes:
  - {{name: deaf, path: /deaf, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default', upstream_http: 2}}
"
        ))
        .await
    }

    /// Waits until so many connections are open.
    async fn keeps(&self, wanted: usize) {
        until("the others are closed", async || {
            self.open.load(Ordering::SeqCst) == wanted
        })
        .await;
    }
}

async fn serve(stream: tokio::net::TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let mut held = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (status, ends) = match (request.method(), request.uri().path()) {
            (&Method::GET, _) => (StatusCode::OK, true),
            (_, "/open") => (StatusCode::OK, false),
            _ => (StatusCode::PAYLOAD_TOO_LARGE, true),
        };
        let head = Response::builder().status(status).body(());
        if let Ok(mut body) = respond.send_response(head.expect("a head"), false) {
            let _ = body.send_data(Bytes::from_static(b"answer"), ends);
            held.push((request, respond, body));
        }
    }
}

#[tokio::test]
async fn an_early_answer_ends_the_upload_of_either_caller_and_spoils_no_other_request() {
    let upstream = Deaf::listen().await;
    let stage = upstream.stage().await;
    let caller = stage.caller2().await;
    for _ in 0..3 {
        let (pieces, body) = piecewise();
        let sent = request("POST", "/deaf/early", &[], body);
        let begun = Instant::now();
        let (answer, (), ()) = tokio::join!(
            async { read(soon(caller.send(sent)).await.expect("an answer")).await },
            async {
                // It sends all before it looks at an answer, as some clients do.
                let piece: &str = "x".repeat(16 * 1024).leak();
                for _ in 0..LARGE / piece.len() {
                    if !is_taken(soon(pieces.send(Ok(piece))).await, begun) {
                        break;
                    }
                }
            },
            async {
                let mut older = stage.caller().await;
                let lines = format!("POST /deaf/early HTTP/1.1\nContent-Length: {LARGE}");
                older.ask(&lines).await;
                is_taken(older.try_send(&vec![b'x'; LARGE]).await, begun);
                assert_eq!(older.answer("POST").await.expect(413).text(), "answer");
            }
        );
        drop(pieces);
        assert_eq!(answer.expect(413).text(), "answer");
        stage.get("/deaf/other").await.expect(200);
    }
    // What is stuck goes with its connection.
    upstream.keeps(1).await;
    stage
        .becomes("tokenferry_upstream_connections", &[("route", "deaf")], 1.0)
        .await;
}

#[tokio::test]
async fn an_upload_whose_answer_stalls_or_whose_caller_leaves_is_given_up() {
    let upstream = Deaf::listen().await;
    let stage = upstream.stage().await;
    let lines = format!("POST /deaf/open HTTP/1.1\nContent-Length: {LARGE}");
    let mut leaves = stage.caller().await;
    leaves.ask(&lines).await;
    leaves.send(&vec![b'x'; STUCK]).await;
    assert_eq!(leaves.head().await.status, 200);
    drop(leaves);
    let mut stays = stage.caller().await;
    stays.ask(&lines).await;
    stays.send(&vec![b'x'; STUCK]).await;
    let answer = stays.answer("POST").await;
    assert!(!answer.whole);
    let labels = [("route", "deaf")];
    stage
        .becomes("tokenferry_requests_in_flight", &labels, 0.0)
        .await;
    upstream.keeps(0).await;
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_cancelled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let (told, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("it is dialled");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let head = Response::builder().status(413).body(());
                let head = head.expect("a head");
                respond.send_response(head, true).expect("it is open");
                let mut body = request.into_body();
                // The first error only: it is told again and again.
                while let Some(read) = body.data().await {
                    if let Err(error) = read {
                        let _ = told.send(error.reason());
                        return;
                    }
                }
            });
        }
    });
    let open = Arc::default();
    let stage = Deaf { port, open }.stage().await;
    let mut caller = stage.caller().await;
    let lines = format!("POST /deaf/early HTTP/1.1\nContent-Length: {LARGE}");
    caller.ask(&lines).await;
    caller.send("the beginning").await;
    caller.answer("POST").await.expect(413);
    // RFC 9113 section 7: it is not needed any more, and nothing is wrong here.
    let reason = soon(reasons.recv()).await.expect("it is reset");
    assert_eq!(reason, Some(h2::Reason::CANCEL));
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("it is short");
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// A field that is in no table, as HPACK writes it.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("it is short");
    let mut field = vec![0, length(name)];
    field.extend_from_slice(name.as_bytes());
    field.push(length(value));
    field.extend_from_slice(value.as_bytes());
    field
}

/// Answers the first request on each connection with 413 and these bytes, and closes its side at once.
async fn answer_and_close(stream: tokio::net::TcpStream, declared: usize, sent: &'static [u8]) {
    let (mut reader, mut writer) = stream.into_split();
    let mut read = Vec::new();
    let headers_of_first = frame(1, 4, 1, b"");
    while !read
        .windows(9)
        .any(|head| head[3..] == headers_of_first[3..])
    {
        if reader.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let fields = [
        literal(":status", "413"),
        literal("content-length", &declared.to_string()),
    ];
    let ends = u8::from(declared == sent.len());
    let answer = [
        frame(4, 0, 0, b""),
        frame(1, 4, 1, &fields.concat()),
        frame(0, ends, 1, sent),
    ];
    drop(writer.write_all(&answer.concat()).await);
    drop(writer.shutdown().await);
    while reader.read_buf(&mut read).await.unwrap_or(0) > 0 {
        read.clear();
    }
}

#[tokio::test]
async fn an_early_answer_is_whole_when_all_that_it_declared_has_come_before_the_end() {
    for (declared, whole) in [(6, true), (7, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_and_close(stream, declared, b"answer"));
            }
        });
        let upstream = Deaf {
            port,
            open: Arc::default(),
        };
        let stage = upstream.stage().await;
        // The end does not always come with the answer.
        for _ in 0..10 {
            let caller = stage.caller2().await;
            let (pieces, body) = piecewise();
            soon(pieces.send(Ok("first"))).await.expect("it is taken");
            let sent = request("POST", "/deaf/early", &[], body);
            let answer = read(soon(caller.send(sent)).await.expect("an answer")).await;
            drop(pieces);
            assert_eq!((answer.status, answer.whole), (413, whole));
        }
    }
}

#[tokio::test]
async fn an_upload_that_stalls_is_its_callers_fault_whatever_the_upstream_says_meanwhile() {
    for fault in [Fault::Unprocessed, Fault::Goaway] {
        let stage = Stage::with(
            "timeouts: {token_wait: 500ms, request_body_idle: 1500ms}\nroutes: [{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: 2}]\n",
        )
        .await;
        let script = Script::on(GRAPH, fault.clone()).early().times(1);
        stage.simulator.script(script);
        let mut caller = stage.caller().await;
        caller
            .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 10")
            .await;
        caller.send("01234").await;
        let answer = caller.answer("POST").await;
        assert_eq!(
            answer.refusal(),
            (408, "requestTimeout".to_owned()),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn an_upload_that_the_upstream_refused_is_sent_again_once_it_is_there_however_slowly_it_comes()
 {
    let stage = Stage::with(
        "timeouts: {token_wait: 100ms}\nroutes: [{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: 2}]\n",
    )
    .await;
    let refused = Script::on(GRAPH, Fault::Unprocessed).early().times(1);
    stage.simulator.script(refused);
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/sim/sink HTTP/1.1\nContent-Length: 10")
        .await;
    caller.send("01234").await;
    // Longer than a token is waited for.
    tokio::time::sleep(Duration::from_millis(600)).await;
    caller.send("56789").await;
    let answer = caller.answer("POST").await.expect(200);
    assert_eq!(answer.json()["length"], 10);
}

/// Waits for a piece of the first request's body, and says goodbye: that request is acted on no more
/// than any other (RFC 9113 section 6.8). Then it takes what comes.
async fn leave_unacted(mut stream: tokio::net::TcpStream) {
    let mut read = Vec::new();
    let data_of_first = frame(0, 0, 1, b"");
    let settings = frame(4, 0, 0, b"");
    drop(stream.write_all(&settings).await);
    while !read
        .windows(9)
        .any(|head| head[3..] == data_of_first[3..] && head[2] > 0)
    {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    drop(stream.write_all(&frame(7, 0, 0, &[0; 8])).await);
    while stream.read_buf(&mut read).await.unwrap_or(0) > 0 {
        read.clear();
    }
}

/// Answers uploads with what came.
async fn echo(stream: tokio::net::TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            let mut body = request.into_body();
            let head = Response::builder().status(200).body(());
            let answer = respond.send_response(head.expect("a head"), false);
            let mut answer = answer.expect("it is open");
            while let Some(Ok(piece)) = body.data().await {
                drop(answer.send_data(piece, false));
            }
            drop(answer.send_data(Bytes::new(), true));
        });
    }
}

#[tokio::test]
async fn an_upload_that_stalls_while_its_upstream_leaves_is_sent_to_another_once_it_is_there() {
    for ends in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let left = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&left);
        tokio::spawn(async move {
            let (first, _) = listener.accept().await.expect("it is dialled");
            tokio::spawn(async move {
                leave_unacted(first).await;
                count.fetch_add(1, Ordering::SeqCst);
            });
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(echo(stream));
            }
        });
        let idle = if ends { "30s" } else { "1500ms" };
        let stage = Stage::with(&format!(
            "workers: 1\ntimeouts: {{request_body_idle: {idle}}}\nroutes: [{{name: a, path: /a, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default', upstream_http: 2}}]\n"
        ))
        .await;
        let mut caller = stage.caller().await;
        caller
            .ask("POST /a/upload HTTP/1.1\nContent-Length: 10")
            .await;
        caller.send("01234").await;
        until("the upstream has left", async || {
            left.load(Ordering::SeqCst) == 1
        })
        .await;
        if ends {
            caller.send("56789").await;
            let answer = caller.answer("POST").await.expect(200);
            assert_eq!(answer.text(), "0123456789");
        } else {
            let refusal = caller.answer("POST").await.refusal();
            assert_eq!(refusal, (408, "requestTimeout".to_owned()));
        }
    }
}
