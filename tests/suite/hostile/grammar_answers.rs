//! Bytes of upstreams by chance: an answer with up to three places changed, in pieces. The caller gets
//! what a strict reader finds in them, less of it and visibly broken off, or a refusal of the proxy's
//! own; and the next request its own answer. `GRAMMAR_CASES=20000` makes a long run of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::grammar::{FAILURES, Heard, cases, hear, is_own, wrong_form};
use super::grammar_bytes::{Dice, answer, mutate, pieces};
use super::grammar_model::{self, End, Message};
use crate::harness::stage::Stage;

/// What the upstream has for each target: pieces of bytes, and whether it hangs up behind them.
type Answers = Arc<Mutex<HashMap<String, (Vec<Vec<u8>>, bool)>>>;

/// Answers what it has, and keeps connections; everything else gets its target.
async fn upstream(answers: Answers) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&answers)));
        }
    });
    port
}

async fn serve(mut stream: TcpStream, answers: Answers) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let target = text.split(' ').nth(1)?.to_owned();
        let known = answers.lock().expect("nobody panics").get(&target).cloned();
        let Some((pieces, ends)) = known else {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                target.len()
            );
            stream.write_all((head + &target).as_bytes()).await.ok()?;
            continue;
        };
        for piece in pieces {
            stream.write_all(&piece).await.ok()?;
            tokio::task::yield_now().await;
        }
        if ends {
            return None;
        }
    }
}

async fn run(number: usize, stage: &Stage, answers: &Answers) -> Result<(), String> {
    let mut dice = Dice::of(number);
    let method = ["GET", "GET", "GET", "HEAD"][dice.below(4)];
    let mut bytes = answer(&mut dice, &format!("case{number}"));
    let changed = mutate(&mut dice, &mut bytes);
    let meant = grammar_model::answer(&bytes, method);
    let length = meant.as_ref().map_or(bytes.len(), |meant| meant.length);
    // Who waits for more would wait for ever.
    let ends = !matches!(&meant, Ok(meant) if meant.end == End::Whole && !meant.until_close);
    let parts = pieces(&mut dice, &bytes, length);
    let parts = parts.into_iter().map(<[u8]>::to_vec).collect();
    answers
        .lock()
        .expect("nobody panics")
        .insert(format!("/{number}"), (parts, ends));
    let mut stream = TcpStream::connect(stage.address())
        .await
        .expect("it listens");
    let ask = |method: &str, target: &str| {
        format!("{method} /up/{target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
    };
    stream
        .write_all(&ask(method, &number.to_string()))
        .await
        .expect("it is taken");
    let mut received = Vec::new();
    let methods = [method.to_owned()];
    let heard = hear(&mut stream, &mut received, &methods, 1).await?;
    let judged = judge(&heard, meant, method, !changed);
    let shown = || {
        let (sent, got) = (
            String::from_utf8_lossy(&bytes),
            String::from_utf8_lossy(&received),
        );
        format!("to {method} the upstream gave {sent:?}\nreceived {got:?}")
    };
    judged.map_err(|wrong| format!("{wrong}\n{}", shown()))?;
    if heard.closed || heard.answers.iter().any(Message::closes) {
        stream = TcpStream::connect(stage.address())
            .await
            .expect("it listens");
    }
    let next = format!("next{number}");
    stream
        .write_all(&ask("GET", &next))
        .await
        .expect("it is taken");
    let heard = hear(&mut stream, &mut Vec::new(), &[], 1).await?;
    let well = matches!(&heard.answers[..], [one] if one.body == format!("/{next}").as_bytes());
    well.then_some(())
        .ok_or_else(|| format!("the next request got {:?}\n{}", heard.answers, shown()))
}

fn judge(
    heard: &Heard,
    meant: Result<Message, End>,
    method: &str,
    plain: bool,
) -> Result<(), String> {
    let [got] = &heard.answers[..] else {
        return Err(format!("{} answers", heard.answers.len()));
    };
    if !heard.rest.is_empty() {
        return Err("bytes behind the answer".to_owned());
    }
    if is_own(got) {
        if plain || got.status() != 502 {
            return Err(format!("a refusal of another sort: {got:?}"));
        }
        return wrong_form(got, method).map_or(Ok(()), Err);
    }
    let meant = meant.map_err(|end| format!("what is {end:?} is an answer: {got:?}"))?;
    if got.status() != meant.status() {
        return Err(format!("another status than {}", meant.status()));
    }
    let well = match got.end {
        End::Whole => meant.end == End::Whole && got.body == meant.body,
        _ => heard.closed && !plain && meant.body.starts_with(&got.body),
    };
    well.then_some(()).ok_or(format!("meant was {meant:?}"))
}

#[tokio::test]
async fn a_caller_gets_what_a_strict_reader_finds_in_an_answer_or_sees_it_break_off() {
    let answers = Answers::default();
    let port = upstream(Arc::clone(&answers)).await;
    let stage = Stage::with(&format!(
        "routes: [{{name: up, path: /up, upstream: 'http://127.0.0.1:{port}', scope: 'https://GRAPH/.default', upstream_http: 1}}]\n"
    ))
    .await;
    let mut failures = Vec::new();
    for number in 0..cases() {
        if let Err(wrong) = run(number, &stage, &answers).await {
            failures.push(format!("case {number}: {wrong}"));
            if failures.len() == FAILURES {
                break;
            }
        }
        answers.lock().expect("nobody panics").clear();
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert_eq!(stage.number("tokenferry_panics_total", &[]).await, 0.0);
}
