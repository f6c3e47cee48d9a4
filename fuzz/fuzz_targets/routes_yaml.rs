//! Any text as routes.yaml: what is said of it is bounded and fit for a terminal, a secret is never
//! part of it, carets stand below what is meant, and it is the same one line further down. What is
//! accepted stays so with a comment behind it and in a pipeline without the variables, and each value
//! is one again as it is printed. An input is the text, or chooses the pieces of one.
#![no_main]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenferry::config::{BaseUrl, Checked, PathPrefix, Problems, Scope, Source, load, printable};

/// What no text of a message holds by chance.
const SECRET: &str = "Zq7RkWx2";

const KEYS: [&str; 3] = ["client_secret: ", "certificate_password: ", "api_key: "];

/// A secret, but for variables that are none in the files of the tests.
fn variable(name: &str) -> Option<OsString> {
    let value = match name {
        "AZURE_AUTHORITY_HOST" | "UNSET" => return None,
        "AZURE_CLIENT_ID" => "11111111-2222-3333-4444-555555555555",
        "AZURE_TENANT_ID" => "contoso.onmicrosoft.com",
        "PORT" => "8080",
        "WORKERS" => "4",
        _ => SECRET,
    };
    Some(value.into())
}

fn check(text: &str, allow_missing_env: bool) -> Result<Checked, Problems> {
    load(&Source {
        file: "routes.yaml",
        text,
        env: &variable,
        allow_missing_env,
    })
}

fn problems(outcome: &Result<Checked, Problems>) -> &Problems {
    match outcome {
        Ok(checked) => &checked.warnings,
        Err(problems) => problems,
    }
}

/// All that is told, with the lines counted from `first`.
fn told(outcome: &Result<Checked, Problems>, first: usize) -> Vec<String> {
    let told = problems(outcome).0.iter().map(|problem| {
        let at = problem.location.position.as_ref().expect("a place");
        assert!(at.line > 0 && at.column > 0);
        // What is wrong with a file without anything in it stands in its first line.
        let number = at.line.saturating_sub(first);
        let shown = problem.to_string();
        // The number stands in the first line and in front of the source.
        let shown = shown.split_once(": ").expect("a place").1;
        let shown = shown.replacen(&format!("\n{:>5} | ", at.line), "\n | ", 1);
        format!("{number}:{} {shown}", at.column)
    });
    told.collect()
}

/// The first caret stands below the character that is meant, unless that is hidden or white space at
/// the end of its line.
fn hold_carets(text: &str, outcome: &Result<Checked, Problems>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for problem in &problems(outcome).0 {
        let at = problem.location.position.as_ref().expect("a place");
        let line = text.split('\n').nth(at.line - 1).expect("a line");
        let meant = line.chars().nth(at.column - 1);
        let shown = problem.to_string();
        let mut lines = shown.lines();
        let mut marked = || lines.find_map(|line| line.get(5..)?.strip_prefix(" | "));
        let (Some(source), Some(carets)) = (marked(), marked()) else {
            continue;
        };
        let before = carets.chars().take_while(|c| *c == ' ').count();
        let fits = match (source.chars().nth(before), meant) {
            (Some('…'), _) | (None, None) => true,
            (None, Some(meant)) => meant.is_whitespace(),
            (Some(shown), Some('\t')) => shown == ' ',
            (Some(shown), Some(meant)) => shown == printable(meant),
            (Some(_), None) => false,
        };
        assert!(fits, "{shown}\n{line}");
    }
}

/// The text with a secret behind each key of one that begins a line.
fn with_secrets(text: &str) -> String {
    let mut all = String::new();
    for line in text.split_inclusive('\n') {
        let start = line.trim_start_matches([' ', '-', '{']);
        let key = KEYS.iter().find(|key| start.starts_with(**key));
        let Some(key) = key.filter(|_| start.len() < line.len()) else {
            all.push_str(line);
            continue;
        };
        let before = line.len() - start.len() + key.len();
        let quote = start[key.len()..].chars().next();
        all.push_str(&line[..before]);
        all.extend(quote.filter(|quote| "\"'|>[{@!".contains(*quote)));
        all.push_str(SECRET);
        all.extend(line.ends_with('\n').then_some('\n'));
    }
    all
}

