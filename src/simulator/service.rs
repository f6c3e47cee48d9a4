//! The life of one request in the simulator: entered in the journal, judged by its head, read,
//! spoilt where a script says so, answered by the service that its host names.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;

use super::answer::Answer;
use super::call::Call;
use super::conduct;
use super::fault::{Fault, Taken};
use super::flow::{Broken, Cut, Drip, Flow, Outflow};
use super::host::{self, Service};
use super::intake::Intake;
use super::journal::BodyEnd;
use super::wire::{Ending, Link, Turn};
use super::world::World;
use super::{aadsts, dataverse, download, entra, graph, gzip, metadata, raw};
use crate::clock;

/// Where a request came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Entrance {
    /// The plain listener: the metadata services, and the APIs for a loopback name.
    Plain,
    /// The TLS listener.
    Tls,
}

/// One request and the connection it came on.
struct Exchange {
    world: Arc<World>,
    link: Arc<Link>,
    entrance: Entrance,
    http1: bool,
    /// Whether it is the first of its connection.
    first: bool,
}

/// Answers one request, or breaks its connection.
///
/// # Errors
/// When the connection (HTTP/2: the stream) is to be broken before the head.
pub(super) async fn exchange(
    world: Arc<World>,
    link: Arc<Link>,
    entrance: Entrance,
    request: Request<Incoming>,
) -> Result<Response<Outflow>, Broken> {
    let (parts, body) = request.into_parts();
    let http1 = parts.version != Version::HTTP_2;
    let recording = world.journal.is_recording();
    let (turn, first) = Turn::begin(&link, recording && http1);
    let exchange = Exchange {
        world,
        link,
        entrance,
        http1,
        first,
    };
    let (mut call, offences) = exchange.enter(parts, recording);
    exchange.count(&call);
    let world = &exchange.world;
    let name = host::name(&call.authority);
    let taken = world
        .faults
        .take(name, call.method.as_str(), &call.target, !first);
    let intake = Intake::new(body, &world.journal, call.number);
    let answer = exchange
        .answer(&mut call, intake, &taken, &offences)
        .await?;
    world.journal.status(call.number, answer.status);
    let response = exchange.spoil(answer, &taken).await;
    let head = call.method == Method::HEAD;
    Ok(response.map(|flow| Outflow::new(flow, &world.journal, call.number, head, turn)))
}

impl Exchange {
    /// Enters a head in the journal; what is wrong with it comes back too.
    fn enter(&self, parts: Parts, recording: bool) -> (Call, Vec<String>) {
        let authority = raw::authority(&parts);
        let mut offences = self.judge(&parts, &authority);
        let mut number = 0;
        if recording {
            let seen = raw::seen(&self.link, &parts, &authority, self.first);
            offences.extend(conduct::raw_offences(&seen.headers));
            number = self.world.journal.open(seen);
            for what in &offences {
                self.world.journal.violation(number, what.clone());
            }
        }
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let call = Call {
            number,
            scheme: match self.entrance {
                Entrance::Plain => "http",
                Entrance::Tls => "https",
            },
            target: target.to_owned(),
            method: parts.method,
            authority,
            headers: parts.headers,
            body: <_>::default(),
        };
        (call, offences)
    }

    /// Counts a token call, whatever becomes of it.
    fn count(&self, call: &Call) {
        let calls = if self.entrance == Entrance::Plain && metadata::serves(call.path()) {
            &self.world.metadata.calls
        } else if host::service(&call.authority, call.path()) == Some(Service::Entra) {
            &self.world.token_calls
        } else {
            return;
        };
        calls.fetch_add(1, Ordering::Relaxed);
    }

    /// What is wrong with a head. The metadata services judge for themselves.
    fn judge(&self, parts: &Parts, authority: &str) -> Vec<String> {
        if self.entrance == Entrance::Plain && metadata::serves(parts.uri.path()) {
            return Vec::new();
        }
        let mut offences = conduct::offences(&parts.headers);
        if self.entrance == Entrance::Tls {
            let port = self.world.port.load(Ordering::Relaxed);
            offences.extend(conduct::host_offence(authority, &self.link.host, port));
        }
        if self.http1 && parts.uri.scheme().is_some() {
            offences.push("an absolute-form target".to_owned());
        }
        offences
    }

