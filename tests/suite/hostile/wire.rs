//! Bytes to the proxy, and whatever comes back, however broken.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, soon};

/// How long to wait for an answer more than the first: a smuggled request would cause one.
const MORE: Duration = Duration::from_millis(40);

/// What came back.
#[derive(Clone, Default)]
pub(super) struct Reply {
    /// Everything.
    pub(super) bytes: Vec<u8>,
    /// The final answers in it, as far as they are whole: status, head and body.
    pub(super) answers: Vec<(u16, String, Vec<u8>)>,
    /// Whether the proxy ended the connection.
    pub(super) closed: bool,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        let end = text.floor_char_boundary(text.len().min(1500));
        write!(
            f,
            "closed: {}, {} answers in {:?}",
            self.closed,
            self.answers.len(),
            &text[..end]
        )
    }
}

impl Reply {
    /// The status of the first answer; 0 without one.
    pub(super) fn status(&self) -> u16 {
        self.answers.first().map_or(0, |answer| answer.0)
    }

    /// The code of the first answer, if it is the proxy's own.
    pub(super) fn code(&self) -> String {
        let body = self.answers.first().map(|answer| answer.2.as_slice());
        let document: serde_json::Value =
            serde_json::from_slice(body.unwrap_or_default()).unwrap_or_default();
        document["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The head of the first answer in lower case.
    pub(super) fn head(&self) -> String {
        self.answers
            .first()
            .map_or_else(String::new, |answer| answer.1.to_ascii_lowercase())
    }
}

/// Sends bytes on a connection of their own. Reads until an answer is whole or the connection ends,
/// and then for a moment more.
pub(super) async fn talk(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = soon(TcpStream::connect(address))
        .await
        .expect("the proxy accepts");
    // The proxy may have refused and closed before all of it is written.
    let _ = soon(stream.write_all(bytes)).await;
    let bodies = !bytes.starts_with(b"HEAD ");
    hear(&mut stream, bodies).await
}

/// Reads what comes.
pub(super) async fn listen(stream: &mut TcpStream) -> Reply {
    hear(stream, true).await
}

/// Reads answers with or without bodies.
async fn hear(stream: &mut TcpStream, bodies: bool) -> Reply {
    let mut reply = Reply::default();
    loop {
        let limit = if reply.answers.is_empty() {
            PATIENCE
        } else {
            MORE
        };
        let mut piece = vec![0; 64 * 1024];
        match tokio::time::timeout(limit, stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => {
                reply.closed = true;
                reply.answers = answers(&reply.bytes, bodies, true);
                return reply;
            }
            Ok(Ok(read)) => reply.bytes.extend_from_slice(&piece[..read]),
            Err(_) if reply.answers.is_empty() => panic!("neither an answer nor an end: {reply:?}"),
            Err(_) => return reply,
        }
        reply.answers = answers(&reply.bytes, bodies, false);
    }
}

/// The answers in these bytes. A body that is cut short counts when the connection has ended.
fn answers(mut bytes: &[u8], bodies: bool, closed: bool) -> Vec<(u16, String, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else {
            return found;
        };
        let status = head.code.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        let rest = &bytes[length..];
        if (100..200).contains(&status) && status != 101 {
            bytes = rest;
            continue;
        }
        let lower = text.to_ascii_lowercase();
        let field = |name: &str| {
            let line = lower
                .lines()
                .find(|line| line.starts_with(&format!("{name}:")));
            line.map(|line| line[name.len() + 1..].trim().to_owned())
        };
        let size = field("content-length").and_then(|size| size.parse::<usize>().ok());
        let end = match (size, field("transfer-encoding")) {
            _ if !bodies || matches!(status, 204 | 304) => Some(0),
            (Some(size), _) => (rest.len() >= size).then_some(size),
            (None, Some(_)) => memchr::memmem::find(rest, b"0\r\n\r\n").map(|at| at + 5),
            (None, None) => None,
        };
        let end = match end {
            Some(end) => end,
            None if closed => rest.len(),
            None => return found,
        };
        found.push((status, text, rest[..end].to_vec()));
        bytes = &rest[end..];
    }
}
