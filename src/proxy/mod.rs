//! The request path: what happens to a request between a complete head and the last byte of its
//! answer. `Proxy::forward` is the table of contents; each line of it is a room of its own.

pub mod conversation;
pub mod error;
pub mod generation;

mod admission;
mod admit;
mod allowance;
mod batch;
mod body;
mod call;
mod capacity;
mod challenge;
mod download;
mod exchange;
mod inner_status;
mod known_host;
mod lane;
mod refusal_report;
mod request;
mod request_body;
mod request_id;
mod response;
mod retry;
mod rewritten;
mod route_places;
mod send;
mod small_body;
mod throttle_gate;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use http::header::{CONNECTION, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use hyper::body::{Body, Incoming};

pub use admission::Admission;
use admission::Places;
use admit::{admit, caller, is_batch, page, route, screen_trailers, target, within_body_limit};
use body::Source;
pub use body::{BodyError, ResponseBody};
use call::Call;
use capacity::{wait_for_capacity, wait_for_quiet};
use conversation::Conversation;
use download::follow;
use error::ProxyError;
use exchange::Exchange;
pub use exchange::InFlightPermit;
use generation::InForce;
use lane::Lane;
pub use refusal_report::RefusalReport;
use request::Outgoing;
use request_body::{BodyMemory, prepare_body};
use request_id::RequestIds;
use response::{for_caller, pass_on, refuse, welcome};
use send::deliver;

use crate::access_log::{AccessLane, TokenUse};
use crate::alarm::AlarmClock;
use crate::clock::Now;
use crate::code::Code;
use crate::metrics::{Metrics, RefusalCells, RouteCells};
use crate::policy::request_header::is_ambiguous;
use crate::rewrite::names_file;
use crate::token::Bearer;
use crate::upstream::{CallerBody, IDLE, RequestBody};

/// One worker's proxy.
pub struct Proxy {
    worker: usize,
    in_force: Arc<InForce>,
    lane: RefCell<Rc<Lane>>,
    /// Lanes of before, which exchanges may still be on.
    former: RefCell<Vec<Weak<Lane>>>,
    metrics: Arc<Metrics>,
    clock: Rc<AlarmClock>,
    access_log: AccessLane,
    refusals: Arc<RefusalCells>,
    unrouted: Arc<RouteCells>,
    request_ids: RequestIds,
    places: Places,
    body_memory: BodyMemory,
    /// When it was swept last.
    swept: Cell<Now>,
    goodbye: Cell<bool>,
    ended: Cell<bool>,
}

impl Proxy {
    /// The proxy of a worker.
    pub fn new(
        worker: usize,
        in_force: Arc<InForce>,
        metrics: Arc<Metrics>,
        access_log: AccessLane,
        admission: Arc<Admission>,
        clock: Rc<AlarmClock>,
    ) -> Rc<Self> {
        let number = in_force.number();
        let lane = Lane::new(worker, number, in_force.load(), &metrics, &clock, None);
        Rc::new(Self {
            refusals: metrics.refusals(worker),
            unrouted: metrics.route_cells(worker, ""),
            worker,
            in_force,
            lane: RefCell::new(Rc::new(lane)),
            former: RefCell::default(),
            metrics,
            clock,
            access_log,
            request_ids: RequestIds::new(),
            body_memory: BodyMemory::of(&admission),
            places: Places::of(admission),
            swept: Cell::new(Now::read()),
            goodbye: Cell::new(false),
            ended: Cell::new(false),
        })
    }

    /// The worker's share of the generation in force.
    fn lane(&self) -> Rc<Lane> {
        let lane = Rc::clone(&self.lane.borrow());
        let number = self.in_force.number();
        if lane.number == number {
            return lane;
        }
        let next = Rc::new(Lane::new(
            self.worker,
            number,
            self.in_force.load(),
            &self.metrics,
            &self.clock,
            Some(&lane),
        ));
        self.lane.replace(Rc::clone(&next));
        self.former.borrow_mut().push(Rc::downgrade(&lane));
        next
    }

    /// From now on HTTP/1.1 answers say that the connection closes.
    pub fn say_goodbye(&self) {
        self.goodbye.set(true);
    }

    /// From now on what goes away is cut by the proxy, and has not been left by its caller.
    pub fn end(&self) {
        self.ended.set(true);
    }

    /// A head that was refused before it could be read, from this address, for this reason.
    pub fn refused_unread(&self, code: Code, peer: Option<IpAddr>, reason: &'static str) {
        self.refusals.refused(code);
        tracing::info!(
            code = code.as_str(),
            peer = peer.map(tracing::field::display),
            reason,
            "request refused before it could be read"
        );
    }

    /// An id for an answer to a request that has none.
    pub fn fresh_request_id(&self) -> HeaderValue {
        (&self.request_ids.make()).into()
    }

    /// Housekeeping, about once a second: follow a reload, close old connections.
    pub fn sweep(&self) {
        let (lane, now) = (self.lane(), Now::read());
        // What is idle has rested as long as the machine was suspended, and looks as young as before.
        if now.suspended_since(self.swept.replace(now)) >= IDLE {
            lane.close_idle();
        }
        let now = now.mono;
        lane.sweep(now);
        // One long exchange would keep all idle connections of its lane, and for as long.
        self.former.borrow_mut().retain(|former| {
            let former = former.upgrade();
            former.inspect(|it| it.close_left(&lane, now)).is_some()
        });
    }

