//! How one attempt to reach an upstream fails, by what to do about it.

use std::borrow::Cow;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError};

use super::reach::{self, Stage};
use crate::config::UpstreamHttp;
use crate::trust;

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It broke before anything of HTTP/2 could be sent.
    #[error(
        "the connection to {target} broke as soon as it was made; check the network, and what stands between this proxy and it"
    )]
    Broken {
        /// Host and port.
        target: String,
        /// What hyper said.
        source: hyper::Error,
    },
    /// There was no file descriptor for it.
    #[error(
        "no file descriptor was left for a connection to {target}; send fewer requests at once, or raise the limit of open files of the proxy (ulimit -n, LimitNOFILE)"
    )]
    Descriptors {
        /// Host and port.
        target: String,
    },
    /// Name resolution failed.
    #[error("{host} cannot be resolved; check the host name and the DNS of this machine")]
    Dns {
        /// The host.
        host: String,
        /// What the resolver said; others who waited for the same look-up are told so, too.
        source: Arc<io::Error>,
    },
    /// What was to make the connection panicked.
    #[error(
        "the connection was not made because of a fault in this proxy; its log names the fault"
    )]
    Fault,
    /// The forward proxy did not open the tunnel.
    #[error("the forward proxy {proxy} did not open a tunnel to {target} ({answer}); {remedy}")]
    Proxy {
        /// The proxy's authority.
        proxy: String,
        /// Where to.
        target: String,
        /// Its answer, or what was wrong with it.
        answer: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// No address accepted a connection.
    #[error("{}", reach::refusal(target, source))]
    Refused {
        /// Host and port.
        target: String,
        /// What the last address said.
        source: io::Error,
    },
    /// It took longer than `timeouts.connect`.
    #[error("{}", stage.overdue(target))]
    Timeout {
        /// Host and port.
        target: String,
        /// What it waited for.
        stage: Stage,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake with {target} failed; {}", remedy(source))]
    Tls {
        /// Host and port.
        target: String,
        /// What rustls said.
        source: io::Error,
    },
    /// It speaks nothing that was offered to it: ALPN did not settle.
    #[error("{target} {}", lack(*offered))]
    Protocol {
        /// Host and port.
        target: String,
        /// What was offered.
        offered: UpstreamHttp,
    },
}

impl ConnectError {
    pub(super) fn descriptors(target: &str) -> Self {
        let target = target.to_owned();
        Self::Descriptors { target }
    }

    /// Whether it was for want of a file descriptor: closing idle connections may help.
    pub fn lacks_descriptors(&self) -> bool {
        matches!(self, Self::Descriptors { .. })
    }

    /// What came of the next hop, as RFC 9209 section 2.3 names it; `None` where that is not to blame.
    fn proxy_error(&self) -> Option<&'static str> {
        match self {
            Self::Broken { .. } => Some("connection_terminated"),
            Self::Descriptors { .. } | Self::Fault => None,
            Self::Dns { .. } => Some("dns_error"),
            Self::Protocol { .. } => Some("tls_protocol_error"),
            Self::Proxy { .. } => Some("destination_unavailable"),
            Self::Refused { source, .. } => reach::proxy_error(source),
            Self::Timeout { stage, .. } => Some(stage.proxy_error()),
            Self::Tls { source, .. } => match cause(source) {
                Some(rustls::Error::InvalidCertificate(_)) => Some("tls_certificate_error"),
                Some(rustls::Error::AlertReceived(_)) => Some("tls_alert_received"),
                Some(_) => Some("tls_protocol_error"),
                None => Some("connection_terminated"),
            },
        }
    }
}

/// What an upstream does not speak, and what to do about it.
fn lack(offered: UpstreamHttp) -> &'static str {
    match offered {
        UpstreamHttp::Http1 => {
            "does not speak HTTP/1.1; set upstream_http to 2 or auto if it is a route's upstream, and take it out of follow_downloads if downloads lead there"
        }
        UpstreamHttp::Http2 => "does not speak HTTP/2; set the route's upstream_http to 1 or auto",
        UpstreamHttp::Auto => {
            "speaks neither HTTP/2 nor HTTP/1.1, as its TLS says; check the route's upstream"
        }
    }
}

