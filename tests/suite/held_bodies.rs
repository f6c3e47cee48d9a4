//! Bodies that were read here before they go up: how long the answer is waited for counts from their
//! last byte too, however slowly the upstream takes them.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Response;
use tokenferry::simulator::{Fault, GRAPH, Gate, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::stage::Stage;
use crate::harness::{found, soon};

/// Much more than what lies in the buffers between here and the upstream.
const LARGE: usize = 12 << 20;
/// With a pause behind each, a body takes four seconds: more than its answer is waited for, which is
/// long enough for what lies in the buffers when the last of it is written.
const PIECE: usize = 128 << 10;
/// Two of them.
const WINDOW: u32 = 256 << 10;
const PAUSE: Duration = Duration::from_millis(40);
/// More than lies in those buffers when the last of a body is written. Over HTTP/1.1 it is taken
/// without pauses, which would not end in time on a machine that sleeps longer than it is told.
const REST: usize = 6 << 20;

/// An upstream that takes a piece at a time; how much it has taken of its only request.
async fn slow(http2: bool) -> (u16, Arc<AtomicUsize>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(64 << 10)
        .expect("it can be set");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(any).expect("a port");
    let listener = socket.listen(8).expect("it is bound");
    let port = listener.local_addr().expect("it is bound").port();
    let all = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&all);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                if http2 {
                    serve_http2(stream, told).await;
                } else {
                    let _ = serve(stream, &told).await;
                }
            });
        }
    });
    (port, all)
}

async fn serve(mut stream: TcpStream, all: &AtomicUsize) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let mut left = LARGE;
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let room = left.min(PIECE);
        left -= stream.read_exact(&mut piece[..room]).await?;
        all.fetch_add(room, Ordering::SeqCst);
        if left > REST {
            tokio::time::sleep(2 * PAUSE).await;
        }
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        .await
}

async fn serve_http2(stream: TcpStream, all: Arc<AtomicUsize>) {
    let mut server = h2::server::Builder::new();
    server.initial_window_size(WINDOW);
    server.initial_connection_window_size(WINDOW);
    let Ok(mut connection) = server.handshake::<_, bytes::Bytes>(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let all = Arc::clone(&all);
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut taken = 0;
            while let Some(Ok(data)) = body.data().await {
                taken += data.len();
                all.fetch_add(data.len(), Ordering::SeqCst);
                if taken >= PIECE {
                    tokio::time::sleep(PAUSE).await;
                    let _ = body.flow_control().release_capacity(taken);
                    taken = 0;
                }
            }
            let _ = respond.send_response(Response::new(()), true);
        });
    }
}

/// A batch of this many bytes.
fn batch(length: usize) -> String {
    let start = r#"{"requests":[{"id":"1","method":"POST","url":"/me/x","headers":{"Content-Type":"application/json"},"body":{"a":""#;
    let end = r#""}}]}"#;
    format!(
        "{start}{}{end}",
        "y".repeat(length - start.len() - end.len())
    )
}

#[tokio::test]
async fn a_large_batch_is_not_given_up_while_the_upstream_takes_it() {
    for http2 in [false, true] {
        let (port, all) = slow(http2).await;
        let http = 1 + u8::from(http2);
        let own = format!(
            "\
workers: 1
timeouts: {{response_head: 3s}}
routes:
  - {{name: slow, path: /slow, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default', upstream_http: {http}, max_batch_bytes: 16MiB}}
"
        );
        let stage = Stage::with(&own).await;
        let mut caller = stage.caller().await;
        caller
            .ask(&format!(
                "POST /slow/v1.0/$batch HTTP/1.1\nContent-Type: application/json\nContent-Length: {LARGE}"
            ))
            .await;
        caller.send(batch(LARGE)).await;
        // A busy machine takes its time for all of it, but not for each piece.
        let (mut taken, caller) = (0, RefCell::new(caller));
        while taken < LARGE && !caller.borrow_mut().has_come() {
            taken = found(
                "the upstream takes more, or there is an answer",
                async || {
                    let now = all.load(Ordering::SeqCst);
                    (now > taken || caller.borrow_mut().has_come()).then_some(now)
                },
            )
            .await;
        }
        let answer = soon(caller.into_inner().answer("POST")).await;
        assert_eq!(answer.status, 200, "HTTP/{http}: {}", answer.text());
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_once() {
    let limit = Duration::from_secs(4);
    let route = |http| {
        format!(
            "{{name: http{http}, path: /{http}, upstream: 'https://GRAPH', upstream_http: {http}}}"
        )
    };
    let own = format!(
        "timeouts: {{response_head: 4s}}\nroutes: [{}, {}]\n",
        route(1),
        route(2)
    );
    let stage = Stage::with(&own).await;
    let gate = Gate::new();
    let hold = Fault::Hold(gate.clone());
    stage.simulator.script(Script::on(GRAPH, hold));
    let begun = Instant::now();
    let waited = async |http: u8, kind: &str| {
        let mut caller = stage.caller().await;
        caller
            .ask(&format!(
                "POST /{http}/sim/sink HTTP/1.1\nContent-Type: {kind}\nContent-Length: 7"
            ))
            .await;
        caller.send(r#"{"a":1}"#).await;
        let answer = caller.answer("POST").await;
        assert_eq!(answer.refusal(), (504, "upstreamTimeout".to_owned()));
        let took = begun.elapsed();
        assert!(limit <= took, "HTTP/{http} {kind}: {took:?}");
    };
    // A machine that stands still holds this up, too.
    let once = async {
        stage.arrive(4, "/sim/").await;
        tokio::time::sleep(limit).await;
        Instant::now()
    };
    // Side by side: the longer the limit, the better once and twice are told apart.
    let all = async {
        tokio::join!(
            waited(1, "text/plain"),
            waited(1, "application/json"),
            waited(2, "text/plain"),
            waited(2, "application/json"),
        );
        Instant::now()
    };
    let (once, all) = tokio::join!(once, all);
    let more = all.saturating_duration_since(once);
    assert!(more < limit * 7 / 8, "{more:?} more than once");
}

#[tokio::test]
async fn a_batch_waits_unread_for_the_end_of_the_quiet() {
    let own = "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', throttle: hold}]\n";
    let stage = Stage::with(own).await;
    let busy = Fault::answer(429, &[("retry-after", "30")], "busy");
    stage.simulator.script(Script::on(GRAPH, busy).times(1));
    stage.get("/graph/v1.0/users").await.expect(429);
    let mut caller = stage.caller().await;
    caller
        .ask("POST /graph/v1.0/$batch HTTP/1.1\nContent-Type: application/json\nContent-Length: 1000")
        .await;
    let answer = soon(caller.answer("POST")).await;
    assert_eq!(answer.refusal(), (429, "throttled".to_owned()));
}
