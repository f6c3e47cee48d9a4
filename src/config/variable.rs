//! `${NAME}` and `${NAME:-default}` inside values. The environment is an argument, so the same
//! check serves `check` in a pipeline, `run`, a reload and the tests.

use std::ffi::OsString;
use std::fmt;

use super::node::{Content, Node, Provenance};
use super::report::{Report, Span, quoted};

/// The variables that values may refer to.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a> {
    /// The environment.
    pub(super) env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Whether a missing variable is allowed: a pipeline that checks has no secrets.
    pub(super) allow_missing: bool,
}

/// Why a variable holds no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    NotText,
    Unset,
}

impl Variables<'_> {
    /// What a variable holds.
    pub(super) fn value(&self, name: &str) -> Result<String, Lack> {
        let value = (self.env)(name).ok_or(Lack::Unset)?;
        value.into_string().map_err(|_| Lack::NotText)
    }

    /// Whether that a value is not there is to be told.
    fn tells(&self, lack: Lack) -> bool {
        lack == Lack::NotText || !self.allow_missing
    }
}

/// What to do about a variable that is not text.
pub(super) const AS_TEXT: &str = "give it text in UTF-8";

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotText => "is not UTF-8",
            Self::Unset => "is not set",
        })
    }
}

/// The keys whose value is a secret: they are left alone, and read by `SecretRef`.
pub(super) const SECRET_KEYS: [&str; 3] = ["api_key", "certificate_password", "client_secret"];

/// The keys of changes to headers, whose `set` maps names that the file chooses.
const HEADER_EDITS: [&str; 2] = ["request_headers", "response_headers"];

/// What stands for a variable that is not set, where that is allowed.
pub(super) const STAND_IN: &str = "unset";

/// What to do about a variable without braces.
pub(super) const WRITTEN: &str = "write ${NAME}";

/// Replaces the variables in every value of the tree.
pub(super) fn substitute(root: &mut Node, text: &str, vars: Variables<'_>, report: &mut Report) {
    let mut pass = Pass { text, vars, report };
    pass.node(root, None, "");
}

/// The name, when the text is exactly one reference without a default.
pub(super) fn sole_reference(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    is_name(name).then_some(name)
}

struct Pass<'a> {
    text: &'a str,
    vars: Variables<'a>,
    report: &'a mut Report,
}

impl Pass<'_> {
    /// `within` is the key that the node stands below.
    fn node(&mut self, node: &mut Node, secret: Option<&str>, within: &str) {
        let span = node.span;
        match &mut node.content {
            Content::Empty => {}
            Content::List(items) => {
                for item in items {
                    self.node(item, secret, within);
                }
            }
            Content::Mapping(entries) => {
                for entry in entries {
                    let key = entry.key.text.as_str();
                    let headers = key == "set" && HEADER_EDITS.contains(&within);
                    if headers && let Content::Mapping(headers) = &mut entry.value.content {
                        // Their names are the upstream's and not keys of ours.
                        for header in headers {
                            self.node(&mut header.value, None, key);
                        }
                        continue;
                    }
                    let secret = SECRET_KEYS.contains(&key).then_some(key);
                    self.node(&mut entry.value, secret, key);
                }
            }
            Content::Scalar(text) => match secret {
                Some(key) => self.secret(key, text, span),
                None if text.contains("${") => {
                    let (replaced, provenance) = self.scalar(text, span);
                    node.written = Some(std::mem::replace(text, replaced));
                    node.provenance = provenance;
                    if provenance == Provenance::Unknown {
                        self.report.stand_in(span);
                    }
                }
                None if looks_like_a_variable(text) => {
                    let message = "this looks like a variable, and is taken as it is written";
                    self.report.warning(span, message, WRITTEN);
                }
                None => {}
            },
        }
    }

    /// A secret stays a reference; only that its variable exists is checked.
    fn secret(&mut self, key: &str, text: &str, span: Span) {
        let Some(name) = sole_reference(text) else {
            return;
        };
        let lack = match self.vars.value(name) {
            Ok(value) if value.trim().is_empty() => None,
            Ok(_) => return,
            Err(lack) => Some(lack),
        };
        if self.vars.tells(lack.unwrap_or(Lack::Unset)) {
            let what = lack.map_or("is empty".to_owned(), |lack| lack.to_string());
            let message = format!("environment variable {name} {what}");
            let mend = match lack {
                Some(Lack::NotText) => AS_TEXT,
                Some(Lack::Unset) | None => "set it",
            };
            let help = format!("{mend}, or use {key}_file: PATH");
            self.report.problem(span, message, &help);
        }
    }

    fn scalar(&mut self, text: &str, span: Span) -> (String, Provenance) {
        let mut out = String::with_capacity(text.len());
        let mut provenance = Provenance::Substituted;
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            out.push_str(&rest[..at]);
            let reference = rest[at..].find('}').map(|end| &rest[at..=at + end]);
            let parsed = reference.and_then(|reference| parse(&reference[2..reference.len() - 1]));
            let (Some(reference), Some((name, default))) = (reference, parsed) else {
                self.malformed(span);
                return (String::new(), Provenance::Unknown);
            };
            match (self.vars.value(name), default) {
                (Ok(value), Some(default)) if value.is_empty() => out.push_str(default),
                (Ok(value), _) => out.push_str(&value),
                (Err(Lack::Unset), Some(default)) => out.push_str(default),
                (Err(lack), _) => {
                    self.missing(name, lack, reference, span);
                    out.push_str(STAND_IN);
                    provenance = Provenance::Unknown;
                }
            }
            rest = &rest[at + reference.len()..];
        }
        out.push_str(rest);
        (out, provenance)
    }

    fn missing(&mut self, name: &str, lack: Lack, reference: &str, span: Span) {
        if self.vars.tells(lack) && !self.report.is_full() {
            let place = self.place_of(reference, span);
            let message = format!("environment variable {name} {lack}");
            let help = match lack {
                Lack::NotText => AS_TEXT.to_owned(),
                Lack::Unset => format!("set it, or give a default: ${{{name}:-…}}"),
            };
            self.report.problem(place, message, &help);
        }
    }

    fn malformed(&mut self, span: Span) {
        let place = self.place_of("${", span);
        let message = format!("{} begins a variable and does not end as one", quoted("${"));
        self.report
            .problem(place, message, "write ${NAME} or ${NAME:-default}");
    }

    /// Where the reference stands, when the value is written without escapes.
    fn place_of(&self, reference: &str, span: Span) -> Span {
        let written = self.text.get(span.start..span.end).unwrap_or_default();
        written.find(reference).map_or(span, |at| Span {
            start: span.start + at,
            end: span.start + at + reference.len(),
        })
    }
}

