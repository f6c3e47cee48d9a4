//! The exact shape of routes.yaml: every key there is, with the sentence that an editor shows for
//! it. No rules beyond the shape of each single value; those are in `check`.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::choice::{RawAdmin, RawManagedIdentity, RawThrottle, RawTls};
use super::node::{Key, Node};
use super::read::{Entries, Field, List, OneOrMany, Read, Table};
use super::report::Report;
use super::scalar::{Cloud, Count, Day, Size, Status, Text, Time, Workers};
use super::secret_reference::SecretReference;
use super::value::{BaseUrl, HostPattern, Name, Origin, PathPrefix, Scope};
use super::{AllowSpec, BatchRule, ListenAddress, LogFormat, RewriteLinks, UpstreamHttp};
use crate::secret::FilePath;

/// Declares mappings with fixed keys: the struct, how it is read, and its part of the schema.
macro_rules! mappings {
    ($(
        $(#[$meta:meta])*
        $name:ident in $home:literal $(requires [$($required:literal),+])? {
            $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
        }
    )*) => {
        $(
            #[derive(Default, JsonSchema)]
            #[schemars(deny_unknown_fields, default)]
            $(#[schemars(extend("required" = [$($required),+]))])?
            $(#[$meta])*
            pub(super) struct $name {
                $($(#[$field_meta])* pub(super) $field: Field<$type>,)*
            }

            impl Read for $name {
                fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
                    let entries = Entries::of(node, key, &[$(stringify!($field)),*], report)?;
                    Some(Self { $($field: entries.field(stringify!($field), report),)* })
                }

                fn schema(generator: &mut SchemaGenerator) -> Schema {
                    generator.subschema_for::<Self>()
                }
            }
        )*

        const MAPPINGS: &[Mapping] = &[$(Mapping {
            home: $home,
            keys: &[$(stringify!($field)),*],
            required: &[$($($required),+)?],
        }),*];
    };
}

/// A mapping with fixed keys.
struct Mapping {
    /// Its place in the file.
    home: &'static str,
    keys: &'static [&'static str],
    /// Those of its keys that it cannot be without.
    required: &'static [&'static str],
}

/// Every key of the file.
pub(super) fn keys() -> Vec<&'static str> {
    let keys = MAPPINGS.iter().flat_map(|mapping| mapping.keys);
    keys.copied().collect()
}

/// Whether any mapping of the file has this key.
pub(super) fn is_key(name: &str) -> bool {
    home_of(name).is_some()
}

/// The mapping that has this key, for somebody who put it elsewhere.
pub(super) fn home_of(name: &str) -> Option<&'static str> {
    having(name).next().map(|mapping| mapping.home)
}

/// Whether this key is required wherever it belongs.
pub(super) fn is_required(name: &str) -> bool {
    is_key(name) && having(name).all(|mapping| mapping.required.contains(&name))
}

/// The mappings that have this key.
fn having(name: &str) -> impl Iterator<Item = &'static Mapping> {
    let has = move |mapping: &&Mapping| mapping.keys.contains(&name);
    MAPPINGS.iter().filter(has)
}

/// What a key whose value is any text stands for.
pub(super) fn meaning_of(name: &str) -> &'static str {
    match name {
        "audience" => "the aud of the tokens",
        "client_certificate" => "a subject or a subject alternative name: CN=reporting",
        "client_id" => "the application (client) ID",
        "issuer" => "the iss of the tokens, an https:// URL",
        "link_keys" => "a JSON name: nextLink",
        "object_id" => "the object (principal) ID of the identity",
        "resource_id" => "the ARM resource ID of the identity",
        "service_account" => "NAMESPACE/NAME",
        "tenant_id" => "the tenant's GUID or a verified domain",
        _ => "text that is not only spaces",
    }
}

