//! Links inside the multipart batches of Dataverse (OData 4.0 Protocol section 11.7, RFC 2046):
//! heads of the HTTP messages in the parts and their JSON bodies, change sets included, rewritten as
//! the bytes stream by. Text that is not such a batch passes as it is. Where a body may change its
//! size, its `Content-Length` goes: the boundary ends it.

use memchr::memchr;
use memchr::memmem;

use super::address::{Links, Way};
use super::message::{self, Head};
use super::scan::{Piece, Scanner};
use super::text::Text;

/// The longest head of a part or message that is rewritten: a request line of a Dataverse batch has
/// up to 64 KiB, and headers follow. Beyond it nothing more is rewritten.
const LONGEST_HEAD: usize = 128 * 1024;

/// How far a line is read that begins like a delimiter.
const LONGEST_DELIMITER: usize = 256;

/// How deep batches nest: the batch and a change set in it.
const DEEPEST: usize = 2;

/// The rewriter of one multipart body.
#[derive(Debug)]
pub(super) struct Multipart {
    links: Links,
    way: Way,
    /// `--boundary` of the batch and of the change set, as far as inside.
    boundaries: Vec<Vec<u8>>,
    stage: Stage,
    /// A head, or the beginning of a line that may be a delimiter, not put out yet.
    held: Vec<u8>,
    /// Where in `held` the current line begins.
    line: usize,
    scanner: Scanner,
    links_found: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In the head of a part.
    Part,
    /// In the head of the message in a part.
    Message,
    /// In text that ends at a delimiter.
    Text { json: bool, line_begins: bool },
    /// Beyond what can be read.
    Unread,
}

/// What a line is.
enum Line {
    /// The end of the part before, in the body of this depth; `last` when no other part follows.
    Delimiter { depth: usize, last: bool },
    /// It may become a delimiter.
    Undecided,
    /// Anything else.
    Other,
}

impl Multipart {
    pub(super) fn new(links: Links, way: Way, boundary: &str) -> Self {
        let text = match way {
            Way::ToCaller => Text::Answer,
            Way::ToUpstream => Text::Request,
        };
        Self {
            scanner: Scanner::of(links.clone(), text),
            links,
            way,
            boundaries: vec![format!("--{boundary}").into_bytes()],
            stage: Stage::TEXT,
            held: Vec::new(),
            line: 0,
            links_found: 0,
        }
    }

