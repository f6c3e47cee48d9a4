//! From a file to a checked configuration, with every problem on the way. `load` is pure; `look`
//! adds the file and the environment.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::string::FromUtf8Error;

use super::file::RawConfig;
use super::node::{Content, Entry, Key, Node};
use super::places::{NamedFile, Places, named_files};
use super::problem::{Problem, Problems, Severity, line_at, located};
use super::read::Read as _;
use super::report::{Fault, Report, Span, shown};
use super::variable::{Variables, WRITTEN, substitute};
use super::{Config, check, hidden, node};
use crate::descriptors;

/// What a configuration is made from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The file's name, for messages.
    pub file: &'a str,
    /// The file's text.
    pub text: &'a str,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Whether variables may be missing: `check` in a pipeline has no secrets. What depends on
    /// one gets a stand-in.
    pub allow_missing_env: bool,
}

impl<'a> Source<'a> {
    /// A text without an environment.
    pub fn alone(text: &'a str) -> Self {
        Self {
            file: "routes.yaml",
            text,
            env: &|_| None,
            allow_missing_env: false,
        }
    }
}

/// The keys of the file in whose place the command line puts something else: what the file says there
/// is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// `listen`.
    pub listen: bool,
    /// `admin`.
    pub admin: bool,
}

impl Replaced {
    fn holds(self, key: &str) -> bool {
        match key {
            "listen" => self.listen,
            "admin" => self.admin,
            _ => false,
        }
    }
}

/// A configuration that can be used, with what is worth a second look.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// Its warnings.
    pub warnings: Problems,
}

/// All that a look at the text of a file finds.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What keeps it from being used, in file order.
    pub problems: Problems,
    /// Its warnings, when there is no problem.
    pub warnings: Problems,
    /// The configuration. With problems it is not one to run: it holds no routes, and nothing else
    /// that is wrong, and serves to look at the rest.
    pub config: Option<Config>,
    /// Where its keys stand.
    pub places: Places,
    /// The files that it names.
    pub files: Vec<NamedFile>,
}

impl Examined {
    fn refused(problems: Problems, places: Places) -> Self {
        debug_assert!(
            !problems.0.is_empty(),
            "a refused configuration has a problem"
        );
        Self {
            problems,
            warnings: Problems::default(),
            config: None,
            places,
            files: Vec::new(),
        }
    }

    fn checked(self) -> Result<Checked, Problems> {
        match self.config {
            Some(config) if self.problems.0.is_empty() => Ok(Checked {
                config,
                warnings: self.warnings,
            }),
            _ => Err(self.problems),
        }
    }
}

/// The largest file that is read. A thousand routes are a tenth of it.
pub const MOST_BYTES: usize = 1 << 20;

/// Checks a configuration.
///
/// # Errors
/// Everything that is wrong with it, in file order.
pub fn load(source: &Source<'_>) -> Result<Checked, Problems> {
    examine(source, Replaced::default()).checked()
}

/// Checks a configuration, and goes on with what is right of one that is refused.
pub(super) fn examine(source: &Source<'_>, replaced: Replaced) -> Examined {
    let file = source.file;
    if source.text.len() > MOST_BYTES {
        return Examined::refused(too_large(file), Places::unknown(file));
    }
    // Editors on Windows write a byte order mark; places are counted behind it.
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(source.text);
    let source = &Source { text, ..*source };
    let parsed = match text.find('\0') {
        Some(at) => Err(not_utf8(at, "NUL, which text does not hold")),
        None => node::parse(text),
    };
    let mut root = match parsed {
        Ok(root) => root,
        Err(fault) => {
            return Examined::refused(unreadable(file, text, fault), Places::unknown(file));
        }
    };
    let hidden = hidden::in_tree(&root);
    let mut report = Report::default();
    let config = checked(&mut root, source, replaced, &mut report);
    let mut warnings = report.warnings;
    for problem in &mut report.problems {
        let is_bare = |warning: &Fault| {
            warning.span == problem.span && warning.help.as_deref() == Some(WRITTEN)
        };
        if warnings.iter().any(is_bare) {
            let more = "a variable is written ${NAME}";
            let help = problem.help.take();
            problem.help =
                Some(help.map_or_else(|| more.to_owned(), |help| format!("{help}; {more}")));
        }
    }
    if !report.problems.is_empty() {
        warnings.clear();
    }
    Examined {
        problems: located(file, text, &hidden, report.problems, Severity::Error),
        warnings: located(file, text, &hidden, warnings, Severity::Warning),
        places: Places::of(file, text, &hidden, &root),
        files: files(&root, config.as_ref()),
        config,
    }
}

