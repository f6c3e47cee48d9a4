//! Which parts of the source are never shown. A source line helps a person who reads a problem,
//! and may hold a secret that somebody wrote in place: into its own key, into a misspelt one, or
//! into a file that is not even YAML.

use percent_encoding::percent_decode_str;

use super::file;
use super::node::{Content, Key, Node};
use super::report::{Span, is_word, may_be_secret};
use super::variable;
use crate::guid::is_guid;

/// The places to hide in a file that could be read: what stands below the keys of secrets, unless
/// it is a plain reference, and below keys that are unknown and may be misspelt secrets. What is no
/// mapping is no configuration, and may be the file of a secret that was named in its place.
pub(super) fn in_tree(root: &Node) -> Vec<Span> {
    let mut spans = Vec::new();
    let hide = !matches!(root.content, Content::Mapping(_));
    walk(root, hide, "", &mut spans);
    spans
}

/// Keys below which the file chooses the names.
const TABLES: [&str; 4] = ["callers", "credentials", "resolve", "set"];

/// Whether a key may be a secret, where a mapping is expected and something else stands.
pub(super) fn is_stray(key: &Key, value: &Node) -> bool {
    let is_other = matches!(value.content, Content::Scalar(_) | Content::List(_));
    is_other && may_be_secret(&key.text)
}

/// `table` is the key above where the file chooses the names, and else empty.
fn walk(node: &Node, hide: bool, table: &str, spans: &mut Vec<Span>) {
    let names = !table.is_empty();
    match &node.content {
        Content::Empty => {}
        Content::Scalar(text) => {
            let hide = hide || names || has_password(text) || is_structure(text);
            if hide && variable::sole_reference(text).is_none() {
                spans.push(node.span);
            }
        }
        Content::List(items) => {
            for item in items {
                walk(item, hide, "", spans);
            }
        }
        Content::Mapping(entries) => {
            for entry in entries {
                let key = entry.key.text.as_str();
                let known = file::is_key(key);
                // Without a value it may be one itself, behind a comma too many.
                let stray = !names && matches!(entry.value.content, Content::Empty);
                let odd = match table {
                    "" => may_be_secret(key),
                    "callers" | "credentials" => is_stray(&entry.key, &entry.value),
                    _ => false,
                };
                if !known && (hide || stray || odd || !is_word(key)) {
                    spans.push(entry.key.span);
                }
                let mistaken =
                    matches!(&entry.value.content, Content::Scalar(text) if is_mistaken(key, text));
                let secret = variable::SECRET_KEYS.contains(&key) || mistaken;
                let mapping = matches!(entry.value.content, Content::Mapping(_));
                let named = names && mapping && is_word(key);
                let hide = hide || secret || !(known || named);
                let table = if TABLES.contains(&key) { key } else { "" };
                walk(&entry.value, hide, table, spans);
            }
        }
    }
}

/// Whether an ID may be the secret that belongs beside it. Those of Entra have 32 characters and more.
fn is_mistaken(key: &str, text: &str) -> bool {
    let may_be = match key {
        "client_id" => true,
        // A domain may be as long.
        "tenant_id" => !text.contains('.') || !text.bytes().all(of_domain),
        _ => false,
    };
    may_be && text.len() >= 32 && !is_guid(text)
}

fn of_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')
}

/// Whether the text is more than one value: keys that a stray quote or '>' made part of it.
fn is_structure(text: &str) -> bool {
    text.contains(": ") || text.contains('\n')
}

/// Whether the text may be a URL with a password in it, and what separates its parts encoded or not.
fn has_password(text: &str) -> bool {
    let text = percent_decode_str(text).decode_utf8_lossy();
    // The name before the password may be an address of mail.
    let before = text.rsplit_once('@').map(|(before, _)| before);
    before.is_some_and(|before| before.contains(':'))
}

/// Parts of the names that people give to keys of secrets.
const WORDS: [&str; 6] = ["secret", "passw", "api_key", "apikey", "api-key", "token"];

/// The places to hide in one line of a file that is not YAML. Nothing is known about its
/// structure, so a line is shown only when it begins with a known key (or stands in the list of
/// one) and nothing on it or above it can be a secret's value.
pub(super) fn in_text(text: &str, line: Span) -> Vec<Span> {
    // Nobody writes so much by hand; what stands behind it is not worth the reading.
    const MOST_BYTES: usize = 64 << 10;
    if line.start > MOST_BYTES {
        return vec![line];
    }
    let mut state = Scan::default();
    let mut at = 0;
    for content in text.split_inclusive('\n') {
        let structure = state.line(content);
        let shown = match has_password(content) {
            true => 0,
            false => structure.min(before_mistaken(content)),
        };
        if at == line.start {
            let start = at + shown.min(content.len());
            return vec![Span {
                start,
                end: line.end.max(start),
            }];
        }
        at += content.len();
    }
    Vec::new()
}

/// What the lines so far say about the next one.
#[derive(Default)]
struct Scan {
    /// The indentation of a secret's key whose value may go on.
    secret: Option<usize>,
    /// A quote or bracket of a secret's value is open: no end can be told.
    open: bool,
    /// The key of a secret had nothing behind it: the next line may be its value, whatever words that
    /// is made of.
    awaited: bool,
    /// The last key is a known one, so its list may be shown.
    known: bool,
}

