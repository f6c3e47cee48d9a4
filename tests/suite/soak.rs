//! Rounds of mixed traffic, faults, callers that leave and reloads. Every byte that arrives is the
//! right one, and what the process holds does not grow with the rounds. `SOAK_ROUNDS=5000` makes a
//! long run of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rustix::process::Signal;
use serde_json::Value;
use tokenferry::simulator::{Ending, Fault, GRAPH, Script, Simulator};
use tokio::task::JoinSet;

use crate::harness::answer::Answer;
use crate::harness::caller::Caller;
use crate::harness::caller2::{Caller2, full, read, request};
use crate::harness::numbers::{Numbers, becomes};
use crate::harness::program::Program;
use crate::harness::until;

/// Each fault twice, so that half of the rounds see all of them.
const ROUNDS: usize = 32;
const CALLERS: usize = 30;
/// KiB that may come on top in the second half: what the allocator keeps of a rush.
const GROWTH: u64 = 4 * 1024;
/// Requests that meet the fault of a round.
const STRUCK: usize = 6;
/// The longest body, in bytes: some TLS records, and more than what is kept for sending again.
const LONGEST: usize = 300_000;

const EXPIRED: &str = "Bearer error=\"invalid_token\"";
/// `{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}`
const CHALLENGE: &str = "Bearer error=\"insufficient_claims\", \
    claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzAwMDAwMDAwIn19fQ==\"";

const ROUTES: &str = "\
routes:
  - {name: one, path: /one, upstream: 'https://GRAPH', upstream_http: 1, retry: {}}
  - {name: two, path: /two, upstream: 'https://GRAPH', upstream_http: 2, max_concurrency: 8}
";

#[tokio::test]
async fn nothing_is_left_behind_by_rounds_of_faults_and_leavers() {
    let rounds = std::env::var("SOAK_ROUNDS").map_or(ROUNDS, |rounds| {
        rounds.parse().expect("SOAK_ROUNDS is a number")
    });
    let program = Program::start(ROUTES, "").await;
    let mut halfway = None;
    for round in 0..rounds {
        disturb(&program.simulator, round);
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            callers.spawn(call(program.address, round * CALLERS + number));
        }
        while let Some(ended) = callers.join_next().await {
            ended.expect("what arrives is right");
        }
        program.simulator.clear_scripts();
        if round % 8 == 7 {
            program.signal(Signal::HUP);
        }
        serves_again(&program).await;
        if round + 1 == rounds / 2 {
            halfway = Some(Holdings::of(&program).await);
        }
    }
    let halfway = halfway.expect("there are two rounds at least");
    until("descriptors are given back", async || {
        let held = Holdings::of(&program).await;
        held.files <= halfway.files
    })
    .await;
    let memory = program.resident();
    assert!(
        memory <= halfway.memory + GROWTH,
        "{} KiB after half of the rounds, {memory} KiB in the end",
        halfway.memory
    );
    let page = Numbers::scrape(program.admin).await;
    assert_eq!(page.sum("tokenferry_panics_total", &[]), 0.0);
    let all = page.sum("tokenferry_requests_total", &[]);
    assert!(all > (rounds * CALLERS / 2) as f64, "{all} requests");
}

/// What the process holds when nobody asks for anything and the upstream has hung up.
struct Holdings {
    files: usize,
    memory: u64,
}

impl Holdings {
    async fn of(program: &Program) -> Self {
        for gauge in ["tokenferry_requests_in_flight", "tokenferry_token_waiters"] {
            becomes(program.admin, gauge, &[], 0.0).await;
        }
        until("upstream connections end", async || {
            program.simulator.close_idle("*", Ending::Close);
            program.simulator.connections("*") == 0
        })
        .await;
        becomes(program.admin, "tokenferry_upstream_connections", &[], 0.0).await;
        Self {
            files: program.open_files().await,
            memory: program.resident(),
        }
    }
}

/// The fault of a round.
fn disturb(simulator: &Simulator, round: usize) {
    let answer = |status, name: &str, value: &str| Fault::Answer {
        status,
        headers: vec![(name.to_owned(), value.to_owned())],
        body: b"{}".to_vec(),
    };
    let broken = |after, ending| Fault::Break { after, ending };
    let fault = match round % 16 {
        0 => return,
        1 => broken(None, Ending::Reset),
        2 => broken(None, Ending::Close),
        3 => broken(Some(1000), Ending::Reset),
        4 => broken(Some(1000), Ending::Close),
        5 => Fault::CloseDelimited(Ending::Close),
        6 => Fault::Drip {
            size: 5000,
            every: Duration::from_millis(1),
        },
        7 => Fault::Goaway,
        8 => Fault::Unprocessed,
        9 => Fault::Latency(Duration::from_millis(20)),
        10 => Fault::Raw(
            b"HTTP/1.1 200 \r\nContent-Length: 9, 8\r\n\r\n".to_vec(),
            Ending::Close,
        ),
        11 => answer(StatusCode::TOO_MANY_REQUESTS, "retry-after", "0"),
        12 => answer(StatusCode::SERVICE_UNAVAILABLE, "retry-after", "0"),
        13 => answer(StatusCode::UNAUTHORIZED, "www-authenticate", EXPIRED),
        14 => answer(StatusCode::UNAUTHORIZED, "www-authenticate", CHALLENGE),
        _ => {
            let refusal = answer(StatusCode::PAYLOAD_TOO_LARGE, "connection", "close");
            let refusal = Script::on(GRAPH, refusal).early();
            return simulator.script(refusal.times(STRUCK));
        }
    };
    simulator.script(Script::on(GRAPH, fault).times(STRUCK));
}