/// Whether a handshake failed because the other side speaks nothing that was offered to it.
pub(super) fn speaks_nothing_offered(failure: &io::Error) -> bool {
    alert(failure) == Some(AlertDescription::NoApplicationProtocol)
}

/// The alert that the other side ended a connection with.
pub(super) fn alert(failure: &io::Error) -> Option<AlertDescription> {
    match cause(failure) {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

fn cause(failure: &io::Error) -> Option<&rustls::Error> {
    failure.get_ref().and_then(|cause| cause.downcast_ref())
}

/// What to do about a handshake that failed.
fn remedy(failure: &io::Error) -> &'static str {
    let certificate = match cause(failure) {
        Some(rustls::Error::InvalidCertificate(certificate)) => certificate,
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            return "what came is not TLS: check the port of the route's upstream, and whether it is http://";
        }
        Some(rustls::Error::AlertReceived(_)) => {
            return "it was refused there: check the route's upstream, and that TLS 1.2 or 1.3 is spoken there without a certificate of the caller";
        }
        Some(rustls::Error::PeerIncompatible(_)) => {
            return "nothing of TLS 1.2 or 1.3 that this proxy takes is spoken there: check the route's upstream";
        }
        Some(_) => return "what came is wrong: check what stands between this proxy and it",
        None => {
            return "the connection broke in it: check the network, and what stands between this proxy and it";
        }
    };
    match certificate {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name; check the route's upstream, and resolve"
        }
        CertificateError::Other(other) if other.0.to_string() == USED_AS_SERVER => {
            "its certificate is that of an authority (CA:TRUE), which is not taken from a server: give it one that an authority of trust.ca_file issued, or one of its own with basicConstraints=CA:FALSE and name that there"
        }
        other => trust::remedy_of_age(other).unwrap_or(PRIVATE_CA),
    }
}

/// How webpki calls an authority's certificate that a server shows as its own; its type is not ours
/// to name.
const USED_AS_SERVER: &str = "CaUsedAsEndEntity";

const PRIVATE_CA: &str = "if its certificate is from a private CA, name that in trust.ca_file";

/// How a connection fails in the middle of an exchange.
#[derive(Debug, thiserror::Error)]
pub enum Breakage {
    /// The answer came in a transfer coding other than `chunked`.
    #[error("the answer came in a transfer coding other than chunked")]
    Coding,
    /// The request's body failed, so that the request cannot be ended properly.
    #[error("the request could not be sent to its end")]
    Body(#[source] super::BodyFault),
    /// The upstream closed it.
    #[error("the upstream closed the connection before the end of its answer")]
    Ended,
    /// An HTTP/2 connection or stream did.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
    /// The socket or TLS did.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// What came is not HTTP/1.1.
    #[error("the upstream sent {0}")]
    Malformed(&'static str),
}

impl Breakage {
    /// The same as an alert that was met elsewhere.
    pub(super) fn of_alert(alert: AlertDescription) -> Self {
        let alert = rustls::Error::AlertReceived(alert);
        Self::Io(io::Error::new(io::ErrorKind::InvalidData, alert))
    }

    /// What to do about an alert that the upstream ended the connection with: where it wants a
    /// certificate and speaks TLS 1.3, that comes after the handshake (RFC 8446 section 4.4.2.4).
    pub fn alert_remedy(&self) -> Option<&'static str> {
        use AlertDescription as Alert;
        let Self::Io(failure) = self else {
            return None;
        };
        Some(match alert(failure)? {
            // Servers differ in how they say it (RFC 8446 section 6.2, RFC 5246 section 7.4.6).
            Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateRequired
            | Alert::CertificateUnknown
            | Alert::HandshakeFailure => {
                "check that it takes connections without a certificate of the caller"
            }
            _ => "check its name, and what stands between this proxy and it",
        })
    }
}

fn broken(breakage: &Breakage) -> Cow<'static, str> {
    match breakage.alert_remedy() {
        Some(remedy) => format!("the upstream refused the connection by its TLS; {remedy}").into(),
        None => "the connection broke before the response head".into(),
    }
}

