//! One attempt to one upstream: a connection from the pool, the request, the response head, and a
//! body that holds the connection until it has ended. What an exchange means, and whether an
//! attempt is repeated, is decided above.
//!
//! Every worker thread owns its upstreams: nothing here is shared or locked.

pub mod answer_head;
mod caller_body;
mod channel;
mod closable;
mod connect;
pub mod connect_answer;
mod error;
#[cfg(test)]
mod error_tests;
pub mod framing;
pub mod inflow;
mod known_head;
#[cfg(test)]
mod known_head_tests;
mod lead;
mod leftover;
mod memory;
mod multiplex;
mod outflow;
mod pool;
mod race;
mod reach;
mod request_body;
mod request_head;
mod resolver;
mod response_body;
mod stream;
mod tunnel;
mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

pub use caller_body::{BodyFault, CallerBody, Upload};
pub use channel::Channel;
pub use connect::Egress;
pub use error::{Breakage, ConnectError, Failure, UpstreamError};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
pub use leftover::{LINGER, LINGER_BYTES};
pub use outflow::expects_body;
pub use request_body::RequestBody;
pub use request_head::{CLIENT_REQUEST_ID, RequestHead};
pub use response_body::{ResponseBodyError, UpstreamBody};
pub use wire::IDLE;

use crate::alarm::AlarmClock;
use crate::config::{Origin, UpstreamHttp, UpstreamTimeouts};
use crate::guid;
use crate::policy::response_header::{Unread, settle};
use channel::Kind;
use connect::Connector;
use memory::Memory;
use multiplex::Multiplex;
use pool::Pool;

/// Graph's, Dataverse's and Azure's names of their id of a request, which their support asks for first.
static REQUEST_IDS: [HeaderName; 3] = [
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-ms-service-request-id"),
    HeaderName::from_static("x-ms-request-id"),
];

/// The upstream's id of a request, as its answer has it: what may be shown as one, else nothing.
/// Dataverse gives two, each in a line; a front end may make one of them (RFC 9110 section 5.3). The
/// first is taken.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    let mut named = REQUEST_IDS.iter().filter_map(|name| headers.get(name));
    named.find_map(|value| {
        let mut ids = value.to_str().ok()?.split(',').map(str::trim);
        let first = ids.next().filter(|id| guid::is_id(id.as_bytes()));
        first.filter(|_| ids.all(|id| guid::is_id(id.as_bytes())))
    })
}

/// What an upstream is, as far as its connections go: equal specs may share them across a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSpec {
    /// Scheme, host and port.
    pub origin: Origin,
    /// The protocol that is offered to it.
    pub http: UpstreamHttp,
    /// Time limits for the connection, the head and pauses.
    pub timeouts: UpstreamTimeouts,
    /// The most connections of one worker.
    pub connections: usize,
    /// What may be missing in its answers.
    pub unread: Unread,
}

/// An upstream's answer. In a box: it is handed on more often than it is made.
pub type UpstreamResponse = Box<Response<UpstreamBody>>;

/// Told whenever the number of connections changes: open and idle ones.
pub type Observer = Box<dyn Fn(usize, usize)>;

/// One worker's way to one upstream.
pub struct Upstream {
    spec: UpstreamSpec,
    connector: Rc<Connector>,
    clock: Rc<AlarmClock>,
    pool: Rc<Pool>,
    multiplex: Rc<Multiplex>,
    /// What ALPN settled on, for `auto`.
    speaks_h2: Rc<Cell<Option<bool>>>,
    /// Open and idle connections of HTTP/2, as of the last sweep.
    h2_census: Rc<Cell<(usize, usize)>>,
    memory: Rc<Memory>,
}

