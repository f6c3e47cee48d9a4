//! Problems of a configuration file as a person reads them: file, line and column, the message,
//! the source line with a caret, and what would be accepted. A secret is never part of it.

use std::fmt;
use std::fmt::Write as _;

use super::report::{Fault, Span, printable};

/// Everything that is wrong with a file, in file order; never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// One problem or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub location: SourceLocation,
    /// Whether it keeps the configuration from being used.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What would be accepted.
    pub help: Option<String>,
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is used.
    Warning,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    /// The file, as it was named.
    pub file: String,
    /// Line and column of the first character; `None` when the file could not be read.
    pub position: Option<Position>,
}

/// A line, the part of it that is meant, and the line itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The source line, clipped, with secrets hidden.
    excerpt: String,
    /// Characters before the caret.
    before: usize,
    /// Carets.
    width: usize,
}

impl SourceLocation {
    /// A file as a whole.
    pub(super) fn of_file(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            position: None,
        }
    }
}

impl Problem {
    /// A problem of the file as a whole.
    pub(super) fn of_file(file: &str, message: String, help: &str) -> Self {
        Self {
            location: SourceLocation::of_file(file),
            severity: Severity::Error,
            message,
            help: Some(help.to_owned()),
        }
    }
}

/// Turns faults into problems of a file, in file order.
pub(super) fn located(
    file: &str,
    text: &str,
    hidden: &[Span],
    mut faults: Vec<Fault>,
    severity: Severity,
) -> Problems {
    faults.sort_by_key(|fault| fault.span.start);
    let mut lines = Lines::of(text);
    let problem = |fault: Fault| Problem {
        location: SourceLocation {
            file: file.to_owned(),
            position: Some(position(text, &mut lines, hidden, fault.span)),
        },
        severity,
        message: fault.message,
        help: fault.help,
    };
    Problems(faults.into_iter().map(problem).collect())
}

/// A place of a file.
pub(super) fn located_at(file: &str, text: &str, hidden: &[Span], span: Span) -> SourceLocation {
    SourceLocation {
        file: file.to_owned(),
        position: Some(position(text, &mut Lines::of(text), hidden, span)),
    }
}

/// Lines and columns of places that are asked for in file order: a file may be one line of a
/// megabyte with hundreds of problems, and is walked once.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    /// The last place: its line, its byte, and its column from 1.
    last: (usize, usize, usize),
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(ends).collect(),
            last: (0, 0, 1),
        }
    }

    /// The line's number from 1, its bytes with its end, and the column from 1.
    fn locate(&mut self, at: usize) -> (usize, Span, usize) {
        let next = self.starts.partition_point(|&start| start <= at);
        let line = Span {
            start: self.starts[next - 1],
            end: self.starts.get(next).copied().unwrap_or(self.text.len()),
        };
        if self.last.0 != next {
            self.last = (next, line.start, 1);
        }
        let column = self.last.2 + self.text[self.last.1..at].chars().count();
        self.last = (next, at, column);
        (next, line, column)
    }
}

/// The line of the source that holds this byte, without its end.
pub(super) fn line_at(text: &str, at: usize) -> Span {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    Span { start, end }
}

// Bytes of a line that are looked at, before and after the place; a file may be one line of a
// megabyte, and only a terminal's width is shown.
const AROUND: (usize, usize) = (240, 480);

fn position(text: &str, lines: &mut Lines<'_>, hidden: &[Span], span: Span) -> Position {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let (number, line, column) = lines.locate(start);
    let from = text.floor_char_boundary(line.start.max(start.saturating_sub(AROUND.0)));
    let to = text.floor_char_boundary(line.end.min(start + AROUND.1));
    let hidden = &hidden[hidden.partition_point(|h| h.end <= from)..];
    let hidden = &hidden[..hidden.partition_point(|h| h.start < to)];
    let mut window = Window::default();
    // Comments are not shown either: a secret is often parked in one.
    let comment = from + comment_start(&text[from..to], from == line.start);
    for (offset, c) in text[from..to].trim_end().char_indices() {
        let at = from + offset;
        let meant = at >= start && (at < span.end || at == start);
        let secret = at >= comment || hidden.iter().any(|h| h.start <= at && at < h.end);
        window.push(c, meant, secret);
    }
    let (excerpt, before, width) = window.clipped();
    Position {
        line: number,
        column,
        excerpt,
        before,
        width,
    }
}

/// Where the comment of a line, or of its middle, begins; a '#' in quotes may be taken for one.
fn comment_start(line: &str, whole: bool) -> usize {
    let mut before = if whole { ' ' } else { 'x' };
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return at;
        }
        before = c;
    }
    line.len()
}

/// The characters of a line that are shown, and which of them are meant.
#[derive(Default)]
struct Window {
    chars: Vec<char>,
    first: Option<usize>,
    end: usize,
    in_secret: bool,
}

impl Window {
    fn push(&mut self, c: char, meant: bool, secret: bool) {
        if !(secret && self.in_secret) {
            self.chars.push(match c {
                _ if secret => '…',
                '\t' => ' ',
                c => printable(c),
            });
        }
        self.in_secret = secret;
        if meant {
            self.first.get_or_insert(self.chars.len() - 1);
            self.end = self.chars.len();
        }
    }

    /// A terminal's width around what is meant.
    fn clipped(self) -> (String, usize, usize) {
        const BEFORE: usize = 60;
        const WIDTH: usize = 120;
        let first = self.first.unwrap_or(self.chars.len());
        let from = if self.chars.len() > WIDTH {
            first.saturating_sub(BEFORE)
        } else {
            0
        };
        let shown: String = self.chars.iter().skip(from).take(WIDTH).collect();
        let width = self.end.saturating_sub(first).clamp(1, WIDTH - BEFORE);
        (shown, first - from, width)
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.location.file;
        match &self.location.position {
            Some(at) => write!(f, "{file}:{}:{}: ", at.line, at.column)?,
            None => write!(f, "{file}: ")?,
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(at) = &self.location.position
            && !at.excerpt.is_empty()
        {
            write!(f, "\n{:>5} | {}", at.line, at.excerpt)?;
            let (before, width) = (at.before, at.width);
            write!(f, "\n      | {:before$}{:^<width$}", "", "")?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}
