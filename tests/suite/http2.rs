//! Callers and upstreams that speak HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use tokenferry::simulator::GRAPH;
use tokio::sync::mpsc;

use crate::harness::caller2::{Body, empty, full, read, request, unsized_body};
use crate::harness::stage::Stage;
use crate::harness::{soon, until};

const BOTH_WAYS: [&str; 2] = [
    "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: 1}]\n",
    "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: 2}]\n",
];

#[tokio::test]
async fn requests_pass_with_either_version_on_either_side() {
    for own in BOTH_WAYS {
        let stage = Stage::with(own).await;
        let caller = stage.caller2().await;
        let users = caller
            .exchange("GET", "/graph/v1.0/users?$top=2")
            .await
            .expect(200);
        assert_eq!(users.json()["value"].as_array().unwrap().len(), 2);
        let sent = request(
            "POST",
            "/graph/sim/sink",
            &[("content-type", "text/plain")],
            full("hello"),
        );
        let sunk = read(soon(caller.send(sent)).await.unwrap())
            .await
            .expect(200);
        assert_eq!(sunk.json()["length"], 5);
        let head = caller.exchange("HEAD", "/graph/sim/bytes/1234").await;
        assert_eq!((head.status, head.field("content-length")), (200, "1234"));
        let empty = caller
            .exchange("GET", "/graph/sim/bytes/0")
            .await
            .expect(200);
        assert_eq!(empty.body, b"");
        let missing = caller.exchange("GET", "/nowhere").await;
        assert_eq!(missing.refusal(), (404, "noRoute".to_owned()));
        for fields in [users.fields, missing.fields] {
            for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
                assert!(fields.iter().all(|(own, _)| own != name), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn cookies_that_come_in_pieces_and_connection_fields_do_not_go_up() {
    for own in BOTH_WAYS {
        let stage = Stage::with(own).await;
        let caller = stage.caller2().await;
        let fields = [
            ("cookie", "a=b"),
            ("cookie", "c=d"),
            ("authorization", "Bearer caller"),
            ("te", "trailers"),
            ("x-kept", "1"),
        ];
        let sent = request("GET", "/graph/sim/bytes/1", &fields, empty());
        read(soon(caller.send(sent)).await.unwrap())
            .await
            .expect(200);
        let seen = stage
            .simulator
            .wait_for(|seen| seen.host == GRAPH)
            .await
            .unwrap();
        assert_eq!(seen.header("cookie"), None);
        assert_eq!(seen.header_values("authorization").len(), 1);
        assert_ne!(seen.header("authorization").unwrap(), "Bearer caller");
        assert_eq!(seen.header_values("x-kept"), ["1"]);
        assert_eq!(seen.header_values("te"), ["trailers"]);
    }
}

#[tokio::test]
async fn trailers_that_are_announced_without_a_body_are_nothing() {
    for own in BOTH_WAYS {
        let stage = Stage::with(own).await;
        let caller = stage.caller2().await;
        let fields = [("trailer", "X-Check")];
        let sent = request("GET", "/graph/sim/bytes/1", &fields, empty());
        read(soon(caller.send(sent)).await.unwrap())
            .await
            .expect(200);
        assert_eq!(stage.last().header("trailer"), None);
    }
}

#[tokio::test]
async fn trailers_come_down() {
    for own in BOTH_WAYS {
        let stage = Stage::with(own).await;
        let caller = stage.caller2().await;
        let sent = request("GET", "/graph/sim/trailers", &[("te", "trailers")], empty());
        let answer = read(soon(caller.send(sent)).await.unwrap())
            .await
            .expect(200);
        assert_eq!(answer.text(), "one\ntwo\n");
        assert_eq!(answer.trailers.len(), 2, "{:?}", answer.trailers);
    }
}

#[tokio::test]
async fn announced_trailers_go_up_behind_a_body_of_unknown_length() {
    let check = ("x-check".to_owned(), b"42".to_vec());
    for own in BOTH_WAYS {
        let stage = Stage::with(own).await;
        let caller = stage.caller2().await;
        let announced = ("trailer", "x-check, authorization");
        let known = [announced, ("content-length", "5")];
        for (fields, arrived) in [(&known[..1], &[check.clone()][..]), (&known, &[])] {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-check", HeaderValue::from_static("42"));
            trailers.insert("authorization", HeaderValue::from_static("Bearer caller"));
            let body = unsized_body("hello").with_trailers(async { Some(Ok(trailers)) });
            let sent = request("POST", "/graph/sim/sink", fields, body.boxed());
            let sunk = read(soon(caller.send(sent)).await.unwrap()).await;
            assert_eq!(sunk.expect(200).json()["length"], 5);
            assert_eq!(stage.last().body.trailers, arrived);
        }
    }
}

#[tokio::test]
async fn readers_that_stop_do_not_stall_the_others() {
    for own in BOTH_WAYS {
        let stage = Stage::with(&format!("workers: 1\n{own}")).await;
        let slow = stage.caller2().await;
        let mut held = Vec::new();
        for _ in 0..90 {
            let sent = request("GET", "/graph/sim/bytes/10000000", &[], empty());
            held.push(soon(slow.send(sent)).await.unwrap());
        }
        let other = stage.caller2().await;
        for _ in 0..5 {
            let answer = other
                .exchange("GET", "/graph/sim/bytes/300000")
                .await
                .expect(200);
            assert_eq!(answer.body.len(), 300_000);
        }
        drop(held);
        let after = slow.exchange("GET", "/graph/sim/bytes/1").await;
        after.expect(200);
    }
}

#[tokio::test]
async fn a_stream_that_is_given_up_ends_the_request_at_the_upstream() {
    for own in BOTH_WAYS {
        let stage = Stage::with(own).await;
        let caller = stage.caller2().await;
        let feed = stage.simulator.feed("one");
        let response = soon(caller.send(request("GET", "/graph/sim/feed/one", &[], empty()))).await;
        drop(response.unwrap());
        soon(feed.abandoned()).await;
        caller
            .exchange("GET", "/graph/sim/bytes/1")
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_request_is_given_up_while_it_waits_for_its_answer() {
    for own in BOTH_WAYS {
        let stage = Stage::with(own).await;
        let gate = tokenferry::simulator::Gate::new();
        let hold = tokenferry::simulator::Fault::Hold(gate);
        stage
            .simulator
            .script(tokenferry::simulator::Script::on(GRAPH, hold).times(1));
        let caller = stage.caller2().await;
        let waiting = tokio::spawn({
            let caller = caller.clone();
            async move { caller.exchange("GET", "/graph/sim/bytes/1").await }
        });
        stage
            .simulator
            .wait_for(|seen| seen.host == GRAPH)
            .await
            .unwrap();
        waiting.abort();
        let labels = [("route", "graph")];
        stage
            .becomes("tokenferry_requests_in_flight", &labels, 0.0)
            .await;
        caller
            .exchange("GET", "/graph/sim/bytes/1")
            .await
            .expect(200);
        let line = stage.log.with("/outcome", "dropped").await;
        assert_eq!(line["status"], 0);
    }
}

#[tokio::test]
async fn an_upload_comes_as_it_is_sent() {
    for own in BOTH_WAYS {
        let stage = Stage::with(own).await;
        let caller = stage.caller2().await;
        let (pieces, body) = piecewise();
        let sent = request("POST", "/graph/sim/mirror", &[], body);
        soon(pieces.send(Ok("first"))).await.unwrap();
        let response = soon(caller.send(sent)).await.unwrap();
        let mut body = response.into_body();
        for piece in ["first", "second"] {
            if piece != "first" {
                soon(pieces.send(Ok(piece))).await.unwrap();
            }
            let frame = soon(body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        drop(pieces);
        let rest = soon(body.collect()).await.unwrap();
        assert_eq!(rest.to_bytes(), "");
    }
}

#[tokio::test]
async fn many_requests_on_one_connection_all_get_their_own_answer() {
    for own in BOTH_WAYS {
        let stage = Stage::with(own).await;
        let caller = stage.caller2().await;
        let mut requests = tokio::task::JoinSet::new();
        for length in 0..300_usize {
            let caller = caller.clone();
            requests.spawn(async move {
                let target = format!("/graph/sim/bytes/{}", length * 100);
                (length, caller.exchange("GET", &target).await)
            });
        }
        while let Some(done) = soon(requests.join_next()).await {
            let (length, answer) = done.unwrap();
            assert_eq!(answer.expect(200).body.len(), length * 100);
        }
    }
}

/// A body that is sent piece by piece.
pub(crate) fn piecewise() -> (
    mpsc::Sender<Result<&'static str, std::convert::Infallible>>,
    Body,
) {
    let (sender, receiver) = mpsc::channel(4);
    (sender, BodyExt::boxed(Pieces(receiver)))
}

struct Pieces(mpsc::Receiver<Result<&'static str, std::convert::Infallible>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let next = std::task::ready!(self.0.poll_recv(cx));
        std::task::Poll::Ready(
            next.map(|piece| piece.map(|text| http_body::Frame::data(Bytes::from(text)))),
        )
    }
}

#[tokio::test]
async fn a_body_that_pauses_too_long_is_answered_408() {
    for own in BOTH_WAYS {
        let stage = Stage::with(&format!("timeouts: {{request_body_idle: 150ms}}\n{own}")).await;
        let caller = stage.caller2().await;
        let (pieces, body) = piecewise();
        soon(pieces.send(Ok("first"))).await.unwrap();
        let sent = request("POST", "/graph/sim/sink", &[], body);
        let answer = read(soon(caller.send(sent)).await.unwrap()).await;
        assert_eq!(answer.refusal(), (408, "requestTimeout".to_owned()));
        caller
            .exchange("GET", "/graph/sim/bytes/1")
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_refused() {
    let own =
        "routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', max_body_bytes: 1000}]\n";
    let stage = Stage::with(own).await;
    let caller = stage.caller2().await;
    for length in [2000, 2_000_000] {
        let sent = request("POST", "/graph/sim/sink", &[], full(vec![b'x'; length]));
        let answer = read(soon(caller.send(sent)).await.unwrap()).await;
        assert_eq!(answer.refusal(), (413, "bodyTooLarge".to_owned()));
    }
    caller
        .exchange("GET", "/graph/sim/bytes/1")
        .await
        .expect(200);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_the_upstream_for_a_while_only() {
    for own in BOTH_WAYS {
        // The next request comes within as much again: then the connection is closed.
        let stage = Stage::with(&format!("timeouts: {{write_stall: 1500ms}}\n{own}")).await;
        let caller = stage.caller2().await;
        let sent = request("GET", "/graph/sim/bytes/100000000", &[], empty());
        let held = soon(caller.send(sent)).await.unwrap();
        let labels = [("route", "graph")];
        stage
            .becomes("tokenferry_requests_in_flight", &labels, 0.0)
            .await;
        caller
            .exchange("GET", "/graph/sim/bytes/1")
            .await
            .expect(200);
        let answer = soon(read(held)).await;
        assert!(!answer.whole);
    }
}

#[tokio::test]
async fn a_connection_that_dies_under_many_streams_fails_only_what_cannot_be_repeated() {
    let stage = Stage::with(&format!("workers: 1\n{}", BOTH_WAYS[1])).await;
    let gate = tokenferry::simulator::Gate::new();
    let hold = tokenferry::simulator::Fault::Hold(gate);
    let held = 20;
    let script = tokenferry::simulator::Script::on(GRAPH, hold);
    stage
        .simulator
        .script(script.under("/sim/sink").times(held));
    let mut requests = tokio::task::JoinSet::new();
    let caller = stage.caller2().await;
    for number in 0..held {
        let caller = caller.clone();
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        requests.spawn(async move { (method, caller.exchange(method, "/graph/sim/sink").await) });
    }
    let what = "all are at the upstream";
    until(what, async || {
        let arrived = stage.arrivals(GRAPH);
        arrived == held
    })
    .await;
    stage.simulator.outage(GRAPH);
    stage.simulator.recover(GRAPH);
    while let Some(done) = soon(requests.join_next()).await {
        match done.unwrap() {
            ("GET", answer) => drop(answer.expect(200)),
            (_, answer) => assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned())),
        }
    }
    let sent = stage.sent_to(GRAPH);
    let posts = sent.iter().filter(|seen| seen.method == "POST");
    assert_eq!(posts.count(), held / 2, "no write is sent twice");
}
