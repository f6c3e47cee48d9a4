//! Documents that are legal but odd, and documents that are broken, from `tests/json`.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Deserializer, Value};

use super::scan_property::{DOWN, UP, rewritten};
use crate::config::RewriteLinks;
use crate::rewrite::address::Links;
use crate::rewrite::body::{Reader, Rewriter};
use crate::rewrite::sample::{graph_with, scan};
use crate::rewrite::scan::Scanner;

fn documents(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/json")
        .join(kind);
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.display().to_string(), std::fs::read(path).unwrap())
    };
    let documents: Vec<_> = std::fs::read_dir(folder).unwrap().map(read).collect();
    assert!(documents.len() > 10, "the documents are there");
    documents
}

/// The output, which is the same in one chunk, in chunks of any size, and as a short body.
fn output(links: &Links, text: &[u8], name: &str) -> Vec<u8> {
    let whole = scan(&mut Scanner::new(links.clone()), [text]);
    for size in [1, 2, 3, 5, 7, 16, 64, 1000] {
        let cut = scan(&mut Scanner::new(links.clone()), text.chunks(size));
        assert!(cut == whole, "{name} in chunks of {size}");
    }
    let mut rewriter = Rewriter::new(None, Reader::Json(Scanner::new(links.clone())));
    let short = rewriter.whole(&Bytes::copy_from_slice(text)).unwrap();
    assert!(short == whole, "{name} as a short body");
    whole
}

fn parsed(text: &[u8]) -> Vec<Value> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let documents = Deserializer::from_slice(text).into_iter();
    documents
        .collect::<Result<_, _>>()
        .expect("the document is legal")
}

fn modes() -> [(bool, Links); 2] {
    [RewriteLinks::On, RewriteLinks::All]
        .map(|mode| (mode == RewriteLinks::All, graph_with(mode, &["nextLink"])))
}

#[test]
fn legal_documents_are_rewritten_as_a_parser_understands_them() {
    for (name, text) in documents("legal") {
        for (all, links) in modes() {
            let expected: Vec<_> = parsed(&text)
                .into_iter()
                .map(|value| rewritten(value, all, false))
                .collect();
            assert_eq!(parsed(&output(&links, &text, &name)), expected, "{name}");
        }
    }
}

#[test]
fn broken_documents_lose_and_gain_nothing() {
    for (name, text) in documents("broken") {
        for (_, links) in modes() {
            let output = output(&links, &text, &name);
            let back = match String::from_utf8(output) {
                Ok(text) => text.replace(DOWN, UP).into_bytes(),
                Err(error) => error.into_bytes(),
            };
            assert!(back == text, "{name}");
        }
    }
}
