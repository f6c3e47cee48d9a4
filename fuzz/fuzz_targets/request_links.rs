//! Any bytes as what a request may refer by: its query, its JSON, a batch of either form. A reference
//! that is turned back is none of this proxy any more, and nothing else in JSON or a query changes.
//! The operations of a multipart batch that is readable afterwards are those that a lenient reader
//! found before, and lead where plain rules say.
#![no_main]

mod links;
mod operations;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use links::links;
use operations::{Asked, host, lenient};
use serde_json::Value;
use tokenferry::config::BaseUrl;
use tokenferry::policy::batch::{BatchContext, read};
use tokenferry::rewrite::{Links, request};

/// The authorities that are this proxy's.
const OURS: [&str; 4] = ["c", "c:80", "c.", "c.:80"];

fn turned(kind: u8, bytes: &[u8], links: &Links) -> Option<Vec<u8>> {
    match kind {
        0 => {
            let query = std::str::from_utf8(bytes).ok()?;
            Some(request::query(query, links)?.into_bytes())
        }
        1 => Some(request::body(bytes, links)?.into()),
        2 => Some(request::json_batch(bytes, "/v1.0", links)?.into()),
        _ => Some(request::multipart_batch(bytes, "multipart/mixed; boundary=b", links)?.into()),
    }
}

/// Whether both are the same but for strings that lead here in the first.
fn are_alike(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(b, a)| are_alike(b, a))
        }
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before
                    .iter()
                    .all(|(name, b)| after.get(name).is_some_and(|a| are_alike(b, a)))
        }
        (Value::String(before), Value::String(after)) if before != after => {
            let ours = before.to_ascii_lowercase().starts_with("http://c");
            ours && before.ends_with(after.strip_prefix("https://a.b").unwrap_or(after))
        }
        (before, after) => before == after,
    }
}

/// One decoding of a text; a `%` without two hex digits stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut pieces = text.split('%');
    let mut out = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        match piece
            .get(..2)
            .and_then(|two| u8::from_str_radix(two, 16).ok())
        {
            Some(byte) if piece.as_bytes()[0] != b'+' => {
                out.push(byte);
                out.extend_from_slice(&piece.as_bytes()[2..]);
            }
            _ => out.extend([b"%", piece.as_bytes()].concat()),
        }
    }
    out
}

/// What of an address of this proxy is below the route.
fn below(address: &[u8]) -> Option<&[u8]> {
    OURS.iter().find_map(|authority| {
        let base = format!("http://{authority}/g");
        let (front, rest) = address.split_at_checked(base.len())?;
        front.eq_ignore_ascii_case(base.as_bytes()).then_some(rest)
    })
}

/// The path of an operation that names this proxy; `None` for another.
fn path_here(asked: &Asked) -> Option<String> {
    let is_ours = |host: &String| OURS.contains(&host.as_str());
    let rest = match asked.target.starts_with('/') {
        true if asked.host.as_ref().is_some_and(is_ours) => asked.target.strip_prefix("/g")?,
        true => return None,
        false => std::str::from_utf8(below(asked.target.as_bytes())?).ok()?,
    };
    let path = rest.split('?').next().unwrap_or_default();
    match path {
        "" => Some("/".to_owned()),
        path => path.starts_with('/').then(|| path.to_owned()),
    }
}

/// A multipart batch before and after.
fn hold_batch(before: &[u8], after: &[u8]) {
    let upstream = BaseUrl::parse("https://a.b").expect("a URL");
    let context = BatchContext {
        upstream: &upstream,
        path: "/v1.0/$batch",
    };
    let kind = HeaderValue::from_static("multipart/mixed; boundary=b");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
    let Ok(operations) = read(&context, &headers, after) else {
        return;
    };
    let found = lenient(before);
    assert_eq!(found.len(), operations.len());
    for (asked, operation) in found.iter().zip(&operations) {
        assert!(asked.method.eq_ignore_ascii_case(operation.method.as_str()));
        if let Some(path) = path_here(asked) {
            assert_eq!(operation.path, path);
        } else if asked.target.starts_with('/') {
            assert_eq!(Some(&*operation.path), asked.target.split('?').next());
        }
        let host = host(operation);
        assert!(host.is_none() || host.as_deref() == Some("a.b") || host == asked.host);
    }
}

/// Whether an option of a query is the same in both, or a reference that led here in the first and
/// leads to the upstream in the second.
fn is_turned(before: &str, after: &str) -> bool {
    let (Some((name, before)), Some((same, after))) =
        (before.split_once('='), after.split_once('='))
    else {
        return before == after;
    };
    let (old, new) = (decoded(before), decoded(after));
    let rest = below(&old);
    let turned = rest.map(|rest| [b"https://a.b", rest].concat());
    let is_reference = matches!(&decoded(name)[..], b"$id" | b"@odata.id");
    name == same && (before == after || is_reference && turned == Some(new))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = (input.0 % 4, input.1);
    let links = links();
    let Some(text) = turned(kind, bytes, &links) else {
        return;
    };
    assert_ne!(text, bytes);
    // What is relative may hold anything, also an address of this proxy.
    if kind != 2 {
        assert_eq!(turned(kind, &text, &links), None);
    }
    if let (0, Ok(before), Ok(after)) =
        (kind, std::str::from_utf8(bytes), std::str::from_utf8(&text))
    {
        assert_eq!(before.split('&').count(), after.split('&').count());
        let mut pairs = before.split('&').zip(after.split('&'));
        assert!(pairs.all(|(before, after)| is_turned(before, after)));
    }
    if kind == 3 {
        hold_batch(bytes, &text);
    }
    if kind == 1 || kind == 2 {
        let before: Result<Value, _> = serde_json::from_slice(bytes);
        if let Ok(before) = before {
            let after: Value = serde_json::from_slice(&text).expect("it was JSON before");
            assert!(are_alike(&before, &after));
        }
    }
});
