//! The bytes of one connection, below HTTP. A [`Wire`] keeps a copy of each request head as it was
//! written, and can be told to send other bytes in the place of an answer, or to end the connection in a
//! way that no HTTP library would.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use crate::clock;
use crate::lock::locked;

/// Longest request head that is kept as written; a longer one is recorded as hyper saw it.
const HEAD_KEPT: usize = 256 * 1024;
/// How long to read on after the last answer.
const LINGER: Duration = Duration::from_secs(2);

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// FIN, without the `close_notify` that TLS asks for.
    Close,
    /// The connection stays open and silent.
    Hang,
    /// `close_notify` on TLS, then FIN: the polite way.
    Notify,
    /// RST.
    Reset,
}

/// What a connection's wire, its task and its exchanges share.
pub(super) struct Link {
    /// Counts from 1 within one simulator.
    pub(super) id: u64,
    /// The name asked for in the TLS handshake; the listener's name without one.
    pub(super) host: String,
    open: AtomicUsize,
    begun: AtomicUsize,
    capturing: AtomicBool,
    captured: Mutex<Vec<u8>>,
    instead: OnceLock<(Vec<u8>, Ending)>,
    ending: Mutex<Option<Ending>>,
    hang_up: Notify,
    retire: Notify,
}

impl Link {
    pub(super) fn new(id: u64, host: String, capturing: bool) -> Self {
        Self {
            id,
            host,
            open: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            capturing: AtomicBool::new(capturing),
            captured: Mutex::default(),
            instead: OnceLock::new(),
            ending: Mutex::default(),
            hang_up: Notify::new(),
            retire: Notify::new(),
        }
    }

    /// Whether no exchange is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Has these bytes written in place of the next answer, after which the connection ends.
    pub(super) fn write_instead(&self, bytes: Vec<u8>, ending: Ending) {
        // It ends with the first such answer.
        let _ = self.instead.set((bytes, ending));
    }

    /// Decides how the connection ends once its task lets go of it.
    pub(super) fn end_with(&self, ending: Ending) {
        *locked(&self.ending) = Some(ending);
    }

    /// Decides how the connection ends, unless that has been decided.
    pub(super) fn end_by_default(&self, ending: Ending) {
        locked(&self.ending).get_or_insert(ending);
    }

    /// Ends the connection now, whatever it is doing.
    pub(super) fn hang_up(&self, ending: Ending) {
        self.end_with(ending);
        self.hang_up.notify_one();
    }

    /// Lets exchanges under way finish and takes no more: `Connection: close`, or GOAWAY.
    pub(super) fn retire(&self) {
        self.retire.notify_one();
    }

    /// Waits for [`Self::hang_up`].
    pub(super) async fn hung_up(&self) {
        self.hang_up.notified().await;
    }

    /// Waits for [`Self::retire`].
    pub(super) async fn retired(&self) {
        self.retire.notified().await;
    }

    /// The bytes read since the last exchange ended: the head of this one, as it was written.
    pub(super) fn take_captured(&self) -> Vec<u8> {
        self.capturing.store(false, Ordering::Release);
        std::mem::take(&mut *locked(&self.captured))
    }
}

/// One exchange under way. When it is gone, what arrives next is another head.
pub(super) struct Turn {
    link: Arc<Link>,
    capture: bool,
}

impl Turn {
    /// Begins an exchange; says as well whether it is the first of its connection.
    pub(super) fn begin(link: &Arc<Link>, capture: bool) -> (Self, bool) {
        link.open.fetch_add(1, Ordering::AcqRel);
        let first = link.begun.fetch_add(1, Ordering::AcqRel) == 0;
        let link = Arc::clone(link);
        (Self { link, capture }, first)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.capture {
            locked(&self.link.captured).clear();
        }
        self.link.capturing.store(self.capture, Ordering::Release);
        self.link.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Plain or encrypted.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    fn pinned(&mut self) -> Pin<&mut dyn Duplex> {
        let duplex: &mut dyn Duplex = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &mut **tls,
        };
        Pin::new(duplex)
    }
}

/// The two halves of a byte stream under one name.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl Duplex for TcpStream {}
impl Duplex for TlsStream<TcpStream> {}

/// See the module.
pub(super) struct Wire {
    transport: Transport,
    link: Arc<Link>,
    written: usize,
}

impl Wire {
    pub(super) fn new(transport: Transport, link: Arc<Link>) -> Self {
        Self {
            transport,
            link,
            written: 0,
        }
    }

    /// Ends the connection as it was decided; without a decision, politely.
    pub(super) async fn end(mut self) {
        let ending = *locked(&self.link.ending);
        match ending {
            // A peer that is already gone cannot be told goodbye, which is no fault of ours.
            Some(Ending::Notify) => drop(self.transport.pinned().shutdown().await),
            Some(Ending::Hang) => std::future::pending().await,
            Some(Ending::Close | Ending::Reset) => {}
            None => self.linger().await,
        }
    }

    /// Reads on after the last answer until the peer is done, for a while. Without it, closing over
    /// unread bytes would send RST, and take the answer away from a peer that is still sending.
    async fn linger(&mut self) {
        let mut sink = vec![0; 16 * 1024];
        let discard = async { while matches!(self.read(&mut sink).await, Ok(1..)) {} };
        // Whether it ended by itself or by the clock makes no difference.
        clock::within(LINGER, discard).await;
    }

    /// Writes what takes the answer's place. `Ready(Ok)` when the answer may be written as usual.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = Arc::clone(&self.link);
        let Some((bytes, ending)) = link.instead.get() else {
            return Poll::Ready(Ok(()));
        };
        while self.written < bytes.len() {
            let rest = &bytes[self.written..];
            self.written += ready!(self.transport.pinned().poll_write(cx, rest))?;
        }
        ready!(self.transport.pinned().poll_flush(cx))?;
        // Nobody wakes this again; the connection's task still hears a hang-up.
        if *ending == Ending::Hang {
            return Poll::Pending;
        }
        link.end_with(*ending);
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    fn capture(&self, bytes: &[u8]) {
        let mut captured = locked(&self.link.captured);
        if captured.len() < HEAD_KEPT {
            captured.extend_from_slice(bytes);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if *locked(&self.link.ending) == Some(Ending::Reset) {
            // Fails only on a socket that is gone already.
            drop(self.transport.tcp().set_zero_linger());
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.transport.pinned().poll_read(cx, buffer))?;
        if self.link.capturing.load(Ordering::Acquire) {
            self.capture(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(cx))?;
        self.transport.pinned().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(cx))?;
        self.transport.pinned().poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(tcp) => tcp.is_write_vectored(),
            Transport::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.pinned().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.pinned().poll_shutdown(cx)
    }
}
