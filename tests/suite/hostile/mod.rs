//! Hostile callers and upstreams, case by case. After each case the invariants are looked at: no
//! canary outside the upstream connection, no connection to a host that is not configured, what
//! reached the upstream allowed and with one token, nothing the simulator takes offence at, a good
//! request served at once, descriptors and memory back where they were. After each table everything
//! that was logged or shown is looked through as well.

mod batch;
mod browser;
mod chain;
mod exhaustion;
mod flood;
pub(crate) mod frame;
mod framing;
mod grammar;
mod grammar_answers;
mod grammar_bytes;
mod grammar_model;
mod header;
mod http2;
mod innocent;
mod leakage;
mod path;
mod response;
mod target;
mod wire;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use tokenferry::simulator::{Ending, GRAPH, LOGIN, ORGANISATION, Seen, Simulator, TOKEN_CANARY};

use crate::harness::PATIENCE;
use crate::harness::numbers::Numbers;
use crate::harness::program::Program;
use wire::{Reply, talk};

/// What other callers may notice of an attack.
const SERVED_WITHIN: Duration = Duration::from_secs(1);

/// What all canaries begin with.
const CANARY: &str = "CANARY-";

/// Descriptors that may stay: pooled connections to the upstream, and those of the look itself.
const SPARE_FILES: f64 = 24.0;
/// Bytes that may stay, in a debug build whose allocator gives little back.
const SPARE_MEMORY: f64 = 48.0 * 1024.0 * 1024.0;