    /// The answer, before anything is done to its body.
    async fn answer(
        &self,
        call: &mut Call,
        intake: Intake,
        taken: &Taken,
        offences: &[String],
    ) -> Result<Answer, Broken> {
        let mirror = call.path() == "/sim/mirror";
        let mut intake = Some(intake);
        if !taken.early && !mirror {
            self.read(call, &mut intake).await?;
        }
        if let Some(answer) = self.replacement(call, taken).await? {
            return Ok(answer);
        }
        if !mirror {
            self.read(call, &mut intake).await?;
        }
        if let Some(first) = offences.first() {
            return Ok(refused(first));
        }
        let mut answer = dispatch(&self.world, call, self.entrance);
        if answer.status == StatusCode::OK
            && let Some(body) = intake.and_then(Intake::leave)
        {
            answer = answer.flowing(body.map_err(|_| Broken::Here).boxed_unsync());
        }
        if !answer.delay.is_zero() {
            clock::sleep(answer.delay).await;
        }
        Ok(gzip::compressed(answer, &call.headers))
    }

    /// Reads the body, unless that was done before.
    async fn read(&self, call: &mut Call, intake: &mut Option<Intake>) -> Result<(), Broken> {
        if let Some(intake) = intake.take() {
            call.body = intake.read().await;
        }
        match call.body.end {
            BodyEnd::Aborted => Err(Broken::Here),
            BodyEnd::Open | BodyEnd::Unread | BodyEnd::Whole => Ok(()),
        }
    }

    /// Waits where a script says so; what is given in place of the real answer, if anything.
    async fn replacement(&self, call: &Call, taken: &Taken) -> Result<Option<Answer>, Broken> {
        for fault in &taken.faults {
            match fault {
                Fault::Answer { .. } => return Ok(fault.canned()),
                Fault::Entra(code) => {
                    let correlation = call.header("client-request-id").unwrap_or("none");
                    return Ok(Some(aadsts::refuse(*code, "(by script)", correlation)));
                }
                Fault::Break {
                    after: None,
                    ending,
                } => return self.broken(*ending).await,
                Fault::Raw(bytes, ending) if self.http1 => {
                    self.link.write_instead(bytes.clone(), *ending);
                    return Ok(Some(Answer::new(StatusCode::OK)));
                }
                Fault::Unprocessed if self.http1 => return self.broken(Ending::Close).await,
                Fault::Unprocessed => {
                    let error = h2::Error::from(h2::Reason::REFUSED_STREAM);
                    return Err(Broken::Coded(error));
                }
                Fault::Raw(..) => return Err(Broken::Here),
                Fault::Hold(gate) => gate.passed().await,
                Fault::Latency(time) => clock::sleep(*time).await,
                Fault::Break { .. }
                | Fault::CloseDelimited(_)
                | Fault::Drip { .. }
                | Fault::Goaway => {}
            }
        }
        Ok(None)
    }

    async fn broken<T>(&self, ending: Ending) -> Result<T, Broken> {
        if ending == Ending::Hang {
            std::future::pending::<()>().await;
        }
        if self.http1 {
            self.link.end_with(ending);
        }
        Err(Broken::Here)
    }

    /// The answer as HTTP, with its body spoilt where a script says so.
    async fn spoil(&self, answer: Answer, taken: &Taken) -> Response<Flow> {
        for fault in &taken.faults {
            match fault {
                Fault::Goaway => {
                    self.link.retire();
                    // Lets the connection hear of it before the head is written.
                    tokio::task::yield_now().await;
                }
                Fault::CloseDelimited(ending) if self.http1 => {
                    let bytes = raw::close_delimited(&answer);
                    self.link.write_instead(bytes, *ending);
                }
                _ => {}
            }
        }
        let mut response = answer.into_response();
        for fault in &taken.faults {
            response = response.map(|flow| match fault {
                Fault::Drip { size, every } => Drip::new(flow, *size, *every).boxed_unsync(),
                Fault::Break {
                    after: Some(after),
                    ending,
                } => Cut::new(flow, *after, *ending, &self.link).boxed_unsync(),
                _ => flow,
            });
        }
        response
    }
}

/// The answer of the service that the request is for.
fn dispatch(world: &World, call: &Call, entrance: Entrance) -> Answer {
    if entrance == Entrance::Plain && metadata::serves(call.path()) {
        return metadata::answer(world, call);
    }
    match host::service(&call.authority, call.path()) {
        Some(Service::Entra) => entra::answer(world, call),
        Some(Service::Graph) => graph::answer(world, call),
        Some(Service::Dataverse) => dataverse::answer(world, call),
        Some(Service::Download) => download::answer(world, call),
        None => {
            world.offend(call, "a host that nobody serves");
            Answer::new(StatusCode::MISDIRECTED_REQUEST)
        }
    }
}

/// What an offence is answered with.
fn refused(what: &str) -> Answer {
    let message = format!("the simulator refuses {what}");
    let document = json!({"error": {"code": "SimulatorViolation", "message": message}});
    Answer::json(StatusCode::BAD_REQUEST, "application/json", &document)
}
