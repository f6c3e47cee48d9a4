//! One caller's connection, from the accepted socket to its end.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Response;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::InvalidMessage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::answering::Answering;
use super::gathered::Gathered;
use super::heads::Heads;
use super::http1::serve_http1;
use super::readers::Readers;
use super::timed::Timed;
use crate::alarm::AlarmClock;
use crate::caller::certificate::PeerNames;
use crate::clock::HyperTimer;
use crate::code::Code;
use crate::config::Limits;
use crate::executor::LocalExec;
use crate::proxy::conversation::{Conversation, Patience, Stage};
use crate::proxy::{Proxy, ResponseBody};
use crate::socket::{Tcp, UNSENT};

/// HTTP/2 windows towards callers, what one stream and what all together may send unread: RFC 9113's
/// own 64 KiB for one, and sixteen uploads at full speed.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What hyper may hold of one stream's answer: a window of most clients.
const SEND_BUFFER: usize = 64 * 1024;
/// An HTTP/2 caller gets a PING every 20 s, often enough for a NAT that forgets after 30 s. It is no
/// test of life: who reads slowly finds it behind all that was sent before, and who rests may not look
/// at its socket. The time limits of each stage find those who have vanished; this is beyond them.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(600);

/// How long requests may still come after GOAWAY, which crosses them on their way. A caller that is
/// there acknowledges it within a round trip and closes; some never do (httpx with an idle pool).
const FAREWELL: Duration = Duration::from_secs(2);

/// What the connections of a worker have in common.
pub(super) struct ConnectionContext {
    pub(super) proxy: Rc<Proxy>,
    pub(super) clock: Rc<AlarmClock>,
    pub(super) limits: Limits,
    pub(super) patience: Patience,
    pub(super) draining: Cell<Drain>,
    pub(super) heads: Rc<Heads>,
}

impl ConnectionContext {
    /// A connection that was just accepted.
    pub(super) fn conversation(&self, peer: Option<IpAddr>) -> Conversation {
        Conversation::new(&self.clock, self.patience, peer)
    }

    /// Whether a connection without an exchange is to end.
    pub(super) fn closes_idle(&self) -> bool {
        self.draining.get() == Drain::Now
    }
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Not at all.
    No,
    /// Idle HTTP/1.1 connections close, and each other after the exchange that it is in or that has
    /// begun to come.
    Now,
    /// It is announced: GOAWAY goes out to who is there, and HTTP/1.1 answers say `Connection: close`.
    Soon,
}

/// Serves a socket that speaks plain HTTP: HTTP/1.1, or HTTP/2 with prior knowledge. Returns the
/// socket when an answer on it has broken off that only the end of the connection ends.
pub(super) async fn serve_plain<S>(
    context: Rc<ConnectionContext>,
    socket: S,
    conversation: Rc<Conversation>,
) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut socket = Timed::new(socket, Rc::clone(&conversation), context.clock.alarm());
    let begins = first_bytes(&context, &conversation, socket.begins_http2()).await;
    match begins {
        Ok(true) => {
            Box::pin(serve_http2(&context, socket, conversation)).await;
            None
        }
        Ok(false) => {
            let socket = serve_http1(&context, socket, &conversation).await;
            conversation.is_cut_short().then(|| socket.into_inner())
        }
        // Nothing came in time, or the caller left, or the end began: there is nobody to answer.
        Err(_) => None,
    }
}

/// What `begins` finds, unless idle connections are closed and nothing has come on this one.
async fn first_bytes(
    context: &ConnectionContext,
    conversation: &Conversation,
    begins: impl Future<Output = io::Result<bool>>,
) -> io::Result<bool> {
    if context.closes_idle() {
        // Accepted at the very end: the runtime has not looked yet whether something has come.
        tokio::task::yield_now().await;
    }
    let mut begins = pin!(begins);
    std::future::poll_fn(|cx| match begins.as_mut().poll(cx) {
        Poll::Pending if context.closes_idle() && conversation.stage() == Stage::FirstByte => {
            Poll::Ready(Err(io::ErrorKind::Interrupted.into()))
        }
        other => other,
    })
    .await
}

