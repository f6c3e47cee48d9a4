//! A caller that speaks HTTP/2 with prior knowledge.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::answer::Answer;
use super::soon;

/// A request body.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A connection to the proxy. Clones share it.
#[derive(Clone)]
pub(crate) struct Caller2 {
    sender: http2::SendRequest<Body>,
}

impl Caller2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address)).await;
        let stream = stream.expect("the proxy accepts connections");
        let handshake = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = soon(handshake).await.expect("HTTP/2 is spoken");
        tokio::spawn(connection);
        Self { sender }
    }

    /// Sends a request without a body and reads the answer to its end; status 0 when there is none.
    pub(crate) async fn exchange(&self, method: &str, path: &str) -> Answer {
        let request = request(method, path, &[], empty());
        match soon(self.send(request)).await {
            Ok(response) => soon(read(response)).await,
            // The stream was reset before the head went out.
            Err(_) => Answer::default(),
        }
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request; the answer's body is the caller's to read.
    pub(crate) async fn send(&self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        let mut sender = self.sender.clone();
        soon(sender.ready()).await?;
        soon(sender.send_request(request)).await
    }

    /// The same without a body, for whoever waits on purpose, and as long as that takes.
    pub(crate) async fn get_patiently(&self, path: &str) -> hyper::Result<Answer> {
        let mut sender = self.sender.clone();
        sender.ready().await?;
        let request = request("GET", path, &[], empty());
        Ok(read(sender.send_request(request).await?).await)
    }
}

/// A request to `localhost`.
pub(crate) fn request(
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: Body,
) -> Request<Body> {
    let start = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"));
    let add = |builder: http::request::Builder, &(name, value): &(&str, &str)| {
        builder.header(name, value)
    };
    let builder = fields.iter().fold(start, add);
    builder.body(body).expect("the request is well-formed")
}

pub(crate) fn empty() -> Body {
    full("")
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// A body that does not say how long it is.
pub(crate) fn unsized_body(text: impl Into<Bytes>) -> Body {
    struct Unsized(Option<Bytes>);
    impl hyper::body::Body for Unsized {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|text| Ok(Frame::data(text))))
        }
    }
    Unsized(Some(text.into())).boxed()
}

/// Reads an answer to its end or its breaking off.
pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let (parts, mut body) = response.into_parts();
    let mut answer = Answer {
        version: 2,
        status: parts.status.as_u16(),
        fields: fields_of(&parts.headers),
        ..Answer::default()
    };
    loop {
        match soon(body.frame()).await {
            None => {
                answer.whole = true;
                return answer;
            }
            Some(Err(_)) => return answer,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => answer.body.extend_from_slice(&data),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        answer.trailers = fields_of(&trailers);
                    }
                }
            },
        }
    }
}

fn fields_of(fields: &HeaderMap) -> Vec<(String, String)> {
    let own = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    fields.iter().map(own).collect()
}
