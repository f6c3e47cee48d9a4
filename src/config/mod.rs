//! The checked configuration: values that cannot be wrong. `file` is what the YAML says, `check`
//! turns it into this, and everything else in the program sees only this.
//!
//! Nothing here opens a socket or reads a secret: a configuration records where a secret is.

pub mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

pub use value::{BaseUrl, HostName, HostPattern, Name, Origin, PathPrefix, Scope};

use crate::secret::SecretSource;

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
    pub trust_ca_file: Option<PathBuf>,
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
        certificate_file: PathBuf,
        /// PEM private key.
        key_file: PathBuf,
        /// When set, clients may (and for `client_certificate` callers must) present a certificate.
        client_ca_file: Option<PathBuf>,
    },
    /// A CA and a certificate for localhost that tokenferry makes and keeps.
    Local,
}

/// Bounds on what callers can make the process hold. Reasons: docs/configuration.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open caller connections; beyond it accepting pauses.
    pub connections: usize,
    /// Open caller connections from one peer address.
    pub connections_per_peer: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Bytes of the request line.
    pub request_line: usize,
    /// Bytes of a header block.
    pub header_block: usize,
    /// Header fields.
    pub headers: usize,
    /// HTTP/2 streams per connection.
    pub streams: u32,
}

/// Time limits, one for every stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To the first byte of a new connection (and for its TLS handshake).
    pub first_byte: Duration,
    /// From the first byte of a request head to its end.
    pub request_head: Duration,
    /// Between two requests of a connection.
    pub keep_alive: Duration,
    /// Between two pieces of a request body.
    pub request_body_idle: Duration,
    /// Waiting for a token that is not there yet.
    pub token_wait: Duration,
    /// Without progress while writing to a caller.
    pub write_stall: Duration,
    /// After SIGTERM, still accepting.
    pub drain_delay: Duration,
    /// After that, for exchanges in flight.
    pub drain: Duration,
    /// The upstream ones, which a route may set for itself.
    pub upstream: UpstreamTimeouts,
}

/// Time limits towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// DNS, TCP connect and TLS handshake together.
    pub connect: Duration,
    /// From the end of the request body to the response head.
    pub response_head: Duration,
    /// Between two pieces of a response body.
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

/// A credential: an identity and how it proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSpec {
    /// Its name in the file.
    pub name: Name,
    /// The kind with what belongs to it.
    pub kind: CredentialKind,
    /// Whether `cp1` is declared (continuous access evaluation).
    pub continuous_access: bool,
    /// A declared expiry of the secret, seconds since 1970.
    pub expires: Option<u64>,
    /// The credential that takes over when this one is refused as invalid or expired.
    pub fallback: Option<Name>,
}

/// Who asks at an Entra authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppIdentity {
    /// For example `https://login.microsoftonline.com`.
    pub authority: BaseUrl,
    /// Tenant GUID or verified domain.
    pub tenant_id: String,
    /// Application (client) ID.
    pub client_id: String,
}

/// The ways an organisation may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// PEM certificate and RSA key.
    Certificate {
        /// The app.
        app: AppIdentity,
        /// Certificate and key.
        file: PathBuf,
        /// For an encrypted key.
        password: Option<SecretSource>,
        /// Adds `x5c` to the assertion.
        send_chain: bool,
    },
    /// A shared secret.
    ClientSecret {
        /// The app.
        app: AppIdentity,
        /// Where the secret is.
        secret: SecretSource,
    },
    /// A token of another issuer in a file (workload identity).
    FederatedToken {
        /// The app.
        app: AppIdentity,
        /// The file, read at each token call.
        file: PathBuf,
    },
    /// The platform's own identity.
    ManagedIdentity(IdentitySelector),
}

/// Which managed identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentitySelector {
    /// User-assigned, by client id.
    ClientId(String),
    /// User-assigned, by object id.
    ObjectId(String),
    /// User-assigned, by ARM resource id.
    ResourceId(String),
    /// System-assigned.
    System,
}

