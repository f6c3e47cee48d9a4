//! The rules of the house that a machine can keep: what files look like, who may use whom, what
//! must not be left behind. Each check is a function of text, so that it is seen to fail as well.

use std::fs;
use std::path::{Path, PathBuf};

use tokenferry::config::{Source, load};

/// Longer files have more than one subject.
const MOST_LINES: usize = 400;

/// Left-overs, and tests that do not tell. In pieces, because this file is looked at, too.
const UNWANTED: [&str; 5] = [
    concat!("#[", "ignore"),
    concat!("should", "_panic"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
];

/// Places and tools of one machine. `.ci/run` may name where it looks for the advisories.
const ELSEWHERE: [&str; 1] = [concat!("..", "/shared")];

/// What waits by the timers of the runtime that it is on, or may: a list and another name hide what is
/// used.
const TIMERS: [&str; 5] = [
    "tokio::time",
    "tokio::{",
    "tokio::*",
    "tokio as ",
    "TokioTimer",
];

/// What `clock` is made of, and what may not use it, being in its layer: control tasks read files.
const OF_RUNTIMES: [&str; 2] = ["src/clock/", "src/secret/file_reader.rs"];

/// The module that shares nothing with what it stands in for.
const APART: &str = "simulator";

/// The modules of the crate, highest layer first: the groups of `pub mod` lines in `src/lib.rs`.
/// The last is what everybody may use.
fn layers(lib: &str) -> Vec<Vec<&str>> {
    lib.split("\n\n")
        .map(|group| {
            let names = group.lines().filter_map(|line| {
                let name = line.strip_prefix("pub mod ")?;
                name.strip_suffix(';')
            });
            names.filter(|name| *name != APART).collect::<Vec<_>>()
        })
        .filter(|group| !group.is_empty())
        .collect()
}

/// The modules of the crate that a file names outside its comments.
fn uses(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            let end = rest.find(|next: char| !next.is_alphanumeric() && next != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect()
}

/// What is wrong with what `module` uses.
fn wrong_edges(module: &str, text: &str, layers: &[Vec<&str>]) -> Vec<String> {
    let layer = |name: &str| layers.iter().position(|group| group.contains(&name));
    let lowest = layers.len() - 1;
    uses(text)
        .into_iter()
        .filter(|used| *used != module)
        .filter(|used| match (layer(module), layer(used)) {
            _ if module == APART => layer(used) != Some(lowest),
            _ if *used == APART => module != "cli",
            (Some(own), Some(other)) => other <= own,
            // A name that is no module, or a list of them, hides what is used.
            _ => true,
        })
        .map(|used| format!("uses crate::{used}"))
        .collect()
}

/// What is wrong with the form of a Rust file.
fn wrong_form(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.starts_with("//! ") {
        wrong.push("does not begin with `//! ` and what it guarantees".to_owned());
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        wrong.push(format!("has {lines} lines, more than {MOST_LINES}"));
    }
    let left = UNWANTED.iter().filter(|word| text.contains(**word));
    wrong.extend(left.map(|word| format!("has {word}")));
    wrong
}

/// What needs a runtime with timers, which a worker's is not.
fn own_timers(text: &str) -> Vec<String> {
    let tests = text.find("mod tests {");
    let code = &text[..tests.unwrap_or(text.len())];
    let found = TIMERS.iter().filter(|name| code.contains(**name));
    let wrong = |name| format!("has {name} instead of `clock`");
    found.map(wrong).collect()
}

/// Words of another place in a file.
fn foreign_words(text: &str) -> Vec<String> {
    let found = ELSEWHERE.iter().filter(|word| text.contains(**word));
    found.map(|word| format!("names {word}")).collect()
}

/// What is wrong with an example configuration.
fn wrong_example(file: &str, text: &str) -> Vec<String> {
    let source = Source {
        file,
        allow_missing_env: true,
        ..Source::alone(text)
    };
    load(&source)
        .err()
        .map(|it| it.to_string())
        .into_iter()
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether this is what `cargo package` makes of the repository: with a manifest that it has written
/// anew, and without `fuzz`, which is a package of its own.
fn is_packaged() -> bool {
    root().join("Cargo.toml.orig").exists()
}

/// The files below a folder of the repository, by name.
fn below(folder: &str) -> Vec<PathBuf> {
    if is_packaged() && folder.starts_with("fuzz/") {
        return Vec::new();
    }
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|it| it == extension)
}

/// Fails with everything that is wrong, each with its file, and when there was nothing to look at.
fn all_fine(files: &[PathBuf], check: impl Fn(&str, &str) -> Vec<String>) {
    assert!(files.len() > 2, "nothing was checked: {files:?}");
    let mut wrong = Vec::new();
    for path in files {
        let name = path.strip_prefix(root()).expect("it is in the repository");
        let name = name.to_str().expect("names are text");
        // What is no text has no words and no form.
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        let found = check(name, &text);
        wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn rust_files(folders: &[&str]) -> Vec<PathBuf> {
    let files = folders.iter().flat_map(|folder| below(folder));
    files.filter(|path| has_extension(path, "rs")).collect()
}

#[test]
fn every_file_has_the_form_of_the_house() {
    let files = rust_files(&["src", "tests", "benches", "fuzz/fuzz_targets"]);
    all_fine(&files, |_, text| wrong_form(text));
}

#[test]
fn what_may_run_on_a_worker_waits_by_the_clock() {
    let mut files = rust_files(&["src"]);
    files.retain(|path| {
        let name = path.to_str().expect("names are text");
        let is_of_tests = name.ends_with("tests.rs") || name.contains("/tests/");
        !is_of_tests && !OF_RUNTIMES.iter().any(|it| name.contains(it))
    });
    all_fine(&files, |_, text| own_timers(text));
}

#[test]
fn modules_depend_downwards_only() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("the library has a root");
    let layers = layers(&lib);
    assert!(layers.len() > 5, "{layers:?}");
    let roots = ["src/lib.rs", "src/main.rs"].map(|name| root().join(name));
    let mut files = rust_files(&["src"]);
    files.retain(|path| !roots.contains(path));
    all_fine(&files, |name, text| {
        let module = name.split('/').nth(1).expect("it is below src");
        wrong_edges(module.trim_end_matches(".rs"), text, &layers)
    });
}

#[test]
fn the_code_map_names_every_module() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("the library has a root");
    let manual = root().join("docs/architecture.md");
    let manual = fs::read_to_string(manual).expect("the manual is there");
    let (_, map) = manual.split_once("## Code map").expect("there is a map");
    let rows = map.lines().filter_map(|line| line.strip_prefix('|'));
    let named: String = rows.filter_map(|row| row.split('|').next()).collect();
    let modules = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in modules {
        assert!(named.contains(&format!("`{module}`")), "{module}");
    }
}

#[test]
fn no_file_speaks_of_another_place() {
    let folders = [
        "src",
        "tests",
        "benches",
        "fuzz/fuzz_targets",
        "docs",
        "deploy",
        "examples",
    ];
    let mut files: Vec<_> = folders.iter().flat_map(|folder| below(folder)).collect();
    let own = fs::read_dir(root()).expect("the repository is there");
    files.extend(
        own.filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file() && !path.ends_with(".git")),
    );
    all_fine(&files, |_, text| foreign_words(text));
}

#[test]
fn every_example_is_a_valid_configuration() {
    let mut files = vec![root().join("routes.yaml")];
    let examples = below("examples");
    assert!(examples.iter().any(|path| has_extension(path, "yaml")));
    files.extend(
        examples
            .into_iter()
            .filter(|path| has_extension(path, "yaml")),
    );
    let deployed = below("deploy");
    files.extend(
        deployed
            .into_iter()
            .filter(|path| path.ends_with("routes.yaml")),
    );
    all_fine(&files, wrong_example);
}

#[test]
fn fuzz_targets_share_what_the_tests_are_built_of() {
    if is_packaged() {
        println!("not tested: they are no part of the package");
        return;
    }
    // With another profile everything is built once more, which nothing else would show.
    let profile = |manifest: &str| {
        let text = fs::read_to_string(root().join(manifest)).expect("the manifest is there");
        let (_, rest) = text.split_once("[profile.dev]").expect("it has a profile");
        rest.split("\n\n").take(2).collect::<String>()
    };
    let program = profile("Cargo.toml");
    assert!(program.contains("[profile.dev.package]"), "{program}");
    assert_eq!(profile("fuzz/Cargo.toml"), program);
}

#[test]
fn a_file_out_of_form_is_seen() {
    assert_eq!(wrong_form("//! Fine.\n"), [""; 0]);
    assert_eq!(wrong_form("fn main() {}\n").len(), 1);
    assert_eq!(
        wrong_form(&format!("//! Long.\n{}", "\n".repeat(MOST_LINES))).len(),
        1
    );
    for word in UNWANTED {
        assert_eq!(
            wrong_form(&format!("//! Fine.\n{word}")),
            [format!("has {word}")]
        );
    }
}

#[test]
fn an_edge_that_does_not_lead_downwards_is_seen() {
    let lib =
        "//! Top.\n\npub mod cli;\n\npub mod a;\npub mod b;\n\npub mod c;\n\npub mod simulator;\n";
    let layers = layers(lib);
    assert_eq!(layers, [vec!["cli"], vec!["a", "b"], vec!["c"]]);
    let fine = [
        ("a", "use crate::c::D;"),
        ("a", "use crate::a::D;"),
        ("cli", "crate::simulator"),
        ("simulator", "use crate::c::D;"),
        ("c", "//! See [`crate::a`].\n"),
    ];
    for (module, text) in fine {
        assert_eq!(
            wrong_edges(module, text, &layers),
            [""; 0],
            "{module}: {text}"
        );
    }
    let wrong = [
        ("c", "use crate::a::D;"),
        ("a", "    crate::b::d()"),
        ("b", "crate::cli"),
        ("a", "use crate::simulator::D;"),
        ("simulator", "use crate::a::D;"),
        ("cli", "use crate::{a, b};"),
        ("b", "fn d(_: crate::c::D, _: crate::a::D) {}"),
    ];
    for (module, text) in wrong {
        assert_eq!(
            wrong_edges(module, text, &layers).len(),
            1,
            "{module}: {text}"
        );
    }
}

#[test]
fn a_timer_of_a_runtime_is_seen() {
    for used in [
        "use tokio::time::sleep;",
        "use tokio::{net, time};",
        "use tokio as t;",
        "use ::tokio as t;",
        "use {std::io, tokio as t};",
        "extern crate tokio as t;",
        "use tokio::*;",
        "use tokio::{self as t};",
        "use hyper_util::rt::TokioTimer;",
    ] {
        let in_tests = format!("use crate::clock;\n\n#[cfg(test)]\nmod tests {{\n    {used}");
        assert_eq!(own_timers(&in_tests), [""; 0]);
        assert_eq!(
            own_timers(&format!("{used}\n{in_tests}")).len(),
            1,
            "{used}"
        );
    }
    assert_eq!(own_timers("use tokio::net::TcpStream;"), [""; 0]);
}

#[test]
fn a_word_of_another_place_is_seen() {
    assert_eq!(foreign_words("see docs/operations.md"), [""; 0]);
    for word in ELSEWHERE {
        assert_eq!(foreign_words(&format!("see {word} there")).len(), 1);
    }
}

#[test]
fn an_example_that_is_refused_is_seen() {
    assert_eq!(wrong_example("routes.yaml", "routes: 1\n").len(), 1);
}
