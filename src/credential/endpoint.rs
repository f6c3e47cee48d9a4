//! HTTP towards token endpoints: one exchange, never repeated, never redirected, bounded in time and
//! size. Entra is reached through the environment's proxy; plain HTTP, metadata endpoints and
//! addresses given in `resolve` never are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response};
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::answer::{self, AccessToken};
use super::error::{CredentialError, Flaw, Outage, Peer};
use super::refusal;
use crate::chain::causes;
use crate::clock;
use crate::config::{HostName, LOCALHOST, Origin};
use crate::forward_proxy::{self, ForwardProxy};
use crate::guid;
use crate::http_client;
use crate::trust;

/// Largest answer that is read: a token of 16 KiB and what else an endpoint says beside it.
pub(super) const MAX_ANSWER: usize = 64 * 1024;
/// TCP and TLS towards Entra: the `connect` limit of the upstreams.
const CONNECT: Duration = Duration::from_secs(8);
/// The text of a refusal is waited for this long: it explains what the head has decided, and the
/// time limit of the call must not run out over it.
const REFUSAL_TEXT: Duration = Duration::from_secs(2);
/// Metadata endpoints are on this machine or its host: an answer there takes milliseconds.
const CONNECT_METADATA: Duration = Duration::from_secs(2);

/// How this process reaches the outside, for token calls.
pub struct Egress {
    /// The one TLS configuration of the process; its ALPN list is ignored.
    pub tls: rustls::ClientConfig,
    /// Fixed addresses for `host:port`.
    pub resolve: BTreeMap<(HostName, u16), SocketAddr>,
    /// What Entra is reached through.
    pub forward_proxy: ForwardProxy,
}

impl Egress {
    /// An Entra endpoint: `path` below `origin`.
    pub(super) fn entra(&self, origin: &Origin, path: &str) -> Result<Endpoint, reqwest::Error> {
        let peer = Peer::new(&origin.authority());
        let hint = "check the network, DNS, HTTPS_PROXY and `trust`";
        let pinned = self.resolve.get(&(origin.host.clone(), origin.port));
        let client = http_client::builder(&self.tls).connect_timeout(CONNECT);
        let client = match pinned {
            Some(address) if origin.secure => {
                client.no_proxy().resolve(origin.host.as_str(), *address)
            }
            None if origin.secure => self.forward_proxy.lead(client, &origin.authority())?,
            // On this machine, without TLS: a proxy would read the secret.
            _ => here(client, origin.host.as_str()),
        };
        let client = client.build()?;
        Ok(Endpoint::new(client, origin, pinned, path, peer, hint))
    }

    /// A metadata endpoint: plain HTTP on this machine or its host, never through a proxy.
    pub(super) fn metadata(&self, origin: &Origin, path: &str) -> Result<Endpoint, reqwest::Error> {
        let peer = Peer::new(&format!(
            "the managed identity endpoint at {}",
            origin.authority()
        ));
        let hint = "managed identity works only where Azure provides one";
        let pinned = self.resolve.get(&(origin.host.clone(), origin.port));
        let client = http_client::builder(&self.tls).connect_timeout(CONNECT_METADATA);
        let host = &origin.host;
        let client = match host.is_loopback() && !host.is_address() {
            true => here(client, host.as_str()),
            false => client.no_proxy(),
        };
        let client = client.build()?;
        Ok(Endpoint::new(client, origin, pinned, path, peer, hint))
    }
}

/// A client that goes by no proxy, and knows where this name of this machine leads: a resolver may
/// take another for it. Any other host is looked up.
fn here(client: ClientBuilder, name: &str) -> ClientBuilder {
    let addresses = LOCALHOST.map(|ip| SocketAddr::new(ip, 0));
    client.no_proxy().resolve_to_addrs(name, &addresses)
}

/// One URL and the client that reaches it.
#[derive(Clone)]
pub(super) struct Endpoint {
    client: Client,
    url: String,
    /// The `Host` to send when the URL had to be bent towards a fixed address.
    host: Option<HeaderValue>,
    peer: Peer,
    hint: &'static str,
}

impl Endpoint {
    /// The HTTP library resolves names but takes ports and addresses from the URL. A fixed address
    /// therefore goes into the URL of a plain request, and for TLS, where the name must stay for
    /// the certificate, the port is left out so that the fixed one is used.
    fn new(
        client: Client,
        origin: &Origin,
        pinned: Option<&SocketAddr>,
        path: &str,
        peer: Peer,
        hint: &'static str,
    ) -> Self {
        let url = match pinned {
            None => format!("{origin}{path}"),
            Some(address) if !origin.secure => format!("http://{address}{path}"),
            Some(_) => format!("https://{}{path}", origin.host),
        };
        let host = pinned.and_then(|_| HeaderValue::from_str(&origin.authority()).ok());
        Self {
            client,
            url,
            host,
            peer,
            hint,
        }
    }

    /// Who is asked, in words.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Asks for a token with a form and sorts the answer; `federated` where the proof is another issuer's
    /// token.
    pub(super) async fn exchange(
        &self,
        form: Form,
        federated: bool,
    ) -> Result<AccessToken, CredentialError> {
        let request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("client-request-id", guid::fresh())
            .header("return-client-request-id", "true")
            .body(form.into_body());
        self.send(request).await?.read_of_entra(federated)
    }

