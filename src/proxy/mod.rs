//! The request path: what happens to a request between a complete head and the last byte of its
//! answer. `Proxy::forward` is the table of contents; each line of it is a room of its own.

pub mod conversation;
pub mod error;
pub mod generation;

mod admission;
mod body;
mod call;
mod exchange;
mod lane;
mod request;
mod request_id;
mod response;
mod rewritten;
mod send;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};

pub use admission::Admission;
use admission::Places;
use body::Source;
pub use body::{BodyError, ResponseBody};
use call::Call;
use conversation::Conversation;
use error::ProxyError;
use exchange::Exchange;
use generation::{InForce, Route};
use lane::{Lane, LaneRoute};
use request::Outgoing;
use request_id::RequestIds;
use response::{for_caller, pass_on, refuse};
use send::send;

use crate::access_log::{AccessLane, TokenUse};
use crate::alarm::AlarmClock;
use crate::code::Code;
use crate::config::{BatchRule, Limits};
use crate::metrics::{Metrics, RefusalCells, RouteCells};
use crate::policy::Refusal;
use crate::policy::batch;
use crate::policy::browser::Listener;
use crate::policy::target::Target;
use crate::route::path;
use crate::token::Bearer;
use crate::upstream::{BodyFault, CallerBody, RequestBody};