/// When the faults are over all is well, after the pause that a refused connection is given.
async fn serves_again(program: &Program) {
    for route in ["one", "two"] {
        until("requests are answered", async || {
            let answer = program.get(&format!("/{route}/sim/bytes/1")).await;
            answer.status == 200 && answer.whole
        })
        .await;
    }
}

/// What one caller does, by its number.
async fn call(address: SocketAddr, number: usize) {
    let route = ["one", "two"][number / 2 % 2];
    let length = number * 104_729 % LONGEST;
    let work = Work {
        route,
        length,
        kind: number / 4 % 8,
    };
    if number.is_multiple_of(2) {
        work.over_http1(Caller::connect(address).await).await;
    } else {
        work.over_http2(Caller2::connect(address).await).await;
    }
}

struct Work {
    route: &'static str,
    length: usize,
    kind: usize,
}

impl Work {
    fn target(&self) -> String {
        let (route, length) = (self.route, self.length);
        match self.kind {
            0 | 5 => format!("/{route}/sim/bytes/{length}"),
            1 => format!("/{route}/sim/bytes/{length}?chunked=1"),
            2 => format!("/{route}/sim/page/{}", 1 + length / 2048),
            3 | 6 => format!("/{route}/sim/mirror"),
            4 => format!("/{route}/sim/sink"),
            _ => format!("/{route}/sim/slow?head_ms=5&body_ms=5"),
        }
    }

    fn has_body(&self) -> bool {
        matches!(self.kind, 3 | 4 | 6)
    }

    /// Bytes that tell their place.
    fn body(&self) -> Vec<u8> {
        (0..self.length).map(|at| (at / 7 % 251) as u8).collect()
    }

    /// A reader that leaves in the middle of the answer, a writer in the middle of its body.
    fn leaves(&self) -> bool {
        matches!(self.kind, 5 | 6)
    }

    async fn over_http1(&self, mut caller: Caller) {
        let (target, method) = (self.target(), if self.has_body() { "PUT" } else { "GET" });
        let head = format!("{method} {target} HTTP/1.1");
        if self.has_body() {
            let body = self.body();
            caller
                .ask(&format!("{head}\nContent-Length: {}", body.len()))
                .await;
            let part = if self.leaves() {
                body.len() / 2
            } else {
                body.len()
            };
            // An answer may come before all of it went up.
            let _ = caller.try_send(&body[..part]).await;
        } else {
            caller.ask(&head).await;
        }
        if self.leaves() {
            return;
        }
        self.check(&caller.answer(method).await);
    }

    async fn over_http2(&self, caller: Caller2) {
        let (method, body) = if self.has_body() {
            ("PUT", self.body())
        } else {
            ("GET", Vec::new())
        };
        let request = request(method, &self.target(), &[], full(Bytes::from(body)));
        let sent = caller.send(request).await;
        if self.leaves() {
            return;
        }
        let response = sent.expect("there is an answer");
        self.check(&read(response).await);
    }

    /// Whatever happened on the way, what came is part of the right answer, and all of it when it
    /// ended well.
    fn check(&self, answer: &Answer) {
        if answer.status != 200 {
            assert!(answer.status >= 400, "{answer:?}");
            return;
        }
        let (got, whole) = (&answer.body, answer.whole);
        match self.kind {
            0 | 1 => {
                assert!(got.iter().all(|&byte| byte == b'x'));
                assert!(got.len() == self.length || !whole && got.len() < self.length);
            }
            2 if whole => {
                let page: Value = serde_json::from_slice(got).expect("a page is JSON");
                let next = page["@odata.nextLink"].as_str().expect("there is a link");
                let here = format!("http://localhost/{}/v1.0/users?", self.route);
                assert!(next.starts_with(&here), "{next}");
            }
            3 => {
                let sent = self.body();
                assert!(sent.starts_with(got), "{} other bytes", got.len());
                assert!(!whole || got.len() == sent.len());
            }
            4 if whole => {
                let own = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.body());
                let own: String = own
                    .as_ref()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                assert_eq!(answer.json()["sha256"], own);
            }
            7 if whole => assert_eq!(answer.text(), "{\"first\":1,\"second\":2}"),
            _ => {}
        }
    }
}
