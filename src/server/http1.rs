//! HTTP/1.1 to a caller.
//!
//! hyper keeps 8 KiB to read heads, 8 KiB to write them and room for an exchange for as long as a
//! connection lives, and most connections rest most of the time. So where nothing has come for a while
//! hyper gives the socket back, and gets it again when somebody asks.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::answering::Answering;
use super::connection::{ConnectionContext, ended};
use super::plain_answer::PlainAnswer;
use super::timed::Timed;
use crate::config::Limits;
use crate::proxy::conversation::{Conversation, Stage};

/// What ends the request line and the head, which neither bound counts.
const ENDS: usize = b"\r\n\r\n".len();

/// HTTP/1.1 within these limits.
fn http1_of(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The bound on fields is hyper's own; another number would cost an allocation per request.
    builder
        .max_header_size(limits.request_line + limits.header_block + ENDS)
        .max_buf_size(limits.request_line + limits.header_block + 8 * 1024)
        .header_read_timeout(None);
    if limits.headers != 100 {
        builder.max_headers(limits.headers);
    }
    builder
}

/// How a connection came out of hyper's hands.
enum End {
    /// With nothing left to be read or written: it goes on when more comes.
    Rest,
    /// As HTTP has it.
    Orderly,
    /// By an answer that broke off.
    CutOff,
    /// By a failure of the connection.
    Broken,
}

/// Serves HTTP/1.1, and returns the socket.
pub(super) async fn serve_http1<S>(
    context: &Rc<ConnectionContext>,
    mut socket: Timed<S>,
    conversation: &Rc<Conversation>,
) -> Timed<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    // Who was shaking hands when the end began is about to ask.
    let comes_late = context.closes_idle();
    let end = loop {
        match bytes_come(context, &mut socket, conversation, comes_late).await {
            Ok(true) => {}
            // Every answer is out, so that nothing broke off, whatever the end is.
            other => {
                ended(other);
                break End::Orderly;
            }
        }
        // In a box, which is given back at rest.
        match Box::pin(serve_until_rest(context, &mut socket, conversation)).await {
            End::Rest => {}
            end => break end,
        }
    };
    // An answer that broke off has ended the connection, and the caller still sends, or is about to: it
    // gets to read how far the answer went, and those before it. Over TLS the end would say that all
    // is well. And hyper leaves a connection open on which an upgrade was asked for, although there
    // never is one.
    if matches!(end, End::CutOff) && !conversation.secure {
        conversation.leave_unread();
    }
    let orderly = matches!(end, End::Orderly);
    if (orderly || conversation.has_unread()) && !conversation.is_cut_short() {
        let _ = socket.shutdown().await;
    }
    socket
}

/// Waits until the caller begins to ask; `false` when it closes, or the end comes first.
async fn bytes_come<S>(
    context: &ConnectionContext,
    socket: &mut Timed<S>,
    conversation: &Conversation,
    comes_late: bool,
) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut reads = pin!(socket.reads_ahead());
    poll_fn(|cx| {
        let awaited = comes_late && conversation.stage() == Stage::FirstByte;
        match reads.as_mut().poll(cx) {
            Poll::Pending if context.closes_idle() && !awaited => Poll::Ready(Ok(false)),
            other => other,
        }
    })
    .await
}

/// Serves HTTP/1.1 until the connection ends or rests.
async fn serve_until_rest<S>(
    context: &Rc<ConnectionContext>,
    socket: &mut Timed<S>,
    conversation: &Rc<Conversation>,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let socket = PlainAnswer::new(
        socket,
        Rc::clone(conversation),
        Rc::clone(&context.proxy),
        context.limits.request_line,
    );
    let proxy = Rc::clone(&context.proxy);
    let known = Rc::clone(conversation);
    let service = service_fn(move |request: Request<Incoming>| {
        if request.extensions().get::<OnUpgrade>().is_some() {
            known.asks_for_upgrade();
        }
        let answer = Rc::clone(&proxy).handle(request, Rc::clone(&known));
        Answering::new(answer, |response| response)
    });
    let mut connection = http1_of(&context.limits).serve_connection(TokioIo::new(socket), service);
    let mut told = false;
    let end = poll_fn(|cx| {
        conversation.rest_if_due();
        let mut connection = Pin::new(&mut connection);
        let served = connection.as_mut().poll(cx);
        // First what has come is read: a connection is not idle on which that is a request, or begins
        // one.
        let leaves = match conversation.stage() {
            Stage::Resting => true,
            Stage::FirstByte | Stage::Head => false,
            Stage::Exchange | Stage::Idle => context.closes_idle(),
        };
        if served.is_ready() || told || !leaves {
            return served;
        }
        told = true;
        connection.as_mut().graceful_shutdown();
        connection.poll(cx)
    });
    let end = end.await;
    let broken = end.as_ref().err().map(|error| match error.is_user() {
        true => End::CutOff,
        false => End::Broken,
    });
    ended(end);
    let parts = connection.into_parts();
    let mut socket = parts.io.into_inner();
    if let Some(broken) = broken {
        return broken;
    }
    if conversation.stage() != Stage::Resting {
        // What it has left to be written.
        return match socket.flush().await {
            Ok(()) => End::Orderly,
            Err(_) => End::Broken,
        };
    }
    // The next head may have begun to come behind the last request.
    socket.into_inner().put_back(&parts.read_buf);
    End::Rest
}
