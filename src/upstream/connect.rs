//! From an origin to a connected stream: fixed addresses, DNS, the forward proxy's tunnel, TLS.
//!
//! Where to connect is decided by the configuration alone; nothing of a request arrives here.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Intercept;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ConnectError;
use super::error::speaks_nothing_offered;
use super::race::{first_to_answer, interleaved};
use super::reach::Stage;
use super::resolver::Resolver;
use super::stream::UpstreamStream;
use super::tunnel;
use crate::clock;
use crate::config::{HostName, LOCALHOST, Origin, UpstreamHttp};
use crate::descriptors;
use crate::forward_proxy::ForwardProxy;
use crate::socket::{Tcp, UNSENT};
use crate::trust::Trust;

/// What every connection of the process is made with.
#[derive(Clone)]
pub struct Egress {
    tls: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    resolve: Arc<BTreeMap<(HostName, u16), SocketAddr>>,
    forward_proxy: ForwardProxy,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").finish_non_exhaustive()
    }
}

impl Egress {
    /// The trust store and fixed addresses of a configuration, and the forward proxy.
    pub fn new(
        trust: Trust,
        resolve: BTreeMap<(HostName, u16), SocketAddr>,
        forward_proxy: ForwardProxy,
    ) -> Self {
        Self {
            tls: Arc::new(trust.client),
            roots: trust.roots,
            resolve: Arc::new(resolve),
            forward_proxy,
        }
    }

    /// The forward proxy, for what else is called outside.
    pub fn forward_proxy(&self) -> &ForwardProxy {
        &self.forward_proxy
    }

    /// Whether connections of another are as good as its own: they lead to the same addresses, and
    /// the same authorities vouch for who is there. What files hold counts, not what they are called.
    pub fn leads_like(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots && self.resolve == other.resolve
    }
}

/// Connects to one origin.
#[derive(Debug)]
pub(super) struct Connector {
    origin: Origin,
    target: String,
    http: UpstreamHttp,
    egress: Egress,
    tls: Arc<ClientConfig>,
    limit: Duration,
    /// Looks up the host that is dialled: the forward proxy's, if there is one.
    resolver: Resolver,
}