impl Scan {
    /// How many bytes of this line may be shown.
    fn line(&mut self, line: &str) -> usize {
        let content = line.trim_start_matches([' ', '\t', '-']);
        let indent = line.len() - content.len();
        let goes_on = self.secret.is_some_and(|key| indent > key);
        if self.open || goes_on {
            return 0;
        }
        let is_blank = content.trim().is_empty();
        self.secret = self.secret.filter(|_| is_blank);
        let word = content.trim_start_matches(['{', '[', '"', '\'', ' ']);
        let end = word
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(word.len());
        let has_key = word[end..].trim_start_matches(['"', '\'']).starts_with(':');
        if self.awaited && !is_blank {
            self.awaited = false;
            if !has_key || !file::is_key(&word[..end]) {
                return indent;
            }
        }
        if let Some(after) = after_secret_word(line) {
            return self.secret_line(line, indent, after);
        }
        let listed = self.known && line.trim_start().starts_with("- ") && !has_key;
        if has_key {
            self.known = file::is_key(&word[..end]);
        }
        if file::is_key(&word[..end]) || listed {
            line.len()
        } else {
            indent
        }
    }

    fn secret_line(&mut self, line: &str, indent: usize, after: usize) -> usize {
        let rest = line[after..].trim_start_matches(['"', '\'', ' ']);
        let value = rest.strip_prefix(':').unwrap_or(rest).trim();
        let bare = value.trim_matches(['"', '\'']);
        if variable::sole_reference(bare).is_some() {
            return line.len();
        }
        (self.secret, self.known) = (Some(indent), false);
        self.awaited = value.is_empty();
        let flow = line[..after].contains(['{', '[']);
        self.open = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => !value[1..].contains(quote),
            Some('[' | '{') => true,
            Some(_) => false,
            None => flow,
        };
        after
    }
}

/// How much of this line comes before an ID that may be a secret.
fn before_mistaken(line: &str) -> usize {
    let separates = |c: char| c.is_whitespace() || "\"',:{}".contains(c);
    let (mut key, mut at) = ("", 0);
    for piece in line.split_inclusive(separates) {
        let word = piece.trim_end_matches(separates);
        if is_mistaken(key, word) {
            break;
        }
        key = if word.is_empty() { key } else { word };
        at += piece.len();
    }
    at
}

/// The end of the first word of this line that may name a secret.
fn after_secret_word(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let mut first: Option<usize> = None;
    for word in WORDS {
        for (at, _) in lower.match_indices(word) {
            let tail = &lower[at..];
            let end = tail
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
                .unwrap_or(tail.len());
            let start = lower[..at].trim_end_matches(|c: char| c.is_ascii_lowercase() || c == '_');
            let whole = &lower[start.len()..at + end];
            let harmless = file::is_key(whole) && !variable::SECRET_KEYS.contains(&whole);
            if !harmless {
                first = Some(first.map_or(at + end, |other| other.min(at + end)));
            }
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of the last line.
    fn shown(text: &str) -> &str {
        let start = text.rfind('\n').map_or(0, |at| at + 1);
        let line = Span {
            start,
            end: text.len(),
        };
        let hidden = in_text(text, line);
        let end = hidden.first().map_or(text.len(), |span| span.start);
        text[start..end].trim()
    }

    #[test]
    fn what_is_no_secret_is_shown_where_the_file_is_no_yaml() {
        for text in [
            "a:\n  client_secret: x\nroutes:\n    path: /a",
            "a:\n  client_secret: x\n\nroutes:\n    path: /a",
            "a:\n  client_secret:\n  path: /a\n  allow:\n    - GET /b",
            "allow:\n  - GET /a\n  - GET /b",
            "    client_secret: ${NAME}",
            "    client_secret: '${NAME}'",
            "    \"client_secret\": ${NAME} ",
            "routes:\n  - {\"path\": /a",
            "allow:\n  -\n  - GET /a",
            "    client_secret_file: /run/secret",
            "  token_wait: 5s",
        ] {
            let line = text.lines().last().unwrap_or_default();
            assert_eq!(shown(text), line.trim(), "{text}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown_where_the_file_is_no_yaml() {
        for (text, rest) in [
            ("client_secret: [\nname: abc", ""),
            ("client_secret: {\nname: abc", ""),
            ("client_secret: \"abc\nname: def", ""),
            ("client_secret:\nabc-token: def", ""),
            ("client_secret:\nmy_token: def", ""),
            ("token: abc, client_secret: def", "token"),
            ("client_secret: abc\n\n  name: def", ""),
            ("client_id: abc8Q~exactly-32-characters-long", "client_id:"),
            ("x-api-key: abc", "x-api-key"),
            ("authority: me:hunter2%40login.corp", ""),
            ("authority: me%3Ahunter2@login.corp", ""),
            ("authority: 'me%3ahunter2%40login.corp", ""),
        ] {
            assert_eq!(shown(text), rest, "{text}");
        }
    }
}
