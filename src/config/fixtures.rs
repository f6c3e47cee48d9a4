//! The files under tests/config: each valid one passes with exactly the warnings beside it, each
//! invalid one is refused with exactly the text beside it.
//!
//! A line `# env: NAME=VALUE` sets a variable for the file, `# allow-missing-env` is the option of
//! that name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::load::{Checked, Source, load};
use super::problem::Problems;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(name)
}

fn fixtures(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let yaml = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    };
    for path in files.iter().filter(|path| !yaml(path)) {
        assert!(path.with_extension("yaml").exists(), "{}", path.display());
    }
    files.retain(yaml);
    assert!(files.len() > 5, "the fixtures are gone");
    files
}

fn check(path: &Path) -> Result<Checked, Problems> {
    let text = fs::read_to_string(path).unwrap();
    let variables: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# env: ")?.split_once('='))
        .collect();
    let source = Source {
        file: path.file_name().unwrap().to_str().unwrap(),
        text: &text,
        env: &|name| variables.get(name).map(|&value| value.into()),
        allow_missing_env: text.lines().any(|line| line == "# allow-missing-env"),
    };
    load(&source)
}

/// The text beside a fixture, when what was found differs from it.
fn differing(path: &Path, found: &str) -> Option<String> {
    let beside = path.with_extension("txt");
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    let shown = path.display();
    (expected.trim_end() != found)
        .then(|| format!("--- {shown}: expected\n{expected}--- {shown}: found\n{found}\n"))
}

#[test]
fn every_valid_file_passes_with_its_warnings() {
    let mut wrong = Vec::new();
    for path in fixtures("valid") {
        match check(&path) {
            Ok(checked) => wrong.extend(differing(&path, &checked.warnings.to_string())),
            Err(problems) => wrong.push(format!("--- {}: refused\n{problems}\n", path.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn every_invalid_file_is_refused_with_its_problems() {
    let mut wrong = Vec::new();
    for path in fixtures("invalid") {
        match check(&path) {
            Ok(_) => wrong.push(format!("--- {}: accepted\n", path.display())),
            Err(problems) => wrong.extend(differing(&path, &problems.to_string())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}
