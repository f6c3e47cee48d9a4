//! Undoes gzip and deflate as the bytes arrive, so that links inside can be rewritten. Each
//! step puts out one buffer of bounded size, so that a body that expands without end fills no
//! memory; one that expands beyond reason ends in an error. A stream that is cut ends in an error too.

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// The most that one step puts out: as much as is read from a socket at a time.
const STEP: usize = 32 * 1024;

/// How much a stream may expand without being suspected.
const FREE: u64 = 16 << 20;

/// How much more than its own size a larger stream may expand to. JSON that repeats one row for
/// ever reaches 100; deflate ends at 1032.
const RATIO: u64 = 256;

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `deflate`: zlib as the RFC has it, or without its header as some servers have it.
    Deflate,
    /// `gzip` (RFC 1952), also as `x-gzip`.
    Gzip,
    /// None.
    Identity,
}

impl Coding {
    /// The coding of a body; `None` when it is not one of these, or several.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else {
            return Some(Self::Identity);
        };
        let coding = Self::parse(value.as_bytes().trim_ascii());
        coding.filter(|_| values.next().is_none())
    }

    /// The coding of this name.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"gzip") || is(b"x-gzip") {
            Some(Self::Gzip)
        } else if is(b"deflate") {
            Some(Self::Deflate)
        } else if is(b"identity") || is(b"") {
            Some(Self::Identity)
        } else {
            None
        }
    }
}

/// Why a body could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It expands beyond reason.
    #[error(
        "a compressed answer grew from {taken} to {given} bytes; set `rewrite_links: false` to pass it on as it is"
    )]
    Bomb {
        /// Bytes read.
        taken: u64,
        /// Bytes put out.
        given: u64,
    },
    /// It is not what `Content-Encoding` says.
    #[error("a gzip or deflate answer is corrupt")]
    Corrupt(#[from] flate2::DecompressError),
    /// Something follows the end of it.
    #[error("a compressed answer goes on after its end")]
    Trailing,
    /// It ends too early.
    #[error("a compressed answer was cut")]
    Truncated,
}

/// The decoder of one body.
pub struct Decoder {
    stream: Stream,
    ended: bool,
    taken: u64,
    given: u64,
}

enum Stream {
    Deflate(Decompress),
    Gzip(Decompress),
    Undecided,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder; `None` for a body that is not coded.
    pub fn new(coding: Coding) -> Option<Self> {
        let stream = match coding {
            Coding::Deflate => Stream::Undecided,
            Coding::Gzip => Stream::Gzip(Decompress::new_gzip(15)),
            Coding::Identity => return None,
        };
        Some(Self {
            stream,
            ended: false,
            taken: 0,
            given: 0,
        })
    }

    /// Takes what it needs from `input` and puts out the next piece; `None` when it needs more.
    ///
    /// # Errors
    /// When the stream is corrupt, goes on after its end or expands beyond reason.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, DecodeError> {
        let size = input.len().saturating_mul(8).clamp(2048, STEP);
        let mut output = Vec::with_capacity(size);
        while output.len() < size {
            self.begin(input)?;
            let (taken, given) = (input.len(), output.len());
            match &mut self.stream {
                _ if self.ended => break,
                Stream::Undecided => break,
                Stream::Gzip(inflate) | Stream::Deflate(inflate) => {
                    let before = inflate.total_in();
                    let status =
                        inflate.decompress_vec(input, &mut output, FlushDecompress::None)?;
                    input.advance(usize::try_from(inflate.total_in() - before).unwrap_or(taken));
                    self.ended = status == Status::StreamEnd;
                }
            }
            let progress = (taken - input.len(), output.len() - given);
            self.count(progress)?;
            if progress == (0, 0) && !self.ended {
                break;
            }
        }
        Ok((!output.is_empty()).then(|| output.into()))
    }

    /// To be called when there is no more input.
    ///
    /// # Errors
    /// When the stream has not come to its end. An empty body is no stream at all and fine.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.ended || self.taken == 0 {
            Ok(())
        } else {
            Err(DecodeError::Truncated)
        }
    }

    /// Chooses the kind of deflate, and begins the next member of a gzip stream after one has ended.
    fn begin(&mut self, input: &mut Bytes) -> Result<(), DecodeError> {
        if matches!(self.stream, Stream::Undecided) {
            // RFC 1950 section 2.2: method 8. A raw stream begins with such a nibble only when it
            // begins with a stored block, whose five unused bits are zero: then the nibble is not 8.
            let zlib = match input.first() {
                None => return Ok(()),
                Some(first) => first & 0x0f == 8 && first >> 4 <= 7,
            };
            self.stream = Stream::Deflate(Decompress::new(zlib));
        }
        if self.ended && !input.is_empty() {
            if !matches!(self.stream, Stream::Gzip(_)) {
                return Err(DecodeError::Trailing);
            }
            let padding = input.iter().take_while(|byte| **byte == 0).count();
            input.advance(padding);
            if !input.is_empty() {
                self.stream = Stream::Gzip(Decompress::new_gzip(15));
                self.ended = false;
            }
        }
        Ok(())
    }

    fn count(&mut self, (taken, given): (usize, usize)) -> Result<(), DecodeError> {
        self.taken += taken as u64;
        self.given += given as u64;
        if self.given > FREE && self.given / RATIO > self.taken {
            return Err(DecodeError::Bomb {
                taken: self.taken,
                given: self.given,
            });
        }
        Ok(())
    }
}
