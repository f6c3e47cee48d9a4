//! The answers that hyper writes by itself, in our form.
//!
//! A head that hyper cannot parse never reaches the proxy: hyper writes a bare 400, 414 or 431 and
//! closes. This layer, between hyper and the socket, notices such an answer (what is written when
//! every exchange is over and its answer is out is nobody else's) and writes ours instead, counted
//! as any refusal. It also answers 408 when the head does not come in time.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::code::Code;
use crate::proxy::Proxy;
use crate::proxy::conversation::{Conversation, Stage};
use crate::proxy::error::{Answer, HEAD_TOO_LARGE, LINE_TOO_LONG, SOON};

/// How a record of a TLS handshake begins (RFC 8446 section 5.1), and no request line.
const HANDSHAKE: u8 = 22;

/// Counts a request that was refused before it could be read, and says so in HTTP/1.1: the answer as
/// bytes, after which the connection closes.
pub(super) fn unread(
    proxy: &Proxy,
    peer: Option<IpAddr>,
    code: Code,
    message: &'static str,
) -> Vec<u8> {
    proxy.refused_unread(code, peer, message);
    let answer = Answer {
        code,
        proxy_error: code.proxy_error(),
        message: message.into(),
        retry_after: (code == Code::Overloaded).then_some(SOON),
    };
    let id = proxy.fresh_request_id();
    let (status, headers, body) = answer.render(id, SystemTime::now());
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\n").into_bytes();
    for (name, value) in &headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    text.extend_from_slice(body.as_bytes());
    text
}

/// A caller's stream on which every answer has our form.
pub(super) struct PlainAnswer<S> {
    inner: S,
    conversation: Rc<Conversation>,
    proxy: Rc<Proxy>,
    /// What is left to be written instead of hyper's answer, or after it has gone.
    instead: BytesMut,
    /// The requests whose answers are out: hyper has flushed since the last of them was over.
    answered: u64,
    /// The request line of the head that is coming.
    line: Line,
    /// The bound on it.
    longest_line: usize,
}

/// What is known of a request line.
#[derive(Default)]
struct Line {
    /// Its bytes so far.
    length: usize,
    /// Whether it has ended.
    ended: bool,
    /// Whether it is none, but the beginning of a handshake.
    is_tls: bool,
    /// Whether a `#` was in it.
    has_hash: bool,
    /// Those bytes, where it comes in pieces, up to that.
    begun: Vec<u8>,
}

impl Line {
    /// Reads on; what stands before its first `#`, once that has come.
    fn read(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        // Empty lines before it are none (RFC 9112 section 2.2).
        let bytes = match self.length {
            0 => bytes.trim_ascii_start(),
            _ => bytes,
        };
        if self.length == 0 {
            self.is_tls = bytes.first() == Some(&HANDSHAKE);
        }
        let end = memchr::memchr(b'\n', bytes);
        self.ended = end.is_some();
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        self.length += piece.len();
        if self.has_hash {
            return None;
        }
        // hyper cuts the target there and says nothing.
        let Some(at) = memchr::memchr(b'#', piece) else {
            if !self.ended {
                self.begun.extend_from_slice(piece);
            }
            return None;
        };
        self.has_hash = true;
        let mut before = std::mem::take(&mut self.begun);
        before.extend_from_slice(&piece[..at]);
        Some(before)
    }
}

impl<S: AsyncWrite + Unpin> PlainAnswer<S> {
    /// Watches a stream on which every answer is out.
    pub(super) fn new(
        inner: S,
        conversation: Rc<Conversation>,
        proxy: Rc<Proxy>,
        longest_line: usize,
    ) -> Self {
        Self {
            inner,
            proxy,
            instead: BytesMut::new(),
            answered: conversation.requests(),
            conversation,
            line: Line::default(),
            longest_line,
        }
    }

    /// The stream.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    /// Measures the request line in bytes of a head.
    fn measure_line(&mut self, begins: bool, bytes: &[u8]) {
        if begins {
            self.line = Line::default();
        }
        if let Some(before) = self.line.read(bytes) {
            self.conversation.saw_fragment(before);
        }
    }

    /// Whether what is written now belongs to no exchange.
    fn is_between(&self) -> bool {
        self.conversation.requests() == self.answered
            && self.conversation.stage() != Stage::Exchange
    }

