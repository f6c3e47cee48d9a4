//! Replaces the beginnings of links in JSON text as it streams by: bytes in, pieces out, in constant
//! memory and without an allocation per chunk. What comes out depends on the bytes alone, not on
//! where they are cut. Every byte that is not the beginning of a link comes out as it went in, also
//! of text that is not JSON.

use std::ops::Range;

use super::address::{Found, Links};
use super::grammar::{State, Then, Value};
use super::key::{Hit, What, is_odd};
use super::name::NameAt;
use super::nesting::Nesting;
use super::string_end::{StringEnd, closing_quote};
use super::text::Text;

/// A piece of the output.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes that are not in this input: a replacement, or what was held back of an earlier input.
    Add(&'a [u8]),
    /// This range of the input.
    Keep(Range<usize>),
}

/// How much of an input is looked at, at a time, to decide about a string that began in an earlier
/// one. More than any upstream's base needs.
const STRIDE: usize = 1024;

/// The scanner of one text.
#[derive(Debug)]
pub struct Scanner {
    links: Links,
    text: Text,
    state: State,
    /// The last bytes of the input so far that may belong to a name.
    window: Vec<u8>,
    /// What stands in front of the window.
    edge: Edge,
    /// The undecided beginning of a string, not put out yet.
    held: Vec<u8>,
    /// How far the end of that string was looked for.
    end: StringEnd,
    nesting: Nesting,
    /// Where each thing looked for is next found in the input.
    next: Vec<usize>,
    links_found: u64,
}

/// What is known of the bytes in front of a place.
#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    /// They end in an odd number of backslashes.
    odd: bool,
    /// The last byte that is not white space.
    last: u8,
}

impl Edge {
    fn after(self, bytes: &[u8]) -> Self {
        let last = bytes.iter().rev().find(|byte| !byte.is_ascii_whitespace());
        Self {
            odd: is_odd(bytes, self.odd),
            last: last.copied().unwrap_or(self.last),
        }
    }
}

/// Places in the input of one push.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// Everything before is read.
    at: usize,
    /// Everything before is put out.
    kept: usize,
    /// Everything before is counted by the nesting.
    counted: usize,
    /// Where the search went on last, when it did not go on from the earlier input.
    resumed: Option<usize>,
}

impl Scanner {
    /// A scanner for an answer's JSON text.
    pub fn new(links: Links) -> Self {
        Self::of(links, Text::Answer)
    }

    pub(super) fn of(links: Links, text: Text) -> Self {
        Self {
            links,
            text,
            state: State::Search,
            window: Vec::new(),
            edge: Edge::default(),
            held: Vec::new(),
            end: StringEnd::default(),
            nesting: Nesting::default(),
            next: Vec::new(),
            links_found: 0,
        }
    }

