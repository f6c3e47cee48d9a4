//! A caller that writes HTTP/1.1 byte by byte and reads answers the strict way.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answer::Answer;
use super::soon;

/// A connection to the proxy.
pub(crate) struct Caller {
    stream: TcpStream,
    unread: Vec<u8>,
    /// How the connection ended, once it has.
    pub(crate) ended: Option<io::Result<()>>,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Chunked,
    Close,
    Length(usize),
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address)).await;
        let stream = stream.expect("the proxy accepts connections");
        stream.set_nodelay(true).expect("a socket takes options");
        Self::on(stream)
    }

    fn on(stream: TcpStream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
            ended: None,
        }
    }

    /// A caller at another loopback address.
    #[cfg(target_os = "linux")]
    pub(crate) async fn neighbour(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("there are sockets");
        let own = SocketAddr::from(([127, 0, 0, 2], 0));
        socket.bind(own).expect("all of 127.0.0.0/8 is loopback");
        let stream = soon(socket.connect(address)).await;
        Self::on(stream.expect("the proxy accepts connections"))
    }

    /// A socket that takes in little: what it does not read stays with the sender.
    pub(crate) async fn narrow(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("there are sockets");
        socket
            .set_recv_buffer_size(16 * 1024)
            .expect("a socket takes options");
        let stream = soon(socket.connect(address)).await;
        Self::on(stream.expect("the proxy accepts connections"))
    }

    /// Writes bytes; the other side must take them.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.try_send(bytes).await;
        sent.expect("the proxy takes the bytes");
    }

    /// Writes bytes, if the other side takes them.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        soon(self.stream.write_all(bytes.as_ref())).await
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub(crate) async fn end(&mut self) {
        let ended = soon(self.stream.shutdown()).await;
        ended.expect("a socket can be shut down");
    }

    /// Writes a head: `lines` are the request line and fields, with `Host` and the ends added.
    pub(crate) async fn ask(&mut self, lines: &str) {
        let mut text = lines.trim_end().replace('\n', "\r\n");
        if !text.to_ascii_lowercase().contains("\r\nhost:") {
            text.push_str("\r\nHost: localhost");
        }
        text.push_str("\r\n\r\n");
        self.send(text).await;
    }

    /// Reads what comes next; false at the end of the connection.
    async fn more(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.unread.reserve(64 * 1024);
        match soon(self.stream.read_buf(&mut self.unread)).await {
            Ok(0) => self.ended = Some(Ok(())),
            Ok(_) => {}
            Err(error) => self.ended = Some(Err(error)),
        }
        self.ended.is_none()
    }

    /// Waits for the end of the connection and returns what came before it.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }

    /// Waits for the end of the connection, which must come without another byte.
    pub(crate) async fn expect_close(&mut self) {
        let rest = self.rest().await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Whether anything has come, without waiting.
    pub(crate) fn has_come(&mut self) -> bool {
        // The end of the connection counts as nothing.
        let _ = self.stream.try_read_buf(&mut self.unread);
        !self.unread.is_empty()
    }

    /// The next head, interim or final, without a body.
    pub(crate) async fn head(&mut self) -> Answer {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 128];
            let mut head = httparse::Response::new(&mut fields);
            if let Ok(httparse::Status::Complete(length)) = head.parse(&self.unread) {
                let answer = Answer {
                    version: head.version.unwrap_or_default(),
                    status: head.code.unwrap_or_default(),
                    fields: fields_of(head.headers),
                    ..Answer::default()
                };
                self.unread.drain(..length);
                return answer;
            }
            let shown = String::from_utf8_lossy(&self.unread).into_owned();
            assert!(
                self.more().await,
                "the connection ended ({:?}) before an answer: {shown:?}",
                self.ended
            );
        }
    }

    /// The next answer to a request with this method, to its end.
    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        let mut interim = Vec::new();
        let mut answer = self.head().await;
        while (100..200).contains(&answer.status) && answer.status != 101 {
            interim.push(answer.status);
            answer = self.head().await;
        }
        answer.interim = interim;
        match framing(&answer, method) {
            Framing::Length(length) => {
                while self.unread.len() < length && self.more().await {}
                let taken = length.min(self.unread.len());
                answer.body = self.unread.drain(..taken).collect();
                answer.whole = answer.body.len() == length;
            }
            Framing::Chunked => {
                while let Some(piece) = self.chunk(&mut answer).await {
                    answer.body.extend_from_slice(&piece);
                }
            }
            Framing::Close => {
                answer.body = self.rest().await;
                answer.whole = matches!(self.ended, Some(Ok(())));
            }
        }
        answer
    }

    /// At least one byte of a body, whatever its framing.
    pub(crate) async fn some(&mut self) -> Vec<u8> {
        if self.unread.is_empty() {
            self.more().await;
        }
        std::mem::take(&mut self.unread)
    }

    /// The next chunk; at the end `None`, with trailers and wholeness entered in the answer.
    pub(crate) async fn chunk(&mut self, answer: &mut Answer) -> Option<Vec<u8>> {
        let line = self.line().await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).expect("a chunk has a size");
        if size > 0 {
            while self.unread.len() < size + 2 {
                if !self.more().await {
                    return None;
                }
            }
            let piece = self.unread.drain(..size).collect();
            let end: Vec<u8> = self.unread.drain(..2).collect();
            assert_eq!(end, b"\r\n");
            return Some(piece);
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                answer.whole = true;
                return None;
            }
            let (name, value) = line.split_once(':').expect("a trailer has a colon");
            let trailer = (name.to_ascii_lowercase(), value.trim().to_owned());
            answer.trailers.push(trailer);
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.unread, b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Sends a head without a body and reads the answer.
    pub(crate) async fn exchange(&mut self, lines: &str) -> Answer {
        self.ask(lines).await;
        let method = lines.split(' ').next().unwrap_or_default().to_owned();
        self.answer(&method).await
    }
}

fn fields_of(fields: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let own = |field: &httparse::Header<'_>| {
        (
            field.name.to_ascii_lowercase(),
            String::from_utf8_lossy(field.value).into_owned(),
        )
    };
    fields.iter().map(own).collect()
}

/// RFC 9112 section 6.3, for answers.
pub(crate) fn framing(answer: &Answer, method: &str) -> Framing {
    if method == "HEAD" || matches!(answer.status, 100..200 | 204 | 304) {
        return Framing::Length(0);
    }
    let length = answer.field("content-length");
    match answer.field("transfer-encoding") {
        "" if length.is_empty() => Framing::Close,
        "" => Framing::Length(length.parse().expect("a length is a number")),
        "chunked" => {
            assert_eq!(length, "", "both kinds of framing");
            Framing::Chunked
        }
        other => panic!("Transfer-Encoding: {other}"),
    }
}
