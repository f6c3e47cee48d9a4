//! HTTP/2 frames made by hand (RFC 9113 section 4.1), so that they can be wrong, and what the
//! proxy answers with. Fields are literals without Huffman coding (RFC 7541 section 6.2.2).

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::soon;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a frame is short")
        .to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A field block.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name.as_bytes());
        text(&mut block, value.as_bytes());
    }
    block
}

/// A string: its length as an integer with a prefix of 7 bits, then its bytes.
fn text(block: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    if length < 127 {
        block.push(u8::try_from(length).expect("it is short"));
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).expect("it is short") | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).expect("it is short"));
    }
    block.extend_from_slice(bytes);
}

/// A request without a body on this stream.
pub(crate) fn request(stream: u32, list: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(list))
}

/// The pseudo header fields of a good GET.
pub(crate) fn good(path: &str) -> Vec<(&str, &str)> {
    vec![
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
    ]
}

/// What came back for a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Everything received.
    pub(crate) bytes: Vec<u8>,
    /// The status of each answered stream.
    pub(crate) status: Vec<(u32, u16)>,
    /// Streams that were reset, with the error code.
    pub(crate) resets: Vec<(u32, u32)>,
    /// The error code of GOAWAY.
    pub(crate) goaway: Option<u32>,
    /// The content of all DATA frames.
    pub(crate) data: Vec<u8>,
    /// Streams that have ended.
    pub(crate) ended: Vec<u32>,
    /// By how much the windows of streams were widened.
    pub(crate) widened: Vec<(u32, u32)>,
    /// What PINGs hold that are to be acknowledged.
    pub(crate) pings: Vec<Vec<u8>>,
    /// Whether the connection ended.
    pub(crate) closed: bool,
}

impl Outcome {
    /// How much may have been sent on a stream so far: a window as large as it is before any
    /// settings (RFC 9113 section 6.9.2), and what was added.
    pub(crate) fn room(&self, stream: u32) -> usize {
        let added = self.widened.iter().filter(|(own, _)| *own == stream);
        65_535 + added.map(|(_, by)| *by as usize).sum::<usize>()
    }
}

/// A connection that speaks HTTP/2 as the test says.
pub(crate) struct Speaker {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
    pub(crate) outcome: Outcome,
}

impl Speaker {
    /// Sends the preface and these settings (identifier, value).
    pub(crate) async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = soon(TcpStream::connect(address))
            .await
            .expect("the proxy accepts");
        let mut speaker = Self {
            stream,
            unread: Vec::new(),
            outcome: Outcome::default(),
        };
        let mut list = Vec::new();
        for (name, value) in settings {
            list.extend_from_slice(&name.to_be_bytes());
            list.extend_from_slice(&value.to_be_bytes());
        }
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, &list)].concat();
        speaker.send(&hello).await;
        speaker
    }

    /// Writes, unless the other side has gone.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes).await;
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon(self.stream.write_all(bytes)).await
    }

    /// Reads until the outcome is as wanted or the connection ends.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Outcome) -> bool) -> Outcome {
        while !wanted(&self.outcome) && !self.outcome.closed {
            self.read().await;
        }
        self.outcome.clone()
    }

    /// Reads what is there, once something is.
    pub(crate) async fn read(&mut self) {
        let mut piece = vec![0; 64 * 1024];
        match soon(self.stream.read(&mut piece)).await {
            Ok(0) | Err(_) => self.outcome.closed = true,
            Ok(read) => {
                self.outcome.bytes.extend_from_slice(&piece[..read]);
                self.unread.extend_from_slice(&piece[..read]);
            }
        }
        while let Some(length) = self.whole() {
            let frame: Vec<u8> = self.unread.drain(..length).collect();
            self.take(&frame).await;
        }
    }

    /// The length of the first frame, when it is whole.
    fn whole(&self) -> Option<usize> {
        let head = self.unread.get(..9)?;
        let length = 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        (self.unread.len() >= length).then_some(length)
    }

    async fn take(&mut self, frame_bytes: &[u8]) {
        let (kind, flags, payload) = (frame_bytes[3], frame_bytes[4], &frame_bytes[9..]);
        let number = |at: usize| {
            let bytes = payload
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_be_bytes)
        };
        let own = frame_bytes[5..9].try_into().map_or(0, u32::from_be_bytes);
        match kind {
            HEADERS => self.outcome.status.push((own, status(payload))),
            DATA => self.outcome.data.extend_from_slice(payload),
            RST_STREAM => self.outcome.resets.push((own, number(0))),
            WINDOW_UPDATE => self.outcome.widened.push((own, number(0))),
            PING if flags & 1 == 0 => self.outcome.pings.push(payload.to_vec()),
            GOAWAY => self.outcome.goaway = Some(number(4)),
            SETTINGS if flags & 1 == 0 => self.send(&frame(SETTINGS, 1, 0, &[])).await,
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            self.outcome.ended.push(own);
        }
    }
}

/// The status in a field block that begins with it: indexed (RFC 7541 appendix A), or a literal
/// whose digits are plain or Huffman-coded (appendix B). 0 for anything else, such as trailers.
fn status(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // A change of the table's size may come first.
    let block = match block {
        [size, rest @ ..] if size & 0xe0 == 0x20 && size & 0x1f < 31 => rest,
        _ => block,
    };
    match block {
        [index @ 0x88..=0x8e, ..] => INDEXED[usize::from(index - 0x88)],
        [0x48 | 0x08 | 0x18, length, rest @ ..] => {
            let bytes = &rest[..usize::from(length & 0x7f).min(rest.len())];
            let plain = std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse().ok());
            if length & 0x80 == 0 {
                plain.unwrap_or(0)
            } else {
                digits(bytes)
            }
        }
        _ => 0,
    }
}

/// Huffman-coded digits: 0 to 2 are five bits, 3 to 9 are six bits from 0x19.
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u16> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)))
        .collect();
    let value = |bits: &[u16]| bits.iter().fold(0, |value, bit| value << 1 | bit);
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let Some(five) = bits.get(at..at + 5).map(value) else {
            return 0;
        };
        let (digit, size) = if five <= 2 {
            (five, 5)
        } else {
            (
                bits.get(at..at + 6).map_or(0, value).saturating_sub(0x19) + 3,
                6,
            )
        };
        number = number * 10 + digit;
        at += size;
    }
    number
}