/// The files that the text names, and those that variables name in the place of credentials.
fn files(root: &Node, config: Option<&Config>) -> Vec<NamedFile> {
    let mut files = named_files(root);
    let named = |entry: &Entry| entry.key.text == "credentials";
    if matches!(&root.content, Content::Mapping(entries) if entries.iter().any(named)) {
        return files;
    }
    for spec in config.map_or(&[][..], |config| &config.credentials) {
        let path = spec.kind.file().filter(|path| path.is_known());
        files.extend(path.map(|path| {
            NamedFile {
                at: ["credentials", spec.name.as_str(), spec.kind.key()]
                    .map(str::to_owned)
                    .to_vec(),
                path: path.clone(),
            }
        }));
    }
    files
}

fn checked(
    root: &mut Node,
    source: &Source<'_>,
    replaced: Replaced,
    report: &mut Report,
) -> Option<Config> {
    let Content::Mapping(entries) = &mut root.content else {
        let message = match root.content {
            Content::Empty => "the file is empty".to_owned(),
            _ => format!("the file is {}, not a mapping", root.noun()),
        };
        let help = "at least routes: with name, path and upstream; see the example routes.yaml";
        report.wrong_shape(root.span, message, help);
        return None;
    };
    entries.retain(|entry| !replaced.holds(&entry.key.text));
    let vars = Variables {
        env: source.env,
        allow_missing: source.allow_missing_env,
    };
    substitute(root, source.text, vars, report);
    // Not the file's own name: what messages say of the keys below a key depends on its text.
    let whole = Key {
        text: "routes.yaml".to_owned(),
        span: root.span,
    };
    let raw = RawConfig::read(root, &whole, report)?;
    Some(check::config(&raw, root.span, vars, replaced, report))
}

fn unreadable(file: &str, text: &str, mut fault: Fault) -> Problems {
    let line = line_at(text, text.floor_char_boundary(fault.span.start));
    // YAML takes the brace of a variable for one more bracket.
    let before = fault.span.start.checked_sub(1);
    let bare = before.and_then(|at| text.get(at..));
    let bare = bare.is_some_and(|text| text.starts_with("${"));
    if let Some(help) = fault.help.as_mut().filter(|_| bare) {
        help.push_str("; inside {…} or […] a variable needs quotes: \"${NAME}\"");
    }
    let hidden = hidden::in_text(text, line);
    located(file, text, &hidden, vec![fault], Severity::Error)
}

fn too_large(file: &str) -> Problems {
    let message = "the file is larger than 1 MiB".to_owned();
    let help = "a configuration is a few kilobytes; is this the right file?";
    Problems(vec![Problem::of_file(file, message, help)])
}

/// Reads a file and examines it against the environment of this process.
pub fn look(path: &Path, allow_missing_env: bool, replaced: Replaced) -> Examined {
    let file = shown(path);
    let refused = |problems| Examined::refused(problems, Places::unknown(&file));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    // One byte more than is allowed tells a file that is too large.
    let limit = MOST_BYTES as u64 + 1;
    if let Err(error) = opened.and_then(|opened| opened.take(limit).read_to_end(&mut bytes)) {
        let message = format!("cannot be read: {error}");
        return refused(Problems(vec![Problem::of_file(
            &file,
            message,
            remedy(&error),
        )]));
    }
    match String::from_utf8(bytes) {
        Ok(text) => {
            let source = Source {
                file: &file,
                text: &text,
                env: &|name| std::env::var_os(name),
                allow_missing_env,
            };
            examine(&source, replaced)
        }
        Err(error) => refused(not_text(&file, &error)),
    }
}

/// What to do where the file of the configuration cannot be read.
fn remedy(error: &io::Error) -> &'static str {
    let remedy = match error.kind() {
        ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory => {
            "put it there, or name another with -c FILE or TOKENFERRY_CONFIG; `tokenferry demo` needs none"
        }
        _ => "check that this user may read it, and the file system that it is on",
    };
    descriptors::remedy(error, remedy)
}

/// Where a file stops being text. What stands before that is text, so it has lines and columns.
fn not_text(file: &str, error: &FromUtf8Error) -> Problems {
    let at = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes());
    unreadable(file, &text, not_utf8(at, "not UTF-8"))
}

/// A byte that UTF-8 text does not have there; every second of UTF-16 is NUL.
fn not_utf8(at: usize, what: &str) -> Fault {
    Fault {
        span: Span { start: at, end: at },
        message: format!("byte {} is {what}", at + 1),
        help: Some("save the file as UTF-8".to_owned()),
    }
}
