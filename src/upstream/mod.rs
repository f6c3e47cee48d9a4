//! One attempt to one upstream: a connection from the pool, the request, the response head, and a
//! body that holds the connection until it has ended. What an exchange means, and whether an
//! attempt is repeated, is decided above.
//!
//! Every worker thread owns its upstreams: nothing here is shared or locked.

pub mod answer_head;
mod closable;
mod connect;
mod error;
pub mod framing;
pub mod inflow;
mod known_head;
mod leftover;
mod memory;
mod multiplex;
mod outflow;
mod pool;
pub mod proxy_variable;
mod request_body;
mod request_head;
mod resolver;
mod response_body;
mod stream;
mod tunnel;
mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderName, Request, Response, StatusCode};
use tokio::sync::OwnedMutexGuard;

pub use connect::Egress;
pub use error::{Breakage, ConnectError, Failure, UpstreamError};
pub use leftover::{LINGER, LINGER_BYTES};
pub use request_body::{BodyFault, CallerBody, RequestBody, Upload};
pub use request_head::RequestHead;
pub use response_body::{ResponseBodyError, UpstreamBody};

use crate::alarm::AlarmClock;
use crate::config::{Origin, UpstreamHttp, UpstreamTimeouts};
use connect::Connector;
use memory::Memory;
use multiplex::{Multiplex, Stream};
use pool::{Lease, Pool};
use stream::UpstreamStream;
use wire::Wire;

/// Graph's and Dataverse's names of their id of a request, which their support asks for first.
pub static REQUEST_IDS: [HeaderName; 2] = [
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-ms-service-request-id"),
];

/// Connections live five minutes, a fifth more or less, so that changes of DNS are followed and not
/// all are renewed at once.
const LIFETIME: Duration = Duration::from_secs(300);

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
}

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
    observer: Rc<Observer>,
    memory: Rc<Memory>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// A place to send one request.
enum Place {
    One(Lease),
    Two(Stream),
}

/// What came of a dial where HTTP/2 may be spoken.
enum Dialled {
    One(UpstreamStream),
    Two(Stream),
}

impl Upstream {
    /// A way to an upstream, with no connection yet.
    pub fn new(
        spec: UpstreamSpec,
        egress: Egress,
        clock: Rc<AlarmClock>,
        observer: Observer,
    ) -> Self {
        let observer = Rc::new(observer);
        let told = Rc::clone(&observer);
        Self {
            connector: Rc::new(Connector::new(
                egress,
                spec.origin.clone(),
                spec.http,
                spec.timeouts.connect,
            )),
            pool: Pool::new(
                spec.connections,
                Box::new(move |census| told(census.open, census.idle)),
            ),
            spec,
            clock,
            multiplex: Rc::default(),
            speaks_h2: Rc::default(),
            observer,
            memory: Rc::default(),
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
    ) -> Result<Response<UpstreamBody>, Failure> {
        // What is rare is in a box, here and above: an exchange is as large as its largest step, and
        // it is moved as a whole.
        let place = match self.ready(fresh) {
            Some(place) => Ok(place),
            None => Box::pin(self.place(fresh)).await,
        };
        let place = match place {
            Ok(place) => place,
            Err(error) => {
                return Err(Failure {
                    error: error.into(),
                    unprocessed: true,
                    begun: false,
                    body: Some(body),
                });
            }
        };
        let limit = self.spec.timeouts.response_head;
        let idle = self.spec.timeouts.response_body_idle;
        let upload = body.upload();
        let response = match place {
            Place::One(mut lease) => {
                let response = lease.wire().send(head, body, limit).await?;
                // It would turn the connection into a tunnel (RFC 9110 section 7.8).
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return Err(UpstreamError::Upgrade.into());
                }
                response.map(|()| UpstreamBody::one(lease, idle, upload))
            }
            Place::Two(stream) => {
                let alarm = self.clock.alarm();
                let request = for_http2(head, body, &self.spec.origin);
                let response = Box::pin(stream.send(request, &alarm, limit)).await?;
                let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
                if bodiless.contains(&response.status()) {
                    response.map(|_| UpstreamBody::none())
                } else {
                    response
                        .map(|incoming| UpstreamBody::two(incoming, stream, alarm, idle, upload))
                }
            }
        };
        Ok(response)
    }

    /// Closes what is old, idle for too long or dead, and gives memory back. Called about once a
    /// second.
    pub fn sweep(&self, now: Instant) {
        self.memory.sweep();
        self.pool.sweep(now);
        self.multiplex.sweep(now);
        if self.speaks_h2.get() == Some(true) {
            let (open, idle) = self.multiplex.census();
            (self.observer)(open, idle);
        }
    }

    /// Closes what is idle: its descriptors are needed elsewhere.
    pub fn close_idle(&self) {
        self.pool.close_idle();
        self.multiplex.close_idle();
    }