/// A route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    /// Its name; a metric label.
    pub name: Name,
    /// Path prefix, removed before forwarding; the root when only a host is given.
    pub path: PathPrefix,
    /// Host, when the route is bound to one.
    pub host: Option<HostPattern>,
    /// Where requests go.
    pub upstream: BaseUrl,
    /// What the token is for.
    pub scope: Scope,
    /// Index into [`Config::credentials`].
    pub credential: usize,
    /// What may pass; `None` means everything.
    pub allow: Option<Vec<AllowSpec>>,
    /// Names of callers that may use the route; empty means anybody.
    pub callers: Vec<Name>,
    /// Which links are rewritten.
    pub rewrite_links: RewriteLinks,
    /// Further JSON names that hold links.
    pub link_keys: Vec<String>,
    /// Changes to the request's headers.
    pub request_headers: HeaderEdits,
    /// Changes to the response's headers.
    pub response_headers: HeaderEdits,
    /// Headers whose default strip or refusal is lifted, lower-case.
    pub keep_headers: Vec<http::HeaderName>,
    /// Concurrent requests to the upstream.
    pub max_concurrency: Option<NonZeroUsize>,
    /// What a 429 of the upstream does to later requests.
    pub throttle: Throttle,
    /// Opt-in retries.
    pub retry: Option<RetrySpec>,
    /// What is done about `$batch`.
    pub batch: BatchRule,
    /// Bytes of a batch that are read for checking.
    pub max_batch_bytes: u64,
    /// Hosts whose pre-authenticated downloads are followed.
    pub follow_downloads: Vec<HostPattern>,
    /// Time limits towards the upstream.
    pub timeouts: UpstreamTimeouts,
    /// Bytes of a request body; `None` means no limit.
    pub max_body_bytes: Option<u64>,
    /// The protocol towards the upstream.
    pub upstream_http: UpstreamHttp,
}

/// One line of `allow`: methods and a path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowSpec {
    /// Upper-case methods.
    pub methods: Vec<http::Method>,
    /// The pattern's segments.
    pub pattern: Vec<PatternSegment>,
}

/// One segment of an `allow` pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternSegment {
    /// `**`: zero or more segments.
    AnyNumber,
    /// `*`: one segment without an encoded slash.
    AnyOne,
    /// This text, case counts.
    Literal(String),
}

/// Which links of a response are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteLinks {
    /// Every JSON string value that begins with the upstream's origin.
    All,
    /// None.
    Off,
    /// The next, delta and context links.
    On,
}

/// Headers to set and to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Set to these values, after removal.
    pub set: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Removed.
    pub remove: Vec<http::HeaderName>,
}

/// What a 429 of the upstream does to later requests of the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Later requests are answered 429 here, or wait up to this long.
    Hold(Duration),
    /// Nothing.
    Pass,
}

/// Opt-in retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySpec {
    /// Attempts in all.
    pub attempts: u32,
    /// Statuses that are retried.
    pub statuses: Vec<u16>,
    /// The longest pause.
    pub max_wait: Duration,
}

/// What is done about `$batch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchRule {
    /// The operations inside are read and checked.
    Check,
    /// It passes unread.
    Pass,
    /// It is refused.
    Refuse,
}

/// The protocol towards an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamHttp {
    /// What ALPN settles.
    Auto,
    /// HTTP/1.1.
    One,
    /// HTTP/2.
    Two,
}

/// A caller that routes may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerSpec {
    /// Its name; a metric label.
    pub name: Name,
    /// How it proves itself.
    pub proof: CallerProof,
}

/// How a caller proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerProof {
    /// `X-Api-Key`.
    ApiKey(SecretSource),
    /// Subject or SAN of a client certificate.
    ClientCertificate(String),
    /// A Kubernetes service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// How Kubernetes service-account tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSpec {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Where the keys are.
    pub keys: KubernetesKeys,
}

/// Where the cluster's signing keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesKeys {
    /// In a file.
    File(PathBuf),
    /// Fetched from the issuer.
    Fetch {
        /// The cluster's CA.
        ca_file: PathBuf,
        /// The token that is shown to the API server.
        token_file: PathBuf,
    },
}
