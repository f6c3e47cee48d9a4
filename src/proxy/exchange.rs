//! The record of one exchange, from the complete request head to the last byte of the answer. It is
//! closed exactly once, when it is dropped: that is when the metrics count and the log line is
//! written, however the exchange ended.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version};

use super::Proxy;
use super::conversation::Conversation;
use super::inner_status::InnerStatuses;
use super::lane::Lane;
use super::request_id::RequestId;
use super::route_places::RoutePlace;
use crate::access_log::{AccessRecord, Outcome, TokenUse};
use crate::caller::CallerId;
use crate::clock::Now;
use crate::code::Code;
use crate::metrics::{MethodLabel, RouteCells};
use crate::policy::browser::Page;
use crate::upstream::{Upload, request_id};

/// One exchange.
pub(super) struct Exchange {
    proxy: Rc<Proxy>,
    /// The connection it is on.
    pub(super) conversation: Rc<Conversation>,
    /// The configuration that holds for all of it.
    pub(super) lane: Rc<Lane>,
    /// When the request head was complete.
    pub(super) opened: Now,
    /// The caller's `client-request-id`, or ours.
    pub(super) request_id: RequestId,
    method: Method,
    /// HTTP/1.0, which knows no chunks.
    old: bool,
    /// For the access log, where there is one.
    uri: Option<Uri>,
    /// Index of the route, once it is found.
    pub(super) route: Option<usize>,
    /// The name of the caller, when the route asks for one.
    pub(super) caller: Option<CallerId>,
    /// What went up.
    pub(super) sent: Sent,
    /// Which page asks, if a listed one does.
    pub(super) page: Page,
    /// The progress of the request body, when there is one.
    pub(super) upload: Option<Rc<Upload>>,
    /// Bytes of the answer's body.
    response_bytes: u64,
    /// Its place among the route's `max_concurrency`.
    pub(super) place: Option<RoutePlace>,
    /// Notes how the operations of a batch ended.
    pub(super) operations: Option<Box<InnerStatuses>>,
    /// How it ended, so far.
    pub(super) outcome: Outcome,
    /// Its place among `limits.in_flight`, if there was one.
    permit: Option<InFlightPermit>,
    answered: Option<Answered>,
}

/// What went to the upstream, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Where the token came from.
    pub(super) token: Option<TokenUse>,
    /// Which token went up last, within its entry.
    pub(super) token_serial: u64,
    /// Whether anything was waited for before the request went up.
    pub(super) waited: bool,
    /// How often it went up.
    pub(super) attempts: u32,
    /// When the last answer began.
    pub(super) response_began: Option<Instant>,
    /// The upstream's id of the request, for the access log.
    upstream_request_id: Option<Box<str>>,
}

/// The head of an answer that went out.
#[derive(Debug)]
struct Answered {
    status: u16,
    at: Instant,
    /// Why it is one of our own.
    refused: Option<Code>,
}

/// A place among `limits.in_flight`. It outlasts its exchange where some of the answer is still held.
pub struct InFlightPermit(Rc<Proxy>);

impl InFlightPermit {
    fn take(proxy: &Rc<Proxy>) -> Option<Self> {
        proxy.places.take().then(|| Self(Rc::clone(proxy)))
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        self.0.places.give();
    }
}

impl Exchange {
    /// Begins with a complete request head. In a box: it is handed on more often than it is made.
    pub(super) fn open(
        proxy: &Rc<Proxy>,
        conversation: Rc<Conversation>,
        parts: &Parts,
    ) -> Box<Self> {
        let opened = Now::read();
        conversation.exchange_began();
        Box::new(Self {
            lane: proxy.lane(),
            request_id: proxy.request_ids.of(&parts.headers),
            proxy: Rc::clone(proxy),
            conversation,
            opened,
            method: parts.method.clone(),
            old: parts.version < Version::HTTP_11,
            uri: proxy.access_log.is_on().then(|| parts.uri.clone()),
            route: None,
            caller: None,
            sent: Sent::default(),
            page: Page::Own,
            upload: None,
            response_bytes: 0,
            place: None,
            operations: None,
            outcome: Outcome::Dropped,
            permit: InFlightPermit::take(proxy),
            answered: None,
        })
    }

    /// Whether it may go on: there was a place for it.
    pub(super) fn is_admitted(&self) -> bool {
        self.permit.is_some()
    }

    /// Whether the answer has a head only, whatever that says of a body (RFC 9110 section 9.3.2).
    pub(super) fn asks_for_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Whether the end of the answer may be held long after it was given: the streams of HTTP/2 have
    /// windows, so whoever watches them says when it is sent.
    pub(super) fn ends_when_sent(&self) -> bool {
        self.conversation.has_streams()
    }

