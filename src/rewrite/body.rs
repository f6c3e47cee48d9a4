//! The rewriting of one body: undoes the coding, scans, and hands the pieces on. A chunk in which
//! nothing is replaced is handed on as it is, without a copy.

use std::collections::VecDeque;

use bytes::Bytes;

use super::decode::{DecodeError, Decoder};
use super::multipart::Multipart;
use super::scan::{Piece, Scanner};

/// From this size on a piece of a chunk is handed on by reference: copying less costs no more than
/// another frame does.
const LARGE: usize = 4096;
/// Room for a few links that become longer.
const LONGER: usize = 256;

/// The rewriter of one body. Give it chunks with [`Self::push`], take what comes out with
/// [`Self::next`] until that is `None`, and say that the body has ended with [`Self::finish`].
#[derive(Debug)]
pub struct Rewriter {
    decoder: Option<Decoder>,
    reader: Reader,
    input: Bytes,
    ready: VecDeque<Bytes>,
}

/// What links are looked for in.
#[derive(Debug)]
pub(super) enum Reader {
    /// JSON text.
    Json(Scanner),
    /// The answer to a multipart batch.
    Multipart(Box<Multipart>),
}

impl Reader {
    fn push(&mut self, chunk: &[u8], emit: impl FnMut(Piece<'_>)) {
        match self {
            Self::Json(scanner) => scanner.push(chunk, emit),
            Self::Multipart(multipart) => multipart.push(chunk, emit),
        }
    }

    /// What a text comes to that is there as a whole; `None` when it stays as it is.
    pub(super) fn whole(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let mut same = false;
        let mut out = Vec::new();
        let mut emit = |piece: Piece<'_>| {
            let bytes = match piece {
                Piece::Keep(range) if range.len() == text.len() => {
                    same = true;
                    return;
                }
                Piece::Keep(range) => &text[range],
                Piece::Add(bytes) => bytes,
            };
            if out.capacity() == 0 {
                out = Vec::with_capacity(text.len() + LONGER);
            }
            out.extend_from_slice(bytes);
        };
        match self {
            Self::Json(scanner) => scanner.whole(text, emit),
            Self::Multipart(multipart) => {
                multipart.push(text, &mut emit);
                multipart.finish(emit);
            }
        }
        (!same).then_some(out)
    }

    fn finish(&mut self, emit: impl FnMut(Piece<'_>)) {
        match self {
            Self::Json(scanner) => scanner.finish(emit),
            Self::Multipart(multipart) => multipart.finish(emit),
        }
    }

    pub(super) fn links_found(&self) -> u64 {
        match self {
            Self::Json(scanner) => scanner.links_found(),
            Self::Multipart(multipart) => multipart.links_found(),
        }
    }
}

impl Rewriter {
    pub(super) fn new(decoder: Option<Decoder>, reader: Reader) -> Self {
        Self {
            decoder,
            reader,
            input: Bytes::new(),
            ready: VecDeque::new(),
        }
    }

    /// Rewrites a text that is there as a whole; `None` when it has a coding.
    pub fn whole(&mut self, text: &Bytes) -> Option<Bytes> {
        if self.decoder.is_some() {
            return None;
        }
        let changed = self.reader.whole(text);
        Some(changed.map_or_else(|| text.clone(), Bytes::from))
    }

    /// Gives the next chunk. What the last one came to has been taken by then.
    pub fn push(&mut self, chunk: Bytes) {
        self.input = chunk;
    }

    /// Takes the next piece of output, which is never empty; `None` when there is none before the
    /// next chunk.
    ///
    /// # Errors
    /// When the body cannot be decoded: then it has to end as a broken one.
    #[expect(
        clippy::should_implement_trait,
        reason = "it can fail, and goes on after `None`"
    )]
    pub fn next(&mut self) -> Result<Option<Bytes>, DecodeError> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(Some(ready));
            }
            let chunk = match &mut self.decoder {
                None if self.input.is_empty() => return Ok(None),
                None => std::mem::take(&mut self.input),
                Some(decoder) => match decoder.decode(&mut self.input)? {
                    None => return Ok(None),
                    Some(chunk) => chunk,
                },
            };
            if let Some(first) = self.scan(chunk) {
                return Ok(Some(first));
            }
        }
    }

    /// Says that the body has ended; what is still to come is put out here.
    ///
    /// # Errors
    /// When the body ended before its coding did.
    pub fn finish(&mut self) -> Result<Option<Bytes>, DecodeError> {
        if let Some(decoder) = &self.decoder {
            decoder.finish()?;
        }
        let mut held = Vec::new();
        self.reader.finish(|piece| {
            if let Piece::Add(bytes) = piece {
                held.extend_from_slice(bytes);
            }
        });
        Ok((!held.is_empty()).then(|| held.into()))
    }

    /// How many links were rewritten so far.
    pub fn links(&self) -> u64 {
        self.reader.links_found()
    }

    /// Scans a chunk and returns the first piece of what it comes to; the others go to `ready`.
    fn scan(&mut self, chunk: Bytes) -> Option<Bytes> {
        let mut whole = false;
        let mut small = Vec::new();
        let ready = &mut self.ready;
        self.reader.push(&chunk, |piece| {
            let bytes = match piece {
                Piece::Keep(range) if range.len() == chunk.len() && small.is_empty() => {
                    whole = true;
                    return;
                }
                Piece::Keep(range) if range.len() >= LARGE => {
                    if !small.is_empty() {
                        ready.push_back(std::mem::take(&mut small).into());
                    }
                    ready.push_back(chunk.slice(range));
                    return;
                }
                Piece::Keep(range) => &chunk[range],
                Piece::Add(bytes) => bytes,
            };
            if small.capacity() == 0 {
                // Room for what is small of the chunk.
                small = Vec::with_capacity(chunk.len().min(LARGE) + LONGER);
            }
            small.extend_from_slice(bytes);
        });
        if whole {
            return Some(chunk);
        }
        let small = (!small.is_empty()).then(|| Bytes::from(small));
        match ready.pop_front() {
            Some(first) => {
                ready.extend(small);
                Some(first)
            }
            None => small,
        }
    }
}