    /// Whether HTTP/2 is or may be spoken.
    fn may_speak_h2(&self) -> bool {
        match self.spec.http {
            UpstreamHttp::One => false,
            UpstreamHttp::Two => true,
            UpstreamHttp::Auto => self.speaks_h2.get().unwrap_or(true),
        }
    }

    /// A place on a connection that is there.
    fn ready(&self, fresh: bool) -> Option<Place> {
        let now = self.clock.coarse();
        match self.may_speak_h2() {
            _ if fresh => None,
            true => self.multiplex.place(now, None).map(Place::Two),
            false => self.pool.take_idle(now).map(Place::One),
        }
    }

    async fn place(&self, fresh: bool) -> Result<Place, Rc<ConnectError>> {
        if self.may_speak_h2()
            && let Some(place) = self.place_h2(fresh).await?
        {
            return Ok(place);
        }
        if fresh {
            return self.pool.fresh(self.dial()).await.map(Place::One);
        }
        // It may have turned out just now that HTTP/1.1 is spoken.
        if let Some(lease) = self.pool.take_idle(self.clock.coarse()) {
            return Ok(Place::One(lease));
        }
        self.pool.wait(|| self.dial()).await.map(Place::One)
    }

    /// A place where HTTP/2 may be spoken; `None` when it turned out while this waited that it is
    /// not. A connection that was opened meanwhile is as fresh as any.
    async fn place_h2(&self, fresh: bool) -> Result<Option<Place>, Rc<ConnectError>> {
        let now = Instant::now();
        let since = fresh.then_some(now);
        if let Some(stream) = self.multiplex.place(now, since) {
            return Ok(Some(Place::Two(stream)));
        }
        let turn = self.multiplex.dialling().await?;
        if let Some(stream) = self.multiplex.place(Instant::now(), since) {
            return Ok(Some(Place::Two(stream)));
        }
        if self.spec.http == UpstreamHttp::Auto && self.speaks_h2.get() == Some(false) {
            return Ok(None);
        }
        // In a task of its own, with the turn: a caller that leaves wastes no handshake, and those
        // behind it wait no longer than for one.
        let dialled = tokio::task::spawn_local(self.dial_h2(turn)).await;
        let dialled = dialled.map_err(|_| Rc::new(ConnectError::Fault))??;
        let stream = match dialled {
            Dialled::Two(stream) => return Ok(Some(Place::Two(stream))),
            Dialled::One(stream) => stream,
        };
        let wire = Wire::new(
            stream,
            Rc::clone(&self.memory),
            self.clock.alarm(),
            lifetime(),
        );
        let dial = std::future::ready(Ok(wire));
        self.pool.fresh(dial).await.map(Place::One).map(Some)
    }

    /// Dials, and finds out what is spoken.
    fn dial_h2(
        &self,
        turn: OwnedMutexGuard<()>,
    ) -> impl Future<Output = Result<Dialled, Rc<ConnectError>>> + 'static {
        let (connector, multiplex) = (Rc::clone(&self.connector), Rc::clone(&self.multiplex));
        let (speaks_h2, protocol) = (Rc::clone(&self.speaks_h2), self.protocol());
        async move {
            let _turn = turn;
            let dialled = connector.connect().await;
            let (stream, h2) = dialled.map_err(|error| multiplex.dial_failed(error))?;
            speaks_h2.set(Some(h2));
            if !h2 {
                return Ok(Dialled::One(stream));
            }
            let opened = multiplex.open(stream, lifetime()).await;
            let failed = |_| multiplex.dial_failed(protocol);
            opened.map(Dialled::Two).map_err(failed)
        }
    }

    fn dial(&self) -> impl Future<Output = Result<Wire, ConnectError>> + 'static {
        let connector = Rc::clone(&self.connector);
        let (memory, alarm) = (Rc::clone(&self.memory), self.clock.alarm());
        async move {
            let (stream, _) = connector.connect().await?;
            Ok(Wire::new(stream, memory, alarm, lifetime()))
        }
    }

    fn protocol(&self) -> ConnectError {
        ConnectError::Protocol {
            target: self.spec.origin.authority(),
        }
    }
}

/// HTTP/2 names the origin in `:scheme` and `:authority`; `Host` would say it twice.
fn for_http2(head: RequestHead<'_>, body: RequestBody, origin: &Origin) -> Request<RequestBody> {
    let uri = http::Uri::builder()
        .scheme(if origin.secure { "https" } else { "http" })
        .authority(origin.authority())
        .path_and_query(head.target.clone())
        .build();
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri.unwrap_or_else(|_| head.target.clone().into());
    *request.headers_mut() = head.to_map();
    request.headers_mut().remove(http::header::HOST);
    request
}

fn lifetime() -> Duration {
    // A process-wide spread needs no better randomness than the clock's low bits.
    let spread = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_micros() % 400);
    LIFETIME * (800 + spread) / 1000
}
