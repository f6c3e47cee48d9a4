//! A connected byte stream to an upstream: TCP, or TLS over it.

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