/// One worker's proxy.
pub struct Proxy {
    worker: usize,
    in_force: Arc<InForce>,
    lane: RefCell<Rc<Lane>>,
    metrics: Arc<Metrics>,
    clock: Rc<AlarmClock>,
    access_log: AccessLane,
    refusals: Arc<RefusalCells>,
    unrouted: Arc<RouteCells>,
    request_ids: RequestIds,
    places: Places,
    goodbye: Cell<bool>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
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
            metrics,
            clock,
            access_log,
            request_ids: RequestIds::new(),
            places: Places::of(admission),
            goodbye: Cell::new(false),
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
        next
    }

    /// From now on HTTP/1.1 answers say that the connection closes.
    pub fn say_goodbye(&self) {
        self.goodbye.set(true);
    }

    /// A head that was refused before it could be read.
    pub fn refused_unread(&self, code: Code) {
        self.refusals.refused(code);
        tracing::info!(
            code = code.as_str(),
            "request refused before it could be read"
        );
    }

    /// An id for an answer to a request that has none.
    pub fn fresh_request_id(&self) -> HeaderValue {
        self.request_ids.make()
    }

    /// Housekeeping, about once a second: follow a reload, close old connections.
    pub fn sweep(&self) {
        self.lane().sweep(Instant::now());
    }

    /// Answers a request. There is always an answer, and always one record of it.
    pub async fn handle(
        self: Rc<Self>,
        request: Request<Incoming>,
        conversation: Rc<Conversation>,
    ) -> Response<ResponseBody> {
        let (parts, incoming) = request.into_parts();
        let mut exchange = Exchange::open(&self, &conversation, &parts);
        let body = self.caller_body(incoming, &mut exchange);
        let outcome = self
            .forward(&mut exchange, &conversation, &parts, body)
            .await;
        let mut response = match outcome {
            Ok(Reply::Upstream(response)) => pass_on(exchange, response),
            Ok(Reply::Preflight(headers)) => {
                exchange.answered(StatusCode::NO_CONTENT.as_u16(), None);
                let mut response = Response::new(ResponseBody::own(String::new(), exchange));
                *response.status_mut() = StatusCode::NO_CONTENT;
                *response.headers_mut() = headers;
                response
            }
            Err(error) => refuse(exchange, &error),
        };
        if self.goodbye.get() && parts.version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }

    /// The request path, step by step as the specification numbers them.
    async fn forward(
        &self,
        exchange: &mut Exchange,
        conversation: &Conversation,
        parts: &Parts,
        body: RequestBody,
    ) -> Result<Reply, ProxyError> {
        if !exchange.is_admitted() {
            return Err(ProxyError::Overloaded(
                "limits.in_flight requests are in flight; ask again in a moment",
            ));
        }
        let lane = Rc::clone(&exchange.lane);
        let world = &lane.generation;
        within_limits(&world.config.limits, parts)?;
        let target = Target::of(&parts.method, &parts.uri, &parts.headers, parts.version)?;
        world.hosts.check(&target.authority.host)?;
        exchange.page = world.fence.judge(
            Listener::Data,
            &parts.method,
            &target.authority,
            conversation.secure,
            &parts.headers,
        )?;
        if let Some(headers) = exchange.page.preflight(&parts.method, &parts.headers) {
            return Ok(Reply::Preflight(headers));
        }
        let found = world
            .table
            .find(&target.authority.host, target.path)
            .ok_or_else(no_route)?;
        exchange.matched(found.route);
        let call = Call {
            parts,
            lane: &lane,
            index: found.route,
            rest: found.rest,
            secure: conversation.secure,
            batch: is_batch(parts, &body, found.rest),
        };
        let (route, own) = (call.route(), call.own());
        exchange.caller = world.callers.identify(
            &route.callers,
            &parts.headers,
            conversation.certificate.as_ref(),
            exchange.opened.wall,
        )?;
        admit(route, parts, found.rest)?;
        let path = path::for_upstream(&route.spec.upstream.prefix, found.rest, target.query)
            .map_err(|error| Refusal::new(Code::UriTooLong, error.to_string()))?;
        let outgoing = Outgoing::new(parts, path, route, exchange.request_id.clone())?;
        within_body_limit(route, exchange, &outgoing)?;
        screen_trailers(&lane, found.route, exchange, &outgoing);
        let bearer = token(exchange, own, world.config.timeouts.token_wait).await?;
        let response = send(exchange, own, outgoing, &bearer, body).await?;
        Ok(Reply::Upstream(for_caller(exchange, &call, response)))
    }

    /// The caller's body, counted, bounded and timed; nothing when there is none.
    fn caller_body(&self, incoming: Incoming, exchange: &mut Exchange) -> RequestBody {
        if incoming.is_end_stream() {
            return RequestBody::Empty;
        }
        let limit = exchange.lane.generation.config.timeouts.request_body_idle;
        let body = CallerBody::new(incoming, self.clock.alarm(), limit);
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

fn no_route() -> Refusal {
    Refusal::new(
        Code::NoRoute,
        "no route matches this host and path; `tokenferry check` lists the routes",
    )
}

/// Bounds on the head that hyper does not keep apart.
fn within_limits(limits: &Limits, parts: &Parts) -> Result<(), Refusal> {
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    // The method, two spaces and the version belong to the line too.
    if target + parts.method.as_str().len() + 11 > limits.request_line {
        return Err(Refusal::new(
            Code::UriTooLong,
            "the request line is longer than limits.request_line; long queries fit into a $batch",
        ));
    }
    let fields = parts.headers.iter();
    // A colon, a space and a line end for each.
    let block: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if block > limits.header_block || parts.headers.len() > limits.headers {
        return Err(Refusal::new(
            Code::HeadersTooLarge,
            "the request has more header fields than limits.headers, or more bytes of them than limits.header_block",
        ));
    }
    Ok(())
}

/// Whether the route lets this through: its `allow`, and no batch past it.
fn admit(route: &Route, parts: &Parts, rest: &str) -> Result<(), Refusal> {
    if route.spec.allow.is_some() && batch::is_batch(rest) && route.spec.batch != BatchRule::Pass {
        return Err(Refusal::new(
            Code::NotAllowed,
            "a $batch cannot be checked against the route's allow yet; send the requests one by one",
        ));
    }
    if route
        .allow
        .permits_request(&parts.method, &parts.headers, rest)
    {
        return Ok(());
    }
    Err(Refusal::new(
        Code::NotAllowed,
        format!(
            "the route \"{}\" does not allow this method and path; `allow` in routes.yaml lists what it does",
            route.spec.name
        ),
    ))
}

/// A body that is declared too large is refused before any of it is read.
fn within_body_limit(
    route: &Route,
    exchange: &Exchange,
    outgoing: &Outgoing<'_>,
) -> Result<(), ProxyError> {
    let (Some(limit), Some(upload)) = (route.spec.max_body_bytes, &exchange.upload) else {
        return Ok(());
    };
    upload.bound(limit);
    match outgoing.declared_length() {
        Some(length) if length > limit => Err(BodyFault::TooLarge.into()),
        _ => Ok(()),
    }
}

/// Announced trailers go up after the same rules as headers; others are dropped.
fn screen_trailers(lane: &Rc<Lane>, route: usize, exchange: &Exchange, outgoing: &Outgoing<'_>) {
    if let Some(upload) = &exchange.upload
        && outgoing.announces_trailers()
    {
        let lane = Rc::clone(lane);
        upload.let_trailers_through(Box::new(move |trailers| {
            lane.route(route).request_rules.trailers(trailers);
        }));
    }
}

/// Whether a request is a batch. One that asks for nothing but to read, without a body, is none.
fn is_batch(parts: &Parts, body: &RequestBody, rest: &str) -> bool {
    let reads = parts.method.is_safe() && matches!(body, RequestBody::Empty);
    !reads && batch::is_batch(rest)
}

/// The cached token, or the one that is on its way.
async fn token(
    exchange: &mut Exchange,
    own: &LaneRoute,
    limit: Duration,
) -> Result<Bearer, ProxyError> {
    if let Some(bearer) = own.token.find(exchange.opened) {
        own.token_cells.hit();
        exchange.token = Some(TokenUse::Hit);
        return Ok(bearer);
    }
    own.token_cells.miss();
    exchange.token = Some(TokenUse::Wait);
    Ok(own.token.wait(exchange.opened, limit).await?)
}
