//! Where the keys of a file stand, so that what is found out later (on disk, above all) is told at
//! the place of the key that it is about.

use std::collections::HashSet;

use super::node::{Content, Entry, Node, Provenance};
use super::problem::{Problem, Severity, SourceLocation, located_at};
use super::report::{Span, printable};
use crate::secret::FilePath;

/// A key by the names that lead to it: `["tls", "key_file"]`. None is the file as a whole.
pub type KeyPath = Vec<String>;

/// Something that was found out about a configuration, and the key that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The key.
    pub at: KeyPath,
    /// What was found, and what to do about it.
    pub words: String,
}

impl Finding {
    /// Words about a key.
    pub fn new(at: &[&str], words: impl Into<String>) -> Self {
        Self {
            at: at.iter().map(|&name| name.to_owned()).collect(),
            words: words.into(),
        }
    }
}

/// A file that a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The key.
    pub at: KeyPath,
    /// The file.
    pub path: FilePath,
}

/// The places of keys and their values. They are worked out when they are asked for, which is
/// seldom, and a file may have thousands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    file: String,
    text: String,
    hidden: Vec<Span>,
    spans: Vec<(KeyPath, Span)>,
}

impl Places {
    pub(super) fn of(file: &str, text: &str, hidden: &[Span], root: &Node) -> Self {
        let mut spans = Vec::new();
        below(root, &mut Vec::new(), &mut |at, span, _| {
            spans.push((at.to_vec(), span))
        });
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            hidden: hidden.to_vec(),
            spans,
        }
    }

    /// A file of which nothing is known but its name.
    pub(super) fn unknown(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            ..Self::default()
        }
    }

    /// What was found, at its key, or at the nearest one above that is in the file.
    pub fn problem(&self, finding: &Finding, severity: Severity) -> Problem {
        let above = |known: &&(KeyPath, Span)| finding.at.starts_with(&known.0);
        let nearest = self.spans.iter().filter(above).max_by_key(|it| it.0.len());
        let location = match nearest {
            Some((_, span)) => located_at(&self.file, &self.text, &self.hidden, *span),
            None => SourceLocation::of_file(&self.file),
        };
        Problem {
            location,
            severity,
            // It names files, whose names may hold what turns the text of a terminal around.
            message: finding.words.chars().map(printable).collect(),
            help: None,
        }
    }
}

/// Every file that a key names. Of a value that is wrong there is none.
pub(super) fn named_files(root: &Node) -> Vec<NamedFile> {
    let mut files = Vec::new();
    below(root, &mut Vec::new(), &mut |at, _, node| {
        let is_file = at.last().is_some_and(|name| name.ends_with("_file"));
        let (true, Content::Scalar(text)) = (is_file, &node.content) else {
            return;
        };
        let path = match &node.written {
            _ if text.trim().is_empty() || node.provenance == Provenance::Unknown => return,
            // It has been refused, and is not to be printed.
            _ if text.contains(char::is_control) => return,
            Some(written) => FilePath::replaced(text, written),
            None => FilePath::from(text),
        };
        files.push(NamedFile {
            at: at.to_vec(),
            path,
        });
    });
    files
}

/// Visits what stands below this place. A value is where it is written, a mapping where its key is.
fn below(node: &Node, at: &mut KeyPath, visit: &mut dyn FnMut(&[String], Span, &Node)) {
    let Content::Mapping(entries) = &node.content else {
        return;
    };
    for entry in firsts(entries) {
        let span = match entry.value.content {
            Content::Scalar(_) => entry.value.span,
            Content::Empty | Content::List(_) | Content::Mapping(_) => entry.key.span,
        };
        at.push(entry.key.text.clone());
        visit(at, span, &entry.value);
        below(&entry.value, at, visit);
        at.pop();
    }
}

/// The entries that are read: of a key that is given twice the first, and the other is refused. It
/// would be told at the place of the other what was found of the first.
fn firsts(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    let mut seen = HashSet::new();
    let entries = entries.iter();
    entries.filter(move |entry| seen.insert(entry.key.text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Replaced, Source, examine};
    use crate::config::node;
    use crate::config::report::Report;
    use crate::config::variable::{Variables, substitute};

    const TEXT: &str = "\
tls: {certificate_file: /run/one.pem, key_file: /run/one.pem}
credentials:
  one.two: {tenant_id: b, client_id: b, client_secret_file: \"${FOLDER}/one.pem\"}
routes:
  - {name: b, path: /b, upstream: \"https://b.com\"}
";

    fn told(at: &[&str]) -> String {
        let source = Source {
            file: "routes.yaml",
            text: TEXT,
            env: &|_| Some("/run".into()),
            allow_missing_env: false,
        };
        let finding = Finding::new(at, "words");
        let problem = examine(&source, Replaced::default())
            .places
            .problem(&finding, Severity::Error);
        problem.to_string().lines().next().unwrap().to_owned()
    }

    #[test]
    fn words_stand_at_the_key_that_they_are_about() {
        assert_eq!(
            told(&["tls", "certificate_file"]),
            "routes.yaml:1:25: words"
        );
        assert_eq!(told(&["tls", "key_file"]), "routes.yaml:1:49: words");
        let secret = ["credentials", "one.two", "client_secret_file"];
        assert_eq!(told(&secret), "routes.yaml:3:61: words");
        let expires = ["credentials", "one.two", "expires"];
        assert_eq!(told(&expires), "routes.yaml:3:3: words");
        assert_eq!(told(&["tls"]), "routes.yaml:1:1: words");
        assert_eq!(told(&["trust", "ca_file"]), "routes.yaml: words");
        assert_eq!(told(&[]), "routes.yaml: words");
    }

    #[test]
    fn a_key_names_a_file_where_its_value_may_be_a_path_that_is_known() {
        let text = "\
tls: {certificate_file: \"/a\\n\", key_file: ' '}
trust: {ca_file: /ca}
credentials: {a: {client_secret_file: \"${UNSET}/a\", certificate_file: {a: b}, tenant_id: /b}}
";
        let files = named_files(&{
            let mut root = node::parse(text).unwrap();
            let vars = Variables {
                env: &|_| None,
                allow_missing: true,
            };
            substitute(&mut root, text, vars, &mut Report::default());
            root
        });
        let places: Vec<_> = files.iter().map(|file| file.at.join(".")).collect();
        assert_eq!(places, ["trust.ca_file"]);
    }
}