/// Shakes hands in the time for a first byte; `None` when that fails, which only the caller can mend,
/// or when the end begins and the caller has not begun.
pub(super) async fn handshake(
    context: &ConnectionContext,
    peer: Option<IpAddr>,
    acceptor: TlsAcceptor,
    socket: Tcp,
) -> Option<Box<TlsStream<Tcp>>> {
    if context.closes_idle() {
        // As in `first_bytes`.
        tokio::task::yield_now().await;
    }
    let alarm = context.clock.alarm();
    alarm.set(context.patience.first_byte);
    let accept = acceptor.accept_with(socket, |session| session.set_buffer_limit(Some(UNSENT)));
    let mut accept = pin!(accept);
    let mut begun = false;
    let shaken = std::future::poll_fn(|cx| {
        begun = begun || accept.get_ref().is_some_and(|socket| !socket.is_quiet());
        match accept.as_mut().poll(cx) {
            Poll::Ready(shaken) => Poll::Ready(Some(shaken)),
            Poll::Pending if alarm.has_rung(cx) => Poll::Ready(None),
            Poll::Pending if context.closes_idle() && !begun => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    match shaken.await? {
        Ok(socket) => Some(Box::new(socket)),
        Err(error) => {
            // Nothing is answered in the clear; the caller sees a protocol that it does not know.
            if is_no_tls(&error) {
                let reason = "the caller speaks no TLS, and this listener nothing else; call https://, and have what is in front of it send no PROXY protocol";
                context.proxy.refused_unread(Code::BadRequest, peer, reason);
            } else {
                tracing::debug!(%error, "a caller's handshake failed");
            }
            None
        }
    }
}

fn is_no_tls(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        error,
        Some(rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType
        ))
    )
}

/// The names in the certificate that the caller has shown and TLS has verified.
pub(super) fn peer_names<S>(socket: &TlsStream<S>) -> Option<PeerNames> {
    let leaf = socket.get_ref().1.peer_certificates()?.first()?;
    match PeerNames::parse(leaf) {
        Ok(names) => Some(names),
        Err(error) => {
            tracing::info!(%error, "a caller's certificate counts as none");
            None
        }
    }
}

/// Serves a connection on which hands were shaken, by the protocol that was agreed on; HTTP/1.1
/// when the caller named none.
pub(super) async fn serve_tls<S>(
    context: Rc<ConnectionContext>,
    socket: Box<TlsStream<S>>,
    conversation: Rc<Conversation>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let speaks_http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
    let socket = Timed::new(socket, Rc::clone(&conversation), context.clock.alarm());
    if speaks_http2 {
        Box::pin(serve_http2(&context, socket, conversation)).await;
    } else {
        // Without close_notify an answer that broke off is seen to have.
        serve_http1(&context, socket, &conversation).await;
    }
}

/// HTTP/2 within these limits.
fn http2_of(limits: &Limits) -> http2::Builder<LocalExec> {
    let list = u32::try_from(limits.request_line + limits.header_block);
    let streams = usize::try_from(limits.streams).unwrap_or(usize::MAX);
    let mut builder = http2::Builder::new(LocalExec);
    builder
        .timer(HyperTimer)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(list.unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_local_error_reset_streams(100)
        // A caller whose own time runs out gives up all that it has open at once. The default of 20
        // takes that for an attack, and closes on everybody who shares the connection; where fewer
        // may be open it is right.
        .max_pending_accept_reset_streams(streams.max(20))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}

/// Serves HTTP/2.
pub(super) async fn serve_http2<S>(
    context: &Rc<ConnectionContext>,
    mut socket: Timed<S>,
    conversation: Rc<Conversation>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    conversation.speaks_http2();
    socket.count_frames(&context.heads);
    let proxy = Rc::clone(&context.proxy);
    let known = Rc::clone(&conversation);
    let readers = Readers::new(context.clock.alarm(), conversation.write_stall());
    let watch = Rc::clone(&readers);
    let service = service_fn(move |request| {
        // In a box: hyper makes a task of each stream and moves what is in it four times.
        let answer = Box::pin(Rc::clone(&proxy).handle(request, Rc::clone(&known)));
        let watch = Rc::clone(&watch);
        Answering::new(answer, move |response: Response<ResponseBody>| {
            response.map(|body| watch.watch(body))
        })
    });
    let socket = Gathered::new(socket);
    let io = TokioIo::new(socket.clone());
    let mut connection = pin!(http2_of(&context.limits).serve_connection(io, service));
    let mut told = false;
    // Whoever is told to go while others are still let in only connects here again, and a request that
    // was about to begin is lost where its body cannot be had twice (Go).
    let comes_late = context.draining.get() == Drain::Soon;
    let farewell = context.clock.alarm();
    let end = std::future::poll_fn(|cx| {
        let quiet = conversation.stage() == Stage::Idle && conversation.is_overdue(cx);
        let ends = match context.draining.get() {
            Drain::No => false,
            Drain::Soon => !comes_late,
            Drain::Now => true,
        };
        let leave = ends || quiet || readers.are_stuck();
        if leave && !told {
            told = true;
            connection.as_mut().graceful_shutdown();
            farewell.set(FAREWELL);
        }
        readers.look(cx);
        let served = connection.as_mut().poll(cx).map_err(io::Error::other);
        if let Poll::Ready(Err(error)) = socket.poll_write_out(cx) {
            return Poll::Ready(Err(error));
        }
        // GOAWAY is out; a caller that asks for nothing more and does not close is not waited for, unless
        // it still reads an answer, and has not had the time between two requests for that.
        let busy = conversation.is_busy();
        let reads = || conversation.has_read() && !conversation.is_overdue(cx);
        if told && (busy || reads()) {
            farewell.set(FAREWELL);
        }
        if busy {
            return served;
        }
        match served {
            Poll::Pending if farewell.has_rung(cx) => Poll::Ready(Ok(())),
            other => other,
        }
    });
    ended(end.await);
}

/// A connection is over.
pub(super) fn ended<T>(outcome: Result<T, impl std::fmt::Display>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a caller's connection ended");
    }
}