    /// Ends it as one whose caller does not read; what it still holds keeps its place.
    pub(super) fn let_go(mut self: Box<Self>) -> Option<InFlightPermit> {
        self.outcome = Outcome::Dropped;
        self.permit.take()
    }

    /// A piece of the body goes to the caller.
    pub(super) fn gave(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
        self.conversation.gave(bytes);
    }

    /// Whether the piece before is not written yet.
    pub(super) fn writes_first(&self) -> bool {
        self.conversation.writes_first()
    }

    /// Whether the caller may still be sending what nobody reads.
    pub(super) fn leaves_unread(&self) -> bool {
        let upload = self.upload.as_ref();
        upload.is_some_and(|upload| upload.is_unread())
    }

    /// The route was found.
    pub(super) fn matched(&mut self, route: usize) {
        self.route = Some(route);
        self.lane.routes[route].cells.request_started();
    }

    /// The head of the answer goes out.
    pub(super) fn answered(&mut self, status: u16, refused: Option<Code>) {
        // The upstream's head is passed on as soon as it is there; an answer of our own begins now.
        let began = self.sent.response_began.filter(|_| refused.is_none());
        self.answered = Some(Answered {
            status,
            at: began.unwrap_or_else(Instant::now),
            refused,
        });
        if let Some(code) = refused {
            self.proxy.refusals.refused(code);
        }
    }

    /// Notes the upstream's id of the request, for the access log.
    pub(super) fn note_upstream_request_id(&mut self, headers: &HeaderMap) {
        if self.proxy.access_log.is_on() {
            self.sent.upstream_request_id = request_id(headers).map(Box::from);
        }
    }

    /// Notes how operations ended, in a piece of the answer to a batch.
    pub(super) fn note_operations(&mut self, data: &[u8]) {
        let (Some(operations), Some(route)) = (&mut self.operations, self.route) else {
            return;
        };
        for _ in 0..operations.read(data) {
            self.lane.routes[route].cells.throttled();
        }
    }

    /// Has the token renewed that an operation of the batch was refused with. Nobody waits for that:
    /// the next request has another one.
    fn renew_refused(&self) {
        let refused = self.operations.as_ref().is_some_and(|it| it.is_refused());
        if let (true, Some(route)) = (refused, self.route)
            && self.lane.routes[route].token.disown(self.sent.token_serial)
        {
            tracing::info!(
                route = self.lane.name(route),
                "an operation of a batch was refused its token; another one is asked for"
            );
        }
    }

    /// A number from 0 to 1 that need not be hard to guess.
    pub(super) fn random(&self) -> f64 {
        self.proxy.request_ids.random()
    }

    /// The cells of the route, or of requests without one.
    fn cells(&self) -> &RouteCells {
        match self.route {
            Some(route) => &self.lane.routes[route].cells,
            None => &self.proxy.unrouted,
        }
    }

    /// The status of the answer; 0 before there is one.
    fn status(&self) -> u16 {
        self.answered.as_ref().map_or(0, |answered| answered.status)
    }

    fn record(&self, total: Duration, request_bytes: u64) -> AccessRecord<'_> {
        let (sent, answered) = (&self.sent, self.answered.as_ref());
        AccessRecord {
            time: self.opened.wall,
            request_id: self.request_id.as_str(),
            caller: self.caller.and_then(|caller| self.lane.caller(caller)),
            route: self.route.map(|route| self.lane.name(route)),
            method: self.method.as_str(),
            path: self.uri.as_ref().map_or("", Uri::path).as_bytes(),
            status: self.status(),
            request_bytes,
            response_bytes: self.response_bytes,
            head: answered.map(|answered| answered.at.duration_since(self.opened.mono)),
            total,
            token: sent.token,
            attempts: sent.attempts,
            upstream_request_id: sent.upstream_request_id.as_deref().map(str::as_bytes),
            refused: answered.and_then(|answered| answered.refused),
            outcome: self.outcome,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.outcome == Outcome::Dropped && self.proxy.ended.get() {
            self.outcome = Outcome::Failed;
        }
        let total = Instant::now().duration_since(self.opened.mono);
        let request_bytes = self.upload.as_ref().map_or(0, |upload| upload.bytes());
        self.renew_refused();
        if self.route.is_none() {
            self.proxy.unrouted.request_started();
        }
        self.cells().request_ended(
            MethodLabel::of(&self.method),
            self.status(),
            total,
            request_bytes,
            self.response_bytes,
        );
        if self.proxy.access_log.is_on() {
            self.proxy
                .access_log
                .write(&self.record(total, request_bytes));
        }
        self.conversation.exchange_ended(self.leaves_unread());
        if self.old && self.outcome == Outcome::Failed {
            self.conversation.cut_short();
        }
    }
}