    pub(super) fn push(&mut self, input: &[u8], emit: impl FnMut(Piece<'_>)) {
        let mut output = Output { emit, kept: 0..0 };
        let mut at = 0;
        while at < input.len() {
            at = match self.stage {
                Stage::Part | Stage::Message => self.head(input, at, &mut output),
                Stage::Text {
                    json,
                    line_begins: true,
                } => self.line_begin(json, input, at, &mut output),
                Stage::Text {
                    json,
                    line_begins: false,
                } => self.text(json, input, at, &mut output),
                Stage::Unread => {
                    output.keep(at..input.len());
                    input.len()
                }
            };
        }
        output.flush();
    }

    pub(super) fn finish(&mut self, mut emit: impl FnMut(Piece<'_>)) {
        self.scanner.finish(&mut emit);
        if !self.held.is_empty() {
            emit(Piece::Add(&self.held));
            self.held.clear();
        }
    }

    pub(super) fn links_found(&self) -> u64 {
        self.links_found + self.scanner.links_found()
    }

    /// Text up to the next line that begins with `--`.
    fn text<F: FnMut(Piece<'_>)>(
        &mut self,
        json: bool,
        input: &[u8],
        at: usize,
        output: &mut Output<F>,
    ) -> usize {
        let rest = &input[at..];
        let (end, line_begins) = match memmem::find(rest, b"\n--") {
            Some(found) => (at + found + 1, true),
            None if rest.ends_with(b"\n-") => (input.len() - 1, true),
            None => (input.len(), rest.ends_with(b"\n")),
        };
        if json {
            self.scanner.push(&input[at..end], |piece| match piece {
                Piece::Add(bytes) => output.add(bytes),
                Piece::Keep(range) => output.keep(at + range.start..at + range.end),
            });
        } else {
            output.keep(at..end);
        }
        self.stage = Stage::Text { json, line_begins };
        end
    }

    /// A line in text, of which `held` may have the beginning.
    fn line_begin<F: FnMut(Piece<'_>)>(
        &mut self,
        json: bool,
        input: &[u8],
        at: usize,
        output: &mut Output<F>,
    ) -> usize {
        let old = self.held.len();
        let near = at + LONGEST_DELIMITER.min(input.len() - at);
        let end = memchr(b'\n', &input[at..near]).map_or(near, |found| at + found + 1);
        self.held.extend_from_slice(&input[at..end]);
        match self.classify(&self.held) {
            Line::Delimiter { depth, last } => {
                self.scanner.finish(|piece| output.piece(piece));
                self.put_held(old, at..end, output);
                self.delimit(depth, last);
                end
            }
            Line::Undecided => end,
            Line::Other => {
                // The input's part of the line is read again, as text.
                let held = std::mem::take(&mut self.held);
                self.stage = Stage::Text {
                    json,
                    line_begins: false,
                };
                if json {
                    self.scanner.push(&held[..old], |piece| match piece {
                        Piece::Add(bytes) => output.add(bytes),
                        Piece::Keep(range) => output.add(&held[range]),
                    });
                } else {
                    output.add(&held[..old]);
                }
                at
            }
        }
    }

    /// Collects a head line by line, up to the empty one.
    fn head<F: FnMut(Piece<'_>)>(
        &mut self,
        input: &[u8],
        at: usize,
        output: &mut Output<F>,
    ) -> usize {
        let end = memchr(b'\n', &input[at..]).map_or(input.len(), |found| at + found + 1);
        self.held.extend_from_slice(&input[at..end]);
        if self.held.len() > LONGEST_HEAD {
            output.add(&std::mem::take(&mut self.held));
            self.stage = Stage::Unread;
            return end;
        }
        let line = &self.held[self.line..];
        if !line.ends_with(b"\n") {
            return end;
        }
        if let Line::Delimiter { depth, last } = self.classify(line) {
            output.add(&std::mem::take(&mut self.held));
            self.delimit(depth, last);
        } else if matches!(line, b"\n" | b"\r\n") {
            self.line = 0;
            let held = std::mem::take(&mut self.held);
            let head = match self.stage {
                Stage::Part => message::part_head(&held),
                _ => message::head(&held, &self.links, self.way),
            };
            output.add(head.text.as_deref().unwrap_or(&held));
            self.enter(head);
        } else {
            self.line = self.held.len();
        }
        end
    }

    /// Goes on behind a head.
    fn enter(&mut self, head: Head) {
        self.links_found += head.links;
        self.stage = match head.then {
            message::Then::Json => Stage::Text {
                json: true,
                line_begins: true,
            },
            message::Then::Message => Stage::Message,
            message::Then::Parts(boundary) if self.boundaries.len() < DEEPEST => {
                self.boundaries.push(format!("--{boundary}").into_bytes());
                Stage::TEXT
            }
            message::Then::Other | message::Then::Parts(_) => Stage::TEXT,
        };
    }

    /// Goes on behind a delimiter.
    fn delimit(&mut self, depth: usize, last: bool) {
        self.line = 0;
        self.boundaries.truncate(depth + usize::from(!last));
        self.stage = if last { Stage::TEXT } else { Stage::Part };
    }

    fn classify(&self, line: &[u8]) -> Line {
        let complete = line.ends_with(b"\n");
        for (depth, boundary) in self.boundaries.iter().enumerate() {
            let Some(rest) = line.strip_prefix(boundary.as_slice()) else {
                if boundary.starts_with(line) {
                    return Line::Undecided;
                }
                continue;
            };
            let (rest, last) = match rest.strip_prefix(b"--") {
                Some(rest) => (rest, true),
                None => (rest, false),
            };
            if complete && rest.trim_ascii().is_empty() {
                return Line::Delimiter { depth, last };
            }
            if !complete && line.len() < LONGEST_DELIMITER {
                return Line::Undecided;
            }
        }
        Line::Other
    }

    /// Puts out what was held, of which everything from `old` on is this range of the input.
    fn put_held<F: FnMut(Piece<'_>)>(
        &mut self,
        old: usize,
        range: std::ops::Range<usize>,
        output: &mut Output<F>,
    ) {
        output.add(&self.held[..old]);
        output.keep(range);
        self.held.clear();
    }
}

impl Stage {
    const TEXT: Self = Self::Text {
        json: false,
        line_begins: true,
    };
}

/// Joins pieces that touch, so that a chunk in which nothing changes comes out as one.
struct Output<F> {
    emit: F,
    kept: std::ops::Range<usize>,
}

impl<F: FnMut(Piece<'_>)> Output<F> {
    fn piece(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Add(bytes) => self.add(bytes),
            Piece::Keep(range) => self.keep(range),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.flush();
            (self.emit)(Piece::Add(bytes));
        }
    }

    fn keep(&mut self, range: std::ops::Range<usize>) {
        if self.kept.end != range.start {
            self.flush();
            self.kept.start = range.start;
        }
        self.kept.end = range.end;
    }

    fn flush(&mut self) {
        let kept = std::mem::replace(&mut self.kept, 0..0);
        if !kept.is_empty() {
            (self.emit)(Piece::Keep(kept));
        }
    }
}

/// The boundary of a `multipart/mixed` body (RFC 2046 section 5.1).
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let value = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim())
    })?;
    let value = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    // RFC 2046 section 5.1.1: one to seventy characters.
    (1..=70).contains(&value.len()).then(|| value.to_owned())
}