/// A file with every key, whose lines and words others are put together of.
const EVERY_KEY: &str = include_str!("../../tests/config/valid/every_key.yaml");

const MARKS: &[&str] = &[
    "\n", "\n  ", "\n    ", "\n      ", "\n  - ", "\n    - ", " ", ": ", ":", "- ", ", ", "[", "]",
    "{", "}", "\"", "'", "#", " # ", "|", "|\n", ">\n", "? ", "!", "&", "*", "@", "%", "${",
    "${A}", "${UNSET}", "${A:-b}", "~", "null", "\t", "\r\n", "---\n", "...\n", "<<: ", "\u{feff}",
    "é", "\u{202e}",
];

/// Lines with their indentation, words, and what has a meaning in YAML.
static PIECES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let separates = |c: char| c.is_whitespace() || ":,{}[]\"".contains(c);
    let lines = EVERY_KEY.lines().map(|line| format!("{line}\n"));
    let words: BTreeSet<&str> = EVERY_KEY.split(separates).collect();
    let words = words.into_iter().chain(MARKS.iter().copied());
    lines.chain(words.map(str::to_owned)).collect()
});

/// Text as it is, or what two bytes each make of the pieces.
fn text_of(input: &[u8]) -> Option<String> {
    let Some((0xff, places)) = input.split_first() else {
        return Some(std::str::from_utf8(input).ok()?.to_owned());
    };
    let (places, _) = places.as_chunks();
    let piece = |place: &[u8; 2]| &*PIECES[usize::from(u16::from_le_bytes(*place)) % PIECES.len()];
    Some(places.iter().map(piece).collect())
}

fuzz_target!(|input: &[u8]| {
    if let Some(text) = text_of(input).filter(|text| !text.contains(SECRET)) {
        hold(&text);
    }
});

fn hold(text: &str) {
    let outcome = check(text, false);
    let shown = told(&outcome, 1);
    let all = shown.concat();
    assert!(shown.len() <= 501 && all.len() < 1 << 20);
    assert!(all.chars().all(|c| c == '\n' || printable(c) == c));
    assert!(!all.contains(SECRET), "{all}");
    hold_carets(text, &outcome);
    // A mark of the byte order may stand at the very beginning alone, NUL is told by its number, and
    // what is empty has no place.
    let has_place = !text.contains('\0') && !all.contains("the file is empty");
    if has_place && !text.starts_with('\u{feff}') {
        let below = check(&format!("\n{text}"), false);
        assert_eq!(told(&below, 2), shown);
    }
    let secret = with_secrets(text);
    let outcome_of_secret = check(&secret, false);
    let all = told(&outcome_of_secret, 1).concat();
    assert!(!all.contains(SECRET), "{secret}\n{all}");

    if let Ok(checked) = outcome {
        hold_accepted(text, &checked);
    }
}

fn hold_accepted(text: &str, checked: &Checked) {
    let commented = check(&format!("{text}\n# note\n"), false);
    assert_eq!(commented.as_ref().map(|it| &it.config), Ok(&checked.config));
    let alone = Source {
        allow_missing_env: true,
        ..Source::alone(text)
    };
    // A default may be wrong where the variable is not.
    assert!(text.contains(":-") || load(&alone).is_ok());
    assert_eq!(check(text, true).as_ref(), Ok(checked));
    for route in &checked.config.routes {
        let upstream = route.upstream.to_string();
        assert_eq!(BaseUrl::parse(&upstream).as_ref(), Ok(&route.upstream));
        let scope = route.scope.to_string();
        assert_eq!(Scope::parse(&scope).as_ref(), Ok(&route.scope));
        let path = route.path.to_string();
        assert!(path.is_empty() || PathPrefix::parse(&path).as_ref() == Ok(&route.path));
    }
}
