//! The checked configuration: values that cannot be wrong. `node` reads the YAML, `file` is the
//! shape of routes.yaml, `check` turns it into this, and everything else in the program sees only
//! this. `load` is the way in.
//!
//! Nothing here opens a socket or keeps a secret: a configuration records where a secret is.

mod allow;
mod base_url;
mod caller;
pub mod certificate_name;
mod check;
mod check_allow;
mod check_caller;
mod check_credential;
mod check_fallback;
mod check_header;
mod check_identity;
mod check_limit;
mod check_link;
mod check_network;
mod check_route;
mod check_scope;
mod choice;
mod cloud;
mod credential;
pub mod disk;
mod environment;
mod file;
mod file_reference;
#[cfg(test)]
// Their texts know of unix sockets.
#[cfg(unix)]
mod fixtures;
mod hidden;
// It measures by a clock that Windows does not have.
#[cfg(test)]
#[cfg(unix)]
mod hostile;
mod listen;
mod load;
mod node;
mod places;
mod problem;
mod read;
mod report;
mod resource;
mod roster;
mod route;
mod scalar;
mod schema;
mod secret_reference;
mod sole;
mod spelling;
pub mod subject;
mod syntax;
#[cfg(test)]
mod tests;
pub mod value;
#[cfg(test)]
mod value_laws;
mod variable;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::FilePath;
pub use allow::METHODS;
pub use caller::{CallerProof, CallerSpec, KubernetesKeys, KubernetesSpec};
pub use certificate_name::CertificateName;
pub use check_header::dashed;
pub use check_route::MOST_BATCH_BYTES;
pub use cloud::is_sharepoint;
pub use credential::{AppIdentity, CredentialKind, CredentialSpec, IdentitySelector};
pub use load::{Checked, Examined, MOST_BYTES, Replaced, Source, load, look};
pub use places::{Finding, KeyPath, NamedFile, Places};
pub use problem::{Position, Problem, Problems, Severity, SourceLocation};
pub use report::{printable, shown};
pub use resource::takes;
pub use route::{
    AllowSpec, BatchRule, HeaderEdits, LATEST_RETRY, PREAUTHENTICATED_KEYS, PatternSegment,
    RetrySpec, RewriteLinks, RouteSpec, Throttle, UpstreamHttp,
};
pub use schema::schema;
pub use value::{BaseUrl, HostName, HostPattern, LOCALHOST, Name, Origin, PathPrefix, Scope};

/// Everything routes.yaml says, checked and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where callers connect.
    pub listen: Vec<ListenAddress>,
    /// Where metrics, probes and the status page are; empty when `admin: off`.
    pub admin: Vec<ListenAddress>,
    /// The base of rewritten links, when it is not derived from the request's `Host`.
    pub public_url: Option<BaseUrl>,
    /// Further hosts that are served here.
    pub hosts: Vec<HostPattern>,
    /// Web origins whose pages may call.
    pub browser_origins: Vec<Origin>,
    /// TLS towards callers.
    pub tls: Option<TlsSpec>,
    /// A CA file added to the system's roots, for upstreams and token calls alike.
    pub trust_ca_file: Option<FilePath>,
    /// Fixed addresses for `host:port`, upstreams, token calls and metadata endpoints alike.
    pub resolve: BTreeMap<(HostName, u16), SocketAddr>,
    /// Bounds.
    pub limits: Limits,
    /// Time limits of callers and of routes that set none.
    pub timeouts: Timeouts,
    /// Worker threads; `None` means the cores that the cgroup allows.
    pub workers: Option<NonZeroUsize>,
    /// Logging.
    pub log: LogSpec,
    /// The credentials, in file order.
    pub credentials: Vec<CredentialSpec>,
    /// The routes, in file order.
    pub routes: Vec<RouteSpec>,
    /// The callers that routes may name.
    pub callers: Vec<CallerSpec>,
    /// How Kubernetes service-account tokens are verified.
    pub kubernetes: Option<KubernetesSpec>,
}

impl Config {
    /// The route of this name.
    pub fn route(&self, name: &str) -> Option<&RouteSpec> {
        self.routes.iter().find(|route| route.name.as_str() == name)
    }

