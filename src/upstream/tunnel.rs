//! A CONNECT tunnel through the forward proxy (RFC 9110 section 9.3.6).

use std::net::SocketAddr;

use hyper_util::client::proxy::matcher::Intercept;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ConnectError;
use super::connect_answer::ConnectAnswer;
use super::race::{first_to_answer, interleaved};
use super::resolver::Resolver;
use crate::descriptors;
use crate::forward_proxy;

/// Opens a tunnel to `target` (`host:port`).
pub(super) async fn open(
    proxy: &Intercept,
    target: &str,
    resolver: &Resolver,
) -> Result<TcpStream, ConnectError> {
    let failed = |answer| failure(proxy, target, answer, None);
    if proxy.uri().scheme_str() != Some("http") {
        return Err(failed("only http:// proxies are supported".to_owned()));
    }
    let host = proxy.uri().host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = proxy.uri().port_u16().unwrap_or(80);
    let addresses = match resolver.addresses(bare, port).await {
        Ok(addresses) => addresses,
        Err(_) if descriptors::are_used_up() => return Err(ConnectError::descriptors(target)),
        Err(error) => return Err(failed(error.to_string())),
    };
    open_at(proxy, target, addresses).await
}

fn failure(proxy: &Intercept, target: &str, answer: String, status: Option<u16>) -> ConnectError {
    let authority = proxy.uri().authority().map_or("", |a| a.as_str());
    // User and password, if any, are in `basic_auth`; the words show host and port only.
    let shown = authority.rsplit('@').next().unwrap_or_default();
    ConnectError::Proxy {
        proxy: shown.to_owned(),
        target: target.to_owned(),
        answer,
        remedy: forward_proxy::remedy(status),
    }
}

/// Opens it at one of the proxy's addresses.
async fn open_at(
    proxy: &Intercept,
    target: &str,
    addresses: Vec<SocketAddr>,
) -> Result<TcpStream, ConnectError> {
    let failed = |answer| failure(proxy, target, answer, None);
    // As for any other host: one that does not answer must not hold up the next.
    let reached = first_to_answer(&interleaved(addresses)).await;
    let mut stream = reached.map_err(|error| match descriptors::ran_out(&error) {
        true => ConnectError::descriptors(target),
        false => failed(error.to_string()),
    })?;
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
        Ok(status) => {
            let answer = format!("status {status}");
            Err(failure(proxy, target, answer, Some(status)))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Reads the answer past its end and no further.
async fn read_status(stream: &mut TcpStream) -> std::io::Result<u16> {
    let mut answer = ConnectAnswer::default();
    loop {
        let byte = stream.read_u8().await?;
        if let Some(status) = answer.push(byte).map_err(std::io::Error::other)? {
            return Ok(status);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use http::Uri;
    use hyper_util::client::proxy::matcher::Matcher;
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// A listener whose queue is full: the kernel answers nobody who calls.
    fn deaf() -> (SocketAddr, Vec<Socket>) {
        let stream = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listener = stream();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).expect("a port");
        listener.listen(0).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let address = address.as_socket().expect("it is of IPv4");
        let mut held = vec![listener];
        for _ in 0..4 {
            let caller = stream();
            caller.set_nonblocking(true).expect("sockets can do that");
            // It is under way, or not answered.
            let _ = caller.connect(&address.into());
            held.push(caller);
        }
        (address, held)
    }

    fn proxy() -> Intercept {
        let matcher = Matcher::builder().https("http://proxy.corp:8080").build();
        let uri = Uri::from_static("https://graph.microsoft.com/");
        matcher.intercept(&uri).expect("it is for https")
    }

    #[tokio::test(flavor = "local")]
    async fn an_address_of_the_proxy_that_does_not_answer_does_not_hold_up_the_next() {
        let (first, _held) = deaf();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let second = listener.local_addr().unwrap();
        let proxy = proxy();
        let answered = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            stream
        };
        let target = "graph.microsoft.com:443";
        let opened = open_at(&proxy, target, vec![first, second]);
        let both = async { tokio::join!(opened, answered) };
        let limit = std::time::Duration::from_secs(20);
        let both = tokio::time::timeout(limit, both).await;
        let (opened, _answering) = both.expect("in time");
        assert_eq!(opened.unwrap().peer_addr().unwrap(), second);
    }
}
