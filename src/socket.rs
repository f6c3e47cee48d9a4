//! A TCP stream that asks the kernel for what it does in the cheapest way there is.
//!
//! An exchange is four system calls, so what they cost beside their work counts: `writev` takes 0.1 µs
//! more than `send`, also for a single piece, and the C library's calls are places where a thread may
//! be cancelled, which takes 0.04 µs of each. rustix asks the kernel itself. Together that is a
//! fiftieth of an exchange.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Bodies pass in pieces of at most so many bytes, in both directions: two TLS records. Whoever does
/// not read holds one that waits to be written and one of TLS; larger ones do not fit into the
/// processor's cache together, and cost more time than they save calls.
pub const PIECE: usize = 32 * 1024;
/// What TLS takes before it is written: a piece and a head.
pub const UNSENT: usize = PIECE + 8 * 1024;

/// Whether this machine has no addresses of a kind at all, or keeps them from this service
/// (`ipv6.disable=1`, systemd's `RestrictAddressFamilies`).
pub fn lacks_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    let none = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    // WSAEAFNOSUPPORT
    #[cfg(not(unix))]
    let none = 10_047;
    error.raw_os_error() == Some(none)
}

/// A connected TCP stream.
#[derive(Debug)]
pub struct Tcp(TcpStream);

impl From<TcpStream> for Tcp {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl Tcp {
    /// Whether the kernel has told nothing that a read would find: no bytes, no end, no failure. No
    /// system call, and nobody is woken later.
    pub fn is_quiet(&self) -> bool {
        let read = self.0.try_io(Interest::READABLE, || Ok(()));
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Waits until a read may find something.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    /// Ends the connection with a reset, so that what was sent is not taken for all there is.
    pub fn reset(self) {
        // Where the system refuses, the connection just ends.
        let _ = self.0.set_zero_linger();
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // To initialise a buffer would cost more than is won.
        #[cfg(target_os = "linux")]
        if buf.initialized().len() == buf.capacity() {
            return direct::poll_read(&self.0, cx, buf);
        }
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        #[cfg(target_os = "linux")]
        return direct::poll_write(&self.0, cx, buf);
        #[cfg(not(target_os = "linux"))]
        return Pin::new(&mut self.get_mut().0).poll_write(cx, buf);
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pieces = bufs.iter().filter(|buf| !buf.is_empty());
        match (pieces.next(), pieces.next()) {
            (Some(only), None) => self.poll_write(cx, only),
            _ => Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

/// The calls without the C library.
#[cfg(target_os = "linux")]
mod direct {
    use std::io;
    use std::task::{Context, Poll, ready};

    use rustix::net::{RecvFlags, SendFlags, recv, send};
    use tokio::io::{Interest, ReadBuf};
    use tokio::net::TcpStream;

    /// A piece of at most so many bytes nearly always finds room, and is written before tokio is asked
    /// for some. A longer one may be one of many, and counts as what a task may do in a row.
    const SHORT: usize = 4096;

    /// Reads into a buffer that is initialised.
    pub(super) fn poll_read(
        stream: &TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.initialize_unfilled();
        let length = room.len();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let call = || Ok(recv(stream, &mut *room, RecvFlags::empty())?.1);
            if let Some(read) = called(stream, Interest::READABLE, length, call)? {
                buf.advance(read);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes; to a connection that is gone it is an error, and not the end of the process.
    pub(super) fn poll_write(
        stream: &TcpStream,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut asks = buf.len() > SHORT;
        loop {
            if asks {
                ready!(stream.poll_write_ready(cx))?;
            }
            let call = || Ok(send(stream, buf, SendFlags::NOSIGNAL)?);
            if let Some(written) = called(stream, Interest::WRITABLE, buf.len(), call)? {
                return Poll::Ready(Ok(written));
            }
            asks = true;
        }
    }

    /// Makes a call as tokio does; `None` when it would have blocked. One that did less than it was
    /// asked to did all there was to do: until the kernel says that there is more, another would be in
    /// vain.
    fn called(
        stream: &TcpStream,
        interest: Interest,
        asked: usize,
        call: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        match stream.try_io(interest, call) {
            Ok(done) => {
                if (1..asked).contains(&done) {
                    // No call: it notes that the next one would block.
                    let _ =
                        stream.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                }
                Ok(Some(done))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{IoSlice, Read};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Tcp, Tcp) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap().into(), other.unwrap().0.into())
    }

    #[tokio::test]
    async fn more_than_the_kernel_holds_arrives_whole_however_it_is_written_and_read() {
        let (mut writer, mut reader) = pair().await;
        let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
        let wanted = sent.clone();
        let writing = async move {
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let (front, back) = rest.split_at(rest.len().min(70_000) / 3);
                let pieces = [front, &back[..back.len().min(900)], &[]].map(IoSlice::new);
                let written = writer.write_vectored(&pieces).await.unwrap();
                rest = &rest[written..];
            }
            writer.shutdown().await.unwrap();
        };
        let reading = async move {
            let (mut read, mut piece) = (Vec::new(), vec![0; 50_000]);
            loop {
                // By turns into memory that is initialised and into memory that is not.
                match reader.read(&mut piece).await.unwrap() {
                    0 => return read,
                    length => read.extend_from_slice(&piece[..length]),
                }
                if reader.read_buf(&mut read).await.unwrap() == 0 {
                    return read;
                }
            }
        };
        let (read, ()) = tokio::join!(reading, writing);
        assert!(read == wanted);
    }

    #[tokio::test]
    async fn who_writes_many_long_pieces_leaves_others_their_turn() {
        const MANY: usize = 1000;
        let (mut writer, reader) = pair().await;
        writer.write_all(b"x").await.unwrap();
        let mut reader = reader.0.into_std().unwrap();
        let (piece, mut read) = (vec![0; PIECE], vec![0; PIECE]);
        let in_a_row = poll_fn(|cx| {
            let written = (0..MANY).take_while(|_| {
                // There is always room.
                while reader.read(&mut read).is_ok() {}
                Pin::new(&mut writer).poll_write(cx, &piece).is_ready()
            });
            Poll::Ready(written.count())
        });
        assert!(in_a_row.await < MANY);
    }

    #[tokio::test]
    async fn a_reset_is_no_end() {
        let (one, mut other) = pair().await;
        one.reset();
        let end = other.read(&mut [0]).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_an_error() {
        let (mut one, other) = pair().await;
        one.write_all(b"x").await.unwrap();
        // With something unread this resets the connection.
        drop(other);
        let failed = loop {
            if let Err(error) = one.write_all(b"x").await {
                break error;
            }
        };
        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(kinds.contains(&failed.kind()), "{failed}");
    }
}
