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
use super::fault::{Fault, Taken, canned};
use super::flow::{Broken, Cut, Drip, Flow, Outflow};
use super::host::{self, Service};
use super::intake::Intake;
use super::journal::BodyEnd;
use super::wire::{Act, Ending, Link, Turn};
use super::world::World;
use super::{aadsts, dataverse, download, entra, graph, gzip, metadata, raw};

/// Where a request came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Entrance {
    /// The plain listener of the metadata services.
    Metadata,
    /// The TLS listener.
    Tls,
}

/// One request and the connection it came on.
struct Exchange {
    world: Arc<World>,
    link: Arc<Link>,
    http1: bool,
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
    let authority = raw::authority(&parts);
    let mut offences = if entrance == Entrance::Tls {
        judge(&world, &link, &parts, &authority)
    } else {
        Vec::new()
    };
    let number = if recording {
        let seen = raw::seen(&link, &parts, &authority, first);
        offences.extend(conduct::raw_offences(&seen.headers));
        world.journal.open(seen)
    } else {
        0
    };
    for what in &offences {
        world.journal.violation(number, what.clone());
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    let name = host::name(&authority).to_owned();
    let taken = world
        .faults
        .take(&name, parts.method.as_str(), &target, !first);
    let head = parts.method == Method::HEAD;
    let mut call = Call {
        number,
        method: parts.method,
        authority,
        target,
        headers: parts.headers,
        body: <_>::default(),
    };
    let exchange = Exchange { world, link, http1 };
    let intake = Intake::new(body, &exchange.world.journal, number);
    let answer = exchange
        .answer(&mut call, intake, &taken, entrance, &offences)
        .await?;
    exchange.world.journal.status(number, answer.status);
    let flow = exchange.spoil(answer, &taken).await;
    let journal = &exchange.world.journal;
    Ok(flow.map(|flow| Outflow::new(flow, journal, number, head, turn)))
}

/// What is wrong with a head that came in over TLS.
fn judge(world: &World, link: &Link, parts: &Parts, authority: &str) -> Vec<String> {
    let mut offences = conduct::offences(&parts.headers);
    let port = world.port.load(Ordering::Relaxed);
    offences.extend(conduct::host_offence(authority, &link.host, port));
    if parts.version != Version::HTTP_2 && parts.uri.scheme().is_some() {
        offences.push("an absolute-form target".to_owned());
    }
    offences
}

impl Exchange {
    /// The answer, before anything is done to its body.
    async fn answer(
        &self,
        call: &mut Call,
        intake: Intake,
        taken: &Taken,
        entrance: Entrance,
        offences: &[String],
    ) -> Result<Answer, Broken> {
        let mirror = call.path() == "/sim/mirror";
        let intake = if taken.early || mirror {
            Some(intake)
        } else {
            call.body = intake.read().await;
            if call.body.end == BodyEnd::Aborted {
                return Err(Broken::Here);
            }
            None
        };
        if let Some(answer) = self.replacement(call, taken).await? {
            return Ok(answer);
        }
        let mut mirrored = None;
        match intake {
            Some(intake) if mirror => mirrored = intake.leave(),
            Some(intake) => call.body = intake.read().await,
            None => {}
        }
        if let Some(first) = offences.first() {
            return Ok(refused(first));
        }
        let mut answer = dispatch(&self.world, call, entrance);
        if let (Some(body), StatusCode::OK) = (mirrored, answer.status) {
            answer = answer.flowing(body.map_err(|_| Broken::Here).boxed_unsync());
        }
        if !answer.delay.is_zero() {
            tokio::time::sleep(answer.delay).await;
        }
        if self.world.compress.load(Ordering::Relaxed) {
            return Ok(gzip::compressed(answer, &call.headers));
        }
        Ok(answer)
    }

    /// Waits where a script says so; what is given in place of the real answer, if anything.
    async fn replacement(&self, call: &Call, taken: &Taken) -> Result<Option<Answer>, Broken> {
        for fault in &taken.faults {
            match fault {
                Fault::Answer {
                    status,
                    headers,
                    body,
                } => {
                    return Ok(Some(canned(*status, headers, body)));
                }
                Fault::Entra(code) => {
                    let correlation = call.header("client-request-id").unwrap_or("none");
                    return Ok(Some(aadsts::refuse(*code, "(by script)", correlation)));
                }
                Fault::Break {
                    after: None,
                    ending,
                } => return self.broken(*ending).await,
                Fault::Raw(bytes, ending) if self.http1 => {
                    self.link.act(Act::Instead(bytes.clone(), *ending));
                    return Ok(Some(Answer::new(StatusCode::OK)));
                }
                Fault::Unprocessed if self.http1 => return self.broken(Ending::Close).await,
                Fault::Unprocessed => {
                    let error = h2::Error::from(h2::Reason::REFUSED_STREAM);
                    return Err(Broken::Unprocessed(error));
                }
                Fault::Raw(..) => return Err(Broken::Here),
                Fault::Hold(gate) => gate.passed().await,
                Fault::Latency(time) => tokio::time::sleep(*time).await,
                Fault::Break { .. }
                | Fault::CloseDelimited(_)
                | Fault::Drip { .. }
                | Fault::Goaway
                | Fault::Interim(_) => {}
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
        let mut flow_faults: Vec<&Fault> = Vec::new();
        for fault in &taken.faults {
            match fault {
                Fault::Goaway => {
                    self.link.retire();
                    // Lets the connection hear of it before the head is written.
                    tokio::task::yield_now().await;
                }
                Fault::Interim(bytes) if self.http1 => self.link.act(Act::Before(bytes.clone())),
                Fault::CloseDelimited(ending) if self.http1 => {
                    self.link
                        .act(Act::Instead(raw::close_delimited(&answer), *ending));
                }
                Fault::Break { after: Some(_), .. } | Fault::Drip { .. } => flow_faults.push(fault),
                _ => {}
            }
        }
        let mut response = answer.into_response();
        for fault in flow_faults {
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
    if entrance == Entrance::Metadata {
        return metadata::answer(world, call);
    }
    match host::service(&call.authority, call.path()) {
        Some(Service::Entra) => {
            world.token_calls.fetch_add(1, Ordering::Relaxed);
            entra::answer(world, call)
        }
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