    /// Our answer to what hyper answers by itself; `None` when `bytes` are not that.
    fn answer_to(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if !self.is_between() {
            return None;
        }
        let status = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
        let (code, message) = match status {
            b"400" if self.line.is_tls => (
                Code::BadRequest,
                "the caller speaks TLS, and this listener does not; call http://, or set `tls`",
            ),
            b"400" => (
                Code::BadRequest,
                "the request is not well-formed HTTP and was not forwarded; in an address, percent-encode spaces and the characters \" < > `",
            ),
            // hyper bounds the head as a whole.
            b"431" | b"414" if self.line.length > self.longest_line + "\r".len() => {
                (Code::UriTooLong, LINE_TOO_LONG)
            }
            b"431" => (Code::HeadersTooLarge, HEAD_TOO_LARGE),
            _ => return None,
        };
        Some(self.render(code, message))
    }

    fn render(&self, code: Code, message: &'static str) -> Vec<u8> {
        self.conversation.leave_unread();
        unread(&self.proxy, self.conversation.peer, code, message)
    }

    /// Takes what could not be `written` from a hyper that may not wait for it: where an upgrade was
    /// asked for, it ends as soon as there is no more to read, and drops what it has to write.
    fn take_over(
        &mut self,
        written: Poll<io::Result<usize>>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() || !self.conversation.has_asked_for_upgrade() {
            return written;
        }
        // It takes the place of what is written: a reader may stay behind for a whole download.
        bufs.iter().for_each(|buf| self.instead.put_slice(buf));
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    /// Writes what is left of our answer.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written =
                std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, &self.instead))?;
            self.instead.advance(written);
            if written == 0 || self.instead.is_empty() {
                self.instead = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for PlainAnswer<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let begins = this.conversation.stage() != Stage::Head;
        let before = buf.filled().len();
        let outcome = Pin::new(&mut this.inner).poll_read(cx, buf);
        if this.conversation.stage() == Stage::Head {
            this.measure_line(begins, &buf.filled()[before..]);
        }
        if let Poll::Ready(Err(error)) = &outcome
            && error.kind() == io::ErrorKind::TimedOut
            && this.conversation.stage() == Stage::Head
        {
            let text = this.render(
                Code::RequestTimeout,
                "the request head did not arrive within timeouts.request_head; send it without pauses",
            );
            this.instead.put_slice(&text);
            // One attempt: who is this slow is not waited for once more.
            let _ = this.poll_instead(cx);
            let _ = Pin::new(&mut this.inner).poll_flush(cx);
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PlainAnswer<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(text) = this.answer_to(buf) {
            this.instead.put_slice(&text);
            // hyper's own bytes count as written; ours go out with the next flush.
            return Poll::Ready(Ok(buf.len()));
        }
        let written = match this.poll_instead(cx)? {
            Poll::Ready(()) => Pin::new(&mut this.inner).poll_write(cx, buf),
            Poll::Pending => Poll::Pending,
        };
        this.take_over(written, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_between() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| buf));
        }
        let this = self.get_mut();
        let written = match this.poll_instead(cx)? {
            Poll::Ready(()) => Pin::new(&mut this.inner).poll_write_vectored(cx, bufs),
            Poll::Pending => Poll::Pending,
        };
        this.take_over(written, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        std::task::ready!(this.poll_instead(cx))?;
        std::task::ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        if this.conversation.stage() != Stage::Exchange {
            this.answered = this.conversation.requests();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper gives it back so, and it goes on.
        if this.conversation.stage() == Stage::Resting {
            return Poll::Ready(Ok(()));
        }
        std::task::ready!(this.poll_instead(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_first_hash_is_the_same_however_a_line_is_cut() {
        let text = b"\r\nDELETE /users/anna#EXT#@contoso.example HTTP/1.1\r\nA: #\r\n";
        for cut in 0..text.len() {
            let mut line = Line::default();
            let pieces = [&text[..cut], &text[cut..]];
            let found: Vec<_> = pieces.iter().filter_map(|it| line.read(it)).collect();
            assert_eq!(found, [b"DELETE /users/anna"], "{cut}");
        }
    }
}
