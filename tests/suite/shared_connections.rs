//! Connections to an upstream that are shared, refused, or change what is spoken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, Version};
use tokenferry::simulator::{Ending, Fault, GRAPH, Gate, Handshake, Script};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::harness::answer::Answer;
use crate::harness::caller2::Caller2;
use crate::harness::stage::Stage;
use crate::harness::{soon, until};

fn spoken(http: &str) -> String {
    format!(
        "workers: 1\nroutes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
    )
}

/// So many requests at once, held at the upstream until the gate opens.
pub(crate) async fn hold(stage: &Stage, count: usize) -> (Gate, JoinSet<Answer>) {
    let gate = Gate::new();
    let script = Script::on(GRAPH, Fault::Hold(gate.clone()));
    stage.simulator.script(script.times(count));
    let mut held = JoinSet::new();
    for _ in 0..count {
        ask(stage.caller2().await, &mut held);
    }
    stage.arrive(count, GRAPH).await;
    (gate, held)
}

fn ask(caller: Caller2, asked: &mut JoinSet<Answer>) {
    asked.spawn(async move { caller.exchange("GET", "/graph/sim/bytes/1").await });
}

#[tokio::test]
async fn an_upstream_may_change_what_it_speaks_from_one_connection_to_the_next() {
    for http2 in [true, false] {
        let stage = Stage::with(&spoken("auto")).await;
        for http2 in [http2, !http2, http2] {
            stage.simulator.offer_http2(http2);
            stage.simulator.close_idle(GRAPH, Ending::Close);
            stage.simulator.clear();
            for _ in 0..3 {
                stage.get("/graph/sim/bytes/1").await.expect(200);
            }
            let seen = stage.simulator.seen();
            let version = match http2 {
                true => Version::HTTP_2,
                false => Version::HTTP_11,
            };
            assert!(seen.iter().all(|seen| seen.version == version), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn many_who_wait_for_http1_are_served_when_http2_comes() {
    let stage = Stage::with(&spoken("auto")).await;
    stage.simulator.offer_http2(false);
    stage.get("/graph/sim/bytes/1").await.expect(200);
    stage.simulator.offer_http2(true);
    stage.simulator.close_idle(GRAPH, Ending::Close);
    stage.simulator.clear();
    let (gate, mut asked) = hold(&stage, 30).await;
    gate.open();
    while let Some(answer) = soon(asked.join_next()).await {
        answer.unwrap().expect(200);
    }
    until("one is left", async || {
        stage.simulator.connections(GRAPH) == 1
    })
    .await;
}

#[tokio::test]
async fn connections_of_either_kind_are_counted_together() {
    let stage = Stage::with(&spoken("auto")).await;
    let feed = stage.simulator.feed("one");
    let goes = Script::on(GRAPH, Fault::Goaway).times(1);
    stage.simulator.script(goes);
    let mut slow = stage.caller().await;
    slow.ask("GET /graph/sim/feed/one HTTP/1.1").await;
    assert_eq!(slow.head().await.status, 200);
    stage.simulator.offer_http2(false);
    stage.get("/graph/sim/bytes/1").await.expect(200);
    let labels = [("route", "graph")];
    stage
        .becomes("tokenferry_upstream_connections", &labels, 2.0)
        .await;
    drop(feed);
    stage
        .becomes("tokenferry_upstream_connections", &labels, 1.0)
        .await;
}

#[tokio::test]
async fn streams_that_are_refused_or_reset_leave_no_connection_behind() {
    let reset = Fault::Break {
        after: None,
        ending: Ending::Reset,
    };
    for (fault, words) in [
        (Fault::Unprocessed, "did not act on it"),
        (reset, "may or may not have been acted on"),
    ] {
        let stage = Stage::with(&spoken("2")).await;
        stage.get("/graph/sim/bytes/1").await.expect(200);
        stage.simulator.script(Script::on(GRAPH, fault));
        for _ in 0..20 {
            let answer = stage.get("/graph/sim/bytes/1").await;
            assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
            assert!(answer.message().contains(words), "{}", answer.message());
            assert!(!answer.message().contains("closed the connection"));
        }
        stage.simulator.clear_scripts();
        stage.get("/graph/sim/bytes/1").await.expect(200);
        let seen = stage.sent_to(GRAPH);
        let first = seen[0].connection;
        assert!(seen.iter().all(|seen| seen.connection == first));
        assert_eq!(seen.len(), 42);
    }
}

#[tokio::test]
async fn a_write_that_was_refused_is_sent_again_on_the_same_connection() {
    let stage = Stage::with(&spoken("2")).await;
    let refused = Script::on(GRAPH, Fault::Unprocessed).times(1);
    stage.simulator.script(refused);
    let lines = "DELETE /graph/sim/bytes/1 HTTP/1.1";
    stage.ask(lines).await.expect(200);
    let seen = stage.sent_to(GRAPH);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].connection, seen[1].connection);
}

#[tokio::test]
async fn a_dial_that_fails_or_hangs_fails_nobody_whom_a_busy_connection_can_serve() {
    for (http, busy) in [("1", 3), ("1", 70), ("2", 100)] {
        for handshake in [Handshake::Expired, Handshake::Stall] {
            // Longer than anything here takes, on a busy machine too.
            let own = format!("timeouts: {{connect: 60s}}\n{}", spoken(http));
            let stage = Stage::with(&own).await;
            let (gate, mut asked) = hold(&stage, busy).await;
            stage.simulator.spoil(GRAPH, handshake);
            for _ in 0..20 {
                ask(stage.caller2().await, &mut asked);
            }
            let labels = [("route", "graph")];
            let all = f64::from(u32::try_from(busy).unwrap() + 20);
            stage
                .becomes("tokenferry_requests_in_flight", &labels, all)
                .await;
            let first = tokio::time::timeout(Duration::from_millis(300), asked.join_next());
            assert!(first.await.is_err(), "{http} {handshake:?}: all wait");
            gate.open();
            // They do not wait for the dial.
            while let Some(answer) = soon(asked.join_next()).await {
                answer.unwrap().expect(200);
            }
        }
    }
}

#[tokio::test]
async fn who_waits_for_a_busy_connection_waits_no_longer_than_for_a_new_one() {
    let all = [("1", 3), ("2", 100)].map(|(http, busy)| async move {
        // Long enough for the dials that succeed, on a machine that stands still meanwhile.
        let stage = Stage::with(&format!("timeouts: {{connect: 4s}}\n{}", spoken(http))).await;
        let (gate, mut held) = hold(&stage, busy).await;
        stage.simulator.spoil(GRAPH, Handshake::Expired);
        let answer = stage.get("/graph/sim/bytes/1").await;
        assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
        gate.open();
        while let Some(answer) = soon(held.join_next()).await {
            answer.unwrap().expect(200);
        }
    });
    join_all(all).await;
}

/// An HTTP/2 upstream that allows one stream and answers when all are there.
struct Narrow {
    port: u16,
    connections: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
}

impl Narrow {
    async fn listen(wanted: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let streams = Arc::new(AtomicUsize::new(0));
        let (opened, begun) = (Arc::clone(&connections), Arc::clone(&streams));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                let begun = Arc::clone(&begun);
                tokio::spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    builder.max_concurrent_streams(1);
                    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
                        return;
                    };
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        begun.fetch_add(1, Ordering::SeqCst);
                        let begun = Arc::clone(&begun);
                        tokio::spawn(async move {
                            until("all are there", async || {
                                begun.load(Ordering::SeqCst) >= wanted
                            })
                            .await;
                            let head = Response::new(());
                            drop(respond.send_response(head, true));
                        });
                    }
                });
            }
        });
        Self {
            port,
            connections,
            streams,
        }
    }
}