const ROUTES: &str = "
hosts: [gateway.corp]
browser_origins: ['https://app.corp']
routes:
  - name: graph
    path: /graph
    upstream: https://GRAPH
    allow:
      - GET /v1.0/users/**
      - POST /v1.0/users/*/sendMail
      - GET,POST /sim/**
  - name: open
    path: /open
    upstream: https://GRAPH
  - name: dynamics
    path: /dynamics
    upstream: https://ORGANISATION
    allow:
      - GET /api/data/v9.2/accounts
";

/// What is expected of a case.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// The connection ends without an answer.
    Closed,
    /// 4xx of whatever kind, and nothing upstream.
    Denied,
    /// Whatever: the invariants hold.
    Harmless,
    /// This status (0: any), by an upstream that was asked once, for this target.
    Passed(u16, &'static str),
    /// This status and code, and nothing upstream.
    Refused(u16, &'static str),
}

/// The program under attack, everything it says, and a listener that nobody should ever call.
struct Fort {
    pub(super) program: Program,
    bait: TcpListener,
    files: f64,
    memory: f64,
}

impl Fort {
    /// With the routes above and these lines.
    async fn build(own: &str) -> Self {
        let bait = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        bait.set_nonblocking(true).expect("a socket takes options");
        let trap = bait.local_addr().expect("it is bound");
        let simulator = Simulator::start().await.expect("the simulator starts");
        let mut resolve = "resolve:\n".to_owned();
        for (name, address) in simulator.resolve_entries() {
            resolve.push_str(&format!("  \"{name}\": \"{address}\"\n"));
        }
        for name in [
            "evil.example:443",
            "evil.example:80",
            "graph.microsoft.com.evil.example:443",
        ] {
            resolve.push_str(&format!("  \"{name}\": \"{trap}\"\n"));
        }
        let routes = if own.contains("routes:") { "" } else { ROUTES };
        let text = format!("{own}\n{resolve}{routes}");
        let program = Program::within(simulator, &text, &[("TOKENFERRY_LOG", "trace")]).await;
        let mut fort = Self {
            program,
            bait,
            files: 0.0,
            memory: 0.0,
        };
        for _ in 0..4 {
            fort.serves("the beginning").await;
        }
        fort.program.simulator.clear();
        (fort.files, fort.memory) = fort.measure().await;
        fort
    }

    fn bait(&self) -> SocketAddr {
        self.bait.local_addr().expect("it is bound")
    }

    /// Runs one case: bytes on a connection of their own, and what came back.
    async fn face(&self, name: &str, bytes: &[u8], want: Want) -> Reply {
        let reply = talk(self.program.address, bytes).await;
        self.judge(name, &reply, want).await;
        reply
    }

    /// Judges what came back for a case.
    async fn judge(&self, name: &str, reply: &Reply, want: Want) {
        let seen = self.asked();
        let targets: Vec<String> = seen.iter().map(Seen::target).collect();
        let shown = || format!("{name}: {want:?}, got {reply:?}, upstream {targets:?}");
        match want {
            Want::Harmless => {}
            Want::Closed => assert!(reply.answers.is_empty() && seen.is_empty(), "{}", shown()),
            Want::Denied => {
                assert!(
                    (400..500).contains(&reply.status()) && seen.is_empty(),
                    "{}",
                    shown()
                );
            }
            Want::Refused(status, code) => {
                assert!(reply.status() == status && seen.is_empty(), "{}", shown());
                assert_eq!(reply.code(), code, "{}", shown());
            }
            Want::Passed(status, target) => {
                assert!(
                    [0, reply.status()].contains(&status) && seen.len() == 1,
                    "{}",
                    shown()
                );
                assert_eq!(seen[0].target(), target, "{}", shown());
            }
        }
        self.holds(name, &reply.bytes).await;
    }

    /// What reached the APIs since the last case.
    fn asked(&self) -> Vec<Seen> {
        let mut seen = self.program.simulator.seen();
        seen.retain(|seen| seen.host != LOGIN);
        seen
    }

    /// The invariants, after a case in which a caller received these bytes.
    async fn holds(&self, name: &str, received: &[u8]) {
        assert_clean(name, &String::from_utf8_lossy(received));
        for seen in self.asked() {
            assert!(
                [GRAPH, ORGANISATION].contains(&seen.host.as_str()),
                "{name}: {seen:?}"
            );
            let tokens = seen.header_values("authorization");
            assert!(
                matches!(&tokens[..], [one] if one.starts_with("Bearer ") && one.contains(TOKEN_CANARY)),
                "{name}: {seen:?}"
            );
            let others = seen
                .headers
                .iter()
                .filter(|(field, _)| !field.eq_ignore_ascii_case("authorization"));
            for (field, value) in others {
                let text = String::from_utf8_lossy(value);
                assert!(!text.contains(CANARY), "{name}: {field} goes up: {seen:?}");
            }
            assert!(is_allowed(&seen), "{name}: {seen:?}");
        }
        let violations = self.program.simulator.violations();
        assert!(violations.is_empty(), "{name}: {violations:?}");
        assert!(
            self.bait.accept().is_err(),
            "{name}: somebody called the bait"
        );
        self.serves(name).await;
        self.returns(name).await;
        self.program.simulator.clear();
    }

    /// Descriptors and memory return to what they were.
    async fn returns(&self, name: &str) {
        let begun = Instant::now();
        loop {
            let (files, memory) = self.measure().await;
            let (more_files, more_memory) = (files - self.files, memory - self.memory);
            if more_files <= SPARE_FILES && more_memory <= SPARE_MEMORY {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "after {name} {more_files} descriptors and {more_memory} bytes stay"
            );
            // Idle connections to the upstream are no leak; they are kept on purpose.
            self.program.simulator.close_idle("*", Ending::Notify);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A good request is served at once: of a few, because a busy machine has pauses of its own.
    async fn serves(&self, name: &str) {
        let mut took = Duration::MAX;
        for _ in 0..3 {
            took = took.min(self.served_in(name).await);
            if took < SERVED_WITHIN {
                return;
            }
        }
        panic!("after {name}: {took:?}");
    }

    async fn served_in(&self, name: &str) -> Duration {
        let begun = Instant::now();
        let request =
            b"GET /graph/sim/bytes/3 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let reply = talk(self.program.address, request).await;
        assert_eq!(reply.status(), 200, "after {name}: {reply:?}");
        begun.elapsed()
    }

    async fn measure(&self) -> (f64, f64) {
        let numbers = Numbers::scrape(self.program.admin).await;
        let sum = |name| numbers.sum(name, &[]);
        (
            sum("process_open_fds"),
            sum("process_resident_memory_bytes"),
        )
    }

    /// The end of a table: nothing was kept, and nothing was told to anybody.
    async fn stands(&self) {
        self.returns("all of it").await;
        for page in ["/metrics", "/", "/status.json", "/readyz"] {
            let answer = self.program.get_admin(page).await;
            assert_clean(page, &answer.text());
        }
        assert_clean("the access log", &self.program.out.text());
        assert_clean("the log at its most verbose", &self.program.err.text());
        let panics = Numbers::scrape(self.program.admin)
            .await
            .sum("tokenferry_panics_total", &[]);
        assert_eq!(panics, 0.0);
    }
}

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    if let Some(at) = text.find(CANARY) {
        let from = text.floor_char_boundary(at.saturating_sub(200));
        let to = text.ceil_char_boundary((at + 60).min(text.len()));
        panic!("{what} shows a secret: {}", &text[from..to]);
    }
}

/// Whether the configuration lets this pass, judged apart from the program's own rules.
fn is_allowed(seen: &Seen) -> bool {
    let target = seen.target();
    let path = target.split('?').next().unwrap_or_default();
    let lower = path
        .to_ascii_lowercase()
        .replace("%25", "%")
        .replace("%25", "%");
    let plain = lower
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "\\");
    let clean = !plain
        .split('/')
        .any(|segment| segment == "." || segment == "..")
        && !plain.contains('\\')
        && !plain.contains("$batch");
    clean
        && ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "PUT", "PATCH"]
            .contains(&seen.method.as_str())
}

/// A request without a body.
fn get(target: &str) -> Vec<u8> {
    ask(&format!("GET {target} HTTP/1.1\r\nHost: localhost"))
}

/// A head: the lines, without their last line end.
fn ask(lines: &str) -> Vec<u8> {
    format!("{lines}\r\n\r\n").into_bytes()
}