    /// Whether anything may be reached over TLS that `resolve` does not lead elsewhere, so that a
    /// forward proxy would carry it.
    pub fn leads_out(&self) -> bool {
        let upstreams = self.routes.iter().map(|route| &route.upstream.origin);
        let apps = self.credentials.iter().filter_map(|one| one.kind.app());
        let mut origins = upstreams.chain(apps.map(|app| &app.authority.origin));
        let is_fixed = |host: &HostName, port| self.resolve.contains_key(&(host.clone(), port));
        let is_out = |origin: &Origin| origin.secure && !is_fixed(&origin.host, origin.port);
        let mut downloads = self.routes.iter().flat_map(|route| &route.follow_downloads);
        // They lie at the ordinary port of https.
        let may_be_out = |hosts: &HostPattern| match hosts {
            HostPattern::Exact(host) => !is_fixed(host, 443),
            HostPattern::Suffix(_) => true,
        };
        let keys = self.kubernetes.as_ref().map(|spec| &spec.keys);
        origins.any(is_out)
            || downloads.any(may_be_out)
            || matches!(keys, Some(KubernetesKeys::Fetch { .. }))
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenAddress {
    /// `localhost:PORT`: both loopback addresses.
    Loopback(u16),
    /// An IP address and port.
    Tcp(SocketAddr),
    /// `unix:PATH`.
    Unix(PathBuf),
}

/// TLS towards callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSpec {
    /// A certificate from files, re-read when they change.
    Files {
        /// PEM, leaf first.
        certificate_file: FilePath,
        /// PEM private key.
        key_file: FilePath,
        /// When set, clients may (and for `client_certificate` callers must) present a certificate.
        client_ca_file: Option<FilePath>,
    },
    /// A CA and a certificate for localhost that tokenferry makes and keeps.
    Local,
}

/// Bounds on what callers can make the process hold. Reasons: docs/configuration.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open caller connections; beyond it accepting pauses, and the system's queue holds who comes.
    pub connections: usize,
    /// Open caller connections from one peer address; one more is answered 503 `overloaded` and
    /// closed, over TLS closed without an answer.
    pub connections_per_peer: usize,
    /// Requests in flight, of all callers; one more is answered 503 `overloaded` with
    /// `Retry-After: 1`.
    pub in_flight: usize,
    /// Bytes of the request line; a longer one is answered 414 `uriTooLong`.
    pub request_line: usize,
    /// Bytes of a header block; a larger one is answered 431 `headersTooLarge`.
    pub header_block: usize,
    /// Header fields; more are answered 431 `headersTooLarge`.
    pub headers: usize,
    /// HTTP/2 streams per connection; one more is refused (`REFUSED_STREAM`).
    pub streams: u32,
}

/// Time limits, one for every stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To the first byte of a new connection (and for its TLS handshake); then it is closed without
    /// an answer.
    pub first_byte: Duration,
    /// From the first byte of a request head to its end; then 408 `requestTimeout` (over HTTP/2
    /// no answer), and the connection is closed.
    pub request_head: Duration,
    /// Between two requests of a connection; then it is closed.
    pub keep_alive: Duration,
    /// Between two pieces of a request body; then 408 `requestTimeout`.
    pub request_body_idle: Duration,
    /// Waiting for a token that is not there yet; then 503 `tokenUnavailable` with `Retry-After`.
    pub token_wait: Duration,
    /// Without progress while writing to a caller; then its connection is ended, or over HTTP/2 the
    /// exchange.
    pub write_stall: Duration,
    /// After SIGTERM, still accepting; none after SIGINT.
    pub drain_delay: Duration,
    /// After that, for exchanges in flight; what is left then is cut.
    pub drain: Duration,
    /// The upstream ones, which a route may set for itself.
    pub upstream: UpstreamTimeouts,
}

/// Time limits towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// DNS, TCP connect and TLS handshake together; then 504 `upstreamTimeout`.
    pub connect: Duration,
    /// From the end of the request body to the response head; then 504 `upstreamTimeout`.
    pub response_head: Duration,
    /// Between two pieces of a response body; then the answer is passed on as broken.
    pub response_body_idle: Duration,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSpec {
    /// `None`: JSON unless standard output is a terminal.
    pub format: Option<LogFormat>,
    /// One line per request.
    pub access: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