#[tokio::test]
async fn no_more_streams_are_opened_than_the_peer_allows() {
    let upstream = Narrow::listen(5).await;
    let port = upstream.port;
    let stage = Stage::with(&format!(
        "\
workers: 1
routes:
  - {{name: graph, path: /graph, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default', upstream_http: 2}}
"
    ))
    .await;
    let mut asked = JoinSet::new();
    for _ in 0..5 {
        ask(stage.caller2().await, &mut asked);
    }
    while let Some(answer) = soon(asked.join_next()).await {
        answer.unwrap().expect(200);
    }
    assert_eq!(upstream.streams.load(Ordering::SeqCst), 5);
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn who_waits_for_a_stream_comes_before_who_comes_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let (gate, order) = (
        Arc::new(Semaphore::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let (opens, came) = (Arc::clone(&gate), Arc::clone(&order));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("it is dialled");
        // There is no other connection.
        drop(listener);
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(1);
        let handshake = builder.handshake::<_, Bytes>(stream).await;
        let mut connection = handshake.expect("it speaks HTTP/2");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let path = request.uri().path().to_owned();
            came.lock().expect("nobody panicked").push(path);
            let opens = Arc::clone(&opens);
            tokio::spawn(async move {
                drop(opens.acquire().await);
                drop(respond.send_response(Response::new(()), true));
            });
        }
    });
    let stage = Stage::with(&format!(
        "\
workers: 1
routes:
  - {{name: narrow, path: /narrow, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default', upstream_http: 2}}
"
    ))
    .await;
    let mut many = stage.caller().await;
    let requests = ["a", "c", "d"]
        .map(|path| format!("GET /narrow/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    many.send(requests.concat()).await;
    until("the first is there", async || {
        let order = order.lock().expect("nobody panicked");
        order.len() == 1
    })
    .await;
    let mut others = [stage.caller().await, stage.caller().await];
    for (other, (path, waiting)) in others.iter_mut().zip([("b", 2.0), ("e", 3.0)]) {
        other.ask(&format!("GET /narrow/{path} HTTP/1.1")).await;
        let labels = [("route", "narrow")];
        stage
            .becomes("tokenferry_requests_in_flight", &labels, waiting)
            .await;
        // Whoever waits looks ten times a second: the one that came first does so now and then last.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    gate.add_permits(1);
    for _ in 0..3 {
        soon(many.answer("GET")).await.expect(200);
    }
    for mut other in others {
        soon(other.answer("GET")).await.expect(200);
    }
    let order = order.lock().expect("nobody panicked");
    assert_eq!(*order, ["/a", "/b", "/e", "/c", "/d"]);
}

#[tokio::test]
async fn an_upstream_that_speaks_something_else_is_told_by_what_it_speaks() {
    let plain = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = plain.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
            // Held: an end of its own would be another failure.
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            });
        }
    });
    let other = tokenferry::simulator::Simulator::start()
        .await
        .expect("it starts");
    let secure = other.address().port();
    let stage = Stage::with(&format!(
        "\
routes:
  - {{name: plain, path: /plain, upstream: 'https://127.0.0.1:{port}', scope: 'https://GRAPH/.default'}}
  - {{name: secure, path: /secure, upstream: 'http://127.0.0.1:{secure}', scope: 'https://GRAPH/.default'}}
  - {{name: graph, path: /graph, upstream: 'https://GRAPH'}}
"
    ))
    .await;
    let many = "a: b\r\n".repeat(101);
    let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    let fault = Fault::Raw(many.into(), Ending::Close);
    stage.simulator.script(Script::on(GRAPH, fault));
    for (target, words) in [
        ("/plain/x", "what came is not TLS"),
        ("/secure/x", "is it https://?"),
        ("/graph/x", "a head of more than 100 fields"),
    ] {
        let answer = stage.get(target).await;
        assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
        assert!(answer.message().contains(words), "{}", answer.message());
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_told_over_either_protocol() {
    let wide = "x".repeat(70 * 1024);
    let answer = Fault::answer(200, &[("x-wide", wide.as_str())], "{}");
    for http in ["1", "2"] {
        let stage = Stage::with(&spoken(http)).await;
        let answer = Script::on(GRAPH, answer.clone()).under("/sim");
        stage.simulator.script(answer);
        let answer = stage.get("/graph/sim/bytes/1").await;
        assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
        let message = answer.message();
        assert!(message.contains("64 KiB"), "{http}: {message}");
    }
}

#[tokio::test]
async fn a_bound_on_requests_that_a_reload_leaves_alone_bounds_no_connections_either() {
    let stage = Stage::with(&spoken("1")).await;
    stage.reload(&format!("limits: {{in_flight: 1}}\n{}", spoken("1")));
    let (gate, mut held) = hold(&stage, 3).await;
    gate.open();
    while let Some(answer) = soon(held.join_next()).await {
        answer.unwrap().expect(200);
    }
}
