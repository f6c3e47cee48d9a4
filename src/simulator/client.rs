//! A plain client for the simulator's own tests: one connection at a time, targets byte for byte.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{CLIENT_ID, LOGIN, Simulator, TENANT_ID};

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Why nothing came back.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An open connection.
pub(super) enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Opens a connection to a host of the simulator.
    pub(super) async fn open(
        simulator: &Simulator,
        host: &str,
        http2: bool,
    ) -> Result<Self, Failure> {
        let alpn: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        let tls = Self::tls(simulator, host, alpn).await?;
        if http2 {
            let (send, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
            tokio::spawn(connection);
            return Ok(Self::Http2(send));
        }
        let (send, connection) = http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(Self::Http1(send))
    }

    /// Opens a TLS connection without speaking on it.
    pub(super) async fn tls(
        simulator: &Simulator,
        host: &str,
        alpn: &[u8],
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(
            simulator.ca_pem().as_bytes(),
        )?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let tcp = TcpStream::connect(simulator.address()).await?;
        let name = ServerName::try_from(host.to_owned())?;
        Ok(TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?)
    }

    /// Sends a request; the status of what comes back.
    pub(super) async fn status(&mut self, request: Request<Bytes>) -> StatusCode {
        self.send(request).await.unwrap().status
    }

    /// Sends a request and reads the answer to its end.
    pub(super) async fn send(&mut self, request: Request<Bytes>) -> Result<Reply, Failure> {
        let request = request.map(Full::new);
        let response = match self {
            Self::Http1(send) => {
                send.ready().await?;
                send.send_request(request).await?
            }
            Self::Http2(send) => send.send_request(absolute(request)?).await?,
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await?;
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }
}

/// The request with its host where HTTP/2 has it.
fn absolute<B>(mut request: Request<B>) -> Result<Request<B>, Failure> {
    if let Some(host) = request.headers_mut().remove("host") {
        let uri = format!("https://{}{}", host.to_str()?, request.uri());
        *request.uri_mut() = uri.parse()?;
    }
    Ok(request)
}

/// A request in the form that the real clients send it. `target` may be an absolute link.
pub(super) fn request(
    method: &str,
    host: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Bytes> {
    let target = target
        .strip_prefix(&format!("https://{host}"))
        .unwrap_or(target);
    let uri: Uri = target.parse().unwrap();
    let start = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", host);
    let add = |builder: http::request::Builder, &(name, value): &(&str, &str)| {
        builder.header(name, value)
    };
    headers.iter().fold(start, add).body(body.into()).unwrap()
}

/// A GET with this token.
pub(super) fn get(host: &str, target: &str, bearer: &str) -> Request<Bytes> {
    request("GET", host, target, &[("authorization", bearer)], "")
}

/// Opens a connection to the host of a request, sends it, reads the answer.
pub(super) async fn once(simulator: &Simulator, request: Request<Bytes>) -> Result<Reply, Failure> {
    let host = request.headers()["host"].to_str()?.to_owned();
    let mut client = Client::open(simulator, &host, false).await?;
    client.send(request).await
}

/// The status of what comes back.
pub(super) async fn status(simulator: &Simulator, request: Request<Bytes>) -> StatusCode {
    once(simulator, request).await.unwrap().status
}

/// The form of a token request with the client secret.
pub(super) fn form(simulator: &Simulator, scope: &str) -> Vec<(&'static str, String)> {
    let secret = simulator.client_secret().unwrap();
    vec![
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", CLIENT_ID.to_owned()),
        ("scope", scope.to_owned()),
        ("client_secret", secret.expose_str().unwrap().to_owned()),
    ]
}

/// A form as it is sent.
pub(super) fn form_text(form: &[(&str, String)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(form).finish()
}

/// Sends a form to the token endpoint.
pub(super) async fn ask(simulator: &Simulator, form: &[(&str, String)]) -> Reply {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let target = format!("/{TENANT_ID}/oauth2/v2.0/token");
    let request = request("POST", LOGIN, &target, &headers, form_text(form));
    once(simulator, request).await.unwrap()
}

/// A token for a host, as the value of `Authorization`.
pub(super) async fn bearer(simulator: &Simulator, host: &str) -> String {
    let form = form(simulator, &format!("https://{host}/.default"));
    let reply = ask(simulator, &form).await;
    format!("Bearer {}", reply.json()["access_token"].as_str().unwrap())
}

/// GETs a target with a fresh token.
pub(super) async fn fetch(simulator: &Simulator, host: &str, target: &str) -> Reply {
    let bearer = bearer(simulator, host).await;
    once(simulator, get(host, target, &bearer)).await.unwrap()
}
