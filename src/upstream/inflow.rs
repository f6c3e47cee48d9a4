//! Takes a body out of what was read, piece by piece, without copying it. Pure: bytes in, frames
//! out, and the same frames' bytes however the input is cut. What is no chunk is an error here, and
//! a body that stops early is never a polite end.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use httparse::Status;

use super::Breakage;
use super::framing::Framing;

/// The longest line with a chunk's size: sixteen digits, and extensions that nobody sends.
const LONGEST_LINE: usize = 4 * 1024;
/// The most bytes of trailers, and the most of them: as hyper takes from callers.
const LONGEST_TRAILERS: usize = 16 * 1024;
const MOST_TRAILERS: usize = 64;

/// How much of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inflow(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes.
    Length(u64),
    /// All until the connection ends.
    Close,
    /// A line with the size of the next chunk.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailers, or the empty line in their place.
    Trailers,
    /// Nothing.
    Done,
}

impl Inflow {
    /// The whole body.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::Close => State::Close,
        })
    }

    /// No body, or none any more.
    pub const fn done() -> Self {
        Self(State::Done)
    }

    /// Whether all of it was taken.
    pub fn is_done(self) -> bool {
        self.0 == State::Done
    }

    /// The bytes still to be taken, where that is known.
    pub fn size_hint(self) -> SizeHint {
        match self.0 {
            State::Length(left) => SizeHint::with_exact(left),
            State::Done => SizeHint::with_exact(0),
            _ => SizeHint::new(),
        }
    }

    /// Whether its end is the connection's, so that a failure must not be mistaken for it.
    pub fn ends_with_connection(self) -> bool {
        self.0 == State::Close
    }

    /// Takes the next frame out of `input`. `None` means that the body is done, or more input is
    /// needed.
    ///
    /// # Errors
    /// When the chunks or trailers are malformed.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Breakage> {
        loop {
            match self.0 {
                State::Done => return Ok(None),
                State::Close => return Ok(all(input).map(Frame::data)),
                State::Length(left) | State::Chunk(left) => {
                    let Some(data) = some(input, left) else {
                        return Ok(None);
                    };
                    let left = left - data.len() as u64;
                    self.0 = match self.0 {
                        State::Chunk(_) if left == 0 => State::ChunkEnd,
                        State::Chunk(_) => State::Chunk(left),
                        _ if left == 0 => State::Done,
                        _ => State::Length(left),
                    };
                    self.skim(input)?;
                    return Ok(Some(Frame::data(data)));
                }
                State::Trailers if !input.starts_with(b"\r\n") => {
                    let Some(trailers) = trailers(input)? else {
                        return Ok(None);
                    };
                    self.0 = State::Done;
                    return Ok(Some(Frame::trailers(trailers)));
                }
                State::Size | State::ChunkEnd | State::Trailers => {
                    if !self.step(input)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// When more of the body was to come.
    pub fn end(&mut self) -> Result<(), Breakage> {
        match self.0 {
            State::Close | State::Done => {
                self.0 = State::Done;
                Ok(())
            }
            _ => Err(Breakage::Ended),
        }
    }

    /// Reads what stands between a chunk and the next piece of data, if it is there: the end of a
    /// body is then known with its last piece.
    fn skim(&mut self, input: &mut BytesMut) -> Result<(), Breakage> {
        while matches!(self.0, State::Size | State::ChunkEnd)
            || (self.0 == State::Trailers && input.starts_with(b"\r\n"))
        {
            if !self.step(input)? {
                break;
            }
        }
        Ok(())
    }

    /// One step over what is not data; `false` when more input is needed.
    fn step(&mut self, input: &mut BytesMut) -> Result<bool, Breakage> {
        const MALFORMED: Breakage = Breakage::Malformed("a chunk that is none");
        match self.0 {
            State::Size => {
                // An empty size would be read as that of the last chunk.
                if input
                    .first()
                    .is_some_and(|first| !first.is_ascii_hexdigit())
                {
                    return Err(MALFORMED);
                }
                match httparse::parse_chunk_size(input) {
                    Ok(Status::Complete((line, size)))
                        if line <= LONGEST_LINE && is_strict(&input[..line]) =>
                    {
                        input.advance(line);
                        self.0 = if size == 0 {
                            State::Trailers
                        } else {
                            State::Chunk(size)
                        };
                    }
                    Ok(Status::Partial) if input.len() <= LONGEST_LINE => return Ok(false),
                    Ok(_) | Err(_) => return Err(MALFORMED),
                }
            }
            State::ChunkEnd | State::Trailers => {
                match input.get(..2) {
                    Some(b"\r\n") => input.advance(2),
                    None if b"\r\n".starts_with(input) => return Ok(false),
                    _ => return Err(MALFORMED),
                }
                self.0 = match self.0 {
                    State::ChunkEnd => State::Size,
                    _ => State::Done,
                };
            }
            State::Length(_) | State::Close | State::Chunk(_) | State::Done => {}
        }
        Ok(true)
    }
}

/// At most `left` bytes of what is there; `None` when nothing is.
fn some(input: &mut BytesMut, left: u64) -> Option<Bytes> {
    let fits = usize::try_from(left).unwrap_or(usize::MAX);
    if input.len() <= fits {
        return all(input);
    }
    Some(input.split_to(fits).freeze())
}

fn all(input: &mut BytesMut) -> Option<Bytes> {
    (!input.is_empty()).then(|| input.split().freeze())
}

/// Whether each line ends with CR LF. Of a bare LF it is open whether it ends a line: httparse takes
/// it for a part of a chunk's extension, and for the end of a field.
pub(super) fn is_strict(lines: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', lines).all(|at| at > 0 && lines[at - 1] == b'\r')
}

/// The trailers, once they are complete.
fn trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, Breakage> {
    const MALFORMED: Breakage = Breakage::Malformed("trailers that are none");
    let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let (length, fields) = match httparse::parse_headers(input, &mut fields) {
        Ok(Status::Complete(parsed))
            if parsed.0 <= LONGEST_TRAILERS && is_strict(&input[..parsed.0]) =>
        {
            parsed
        }
        Ok(Status::Partial) if input.len() <= LONGEST_TRAILERS => return Ok(None),
        Ok(_) | Err(_) => return Err(MALFORMED),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| MALFORMED)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| MALFORMED)?;
        trailers.append(name, value);
    }
    input.advance(length);
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Data, trailers, and what is left over.
    type Outcome = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// What comes out of a text that arrives in these pieces.
    fn read(framing: Framing, pieces: &[&[u8]]) -> Result<Outcome, Breakage> {
        let (mut inflow, mut input) = (Inflow::new(framing), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), None);
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some(frame) = inflow.next(&mut input)? {
                match frame.into_data() {
                    Ok(bytes) => data.extend_from_slice(&bytes),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                }
            }
        }
        inflow.end()?;
        Ok((data, trailers, input.to_vec()))
    }

    fn chunked(pieces: &[&[u8]]) -> Option<String> {
        let (data, _, rest) = read(Framing::Chunked, pieces).ok()?;
        assert!(rest.is_empty(), "{rest:?} is left");
        Some(String::from_utf8(data).unwrap())
    }

    #[test]
    fn chunks_are_put_together_and_extensions_ignored() {
        let text: &[u8] = b"4\r\nGrap\r\n3;note=\"x\"\r\nh a\r\n00A\r\nnswers you\r\n0\r\n\r\n";
        assert_eq!(chunked(&[text]).as_deref(), Some("Graph answers you"));
    }

    #[test]
    fn the_end_is_known_with_the_last_piece_when_it_came_along() {
        let mut inflow = Inflow::new(Framing::Chunked);
        let mut input = BytesMut::from(&b"2\r\nhi\r\n0\r\n\r\n"[..]);
        assert!(inflow.next(&mut input).unwrap().is_some());
        assert!(inflow.is_done());
        assert_eq!(inflow.size_hint().exact(), Some(0));
    }

    #[test]
    fn trailers_come_last() {
        let text: &[u8] = b"2\r\nhi\r\n0\r\nDigest: abc\r\nx-more: 1\r\n\r\n";
        let (data, trailers, rest) = read(Framing::Chunked, &[text]).unwrap();
        assert_eq!((&*data, &*rest), (&b"hi"[..], &b""[..]));
        assert_eq!(trailers.unwrap()["digest"], "abc");
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for text in [
            "\r\n\r\n",
            " 4\r\nGrap\r\n0\r\n\r\n",
            "-4\r\nGrap\r\n0\r\n\r\n",
            "0x4\r\nGrap\r\n0\r\n\r\n",
            "4\nGrap\r\n0\r\n\r\n",
            "4\r\nGraph\r\n0\r\n\r\n",
            "4\r\nGrap\n0\r\n\r\n",
            "11112222333344445\r\nGrap\r\n0\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\n: no name\r\n\r\n",
            "4;a\nGrap\r\n0\r\n\r\n",
            "0\r\n\n",
            "0\r\na: b\n\r\n",
            "0\r\na: b\r\n\n",
        ] {
            let outcome = read(Framing::Chunked, &[text.as_bytes()]);
            assert!(matches!(outcome, Err(Breakage::Malformed(_))), "{text:?}");
        }
        let [line, trailer] = [LONGEST_LINE, LONGEST_TRAILERS].map(|most| "x".repeat(most));
        for endless in [format!("4;{line}"), format!("0\r\na: {trailer}")] {
            let outcome = read(Framing::Chunked, &[endless.as_bytes()]);
            assert!(matches!(outcome, Err(Breakage::Malformed(_))));
        }
    }

    #[test]
    fn lines_and_trailers_are_taken_up_to_their_bounds_whole_or_in_pieces() {
        for more in [0, 1] {
            let line = "x".repeat(LONGEST_LINE - "4;\r\n".len() + more);
            let line = format!("4;{line}\r\nWiki\r\n0\r\n\r\n");
            let value = "x".repeat(LONGEST_TRAILERS - "a: \r\n\r\n".len() + more);
            let trailers = format!("0\r\na: {value}\r\n\r\n");
            for text in [line.as_bytes(), trailers.as_bytes()] {
                let pieces: Vec<_> = text.chunks(64).collect();
                assert_eq!(chunked(&[text]).is_some(), more == 0);
                assert_eq!(chunked(&pieces).is_some(), more == 0, "in pieces");
            }
        }
    }

    #[test]
    fn a_body_that_stops_early_has_no_polite_end() {
        for text in [
            "",
            "4",
            "4\r\n",
            "4\r\nGra",
            "4\r\nGrap",
            "4\r\nGrap\r\n",
            "0\r\n",
            "0\r\n\r",
        ] {
            let outcome = read(Framing::Chunked, &[text.as_bytes()]);
            assert!(matches!(outcome, Err(Breakage::Ended)), "{text:?}");
        }
        assert!(matches!(
            read(Framing::Length(5), &[b"Grap"]),
            Err(Breakage::Ended)
        ));
        assert_eq!(read(Framing::Close, &[b"Grap"]).unwrap().0, b"Grap");
    }

    #[test]
    fn what_follows_a_body_is_left_where_it_is() {
        let (data, _, rest) = read(Framing::Length(4), &[b"GraphQL"]).unwrap();
        assert_eq!((&*data, &*rest), (&b"Grap"[..], &b"hQL"[..]));
        let text: &[u8] = b"4\r\nGrap\r\n0\r\n\r\nHTTP/1.1";
        let (data, _, rest) = read(Framing::Chunked, &[text]).unwrap();
        assert_eq!((&*data, &*rest), (&b"Grap"[..], &b"HTTP/1.1"[..]));
    }

    /// A chunked text and the places where it is cut.
    fn cut_chunks() -> impl Strategy<Value = (Vec<Vec<u8>>, bool, Vec<prop::sample::Index>)> {
        let chunk = prop::collection::vec(any::<u8>(), 1..40);
        let chunks = prop::collection::vec(chunk, 0..8);
        (
            chunks,
            any::<bool>(),
            prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        )
    }

    proptest! {
        #[test]
        fn where_the_input_is_cut_does_not_matter((chunks, trailer, cuts) in cut_chunks()) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(if trailer { b"0\r\na: b\r\n\r\n" } else { b"0\r\n\r\n" });
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&text[from..cut]);
                from = cut;
            }
            pieces.push(&text[from..]);
            let (data, trailers, rest) = read(Framing::Chunked, &pieces).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert_eq!(trailers.is_some(), trailer);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_end_in_an_outcome(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(Framing::Chunked, &[&text]);
            let _ = read(Framing::Length(50), &[&text]);
        }
    }
}
