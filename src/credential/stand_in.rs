//! A stand-in for token endpoints in tests: a socket on loopback that answers as it is told and
//! keeps what it was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::endpoint::Egress;
use super::error::CredentialError;
use super::{AccessToken, Credential, Platform, TokenRequest};
use crate::config::{AppIdentity, BaseUrl, CredentialKind, CredentialSpec, HostName, Name, Scope};
use crate::forward_proxy::ForwardProxy;
use crate::secret::SecretSource;

/// One request, as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// `POST /path HTTP/1.1`.
    pub(super) line: String,
    /// Lower-case names.
    pub(super) headers: BTreeMap<String, String>,
    /// The body.
    pub(super) body: String,
}

impl Seen {
    /// A field of the form that was sent.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(self.body.as_bytes());
        fields
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// A socket that answers.
pub(super) struct StandIn {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Every request so far.
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
}

impl StandIn {
    /// Answers each request with what this function makes of it: the bytes of a response.
    pub(super) async fn start(answer: impl Fn(&Seen) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = serve(socket, &kept, &answer).await;
            }
        });
        Self { address, seen }
    }

    /// An app at this endpoint.
    pub(super) fn app(&self) -> AppIdentity {
        app_at(&format!("http://{}", self.address))
    }

    /// Every request so far.
    pub(super) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// An app of this authority.
pub(super) fn app_at(authority: &str) -> AppIdentity {
    AppIdentity {
        authority: BaseUrl::parse(authority).unwrap(),
        tenant_id: "tenant-1".to_owned(),
        client_id: "client-1".to_owned(),
    }
}

/// Reads one request and answers it.
pub(super) async fn serve(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<Seen>>,
    answer: &(impl Fn(&Seen) -> String + Send + Sync),
) -> std::io::Result<()> {
    let Some(request) = hear(&mut socket).await? else {
        return Ok(());
    };
    let answer = answer(&request);
    seen.lock().unwrap().push(request);
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}

/// Reads one request, if one comes.
pub(super) async fn hear(socket: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Seen>> {
    let mut text = Vec::new();
    let head = loop {
        if let Some(at) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(&mut text).await? == 0 {
            return Ok(None);
        }
    };
    let lines = String::from_utf8(text[..head].to_vec()).unwrap();
    let mut lines = lines.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |n| n.parse().unwrap());
    while text.len() < head + 4 + length {
        socket.read_buf(&mut text).await?;
    }
    let body = String::from_utf8(text.split_off(head + 4)).unwrap();
    Ok(Some(Seen {
        line,
        headers,
        body,
    }))
}

/// A response with a body.
pub(super) fn response(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

/// A token answer.
pub(super) fn granted(token: &str) -> String {
    let body = format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"{token}"}}"#);
    response(200, "Content-Type: application/json\r\n", &body)
}

/// A way to loopback.
pub(super) fn egress() -> Egress {
    egress_with(rustls::RootCertStore::empty(), BTreeMap::new())
}

/// One that trusts these roots and knows these addresses.
pub(super) fn egress_with(
    roots: rustls::RootCertStore,
    resolve: BTreeMap<(HostName, u16), SocketAddr>,
) -> Egress {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Egress {
        tls,
        resolve,
        forward_proxy: ForwardProxy::none(),
    }
}

pub(super) fn spec(name: &str, kind: CredentialKind) -> CredentialSpec {
    CredentialSpec {
        name: Name::parse(name).unwrap(),
        kind,
        continuous_access: false,
        expires: None,
        fallback: None,
    }
}

pub(super) fn secret_in(file: &Path, app: AppIdentity) -> CredentialKind {
    CredentialKind::ClientSecret {
        app,
        secret: SecretSource::File(file.into()),
    }
}

pub(super) fn build(specs: &[CredentialSpec], egress: &Egress) -> Vec<Arc<Credential>> {
    let platform = Platform::detect(|_| None);
    Credential::all(specs, egress, &platform).unwrap()
}

pub(super) async fn ask(credential: &Credential) -> Result<AccessToken, CredentialError> {
    credential.acquire(&request()).await.outcome
}

pub(super) async fn ask_within(
    credential: &Credential,
    within: Duration,
) -> Result<AccessToken, CredentialError> {
    let request = TokenRequest {
        within,
        ..request()
    };
    credential.acquire(&request).await.outcome
}

/// A token request without claims.
pub(super) fn request() -> TokenRequest {
    TokenRequest {
        scope: Scope::parse("https://graph.test/.default").unwrap(),
        claims: None,
        within: Duration::from_secs(30),
        resting: None,
    }
}

/// A credential with this secret in a file, in a folder that lives as long as the test.
pub(super) fn with_secret(text: &str, app: AppIdentity) -> (tempfile::TempDir, Arc<Credential>) {
    let (folder, file) = secret_file(text);
    let credential = build(&[spec("a", secret_in(&file, app))], &egress()).remove(0);
    (folder, credential)
}

/// A file with a secret, in a folder that lives as long as the test.
pub(super) fn secret_file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, text).unwrap();
    (folder, file)
}
