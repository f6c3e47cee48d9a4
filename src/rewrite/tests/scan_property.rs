//! The laws of the scanner: the output does not depend on the cuts, a parsed document is rewritten
//! as by a rewriter that works on the whole document, and bytes without a link come out as they are.

use proptest::prelude::*;
use serde_json::Value;

use super::model::Model;
use crate::config::{PREAUTHENTICATED_KEYS, RewriteLinks};
use crate::rewrite::address::Links;
use crate::rewrite::sample::{graph_with, scan};
use crate::rewrite::scan::Scanner;
use crate::rewrite::text::Text;

pub(super) const UP: &str = "https://graph.microsoft.com";
pub(super) const DOWN: &str = "http://localhost:8080/graph";

fn output(links: &Links, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    output_of(Text::Answer, links, text, cuts)
}

pub(super) fn output_of(kind: Text, links: &Links, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut scanner = Scanner::of(links.clone(), kind);
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([text.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    scan(
        &mut scanner,
        starts.zip(ends).map(|(from, to)| &text[from..to]),
    )
}

/// The same on the parsed document.
pub(super) fn rewritten(value: Value, all: bool, link: bool) -> Value {
    let model = Model {
        all,
        stays: &PREAUTHENTICATED_KEYS,
        turned,
    };
    model.rewritten(value, link)
}

fn turned(text: &str) -> String {
    let front = text.get(..UP.len());
    let rest = front
        .filter(|front| front.eq_ignore_ascii_case(UP))
        .map(|_| &text[UP.len()..]);
    let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    let rest = rest.filter(|_| !is_preauthenticated(text));
    rest.map_or(text.to_owned(), |rest| format!("{DOWN}{rest}"))
}

/// Whether a URL's query has `sig` or `tempauth`.
fn is_preauthenticated(url: &str) -> bool {
    let url = url.split('#').next().unwrap_or_default();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut names = query.split('&').filter_map(|option| option.split_once('='));
    names.any(|(name, _)| name == "sig" || name == "tempauth")
}

pub(super) fn string() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => Just(UP.to_owned()),
        1 => Just("https://graph.microsoft.co".to_owned()),
        4 => Just("@odata.nextLink".to_owned()),
        1 => Just("@odata.context".to_owned()),
        2 => Just("nextLink".to_owned()),
        1 => Just("@odata.".to_owned()),
        1 => Just("uploadUrl".to_owned()),
        1 => Just("?tempauth=".to_owned()),
        1 => Just("&sig=".to_owned()),
        2 => "[/?#:,\"\\\\{}\\[\\]@a é\u{1F600}\n]",
        1 => "\\PC{0,4}",
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

pub(super) fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => string().prop_map(Value::String),
        1 => any::<i32>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(string(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A document as text, with white space and with every so many characters escaped without need.
pub(super) fn spelt(value: &Value, spaces: &str, escape: usize) -> String {
    let list = |items: Vec<String>, open: &str, close: &str| {
        let comma = format!("{spaces},{spaces}");
        format!("{open}{spaces}{}{spaces}{close}", items.join(&comma))
    };
    match value {
        Value::String(text) => quoted(text, escape),
        Value::Array(items) => list(
            items
                .iter()
                .map(|item| spelt(item, spaces, escape))
                .collect(),
            "[",
            "]",
        ),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| {
                let (key, value) = (quoted(key, escape), spelt(value, spaces, escape));
                format!("{key}{spaces}:{spaces}{value}")
            };
            list(members.iter().map(member).collect(), "{", "}")
        }
        other => other.to_string(),
    }
}

fn quoted(text: &str, escape: usize) -> String {
    let mut out = String::from("\"");
    for (index, c) in text.chars().enumerate() {
        if escape > 0 && index % escape == 0 {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else if c == '/' && escape == 3 {
            out.push_str("\\/");
        } else {
            out.push_str(Value::from(c.to_string()).to_string().trim_matches('"'));
            if c == '"' {
                // `trim_matches` took the escaped quote as well.
                out.push('"');
            }
        }
    }
    out + "\""
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_document_is_rewritten_as_a_whole_document_rewriter_does_it(
        document in document(),
        all: bool,
        spaces in "[ \n\t]{0,2}",
        escape in 0_usize..5,
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let text = spelt(&document, &spaces, escape);
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &document);
        let mode = if all { RewriteLinks::All } else { RewriteLinks::On };
        let links = graph_with(mode, &["nextLink"]);
        let whole = output(&links, text.as_bytes(), &[]);
        let parsed: Value = serde_json::from_slice(&whole).unwrap();
        let expected = rewritten(document.clone(), all, false);
        if parsed == document {
            prop_assert_eq!(&String::from_utf8_lossy(&whole), &text);
        }
        prop_assert_eq!(parsed, expected);
        prop_assert_eq!(output(&links, text.as_bytes(), &cuts), whole);
    }

    #[test]
    fn the_cuts_do_not_matter_for_broken_text_either(
        parts in prop::collection::vec(string(), 0..6),
        glue in prop::sample::select(vec!["\":\"", "\"", "\\", "\\u0040", "\\\"", "{\"", ",\"", ":["]),
        all: bool,
        names: bool,
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let text = parts.join(glue);
        let mode = if all { RewriteLinks::All } else { RewriteLinks::On };
        let links = graph_with(mode, if names { &["nextLink", "a", "href", "https://graph"] } else { &[] });
        let whole = output(&links, text.as_bytes(), &[]);
        prop_assert_eq!(output(&links, text.as_bytes(), &cuts), whole);
        let back = String::from_utf8(output(&links, text.as_bytes(), &[])).unwrap().replace(DOWN, UP);
        prop_assert_eq!(back, text);
    }

    #[test]
    fn bytes_without_a_link_come_out_as_they_are(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        for mode in [RewriteLinks::All, RewriteLinks::On] {
            prop_assert_eq!(&output(&graph_with(mode, &["n"]), &bytes, &cuts), &bytes);
        }
    }
}