    /// Asks with a query and headers; the answer's status is the caller's to sort.
    pub(super) async fn get(
        &self,
        query: &[(&str, &str)],
        headers: HeaderMap,
    ) -> Result<Reply, CredentialError> {
        let query = Serializer::new(String::new()).extend_pairs(query).finish();
        let url = format!("{}?{query}", self.url);
        self.send(self.client.get(url).headers(headers)).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Reply, CredentialError> {
        let request = match &self.host {
            Some(host) => request.header(HOST, host.clone()),
            None => request,
        };
        let mut response = request.send().await.map_err(|e| self.broken(e))?;
        let received = SystemTime::now();
        let status = response.status().as_u16();
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_ANSWER));
        if status == 200 {
            self.read(&mut response, &mut body).await?;
        } else {
            // Status and head of a refusal say enough, whatever becomes of its text.
            let text = self.read(&mut response, &mut body);
            let _ = clock::within(REFUSAL_TEXT, text).await;
        }
        Ok(Reply {
            from: self.peer.clone(),
            status,
            headers: std::mem::take(response.headers_mut()),
            body,
            received,
        })
    }

    /// Reads a body to its end. What came before an error is in `body`, too.
    async fn read(
        &self,
        response: &mut Response,
        body: &mut Vec<u8>,
    ) -> Result<(), CredentialError> {
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(e))? {
            let room = MAX_ANSWER - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                return Err(self.malformed(Flaw::Large));
            }
        }
        Ok(())
    }

    fn broken(&self, error: reqwest::Error) -> CredentialError {
        Outage::Connection {
            to: self.peer.clone(),
            hint: without_tunnel(&error)
                .map(Cow::Owned)
                .or_else(|| of_another_time(&error).map(Cow::Borrowed))
                .unwrap_or(self.hint.into()),
            source: error.without_url(),
        }
        .into()
    }

    fn malformed(&self, flaw: Flaw) -> CredentialError {
        CredentialError::Malformed {
            from: self.peer.clone(),
            flaw,
        }
    }
}

/// What to look at where the forward proxy was not to be had or did not open a tunnel, so that the
/// other end was never asked. The library has no type for it that can be named here, and knows the
/// proxy's status where that is 407 only.
fn without_tunnel(error: &reqwest::Error) -> Option<String> {
    let mut words = causes(error).map(|cause| cause.to_string());
    let words = words.find(|words| words.starts_with("tunnel error"))?;
    let (status, shown) = match words.ends_with("proxy authorization required") {
        true => (Some(407), " (status 407)"),
        false => (None, ""),
    };
    let remedy = forward_proxy::remedy(status);
    Some(format!(
        "the forward proxy gave no way there{shown}: {remedy}"
    ))
}

/// What to do where the other end's certificate is refused for its time alone.
fn of_another_time(error: &reqwest::Error) -> Option<&'static str> {
    let mut failures = causes(error).filter_map(|cause| cause.downcast_ref());
    match failures.find_map(of_tls)? {
        rustls::Error::InvalidCertificate(refused) => trust::remedy_of_age(refused),
        _ => None,
    }
}

/// The library puts one error of input and output into another.
fn of_tls(failure: &io::Error) -> Option<&rustls::Error> {
    let inner = failure.get_ref()?;
    inner
        .downcast_ref()
        .or_else(|| of_tls(inner.downcast_ref()?))
}

/// An answer, read to its end; a refusal as far as the bounds allow.
pub struct Reply {
    /// Who answered.
    pub from: Peer,
    /// HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// At most 64 KiB; may hold a token.
    pub body: Zeroizing<Vec<u8>>,
    /// When the head came.
    pub received: SystemTime,
}

impl Reply {
    /// The token that Entra gave; `federated` where the proof was another issuer's token.
    ///
    /// # Errors
    /// Why there is none.
    pub fn read_of_entra(&self, federated: bool) -> Result<AccessToken, CredentialError> {
        match self.status {
            200 => answer::read(self),
            _ => Err(refusal::of_entra(self, federated)),
        }
    }
}

/// The fields of a token request, form-encoded and wiped after use.
pub(super) struct Form(Zeroizing<String>);

impl Form {
    /// The fields that every client-credentials request has.
    pub(super) fn new(client_id: &str, scope: &str, claims: Option<&str>) -> Self {
        let form = Self(Zeroizing::default())
            .with("grant_type", "client_credentials")
            .with("client_id", client_id)
            .with("scope", scope);
        match claims {
            Some(claims) => form.with("claims", claims),
            None => form,
        }
    }

    /// Adds a field.
    pub(super) fn with(self, name: &str, value: &str) -> Self {
        // A text that grows would leave a copy behind. At most three bytes stand for one.
        let room = self.0.len() + 2 + 3 * (name.len() + value.len());
        let mut text = String::with_capacity(room);
        text.push_str(&self.0);
        let text = Serializer::new(text).append_pair(name, value).finish();
        Self(Zeroizing::new(text))
    }

    /// RFC 7521 section 4.2: the fields of an assertion.
    pub(super) fn with_assertion(self, assertion: &str) -> Self {
        self.with(
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        )
        .with("client_assertion", assertion)
    }

    fn into_body(mut self) -> Bytes {
        let bytes = std::mem::take(&mut *self.0).into_bytes();
        Bytes::from_owner(Zeroizing::new(bytes))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::secret::memory;

    #[test]
    fn nothing_of_an_assertion_is_left_in_memory_after_its_form() {
        let (token, mut trace) = memory::token();
        let assertion = std::str::from_utf8(&token).unwrap();
        let form = Form::new("app", "api/.default", None).with_assertion(assertion);
        let body = form.with("claims", &"long".repeat(2000)).into_body();
        drop(token);
        assert!(trace.is_left(), "it is there while it is used");
        drop(body);
        assert!(!trace.is_left());
    }
}