impl Connector {
    pub(super) fn new(egress: Egress, origin: Origin, http: UpstreamHttp, limit: Duration) -> Self {
        let mut tls = ClientConfig::clone(&egress.tls);
        tls.alpn_protocols = match http {
            UpstreamHttp::Http1 => vec![b"http/1.1".to_vec()],
            UpstreamHttp::Http2 => vec![b"h2".to_vec()],
            UpstreamHttp::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Self {
            target: format!("{}:{}", origin.host, origin.port),
            origin,
            http,
            tls: Arc::new(tls),
            egress,
            limit,
            resolver: Resolver::default(),
        }
    }

    /// A stream and whether HTTP/2 is spoken on it.
    pub(super) async fn connect(&self) -> Result<(UpstreamStream, bool), ConnectError> {
        let stage = Cell::new(Stage::Tcp);
        let attempt = async {
            let tcp = self.reach(&stage).await?;
            if self.origin.secure {
                stage.set(Stage::Tls);
                self.secure(tcp).await
            } else {
                Ok((
                    UpstreamStream::Plain(tcp.into()),
                    self.http == UpstreamHttp::Http2,
                ))
            }
        };
        match clock::within(self.limit, pin!(attempt)).await {
            Some(outcome) => outcome,
            None => Err(ConnectError::Timeout {
                target: self.target.clone(),
                stage: stage.get(),
            }),
        }
    }

    /// The forward proxy on the way to the origin. None where there is no TLS, which is on this
    /// machine only: a proxy would read the token.
    fn proxy(&self) -> Option<Intercept> {
        if !self.origin.secure {
            return None;
        }
        self.egress.forward_proxy.towards(&self.target)
    }

    /// TCP to the origin, or a tunnel to it through the forward proxy. A fixed address is one that is
    /// reached from here, and the proxy's idea of it may be another, above all of a loopback one.
    async fn reach(&self, stage: &Cell<Stage>) -> Result<TcpStream, ConnectError> {
        let host = &self.origin.host;
        let fixed = self.egress.resolve.get(&(host.clone(), self.origin.port));
        let addresses = match (fixed, self.proxy()) {
            (Some(address), _) => vec![*address],
            (None, Some(proxy)) => {
                stage.set(Stage::Tunnel);
                return tunnel::open(&proxy, &self.target, &self.resolver).await;
            }
            (None, None) => {
                stage.set(Stage::LookUp);
                self.look_up().await?
            }
        };
        stage.set(Stage::Tcp);
        first_to_answer(&addresses)
            .await
            .map_err(|source| match descriptors::ran_out(&source) {
                true => ConnectError::descriptors(&self.target),
                false => ConnectError::Refused {
                    target: self.target.clone(),
                    source,
                },
            })
    }

    async fn look_up(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let host = &self.origin.host;
        // Without TLS the token may go to this machine alone, whatever a resolver takes for it.
        if !self.origin.secure && !host.is_address() {
            return Ok(LOCALHOST.map(|ip| (ip, self.origin.port).into()).to_vec());
        }
        match self.resolver.addresses(host.bare(), self.origin.port).await {
            Ok(addresses) => Ok(interleaved(addresses)),
            Err(_) if descriptors::are_used_up() => Err(ConnectError::descriptors(&self.target)),
            Err(source) => Err(ConnectError::Dns {
                host: host.to_string(),
                source,
            }),
        }
    }

    /// Host and port.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// It does not speak what was offered to it.
    fn protocol(&self) -> ConnectError {
        ConnectError::Protocol {
            target: self.target.clone(),
            offered: self.http,
        }
    }

    async fn secure(&self, tcp: TcpStream) -> Result<(UpstreamStream, bool), ConnectError> {
        let bare = self.origin.host.bare();
        let failed = |source| match speaks_nothing_offered(&source) {
            true => self.protocol(),
            false => ConnectError::Tls {
                target: self.target.clone(),
                source,
            },
        };
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect_with(name, Tcp::from(tcp), |session| {
                session.set_buffer_limit(Some(UNSENT));
            })
            .await
            .map_err(failed)?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if self.http == UpstreamHttp::Http2 && !h2 {
            return Err(self.protocol());
        }
        Ok((UpstreamStream::Tls(Box::new(stream)), h2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "local")]
    async fn a_name_of_this_machine_without_tls_is_not_asked_of_a_resolver() {
        for name in ["localhost", "api.localhost"] {
            let origin = Origin {
                secure: false,
                host: HostName::parse(name).unwrap(),
                port: 5000,
            };
            let trust = crate::trust::load(None).unwrap();
            let egress = Egress::new(trust, BTreeMap::new(), ForwardProxy::none());
            let limit = Duration::from_secs(20);
            let connector = Connector::new(egress, origin, UpstreamHttp::Http1, limit);
            let found = connector.look_up().await.unwrap();
            assert_eq!(found, LOCALHOST.map(|ip| SocketAddr::new(ip, 5000)));
        }
    }

    #[tokio::test(flavor = "local")]
    async fn dns_that_does_not_answer_is_not_told_as_an_upstream_that_does_not() {
        let origin = Origin {
            secure: true,
            host: HostName::parse("graph.microsoft.com").unwrap(),
            port: 443,
        };
        let trust = crate::trust::load(None).unwrap();
        let egress = Egress::new(trust, BTreeMap::new(), ForwardProxy::none());
        let limit = Duration::from_millis(10);
        let connector = Connector::new(egress, origin, UpstreamHttp::Http1, limit);
        connector.resolver.hang().await;
        let error = connector.connect().await.expect_err("nothing is found");
        assert!(
            error.to_string().starts_with("DNS had no answer"),
            "{error}"
        );
    }
}