impl Upstream {
    /// A way to an upstream, with no connection yet.
    pub fn new(
        spec: UpstreamSpec,
        egress: Egress,
        clock: Rc<AlarmClock>,
        observer: Observer,
    ) -> Self {
        let h2_census = Rc::new(Cell::new((0, 0)));
        let others = Rc::clone(&h2_census);
        let limit = spec.timeouts.connect;
        Self {
            connector: Rc::new(Connector::new(
                egress,
                spec.origin.clone(),
                spec.http,
                limit,
            )),
            pool: Pool::new(
                spec.connections,
                limit,
                Box::new(move |open, idle| {
                    let (others_open, others_idle) = others.get();
                    observer(open + others_open, idle + others_idle);
                }),
            ),
            multiplex: Multiplex::new(Rc::clone(&clock), spec.connections, limit),
            memory: Rc::new(Memory::of(spec.unread)),
            spec,
            clock,
            speaks_h2: Rc::default(),
            h2_census,
        }
    }

    /// What it was made from.
    pub fn spec(&self) -> &UpstreamSpec {
        &self.spec
    }

    /// Sends one request; `fresh` asks for a connection that nothing was sent on before.
    ///
    /// # Errors
    /// Before the response head: what happened and whether it can be repeated.
    pub async fn send(
        &self,
        head: RequestHead<'_>,
        body: RequestBody,
        fresh: bool,
    ) -> Result<UpstreamResponse, Failure> {
        // What is rare is in a box, here and above: an exchange is as large as its largest step, and
        // it is moved as a whole.
        let channel = match self.ready(fresh) {
            Some(channel) => Ok(channel),
            None => Box::pin(self.acquire(fresh)).await,
        };
        self.send_on(channel, head, body).await
    }

    /// Sends one request on what [`acquire`](Self::acquire) came to.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_on(
        &self,
        channel: Result<Channel, Rc<ConnectError>>,
        head: RequestHead<'_>,
        body: RequestBody,
    ) -> Result<UpstreamResponse, Failure> {
        let channel = match channel {
            Ok(channel) => channel,
            Err(error) => return Err(Failure::unsent(error, body)),
        };
        let limit = self.spec.timeouts.response_head;
        let idle = self.spec.timeouts.response_body_idle;
        let response = match channel.0 {
            Kind::Http1(mut lease) => {
                let response = lease.wire().send(head, body, limit).await?;
                // It would turn the connection into a tunnel (RFC 9110 section 7.8).
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return Err(UpstreamError::Upgrade.into());
                }
                response.map(|settled| UpstreamBody::http1(lease, idle, settled))
            }
            Kind::Http2(stream) => {
                let upload = body.upload();
                let request = for_http2(head, body, &self.spec.origin);
                let mut response = Box::pin(stream.send(request, limit)).await?;
                let settled = settle(response.headers_mut());
                let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
                let bodiless = bodiless.contains(&response.status());
                let response = response
                    .map(|incoming| UpstreamBody::http2(incoming, stream, idle, upload, settled));
                if bodiless {
                    response.map(|body| {
                        body.end_alone();
                        UpstreamBody::none(settled)
                    })
                } else {
                    response
                }
            }
        };
        Ok(Box::new(response))
    }

    /// Closes what is old, idle for too long or dead, and gives memory back. Called about once a
    /// second.
    pub fn sweep(&self, now: Instant) {
        self.memory.sweep();
        self.pool.sweep(now);
        self.multiplex.sweep(now);
        self.count(self.multiplex.census());
    }

    /// Closes what is idle: its descriptors are needed elsewhere.
    pub fn close_idle(&self) {
        self.pool.close_idle();
        self.multiplex.close_idle();
        self.count(self.multiplex.census());
    }

    /// Tells the observer of HTTP/2's connections, beside those of HTTP/1.1.
    fn count(&self, census: (usize, usize)) {
        if self.h2_census.replace(census) != census {
            self.pool.report();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.count((0, 0));
    }
}

/// HTTP/2 names the origin in `:scheme` and `:authority`; `Host` would say it twice.
fn for_http2(head: RequestHead<'_>, body: RequestBody, origin: &Origin) -> Request<RequestBody> {
    let uri = http::Uri::builder()
        .scheme(if origin.secure { "https" } else { "http" })
        .authority(origin.authority())
        .path_and_query(head.target.parsed())
        .build();
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri.unwrap_or_else(|_| head.target.parsed().into());
    *request.headers_mut() = head.to_map();
    request.headers_mut().remove(http::header::HOST);
    request
}
