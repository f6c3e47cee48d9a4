//! A CONNECT tunnel through the forward proxy (RFC 9110 section 9.3.6).

use hyper_util::client::proxy::matcher::Intercept;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ConnectError;
use super::connect::dial;
use super::resolver::Resolver;
use crate::descriptors;

/// More than any proxy's answer to CONNECT; what is longer is not one.
const LARGEST_ANSWER: usize = 8 * 1024;

/// Opens a tunnel to `target` (`host:port`).
pub(super) async fn open(
    proxy: &Intercept,
    target: &str,
    resolver: &Resolver,
) -> Result<TcpStream, ConnectError> {
    let authority = proxy.uri().authority().map_or("", |a| a.as_str());
    // User and password, if any, are in `basic_auth`; the words show host and port only.
    let shown = authority.rsplit('@').next().unwrap_or_default().to_owned();
    let failed = |answer: String| ConnectError::Proxy {
        proxy: shown.clone(),
        target: target.to_owned(),
        answer,
    };
    if proxy.uri().scheme_str() != Some("http") {
        return Err(failed("only http:// proxies are supported".to_owned()));
    }
    let host = proxy.uri().host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = proxy.uri().port_u16().unwrap_or(80);
    let addresses = resolver
        .addresses(bare, port)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let mut stream = Err(failed("it has no address".to_owned()));
    for address in addresses {
        stream = dial(address)
            .await
            .map_err(|error| match descriptors::ran_out(&error) {
                true => ConnectError::Descriptors {
                    target: target.to_owned(),
                },
                false => failed(error.to_string()),
            });
        if stream.is_ok() {
            break;
        }
    }
    let mut stream = stream?;
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(credentials) = proxy.basic_auth() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(credentials.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream
        .write_all(&request)
        .await
        .map_err(|error| failed(error.to_string()))?;
    match read_status(&mut stream).await {
        Ok(status) if (200..300).contains(&status) => Ok(stream),
        Ok(status) => Err(failed(format!("status {status}"))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Reads the head of the answer byte by byte past its end and no further: what follows belongs to
/// the tunnel.
async fn read_status(stream: &mut TcpStream) -> std::io::Result<u16> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LARGEST_ANSWER {
            return Err(std::io::Error::other("its answer does not end"));
        }
        head.push(stream.read_u8().await?);
    }
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut fields);
    answer
        .parse(&head)
        .ok()
        .and(answer.code)
        .ok_or_else(|| std::io::Error::other("its answer is not HTTP"))
}
