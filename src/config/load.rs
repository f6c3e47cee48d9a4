//! From a file to a checked configuration, with every problem on the way. `load` is pure; `read`
//! adds the file and the environment.

use std::io::Read as _;
use std::path::Path;

use super::file::RawConfig;
use super::node::{Content, Key, Node};
use super::problem::{Problem, Problems, Severity, line_at, located};
use super::read::Read as _;
use super::report::{Fault, Report};
use super::variable::{Variables, substitute};
use super::{Config, NamedFiles, check, hidden, node};

/// What a configuration is made from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The file's name, for messages.
    pub file: &'a str,
    /// The file's text.
    pub text: &'a str,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Whether variables may be missing: `check` in a pipeline has no secrets. What depends on
    /// one gets a stand-in.
    pub allow_missing_env: bool,
}

/// A configuration that can be used, with what is worth a second look.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// Its warnings.
    pub warnings: Problems,
    /// Where it names files.
    pub files: NamedFiles,
}

/// The largest file that is read. A thousand routes are a tenth of it.
pub const MOST_BYTES: usize = 1 << 20;

/// Checks a configuration.
///
/// # Errors
/// Everything that is wrong with it, in file order.
pub fn load(source: &Source<'_>) -> Result<Checked, Problems> {
    let file = source.file;
    if source.text.len() > MOST_BYTES {
        return Err(too_large(file));
    }
    // Editors on Windows write a byte order mark; places are counted behind it.
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(source.text);
    let source = &Source { text, ..*source };
    let mut root = node::parse(text).map_err(|fault| unreadable(file, text, fault))?;
    let hidden = hidden::in_tree(&root);
    let mut report = Report::default();
    let config = checked(&mut root, source, &mut report);
    match config {
        Some(config) if report.problems.is_empty() => Ok(Checked {
            config,
            warnings: located(file, text, &hidden, report.warnings, Severity::Warning),
            files: NamedFiles::of(file, text, &hidden, &root),
        }),
        _ => {
            let problems = located(file, text, &hidden, report.problems, Severity::Error);
            debug_assert!(
                !problems.0.is_empty(),
                "a refused configuration has a problem"
            );
            Err(problems)
        }
    }
}

fn checked(root: &mut Node, source: &Source<'_>, report: &mut Report) -> Option<Config> {
    if matches!(root.content, Content::Empty) {
        let help = "at least routes: with name, path and upstream; see the example routes.yaml";
        report.problem(root.span, "the file is empty", help);
        return None;
    }
    let vars = Variables {
        env: source.env,
        allow_missing: source.allow_missing_env,
    };
    substitute(root, source.text, vars, report);
    let file = Key {
        text: source.file.to_owned(),
        span: root.span,
    };
    let raw = RawConfig::read(root, &file, report)?;
    check::config(&raw, root.span, vars, report)
}

fn unreadable(file: &str, text: &str, fault: Fault) -> Problems {
    let line = line_at(text, text.floor_char_boundary(fault.span.start));
    let hidden = hidden::in_text(text, line);
    located(file, text, &hidden, vec![fault], Severity::Error)
}

fn too_large(file: &str) -> Problems {
    let message = "the file is larger than 1 MiB".to_owned();
    let help = "a configuration is a few kilobytes; is this the right file?";
    Problems(vec![Problem::of_file(file, message, help)])
}

/// Reads a file and checks it against the environment of this process.
///
/// # Errors
/// Everything that is wrong with it, in file order; or why it cannot be read.
pub fn read(path: &Path, allow_missing_env: bool) -> Result<Checked, Problems> {
    let file = path.display().to_string();
    let refuse =
        |message: String, help: &str| Problems(vec![Problem::of_file(&file, message, help)]);
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    // One byte more than is allowed tells a file that is too large.
    let limit = MOST_BYTES as u64 + 1;
    opened
        .and_then(|opened| opened.take(limit).read_to_end(&mut bytes))
        .map_err(|error| {
            let help = "name the file with -c FILE or TOKENFERRY_CONFIG";
            refuse(format!("cannot be read: {error}"), help)
        })?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let message = format!("byte {} is not UTF-8", good + 1);
            return Err(refuse(message, "save the file as UTF-8"));
        }
    };
    load(&Source {
        file: &file,
        text: &text,
        env: &|name| std::env::var(name).ok(),
        allow_missing_env,
    })
}