mappings! {
    /// The configuration of tokenferry.
    #[schemars(title = "routes.yaml")]
    RawConfig in "the top level" requires ["routes"] {
        /// Where callers connect. Default: localhost:8080, both loopback addresses.
        #[schemars(extend("minItems" = 1))]
        listen: OneOrMany<ListenAddress>,
        /// Where metrics, probes and the status page are, or off. Default: localhost:8081.
        admin: RawAdmin,
        /// The base of rewritten links. Default: the Host of each request.
        public_url: BaseUrl,
        /// Further hosts that are served here, exact or *.suffix.
        hosts: List<HostPattern>,
        /// Origins whose web pages may call, for example https://app.contoso.com.
        browser_origins: List<Origin>,
        /// TLS towards callers: files, or "local" for a certificate that tokenferry makes.
        tls: RawTls,
        /// Certificate authorities trusted besides the system's.
        trust: RawTrust,
        /// Fixed addresses: "host:port" to "address:port".
        resolve: Table<SocketAddr>,
        /// Bounds on what callers can make the process hold.
        limits: RawLimits,
        /// Time limits.
        timeouts: RawTimeouts,
        /// Worker threads. Default: the cores that the cgroup allows.
        workers: Workers,
        /// Logging.
        log: RawLog,
        /// The app registrations and identities. Default: the AZURE_* variables.
        #[schemars(extend("minProperties" = 1))]
        credentials: Table<RawCredential>,
        /// Where requests go.
        #[schemars(extend("minItems" = 1))]
        routes: List<RawRoute>,
        /// The callers that routes may name.
        callers: Table<RawCaller>,
        /// How Kubernetes service-account tokens are verified.
        kubernetes: RawKubernetes,
    }

    /// A route: what matches it, where it goes, and what may pass.
    RawRoute in "a route" requires ["name", "upstream"] {
        /// Its name; a metric label.
        name: Name,
        /// Path prefix, removed before forwarding.
        path: PathPrefix,
        /// Host, exact or *.suffix.
        host: HostPattern,
        /// Where requests go: https://host[:port][/prefix].
        upstream: BaseUrl,
        /// What the token is for. Default: the upstream's origin and /.default.
        scope: Scope,
        /// The credential. Default: the only one there is.
        credential: Name,
        /// What may pass, as "GET /v1.0/users/**". Default: everything.
        #[schemars(extend("minItems" = 1))]
        allow: List<AllowSpec>,
        /// The callers that may use the route. Default: anybody who reaches the socket.
        #[schemars(extend("minItems" = 1))]
        callers: List<Name>,
        /// Which links of answers are rewritten. Default: true.
        rewrite_links: RewriteLinks,
        /// Further JSON names that hold links, for example nextLink.
        link_keys: List<Text>,
        /// Changes to the headers of requests.
        request_headers: RawHeaderEdits,
        /// Changes to the headers of answers.
        response_headers: RawHeaderEdits,
        /// Headers whose default strip or refusal is lifted, for example CallerObjectId.
        keep_headers: List<HeaderName>,
        /// Concurrent requests to the upstream. Default: no bound of its own.
        max_concurrency: Count,
        /// What a 429 of the upstream does to later requests: pass, hold, or {hold: 20s}.
        throttle: RawThrottle,
        /// Retries of idempotent requests. Default: none.
        retry: RawRetry,
        /// What is done about $batch. Default: check.
        batch: BatchRule,
        /// Bytes of a batch that are read for checking. Default: 4MiB.
        max_batch_bytes: Size,
        /// Hosts whose pre-authenticated downloads are followed. Default: none.
        follow_downloads: List<HostPattern>,
        /// Time limits towards the upstream.
        timeouts: RawUpstreamTimeouts,
        /// Bytes of a request body. Default: no limit.
        max_body_bytes: Size,
        /// The protocol towards the upstream. Default: 1.
        upstream_http: UpstreamHttp,
    }

    /// A credential: exactly one kind.
    RawCredential in "a credential" {
        /// Tenant GUID or verified domain.
        tenant_id: Text,
        /// Application (client) ID.
        client_id: Text,
        /// The authority. Default: https://login.microsoftonline.com.
        authority: BaseUrl,
        /// The cloud, instead of the authority.
        cloud: Cloud,
        /// A shared secret: exactly ${NAME}.
        client_secret: SecretReference,
        /// A file with the shared secret.
        client_secret_file: FilePath,
        /// PEM file with certificate and RSA key.
        certificate_file: FilePath,
        /// For an encrypted key: exactly ${NAME}.
        certificate_password: SecretReference,
        /// A file with the password of an encrypted key.
        certificate_password_file: FilePath,
        /// Adds the certificate chain (x5c) to the assertion.
        send_chain: bool,
        /// A file with another issuer's token (workload identity).
        federated_token_file: FilePath,
        /// The platform's own identity: system, or one of its identifiers.
        managed_identity: RawManagedIdentity,
        /// Declares that claims challenges are understood (cp1).
        continuous_access: bool,
        /// The day on which the secret expires: check and the log warn from 30 days before, and the
        /// metric shows it.
        expires: Day,
        /// The credential that takes over when this one is refused as invalid or expired.
        fallback: Name,
    }

    /// One of the identifiers of a user-assigned managed identity.
    RawIdentitySelector in "managed_identity" {
        /// Client ID.
        client_id: Text,
        /// Object (principal) ID.
        object_id: Text,
        /// ARM resource ID.
        resource_id: Text,
    }

    /// A caller: exactly one proof.
    RawCaller in "a caller" {
        /// Header X-Api-Key: exactly ${NAME}.
        api_key: SecretReference,
        /// A file with the key.
        api_key_file: FilePath,
        /// Subject or subject alternative name of a client certificate.
        client_certificate: Text,
        /// A Kubernetes service account: NAMESPACE/NAME.
        service_account: Text,
    }

    /// How Kubernetes service-account tokens are verified.
    RawKubernetes in "kubernetes" requires ["issuer", "audience"] {
        /// The issuer of the tokens.
        issuer: Text,
        /// The audience of the tokens.
        audience: Text,
        /// A file with the signing keys.
        jwks_file: FilePath,
        /// The cluster's CA, to fetch the keys.
        ca_file: FilePath,
        /// The token shown when fetching the keys.
        token_file: FilePath,
    }

    /// A certificate for callers, from files.
    RawTlsFiles in "tls" requires ["certificate_file", "key_file"] {
        /// PEM, leaf first.
        certificate_file: FilePath,
        /// PEM private key.
        key_file: FilePath,
        /// Authorities of the certificates that callers may present.
        client_ca_file: FilePath,
    }

    /// Certificate authorities trusted besides the system's.
    RawTrust in "trust" requires ["ca_file"] {
        /// PEM file.
        ca_file: FilePath,
    }

    /// Changes to headers.
    RawHeaderEdits in "request_headers and response_headers" {
        /// Headers to set.
        set: Table<HeaderValue>,
        /// Headers to remove.
        remove: List<HeaderName>,
    }

    /// Requests wait instead of failing while the upstream asks for quiet.
    RawHold in "throttle" requires ["hold"] {
        /// How long a request may wait before it is answered 429.
        hold: Time,
    }

    /// Retries of idempotent requests.
    RawRetry in "retry" {
        /// Attempts in all, the first included. Default: 3.
        attempts: Count<2, 10>,
        /// Statuses that are retried. Default: 429, 503, 504.
        #[schemars(extend("minItems" = 1))]
        statuses: List<Status>,
        /// The longest pause. Default: 30s.
        max_wait: Time,
    }

    /// Logging.
    RawLog in "log" {
        /// json or text. Default: text on a terminal, else json.
        format: LogFormat,
        /// One line per request. Default: true.
        access: bool,
    }

    /// Time limits towards an upstream.
    RawUpstreamTimeouts in "timeouts" {
        /// DNS, TCP and TLS together. Default: 8s.
        connect: Time,
        /// From the end of the request body to the response head. Default: 150s.
        response_head: Time,
        /// Between two pieces of a response body. Default: 60s.
        response_body_idle: Time,
    }

    /// Time limits.
    RawTimeouts in "timeouts at the top level" {
        /// To the first byte of a connection. Default: 10s.
        first_byte: Time,
        /// From the first byte of a request head to its end. Default: 15s.
        request_head: Time,
        /// Between two requests of a connection. Default: 120s.
        keep_alive: Time,
        /// Between two pieces of a request body. Default: 30s.
        request_body_idle: Time,
        /// Waiting for a token that is not there yet. Default: 15s.
        token_wait: Time,
        /// DNS, TCP and TLS together. Default: 8s.
        connect: Time,
        /// From the end of the request body to the response head. Default: 150s.
        response_head: Time,
        /// Between two pieces of a response body. Default: 60s.
        response_body_idle: Time,
        /// Without progress while writing to a caller. Default: 60s.
        write_stall: Time,
        /// Still accepting after SIGTERM. Default: 5s.
        drain_delay: Time,
        /// For exchanges in flight after that. Default: 20s.
        drain: Time,
    }

    /// Bounds on what callers can make the process hold.
    RawLimits in "limits" {
        /// Open connections. Default: 10000.
        connections: Count,
        /// Open connections from one address. Default: 1024.
        connections_per_peer: Count,
        /// Requests in flight. Default: 10000.
        in_flight: Count,
        /// Bytes of the request line. Default: 40KiB.
        request_line: Size,
        /// Bytes of the header block. Default: 64KiB.
        header_block: Size,
        /// Header fields; every request makes room for so many. Default: 100.
        headers: Count<1, 10_000>,
        /// HTTP/2 streams per connection. Default: 100.
        streams: Count,
    }
}
