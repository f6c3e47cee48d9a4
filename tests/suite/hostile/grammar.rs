//! Bytes of callers by chance: a request with up to three places changed, in pieces, and two plain
//! requests behind it. What reaches the upstream and what is answered is what a strict reader finds in
//! the bytes, or less of it and the connection closed. `GRAMMAR_CASES=20000` makes a long run of it.

use tokenferry::simulator::{BodyEnd, GRAPH, Seen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::grammar_bytes::{Dice, mutate, pieces, request};
use super::grammar_model::{End, Message, answer, requests};
use crate::harness::PATIENCE;
use crate::harness::stage::Stage;

/// Enough to meet each kind of change at each kind of place.
const CASES: usize = 500;
/// Requests of earlier cases that may still arrive on a busy machine.
const BEFORE: usize = 50;
/// More of them tell no more.
pub(super) const FAILURES: usize = 10;

pub(super) fn cases() -> usize {
    std::env::var("GRAMMAR_CASES").map_or(CASES, |cases| {
        cases.parse().expect("GRAMMAR_CASES is a number")
    })
}

/// What a caller received.
pub(super) struct Heard {
    pub(super) answers: Vec<Message>,
    /// What is no part of an answer.
    pub(super) rest: Vec<u8>,
    pub(super) closed: bool,
}

impl Heard {
    /// The answers to requests with these methods; a broken-off one is the last.
    pub(super) fn of(mut bytes: &[u8], methods: &[String], closed: bool) -> Self {
        let mut answers: Vec<Message> = Vec::new();
        while !bytes.is_empty() {
            let method = methods.get(answers.len()).map_or("GET", String::as_str);
            let Ok(next) = answer(bytes, method) else {
                break;
            };
            bytes = match next.end {
                End::Whole => &bytes[next.length..],
                // All of it is of the answer that breaks off.
                End::Partial => &[],
                _ => bytes,
            };
            let end = next.end;
            answers.push(next);
            if end != End::Whole {
                break;
            }
        }
        Self {
            answers,
            rest: bytes.to_vec(),
            closed,
        }
    }

    pub(super) fn whole(&self) -> usize {
        let whole = |answer: &&Message| answer.end == End::Whole;
        self.answers.iter().filter(whole).count()
    }
}

/// Reads until there are so many answers or the connection ends.
pub(super) async fn hear(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    methods: &[String],
    most: usize,
) -> Result<Heard, String> {
    loop {
        let heard = Heard::of(bytes, methods, false);
        // Where the connection is the end of an answer, it is still to come.
        let open = heard.answers.last().is_some_and(|last| last.until_close);
        if heard.whole() >= most && !open {
            return Ok(heard);
        }
        let mut piece = [0; 4096];
        match timeout(PATIENCE, stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => return Ok(Heard::of(bytes, methods, true)),
            Ok(Ok(read)) => bytes.extend_from_slice(&piece[..read]),
            Err(_) => return Err("neither an answer nor an end".to_owned()),
        }
    }
}

/// What is wrong with an answer of the proxy's own to a request with this method.
pub(super) fn wrong_form(answer: &Message, method: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let named = document["error"]["code"].is_string() || method == "HEAD";
    let refuses = answer.status() >= 400 && answer.end == End::Whole;
    (!named || !refuses).then(|| format!("an own answer of another form: {answer:?}"))
}

pub(super) fn is_own(answer: &Message) -> bool {
    let marks = answer.values("proxy-status");
    marks.iter().any(|mark| mark.starts_with(b"tokenferry"))
}

struct Case {
    bytes: Vec<u8>,
    /// Where the plain requests begin.
    plain: usize,
    /// Whether nothing was changed.
    untouched: bool,
    dice: Dice,
}

impl Case {
    fn of(number: usize) -> Self {
        let mut dice = Dice::of(number);
        let tag = format!("case{number}");
        let mut bytes = request(&mut dice, &tag);
        let changed = mutate(&mut dice, &mut bytes);
        let plain = bytes.len();
        for (number, last) in [(1, ""), (2, "Connection: close\r\n")] {
            let line = format!("GET /graph/sim/bytes/{number}?c={tag}.{number} HTTP/1.1");
            bytes.extend(format!("{line}\r\nHost: localhost\r\n{last}\r\n").bytes());
        }
        Self {
            bytes,
            plain,
            untouched: !changed,
            dice,
        }
    }

    /// Sends it and judges what comes of it. `Err`: what is wrong.
    async fn run(mut self, stage: &Stage, before: &mut Vec<Message>) -> Result<(), String> {
        let (read, end) = requests(&self.bytes);
        let methods: Vec<String> = read.iter().map(Message::method).collect();
        let whole = read.iter().filter(|one| one.end == End::Whole).count();
        let mut stream = TcpStream::connect(stage.address())
            .await
            .expect("it listens");
        stream.set_nodelay(true).expect("a socket takes options");
        for piece in pieces(&mut self.dice, &self.bytes, self.bytes.len()) {
            // The proxy may have refused and closed before all of it is written.
            let _ = stream.write_all(piece).await;
            tokio::task::yield_now().await;
        }
        let mut received = Vec::new();
        let closes = read.last().is_some_and(Message::closes);
        if end == End::Partial || end == End::Whole && !closes {
            // The proxy waits for more.
            hear(&mut stream, &mut received, &methods, whole).await?;
            let _ = stream.shutdown().await;
        }
        let heard = hear(&mut stream, &mut received, &methods, usize::MAX).await?;
        let violations = stage.simulator.violations();
        let seen = seen(stage);
        let kept = match violations.is_empty() {
            true => Ok(()),
            false => Err(format!("{violations:?}")),
        };
        let judged = self.judge(&read, end, &heard, &seen, before);
        before.extend(read);
        before.drain(..before.len().saturating_sub(BEFORE));
        let shown = String::from_utf8_lossy(&received);
        let targets: Vec<String> = seen.iter().map(Seen::target).collect();
        kept.and(judged)
            .map_err(|wrong| format!("{wrong}\nreceived {shown:?}\nupstream {targets:?}"))
    }

    fn judge(
        &self,
        read: &[Message],
        end: End,
        heard: &Heard,
        seen: &[Seen],
        before: &[Message],
    ) -> Result<(), String> {
        let passed = matched(read, seen, before)?;
        // Who refuses a head before it is read does not heed that HEAD wants no content.
        let last = heard.answers.len().wrapping_sub(1);
        let head = read.get(last).is_some_and(|last| last.method() == "HEAD");
        let spare = head && heard.closed && is_own(&heard.answers[last]);
        if !heard.rest.is_empty() && !spare {
            return Err(format!("{} bytes of no answer", heard.rest.len()));
        }
        for (at, answer) in heard.answers.iter().enumerate() {
            let last = at + 1 == heard.answers.len();
            let Some(request) = read.get(at) else {
                // What cannot be read is refused, and nothing comes behind it.
                if at > read.len() || end != End::Broken || !last || !is_own(answer) {
                    return Err(format!("an answer to nothing: {answer:?}"));
                }
                return wrong_form(answer, "GET").map_or(Ok(()), Err);
            };
            if is_own(answer) {
                wrong_form(answer, &request.method()).map_or(Ok(()), Err)?;
                if at > 0 && self.is_plain(request) || self.untouched {
                    return Err(format!("a plain request is refused: {answer:?}"));
                }
                continue;
            }
            if !passed[at] {
                return Err(format!("an answer that no upstream gave: {answer:?}"));
            }
            if answer.end != End::Whole && request.end == End::Whole {
                return Err(format!("an answer breaks off: {answer:?}"));
            }
            fits(request, answer)?;
        }
        let whole = read.iter().filter(|one| one.end == End::Whole).count();
        let answered = heard.answers.len();
        if answered == 0 && end != End::Partial {
            return Err("no answer at all".to_owned());
        }
        if answered < whole {
            let last = heard.answers.last().ok_or("no answer")?;
            let said = last.closes() || last.end != End::Whole;
            if !said || self.untouched && !self.may_be_last() {
                return Err(format!("{answered} of {whole} requests are answered"));
            }
        }
        Ok(())
    }

    fn is_plain(&self, request: &Message) -> bool {
        let (method, target) = (request.method(), request.target());
        let line = format!("\n{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        let plain = &self.bytes[self.plain - 1..];
        memchr::memmem::find(plain, line.as_bytes()).is_some() && request.fields.len() < 3
    }

    /// Whether the program may have to end the connection behind it: an answer begins while a body is
    /// still coming, and hyper is not sure where trailers end.
    fn may_be_last(&self) -> bool {
        [&b"X-Sum: 1\r\n"[..], b"/mirror"]
            .iter()
            .any(|part| memchr::memmem::find(&self.bytes, part).is_some())
    }
}

/// Which of the requests reached the upstream. What reached it is nothing else, in their order.
fn matched(read: &[Message], seen: &[Seen], before: &[Message]) -> Result<Vec<bool>, String> {
    let mut passed = vec![false; read.len()];
    let mut next = 0;
    for one in seen {
        match (next..read.len()).find(|&at| is_of(one, &read[at])) {
            Some(at) => {
                passed[at] = true;
                next = at + 1;
            }
            // A request that broke off may be noticed upstream after its case has ended.
            None if before.iter().any(|read| is_of(one, read)) => {}
            None => return Err(format!("another request goes up: {:?}", one.body)),
        }
    }
    Ok(passed)
}

fn is_of(seen: &Seen, request: &Message) -> bool {
    let body = seen.body.bytes.as_deref().unwrap_or_default();
    let fits = match seen.body.end {
        BodyEnd::Whole => {
            matches!(request.end, End::Whole | End::BrokenTrailers) && body == request.body
        }
        _ => request.body.starts_with(body),
    };
    let up = request.target();
    fits && seen.method == request.method() && up.strip_prefix("/graph") == Some(&seen.target())
}

fn fits(request: &Message, answer: &Message) -> Result<(), String> {
    if request.method() == "HEAD" || answer.status() != 200 {
        return Ok(());
    }
    let target = request.target();
    let path = target.split('?').next().unwrap_or_default();
    let wanted = match path.strip_prefix("/graph/sim/bytes/").map(str::parse) {
        Some(Ok(length)) => vec![b'x'; length],
        _ if path == "/graph/sim/mirror" => request.body.clone(),
        _ if path == "/graph/sim/echo" => {
            let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let body = String::from_utf8_lossy(&request.body);
            let well =
                told["body"] == *body && target.ends_with(told["target"].as_str().unwrap_or("?"));
            return well
                .then_some(())
                .ok_or(format!("an answer to another: {told}"));
        }
        _ => return Ok(()),
    };
    let well = match answer.end {
        End::Whole => answer.body == wanted,
        _ => wanted.starts_with(&answer.body),
    };
    well.then_some(())
        .ok_or(format!("an answer of another: {answer:?}"))
}

fn seen(stage: &Stage) -> Vec<Seen> {
    let seen = stage.sent_to(GRAPH);
    stage.simulator.clear();
    seen
}

#[tokio::test]
async fn a_caller_means_what_a_strict_reader_finds_or_is_cut_off() {
    let stage = Stage::open().await;
    stage.simulator.clear();
    let mut before = Vec::new();
    let mut failures = Vec::new();
    for number in 0..cases() {
        let case = Case::of(number);
        let bytes = String::from_utf8_lossy(&case.bytes).into_owned();
        if let Err(wrong) = case.run(&stage, &mut before).await {
            failures.push(format!("case {number}: {wrong}\nsent {bytes:?}"));
            if failures.len() == FAILURES {
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert_eq!(stage.number("tokenferry_panics_total", &[]).await, 0.0);
}
