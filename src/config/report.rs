//! What a check finds while it goes on: every problem and warning with its place in the source.
//! Nothing here knows how they are shown.

use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::path::Path;

use crate::output::is_invisible;

/// Bytes of the source text, end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// One thing that is wrong, or worth a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Collects faults; a check never stops at the first.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
    /// Values whose variable is not set. What stands in for them is nobody's fault: rules about
    /// it report nothing.
    stand_ins: HashSet<Span>,
}

/// More problems than anybody reads; beyond it a hostile file only makes output.
const MOST_FAULTS: usize = 500;

impl Report {
    /// Whether further problems would not be shown; what is expensive to explain can be left out.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() > MOST_FAULTS
    }

    /// Leaves out what is found about this value from now on: no rule has to ask for that.
    pub(super) fn stand_in(&mut self, span: Span) {
        self.stand_ins.insert(span);
    }

    /// Records something that keeps the configuration from being used.
    pub(super) fn problem(&mut self, span: Span, message: impl Into<String>, help: &str) {
        if !self.stand_ins.contains(&span) {
            record(&mut self.problems, span, message.into(), help);
        }
    }

    /// Records that a value has the wrong shape, which it has whatever a variable in it holds.
    pub(super) fn wrong_shape(&mut self, span: Span, message: String, help: &str) {
        record(&mut self.problems, span, message, help);
    }

    /// Records something that is allowed and probably not meant.
    pub(super) fn warning(&mut self, span: Span, message: impl Into<String>, help: &str) {
        if !self.stand_ins.contains(&span) {
            record(&mut self.warnings, span, message.into(), help);
        }
    }
}

fn record(faults: &mut Vec<Fault>, span: Span, message: String, help: &str) {
    let (message, help) = match faults.len() {
        ..MOST_FAULTS => (message, (!help.is_empty()).then(|| help.to_owned())),
        MOST_FAULTS => ("there are more than can be shown".to_owned(), None),
        _ => return,
    };
    faults.push(Fault {
        span,
        message,
        help,
    });
}

/// The text in quotes: clipped, and without characters that a terminal would act on.
pub(super) fn quoted(text: &str) -> String {
    // Long enough for any key or host name that a person recognises.
    const LONGEST: usize = 64;
    let mut out = String::from('"');
    out.extend(text.chars().take(LONGEST).map(printable));
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out.push('"');
    out
}

/// A key in quotes. One that is not a plain word may have swallowed its value, for want of a colon
/// or a space, and that may be a secret: only its beginning is shown, if that can be none.
pub(super) fn quoted_key(key: &str) -> String {
    if is_word(key) {
        return quoted(key);
    }
    let word = key.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let word = Some(&key[..word.unwrap_or_default()]).filter(|word| !may_be_secret(word));
    quoted(&format!("{}…", word.unwrap_or_default()))
}

/// Whether a key is a plain word, or a host with a port.
pub(super) fn is_word(key: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'*');
    let host = match key.rsplit_once(':') {
        Some((host, port)) if port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => key,
    };
    let literal = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    host.bytes().all(plain) || literal.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
}

/// Whether an unknown key may be a secret that a line break has put where a key stands. No key has a
/// digit.
pub(super) fn may_be_secret(key: &str) -> bool {
    key.bytes().any(|b| b.is_ascii_digit())
}

/// Names in quotes, separated by commas.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(quoted).collect();
    names.join(", ")
}

/// A file as it was named on the command line or by a variable, without characters that a terminal
/// would act on: whoever checks files of others did not choose their names.
pub fn shown(file: &Path) -> String {
    file.to_string_lossy().chars().map(printable).collect()
}

/// The character, or a replacement for one that moves the cursor or turns the text's direction.
pub fn printable(c: char) -> char {
    if c.is_control() || is_invisible(c) {
        '\u{fffd}'
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_plain_word_or_a_host_with_a_port() {
        for word in ["a_b-c.d", "*.a.com", "a.com:65535", "[fd00::4]:443", ""] {
            assert!(is_word(word), "{word}");
        }
        for other in ["a b", "a:123456", "a:4x", "a:x", "[x]:1", "[::1", "a:1:1"] {
            assert!(!is_word(other), "{other}");
        }
    }

    #[test]
    fn what_is_shown_is_clipped_and_moves_no_cursor() {
        assert_eq!(quoted(&"a".repeat(64)), format!("\"{}\"", "a".repeat(64)));
        assert_eq!(quoted(&"a".repeat(65)), format!("\"{}…\"", "a".repeat(64)));
        let name = "a\u{1b}[2J\u{202e}é";
        assert_eq!(shown(Path::new(name)), "a\u{fffd}[2J\u{fffd}é");
    }

    #[test]
    fn of_more_than_five_hundred_problems_it_is_told_that_there_are_more() {
        let mut report = Report::default();
        for told in 1..=502 {
            report.problem(Span::default(), "wrong", "");
            assert_eq!(report.is_full(), told > 500, "{told}");
        }
        assert_eq!(report.problems.len(), 501);
        let last = report.problems.last().map(|last| last.message.as_str());
        assert_eq!(last, Some("there are more than can be shown"));
    }
}
