//! A connected byte stream to an upstream: TCP, or TLS over it.
//!
//! Each byte of an answer is copied twice behind the kernel, out of the record and out of rustls. Its
//! unbuffered interface (0.23) does not spare that: it makes a vector of each record as well.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::socket::Tcp;

/// A connected stream.
#[derive(Debug)]
pub(super) enum UpstreamStream {
    /// To loopback only.
    Plain(Tcp),
    /// Verified TLS.
    Tls(Box<TlsStream<Tcp>>),
}

impl UpstreamStream {
    /// Reads what comes next into the room that `input` has: of TLS a record, and nothing is tried
    /// behind it. The number of bytes; none at the end.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(io) => pin!(io.read_buf(input)).poll(cx),
            Self::Tls(io) => {
                let read = ready!(Pin::new(&mut **io).poll_fill_buf(cx))?;
                let length = read.len().min(input.capacity() - input.len());
                input.extend_from_slice(&read[..length]);
                Pin::new(&mut **io).consume(length);
                Poll::Ready(Ok(length))
            }
        }
    }

    /// Waits until [`Self::poll_next`], which alone has read so far, may find something. To have that
    /// wait costs more: it makes ready to read.
    pub(super) fn poll_news(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            _ if !self.is_quiet() => Poll::Ready(Ok(())),
            Self::Plain(io) => io.poll_read_ready(cx),
            Self::Tls(io) => io.get_ref().0.poll_read_ready(cx),
        }
    }

    /// Whether [`Self::poll_next`], which alone has read so far, would find nothing, not even the
    /// end. It may say `false` without need.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_quiet(),
            Self::Tls(io) => {
                let (io, session) = io.get_ref();
                // Nothing that was decrypted is left.
                session.wants_read() && io.is_quiet()
            }
        }
    }
}

macro_rules! either {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            UpstreamStream::Plain($io) => {
                let $io = Pin::new($io);
                $call
            }
            UpstreamStream::Tls($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
        }
    };
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Waker;

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector, server};

    use super::*;

    /// A stream, and its other end.
    async fn pair() -> (UpstreamStream, server::TlsStream<TcpStream>) {
        crate::trust::install_provider();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (other, _) = listener.accept().await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let (stream, other) = tokio::join!(
            TlsConnector::from(Arc::new(client)).connect(name, tcp.unwrap().into()),
            TlsAcceptor::from(Arc::new(server)).accept(other),
        );
        (
            UpstreamStream::Tls(Box::new(stream.unwrap())),
            other.unwrap(),
        )
    }

    /// What comes next, where there is room for so many bytes.
    async fn next(stream: &mut UpstreamStream, room: usize) -> io::Result<BytesMut> {
        let mut input = BytesMut::with_capacity(room);
        let length = poll_fn(|cx| stream.poll_next(cx, &mut input)).await?;
        assert_eq!(length, input.len());
        Ok(input)
    }

    #[tokio::test]
    async fn what_tls_holds_already_is_not_waited_for_at_the_socket() {
        let (mut stream, mut other) = pair().await;
        other.write_all(b"onetwo").await.unwrap();
        other.flush().await.unwrap();
        assert_eq!(next(&mut stream, 3).await.unwrap(), "one");
        let mut input = BytesMut::with_capacity(8);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(stream.poll_news(&mut cx).is_ready());
        assert!(stream.poll_next(&mut cx, &mut input).is_ready());
        assert_eq!(input, "two");
        assert!(stream.poll_next(&mut cx, &mut input).is_pending());
        assert!(stream.poll_news(&mut cx).is_pending());
    }

    #[tokio::test]
    async fn who_waits_for_news_is_woken_by_bytes_and_by_an_end() {
        let (mut stream, mut other) = pair().await;
        for word in ["one", "two"] {
            // What shaking hands has left comes first.
            while stream
                .poll_news(&mut Context::from_waker(Waker::noop()))
                .is_ready()
            {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(
                    stream
                        .poll_next(&mut cx, &mut BytesMut::with_capacity(8))
                        .is_pending()
                );
            }
            let says = async {
                other.write_all(word.as_bytes()).await.unwrap();
                other.flush().await.unwrap();
            };
            let (news, ()) = tokio::join!(poll_fn(|cx| stream.poll_news(cx)), says);
            news.unwrap();
            assert_eq!(next(&mut stream, 8).await.unwrap(), word);
        }
        let (news, ended) = tokio::join!(poll_fn(|cx| stream.poll_news(cx)), other.shutdown());
        news.and(ended).unwrap();
        assert!(next(&mut stream, 8).await.unwrap().is_empty());
        // Whoever asks after the end is told of it again.
        poll_fn(|cx| stream.poll_news(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn an_end_is_told_from_a_cut_however_often_it_is_looked_for() {
        for is_polite in [true, false] {
            let (mut stream, mut other) = pair().await;
            let mut cx = Context::from_waker(Waker::noop());
            assert!(
                stream
                    .poll_next(&mut cx, &mut BytesMut::with_capacity(8))
                    .is_pending()
            );
            if is_polite {
                other.shutdown().await.unwrap();
            }
            drop(other);
            for _ in 0..3 {
                let end = next(&mut stream, 8).await;
                match is_polite {
                    true => assert!(end.unwrap().is_empty()),
                    false => assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
                }
            }
        }
    }
}