    /// Answers a request. There is always an answer, and always one record of it.
    pub async fn handle(
        self: Rc<Self>,
        request: Request<Incoming>,
        conversation: Rc<Conversation>,
    ) -> Response<ResponseBody> {
        let (parts, incoming) = request.into_parts();
        let mut exchange = Exchange::open(&self, conversation, &parts);
        let body = self.caller_body(incoming, parts.version, &mut exchange);
        let outcome = self.forward(&mut exchange, &parts, body).await;
        let doubtful = is_doubtful(&outcome, &parts.headers);
        if doubtful {
            exchange.conversation.leave_unread();
        }
        // Where the answer comes first, nobody may read the rest of the body. Such a connection cannot
        // serve another request, and a caller who is not told sends one (RFC 9112 section 9.6).
        let closes = self.goodbye.get() || exchange.leaves_unread() || doubtful;
        let mut response = match outcome {
            Ok(Reply::Upstream(response)) => pass_on(exchange, response),
            Ok(Reply::Preflight(headers)) => welcome(exchange, headers),
            Err(error) => refuse(exchange, &parts.headers, &error),
        };
        if closes && parts.version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }

    /// The request path, in the order in which a request is refused, goes up and comes back.
    async fn forward(
        &self,
        exchange: &mut Exchange,
        parts: &Parts,
        body: RequestBody,
    ) -> Result<Reply, ProxyError> {
        let lane = Rc::clone(&exchange.lane);
        let known = exchange.conversation.last_host.recall(lane.number, parts);
        let target = target(exchange, parts, known.as_deref())?;
        exchange.page = page(exchange, parts, &target)?;
        if let Some(headers) = exchange.page.preflight(&parts.method, &parts.headers) {
            return Ok(Reply::Preflight(headers));
        }
        let found = route(&lane, &target)?;
        exchange.matched(found.route);
        let call = Call {
            parts,
            lane: &lane,
            index: found.route,
            rest: found.rest,
            authority: target.authority.text,
            secure: exchange.conversation.secure,
            host: known.as_deref(),
            batch: is_batch(&body, found.rest),
            has_body: !matches!(body, RequestBody::Empty),
            file: names_file(found.rest) || parts.headers.contains_key(RANGE),
        };
        exchange.caller = caller(exchange, &call)?;
        admit(&call)?;
        let mut outgoing = Outgoing::new(&call, target.asked, exchange.request_id.clone())?;
        within_body_limit(exchange, &call)?;
        screen_trailers(exchange, &call);
        if call.batch {
            // What batches hold has one bound for all routes, and is not to be held meanwhile.
            Box::pin(wait_for_quiet(exchange, call.route())).await?;
        }
        let prepared = prepare_body(&call, body, &mut outgoing, &self.body_memory).await?;
        wait_for_capacity(exchange, &call).await?;
        let bearer = token(exchange, &call).await?;
        let response = deliver(exchange, &call, &mut outgoing, &bearer, prepared).await?;
        let (response, file) = follow(exchange, &call, response).await?;
        Ok(Reply::Upstream(for_caller(exchange, &call, response, file)))
    }

    /// The caller's body, counted, bounded and timed; nothing when there is none.
    fn caller_body(
        &self,
        incoming: Incoming,
        version: Version,
        exchange: &mut Exchange,
    ) -> RequestBody {
        if incoming.is_end_stream() {
            return RequestBody::Empty;
        }
        let limit = exchange.lane.generation.config.timeouts.request_body_idle;
        let is_stream = version >= Version::HTTP_2;
        let body = CallerBody::new(incoming, self.clock.alarm(), limit, is_stream);
        exchange.upload = Some(body.upload());
        RequestBody::Caller(Box::new(body))
    }
}

/// What a request is answered with when nothing failed.
enum Reply {
    /// A preflight of a listed page, answered here.
    Preflight(HeaderMap),
    /// The upstream's answer.
    Upstream(Response<Source>),
}

/// Whether what follows this request may be its body to a server in front: it is malformed, or has names
/// that servers read in different ways and an answer of ours came before they were looked at.
fn is_doubtful(outcome: &Result<Reply, ProxyError>, headers: &HeaderMap) -> bool {
    match outcome {
        Ok(Reply::Upstream(_)) => false,
        Ok(Reply::Preflight(_)) => is_ambiguous(headers),
        Err(error) => error.answer().code == Code::BadRequest || is_ambiguous(headers),
    }
}

/// The cached token, or the one that is on its way.
async fn token(exchange: &mut Exchange, call: &Call<'_>) -> Result<Bearer, ProxyError> {
    let own = call.own();
    // A body that was read here, or a wait for capacity, took time.
    exchange.sent.waited = exchange.upload.is_some() || call.route().may_wait();
    let now = if exchange.sent.waited {
        Now::read()
    } else {
        exchange.opened
    };
    if let Some(bearer) = own.token.find(now) {
        own.token_cells.hit();
        exchange.sent.token = Some(TokenUse::Hit);
        return Ok(bearer);
    }
    exchange.sent.waited = true;
    let mut wait = Box::pin(own.token.wait(now, call.token_wait()));
    let bearer = poll_fn(|cx| {
        let polled = wait.as_mut().poll(cx);
        if polled.is_pending() {
            exchange.sent.token = Some(TokenUse::Wait);
        }
        polled
    });
    let bearer = bearer.await?;
    drop(wait);
    wait_for_capacity(exchange, call).await?;
    // Only now is there something to forward: who is refused or leaves has counted as neither.
    own.token_cells.miss();
    exchange.sent.token = Some(TokenUse::Wait);
    Ok(bearer)
}

#[cfg(test)]
mod tests;
