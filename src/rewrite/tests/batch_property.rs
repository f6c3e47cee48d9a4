//! The laws of the scanner for requests, JSON batches and their answers: a parsed document is
//! rewritten as by a rewriter that works on the whole document, and the cuts do not matter.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::scan_property::{DOWN, UP, document, output_of, rewritten, spelt, string};
use crate::config::RewriteLinks;
use crate::rewrite::header::NAMES;
use crate::rewrite::sample::graph_with;
use crate::rewrite::text::Text;

/// Rewrites the operations of a batch with `operation`, and everything else with `other`.
fn operations(
    document: Value,
    operation: impl Fn(Map<String, Value>) -> Value,
    other: impl Fn(Value) -> Value,
) -> Value {
    let Value::Object(members) = document else {
        return other(document);
    };
    let member = |(key, value): (String, Value)| match value {
        Value::Array(items) => {
            let item = |item| match item {
                Value::Object(members) => operation(members),
                item => other(item),
            };
            (key, Value::Array(items.into_iter().map(item).collect()))
        }
        value => member(key, value, &other),
    };
    Value::Object(members.into_iter().map(member).collect())
}

/// A member of an object, rewritten as one of those.
fn member(key: String, value: Value, rewrite: impl Fn(Value) -> Value) -> (String, Value) {
    let mut alone = rewrite(Value::Object(Map::from_iter([(key.clone(), value)])));
    let value = alone[&key].take();
    (key, value)
}

fn answer(value: Value) -> Value {
    rewritten(value, false, false)
}

/// An operation of an answer. Once a header is no text or number, the others are read as any member.
fn answered(members: Map<String, Value>, plain: bool) -> Value {
    let headers = |members: Map<String, Value>| {
        let mut odd = false;
        let header = |(key, value): (String, Value)| {
            odd |= value.is_array() || value.is_object();
            let known = NAMES.iter().any(|name| name.eq_ignore_ascii_case(&key));
            match value {
                value if odd => member(key, value, answer),
                Value::String(text) if known && plain => {
                    (key, rewritten(Value::String(text), true, false))
                }
                value => (key, value),
            }
        };
        Value::Object(members.into_iter().map(header).collect())
    };
    let members = members.into_iter().map(|(key, value)| match value {
        Value::Object(inner) if key == "headers" => (key, headers(inner)),
        value => member(key, value, answer),
    });
    Value::Object(members.collect())
}

/// The upstream's URL for one of this proxy.
fn turned(text: &str) -> String {
    let origin = DOWN.trim_end_matches("/graph");
    let front = text.get(..origin.len());
    let rest = front
        .filter(|front| front.eq_ignore_ascii_case(origin))
        .and_then(|_| text[origin.len()..].strip_prefix("/graph"));
    let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    rest.map_or(text.to_owned(), |rest| format!("{UP}{rest}"))
}

fn request(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(request).collect(),
        Value::Object(members) => {
            let member = |(key, value): (String, Value)| {
                let link = key.ends_with("@odata.id") || key.ends_with("@odata.bind");
                let value = match value {
                    Value::String(text) if link => Value::String(turned(&text)),
                    Value::Array(items) if link => {
                        let mut texts = true;
                        let item = |item: Value| {
                            texts &= item.is_string();
                            match item {
                                Value::String(text) if texts => Value::String(turned(&text)),
                                item => request(item),
                            }
                        };
                        items.into_iter().map(item).collect()
                    }
                    value => request(value),
                };
                (key, value)
            };
            Value::Object(members.into_iter().map(member).collect())
        }
        other => other,
    }
}

/// An operation of a batch.
fn asked(members: Map<String, Value>) -> Value {
    let member = |(key, value): (String, Value)| match value {
        Value::String(text) if key == "url" => {
            let moved = turned(&text);
            let target = moved.strip_prefix("https://graph.microsoft.com/v1.0/");
            let target = target.filter(|_| moved != text);
            let target =
                target.filter(|it| !it.is_empty() && !it.starts_with(['/', '\\', '?', '#']));
            (key, Value::from(target.unwrap_or(&text)))
        }
        value => member(key, value, request),
    };
    Value::Object(members.into_iter().map(member).collect())
}

/// The same document with the links and names of a request in place of those of an answer.
fn other_way(document: &Value) -> Value {
    let text = document.to_string();
    let text = text
        .replace(UP, DOWN)
        .replace("@odata.nextLink", "@odata.id");
    serde_json::from_str(&text.replace("@odata.context", "@odata.bind")).unwrap()
}

/// A batch or its answer. Its own members have no names that are looked for.
fn batch() -> impl Strategy<Value = Value> {
    let object = |members: Vec<(String, Value)>| Value::Object(members.into_iter().collect());
    let name = prop_oneof![
        4 => prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned),
        2 => Just("Location".to_owned()),
        2 => string(),
    ];
    let value = prop_oneof![
        8 => string().prop_map(Value::String),
        1 => any::<bool>().prop_map(Value::from),
        1 => document(),
    ];
    let headers = prop::collection::vec((name, value), 0..5).prop_map(object);
    let url = prop::sample::select(vec!["", "/v1.0/", "/v1.0", "/v1.0//", "/v1.0/?", "/beta/"]);
    let url = (url, string()).prop_map(|(root, rest)| Value::from(format!("{UP}{root}{rest}")));
    let operation = (headers.clone(), document(), url).prop_map(move |(headers, body, url)| {
        let members = [("headers", headers), ("body", body), ("url", url)];
        object(members.map(|(key, value)| (key.to_owned(), value)).to_vec())
    });
    let operation = prop_oneof![6 => operation, 1 => headers, 1 => document()];
    let list = prop::collection::vec(operation, 0..4).prop_map(Value::Array);
    let member = prop_oneof![4 => list, 1 => document()];
    let name = prop::sample::select(vec!["requests", "responses", "@odata.x"]);
    let name = name.prop_map(str::to_owned);
    prop::collection::vec((name, member), 0..3).prop_map(object)
}

fn check(kind: Text, document: &Value, expected: &Value, spelt: &str, cuts: &[usize]) {
    let links = graph_with(RewriteLinks::On, &["nextLink"]);
    let whole = output_of(kind.clone(), &links, spelt.as_bytes(), &[]);
    let parsed: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(&parsed, expected, "{kind:?} of {document}");
    assert!(
        output_of(kind, &links, spelt.as_bytes(), cuts) == whole,
        "{spelt}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn answers_to_batches_are_rewritten_as_a_whole_document_rewriter_does_it(
        document in batch(),
        spaces in "[ \n\t]{0,2}",
        escape in 0_usize..5,
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let operation = |members| answered(members, escape == 0);
        let expected = operations(document.clone(), operation, answer);
        let text = spelt(&document, &spaces, escape);
        check(Text::BatchAnswer, &document, &expected, &text, &cuts);
    }

    #[test]
    fn requests_and_batches_are_rewritten_as_a_whole_document_rewriter_does_it(
        document in batch().prop_map(|document| other_way(&document)),
        spaces in "[ \n\t]{0,2}",
        escape in 0_usize..5,
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let text = spelt(&document, &spaces, escape);
        check(Text::Request, &document, &request(document.clone()), &text, &cuts);
        let expected = operations(document.clone(), asked, request);
        let kind = Text::BatchRequest("/v1.0".to_owned());
        check(kind, &document, &expected, &text, &cuts);
    }
}