/// Name and default of what stands between the braces; a default is plain text, and ends at the first
/// brace.
fn parse(inner: &str) -> Option<(&str, Option<&str>)> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let nested = default.is_some_and(|default| default.contains("${"));
    (is_name(name) && !nested).then_some((name, default))
}

/// Whether a shell would put a variable here: `$NAME`, or a path below one. Names in small letters
/// are OData's (`$batch`).
fn looks_like_a_variable(text: &str) -> bool {
    let name = text
        .strip_prefix('$')
        .and_then(|rest| rest.split('/').next());
    name.is_some_and(|name| is_name(name) && !name.bytes().any(|b| b.is_ascii_lowercase()))
}

/// POSIX: letters, digits and underscores, not beginning with a digit.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.as_bytes()[0].is_ascii_digit()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node;

    /// What a value becomes, and the problems of that.
    fn replaced(value: &str) -> (String, Vec<String>) {
        let env = |name: &str| match name {
            "HOST" => Some("graph.microsoft.com".into()),
            "EMPTY" => Some(OsString::new()),
            "TRICK" => Some("${HOST}: {a: b}".into()),
            _ => None,
        };
        let vars = Variables {
            env: &env,
            allow_missing: false,
        };
        let text = format!("key: '{value}'");
        let mut root = node::parse(&text).unwrap();
        let mut report = Report::default();
        substitute(&mut root, &text, vars, &mut report);
        let Content::Mapping(mut entries) = root.content else {
            panic!("not a mapping");
        };
        let Content::Scalar(text) = entries.remove(0).value.content else {
            panic!("not a scalar");
        };
        let problems = report.problems.into_iter().map(|fault| fault.message);
        (text, problems.collect())
    }

    #[test]
    fn a_reference_becomes_its_value_wherever_it_stands() {
        assert_eq!(
            replaced("https://${HOST}/x").0,
            "https://graph.microsoft.com/x"
        );
        assert_eq!(
            replaced("${HOST}${HOST}").0,
            "graph.microsoft.comgraph.microsoft.com"
        );
        assert_eq!(replaced("/$batch/$ref").0, "/$batch/$ref");
        assert_eq!(replaced("$HOST").0, "$HOST");
    }

    #[test]
    fn a_default_stands_for_a_variable_that_is_unset_or_empty() {
        assert_eq!(replaced("${NONE:-a:-b}").0, "a:-b");
        assert_eq!(replaced("${EMPTY:-a}").0, "a");
        assert_eq!(replaced("${NONE:-}x").0, "x");
        assert_eq!(replaced("${EMPTY}x").0, "x");
        assert_eq!(replaced("${HOST:-a}").0, "graph.microsoft.com");
    }

    #[test]
    fn what_a_variable_holds_is_not_read_again() {
        assert_eq!(replaced("${TRICK}").0, "${HOST}: {a: b}");
    }

    #[test]
    fn a_variable_of_a_shell_is_told_from_text() {
        for variable in ["$HOST", "$A_1", "$HOME/secret", "$HOME/"] {
            assert!(looks_like_a_variable(variable), "{variable}");
        }
        for text in [
            "$",
            "$1",
            "$batch",
            "$Batch",
            "$HOST.corp",
            "a$HOST",
            "$A B",
            "/$HOME",
        ] {
            assert!(!looks_like_a_variable(text), "{text}");
        }
    }

    #[test]
    fn a_missing_or_malformed_reference_is_a_problem() {
        let missing = "environment variable NONE is not set";
        assert_eq!(replaced("a${NONE}b").1, [missing]);
        for wrong in [
            "${",
            "${}",
            "${1A}",
            "${A B}",
            "${A-b}",
            "${A:b}",
            "x${HOST",
            "${A:-${B}}",
        ] {
            assert_eq!(replaced(wrong).1.len(), 1, "{wrong}");
        }
    }

    #[test]
    fn only_a_plain_reference_names_a_secret() {
        assert_eq!(sole_reference("${SECRET_1}"), Some("SECRET_1"));
        for wrong in [
            "${A:-b}", " ${A}", "${A}${B}", "x${A}", "${A", "A", "${}", "${a-b}",
        ] {
            assert_eq!(sole_reference(wrong), None, "{wrong}");
        }
    }
}
