//! Any bytes as a batch of Dataverse: each operation leads somewhere below the upstream, no reference
//! is left in its path, and a lenient reader finds the same operations and no more.
#![no_main]

mod operations;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use operations::{host, lenient};
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
        for (asked, operation) in found.iter().zip(&operations) {
            assert!(asked.method.eq_ignore_ascii_case(operation.method.as_str()));
            let host = host(operation);
            assert!(host.is_none() || host == asked.host);
            let path = asked.target.split('?').next().unwrap_or_default();
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

/// The id among an operation's own headers.
fn id(operation: &Operation) -> Option<&str> {
    operation.headers.get("content-id")?.to_str().ok()
}
