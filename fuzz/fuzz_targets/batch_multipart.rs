//! Any bytes as a batch of Dataverse: each operation leads somewhere below the upstream, no reference
//! is left in its path, and a lenient reader finds the same operations and no more.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tokenferry::config::BaseUrl;
use tokenferry::policy::batch::{BatchContext, Operation, read};

fuzz_target!(|body: &[u8]| {
    let upstream = BaseUrl::parse("https://org.crm.dynamics.com").expect("a URL");
    let context = BatchContext {
        upstream: &upstream,
        path: "/api/data/v9.2/$batch",
    };
    let kind = HeaderValue::from_static("multipart/mixed; boundary=b");
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
    if let Ok(operations) = read(&context, &headers, body) {
        let found = lenient(body);
        assert!(!found.is_empty() && found.len() == operations.len());
        for ((method, target), operation) in found.iter().zip(&operations) {
            assert!(method.eq_ignore_ascii_case(operation.method.as_str()));
            let path = target.split('?').next().unwrap_or_default();
            assert!(!path.starts_with('/') || path == operation.path);
        }
        assert!(
            operations
                .iter()
                .all(|operation| operation.path.starts_with('/'))
        );
        let ids: Vec<_> = operations.iter().filter_map(id).collect();
        for operation in &operations {
            let in_id = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            let mut runs = operation
                .path
                .split('$')
                .skip(1)
                .map(|rest| &rest[..rest.find(|c| !in_id(c)).unwrap_or(rest.len())]);
            assert!(!runs.any(|run| !run.is_empty() && ids.contains(&run)));
        }
    }
});

/// Method and target of each operation, wherever a line may end and whatever else stands on the line
/// of a delimiter.
fn lenient(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let lines = text
        .split(['\r', '\n'])
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let mut boundaries = vec!["b".to_owned()];
    let mut found = Vec::new();
    let mut is_head = false;
    for line in lines {
        let delimiter = line.strip_prefix("--");
        let begins = |own: &String| delimiter.is_some_and(|it| it.starts_with(own.as_str()));
        if boundaries.iter().any(begins) {
            is_head = true;
            continue;
        }
        let lower = line.to_ascii_lowercase();
        if !is_head || !lower.starts_with("content-type") {
            // Of a part of HTTP the head may go on behind its type.
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            if let (true, [method, target, "HTTP/1.1"]) = (is_head, &words[..]) {
                found.push(((*method).to_owned(), (*target).to_owned()));
                is_head = false;
            }
            continue;
        }
        let kind = lower.split_once(':').map_or("", |(_, kind)| kind.trim());
        if let (true, Some(at)) = (kind.starts_with("multipart/"), lower.find("boundary=")) {
            let value = line[at + 9..].split(';').next().unwrap_or_default();
            boundaries.push(value.trim().trim_matches('"').to_owned());
            is_head = false;
        }
    }
    found
}

/// The id among an operation's own headers.
fn id(operation: &Operation) -> Option<&str> {
    operation.headers.get("content-id")?.to_str().ok()
}