/// Why an attempt failed before a response head arrived.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The caller's own body failed while it was sent.
    #[error("the caller's request body ended in an error")]
    CallerBody,
    /// The answer came in a transfer coding that nobody asked for.
    #[error("the answer came in a transfer coding other than chunked")]
    Coding,
    /// No connection.
    #[error(transparent)]
    Connect(#[from] Rc<ConnectError>),
    /// The connection ended, or what came was not HTTP.
    #[error("{}", broken(.0))]
    Broken(#[source] Breakage),
    /// The upstream refused the request's HTTP/2 stream and promised that it did not act on it; the
    /// connection lives.
    #[error("the upstream refused the request's HTTP/2 stream")]
    Refused(#[source] hyper::Error),
    /// The request's HTTP/2 stream was reset, by the upstream or because what came on it is wrong;
    /// the connection lives.
    #[error("the request's HTTP/2 stream was reset before the response head")]
    Reset(#[source] hyper::Error),
    /// The response head did not come within `timeouts.response_head`.
    #[error("no response head within timeouts.response_head")]
    HeadTimeout,
    /// The upstream answered 101 to a request that asked for no upgrade.
    #[error("the upstream switched protocols although nobody asked it to")]
    Upgrade,
}

impl UpstreamError {
    /// Whether it was for want of a file descriptor.
    pub fn lacks_descriptors(&self) -> bool {
        matches!(self, Self::Connect(error) if error.lacks_descriptors())
    }

    /// What came of the next hop, as RFC 9209 section 2.3 names it; `None` where that is not to blame.
    pub fn proxy_error(&self) -> Option<&'static str> {
        match self {
            Self::Broken(Breakage::Malformed(_)) | Self::Upgrade => Some("http_protocol_error"),
            Self::Broken(breakage) if breakage.alert_remedy().is_some() => {
                Some("tls_alert_received")
            }
            Self::Broken(_) => Some("connection_terminated"),
            Self::CallerBody => None,
            Self::Coding => Some("http_response_transfer_coding"),
            Self::Connect(error) => error.proxy_error(),
            Self::HeadTimeout => Some("http_response_timeout"),
            Self::Refused(_) => Some("destination_unavailable"),
            Self::Reset(_) => Some("http_response_incomplete"),
        }
    }
}

/// One failed attempt and what is known about repeating it.
#[derive(Debug)]
pub struct Failure {
    /// What happened.
    pub error: UpstreamError,
    /// Whether the upstream certainly did not act on the request: nothing of it was sent, or
    /// HTTP/2 said so (RFC 9113 section 8.7).
    pub unprocessed: bool,
    /// Whether any of an answer came.
    pub begun: bool,
    /// The body, when it came back untouched.
    pub body: Option<super::RequestBody>,
}

impl Failure {
    /// There is no connection to send it on.
    pub(super) fn unsent(error: Rc<ConnectError>, body: super::RequestBody) -> Self {
        Self {
            error: error.into(),
            unprocessed: true,
            begun: false,
            body: Some(body),
        }
    }

    /// Whether the connection ended before the first byte of an answer: on one that was kept, that
    /// may mean nothing but that it was kept for too long.
    pub fn is_dead_connection(&self) -> bool {
        matches!(self.error, UpstreamError::Broken(_)) && !self.begun
    }

    /// Whether the request's HTTP/2 stream ended so, on a connection that lives.
    pub fn is_dead_stream(&self) -> bool {
        matches!(
            self.error,
            UpstreamError::Refused(_) | UpstreamError::Reset(_)
        )
    }
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self {
            error,
            unprocessed: false,
            begun: false,
            body: None,
        }
    }
}