    /// Scans the next bytes. The pieces, one behind the other, are the output so far but for what
    /// is held back: at most the beginning of one string.
    pub fn push(&mut self, input: &[u8], emit: impl FnMut(Piece<'_>)) {
        let cursor = self.scan(input, emit);
        self.remember(input, cursor);
    }

    /// Scans a text that is there as a whole; nothing is remembered of it.
    pub fn whole(&mut self, text: &[u8], mut emit: impl FnMut(Piece<'_>)) {
        self.scan(text, &mut emit);
        self.finish(emit);
    }

    fn scan(&mut self, input: &[u8], mut emit: impl FnMut(Piece<'_>)) -> Cursor {
        let mut cursor = Cursor::default();
        let edge = self.edge.after(&self.window);
        let mut fresh = true;
        if self.state == State::Search {
            self.search_edge(input, &mut cursor);
        }
        while cursor.at < input.len() {
            match self.state {
                State::Search => {
                    if std::mem::take(&mut fresh) {
                        let (next, keys) = (&mut self.next, self.text.keys(&self.links));
                        keys.search(next, input, cursor.at);
                    }
                    if !self.search(input, edge, &mut cursor) {
                        break;
                    }
                }
                State::Value(value) => self.value(value, input, &mut cursor, &mut emit),
                State::Rest { then, escaped } => self.rest(then, escaped, input, &mut cursor),
                _ => self.step(input[cursor.at], &mut cursor),
            }
        }
        if cursor.kept < input.len() {
            emit(Piece::Keep(cursor.kept..input.len()));
        }
        cursor
    }

    /// Ends the text and puts out what was held back. Another text may follow.
    pub fn finish(&mut self, mut emit: impl FnMut(Piece<'_>)) {
        if !self.held.is_empty() {
            emit(Piece::Add(&self.held));
        }
        self.held.clear();
        self.window.clear();
        self.state = State::Search;
        self.edge = Edge::default();
        self.nesting = Nesting::default();
    }

    /// How many links were replaced.
    pub fn links_found(&self) -> u64 {
        self.links_found
    }

    /// Finds the next thing that begins in this input; `false` when there is none.
    fn search(&mut self, input: &[u8], edge: Edge, cursor: &mut Cursor) -> bool {
        let keys = self.text.keys(&self.links);
        let Some(hit) = keys.next(&mut self.next, input, cursor.at, edge.odd) else {
            return false;
        };
        cursor.at = hit.end;
        let before = edge.after(&input[..hit.end - 1]).last;
        self.enter(hit, before, input, cursor);
        true
    }

    /// Finds what begins in an earlier input and ends in this one.
    fn search_edge(&mut self, input: &[u8], cursor: &mut Cursor) {
        let old = self.window.len();
        if old == 0 {
            return;
        }
        let keys = self.text.keys(&self.links);
        self.window
            .extend_from_slice(&input[..input.len().min(keys.span)]);
        keys.search(&mut self.next, &self.window, 0);
        // None ends in the window: it would have been found there, and the window begins behind it.
        if let Some(hit) = keys.next(&mut self.next, &self.window, 0, self.edge.odd) {
            let before = self.edge.after(&self.window[..hit.end - 1]).last;
            cursor.at = hit.end - old;
            self.enter(hit, before, input, cursor);
        }
        self.window.truncate(old);
    }

    fn enter(&mut self, hit: Hit, before: u8, input: &[u8], cursor: &mut Cursor) {
        cursor.resumed = Some(cursor.at);
        self.state = match hit.what {
            What::Link | What::Preauthenticated => State::AfterKey(hit.what),
            What::Headers | What::Url => {
                self.nesting.advance(&input[cursor.counted..cursor.at]);
                cursor.counted = cursor.at;
                if self.nesting.is_operation() {
                    State::AfterKey(hit.what)
                } else {
                    State::Search
                }
            }
            // After a brace only a key can stand; after a comma, a key or an element.
            What::Value => State::Value(Value {
                then: Then::Search,
                doubt: matches!(before, b'{' | b','),
                own: true,
                target: false,
            }),
        };
    }

    fn step(&mut self, byte: u8, cursor: &mut Cursor) {
        let lists = self.text.keys(&self.links).lists;
        let (state, consumed) = self.state.step(byte, lists);
        self.state = state;
        cursor.at += usize::from(consumed);
        cursor.resumed = Some(cursor.at);
    }

    fn rest(&mut self, then: Then, escaped: bool, input: &[u8], cursor: &mut Cursor) {
        let from = cursor.at + usize::from(escaped);
        match closing_quote(input, from) {
            Some(quote) => {
                cursor.at = quote + 1;
                self.state = State::after(then);
            }
            None => {
                let escaped = is_odd(&input[from..], false);
                self.state = State::Rest { then, escaped };
                cursor.at = input.len();
            }
        }
        cursor.resumed = Some(cursor.at);
    }

    /// Decides about a string from its beginning, as soon as enough of it is there.
    fn value(
        &mut self,
        value: Value,
        input: &[u8],
        cursor: &mut Cursor,
        emit: &mut impl FnMut(Piece<'_>),
    ) {
        let (begin, old) = (cursor.at, self.held.len());
        if old > 0 {
            let end = input.len().min(cursor.at + STRIDE);
            self.held.extend_from_slice(&input[cursor.at..end]);
        }
        let raw = if old > 0 {
            &self.held
        } else {
            self.end = StringEnd::default();
            &input[cursor.at..]
        };
        let found = match self.name_at(value, raw) {
            NameAt::Yes { end, what } => {
                if old > 0 {
                    emit(Piece::Add(&self.held[..old]));
                }
                return self.pass_name(what, end - old, cursor);
            }
            NameAt::Cut => Found::Cut,
            NameAt::No => self.text.find(&self.links, value, raw, &mut self.end),
        };
        let quote = self.end.found(raw);
        if old == 0 && found != Found::No && cursor.kept < cursor.at {
            emit(Piece::Keep(cursor.kept..cursor.at));
        }
        let mut done = 0;
        match found {
            Found::Cut => return self.hold(input, cursor, old),
            Found::No if old > 0 => emit(Piece::Add(&self.held[..old])),
            Found::No => {}
            Found::Yes { len, route } => {
                let pieces = self.text.pieces(&self.links, value, route);
                for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
                    emit(Piece::Add(piece.as_bytes()));
                }
                if len < old {
                    emit(Piece::Add(&self.held[len..old]));
                }
                cursor.at += len.saturating_sub(old);
                cursor.kept = cursor.at;
                self.links_found += 1;
                done = len;
            }
        }
        self.held.truncate(old);
        match quote {
            Some(quote) => {
                cursor.at = begin + (quote + 1).saturating_sub(old);
                self.held.clear();
                self.state = State::after(value.then);
            }
            None => self.leave(value.then, done),
        }
        cursor.resumed = Some(cursor.at);
    }

    /// Whether a string that may be a key is a name that is looked for.
    fn name_at(&self, value: Value, raw: &[u8]) -> NameAt {
        if value.doubt {
            self.text.keys(&self.links).name_at(raw)
        } else {
            NameAt::No
        }
    }

    /// Goes on behind such a name, of which so much is of this input: at least the quote that ends
    /// it.
    fn pass_name(&mut self, what: What, length: usize, cursor: &mut Cursor) {
        self.held.clear();
        cursor.at += length;
        cursor.resumed = Some(cursor.at);
        self.state = State::AfterKey(what);
    }

    /// Waits for more of a string; of it, all but `old` bytes are of this input.
    fn hold(&mut self, input: &[u8], cursor: &mut Cursor, old: usize) {
        if old == 0 {
            self.held.extend_from_slice(&input[cursor.at..]);
        }
        cursor.at += self.held.len() - old;
        cursor.kept = cursor.at;
    }

    /// Leaves a string whose beginning is decided, and of which `held` up to `done` is dealt with.
    fn leave(&mut self, then: Then, done: usize) {
        let rest = self.held.get(done..).unwrap_or_default();
        // Behind the string there is white space at most, or it would have been decided before.
        self.state = if closing_quote(rest, 0).is_some() {
            State::after(then)
        } else {
            State::Rest {
                then,
                escaped: is_odd(rest, false),
            }
        };
        self.held.clear();
    }

    /// Keeps what the next input may need.
    fn remember(&mut self, input: &[u8], cursor: Cursor) {
        let keys = self.text.keys(&self.links);
        if keys.nested {
            self.nesting.advance(&input[cursor.counted..]);
        }
        let from = cursor.resumed.unwrap_or(0).min(input.len());
        if cursor.resumed.is_some() || input.len() >= keys.span {
            self.edge = self.edge.after(&self.window);
            self.window.clear();
            let tail = from.max(input.len().saturating_sub(keys.span));
            let cut = tail + keys.start(&input[tail..]);
            self.edge = self.edge.after(&input[..cut]);
            self.window.extend_from_slice(&input[cut..]);
        } else {
            self.window.extend_from_slice(input);
            let tail = self.window.len().saturating_sub(keys.span);
            let cut = tail + keys.start(&self.window[tail..]);
            self.edge = self.edge.after(&self.window[..cut]);
            self.window.drain(..cut);
        }
    }
}
