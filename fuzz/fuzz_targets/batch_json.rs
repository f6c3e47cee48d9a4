//! Any text as a batch of Graph, and of a service of one's own: methods, headers and paths are what a
//! lenient parser reads, and what a service reads that looks for references in all of a target.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokenferry::config::BaseUrl;
use tokenferry::policy::batch::{BatchContext, Operation, read};

fuzz_target!(|body: &[u8]| {
    for (operation, request) in pairs("https://graph.microsoft.com", "/v1.0/$batch", body) {
        let path = path_of(target(&request));
        let below = path.strip_prefix('/').unwrap_or(path);
        assert_eq!(operation.path, format!("/v1.0/{below}"));
    }
    let own = pairs("https://api.contoso.com", "/v1/$batch", body);
    let ids: Vec<String> = own.iter().flat_map(|(_, request)| ids(request)).collect();
    for (operation, request) in &own {
        let target = target(request);
        if let Some(at) = reference(target, &ids) {
            assert_eq!(at, 0, "a reference inside of {target}");
            let end = target.find(['/', '?']).unwrap_or(target.len());
            assert_eq!(
                reference(&target[end..], &ids),
                None,
                "a second one in {target}"
            );
        } else if target.starts_with('/') {
            assert_eq!(operation.path, path_of(target));
            assert!(format!("{}/", operation.path).starts_with("/v1/"));
        } else {
            assert_eq!(operation.path, format!("/v1/{}", path_of(target)));
        }
    }
});

/// What was read here, if anything, beside what a lenient parser reads.
fn pairs(upstream: &str, path: &str, body: &[u8]) -> Vec<(Operation, Value)> {
    let upstream = BaseUrl::parse(upstream).expect("a URL");
    let context = BatchContext {
        upstream: &upstream,
        path,
    };
    let kind = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
    let Ok(operations) = read(&context, &headers, body) else {
        return Vec::new();
    };
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        // Grammar has no largest number (RFC 8259 section 6), but this parser has.
        Err(error) if error.to_string().starts_with("number out of range") => return Vec::new(),
        Err(error) => panic!("what was read is no JSON: {error}"),
    };
    let requests = value["requests"].as_array().expect("a list of requests");
    assert_eq!(requests.len(), operations.len());
    for (operation, request) in operations.iter().zip(requests) {
        let method = request["method"].as_str().expect("a method");
        assert!(method.eq_ignore_ascii_case(operation.method.as_str()));
        assert_eq!(operation.headers, fields(request));
    }
    operations
        .into_iter()
        .zip(requests.iter().cloned())
        .collect()
}

/// The headers of an operation; in another case a name may come again, with the same value.
fn fields(request: &Value) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        let value: HeaderValue = value
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a text");
        let before = fields.insert(name, value.clone());
        assert!(before.is_none_or(|before| before == value));
    }
    fields
}

fn target(request: &Value) -> &str {
    request["url"].as_str().expect("a target")
}

fn path_of(target: &str) -> &str {
    target.split('?').next().expect("a path")
}

/// The ids of an operation, wherever it has them.
fn ids(request: &Value) -> Vec<String> {
    let own = request["id"].as_u64().map(|id| id.to_string());
    let own = own.or(request["id"].as_str().map(str::to_owned));
    let headers = request["headers"].as_object().into_iter().flatten();
    let named = headers.filter(|(name, _)| name.eq_ignore_ascii_case("content-id"));
    let named = named.filter_map(|(_, value)| value.as_str().map(str::to_owned));
    own.into_iter().chain(named).collect()
}

/// Where the first reference is to one of these ids.
fn reference(text: &str, ids: &[String]) -> Option<usize> {
    let in_id = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    text.match_indices('$').map(|(at, _)| at).find(|at| {
        let rest = &text[at + 1..];
        let id = &rest[..rest.find(|c| !in_id(c)).unwrap_or(rest.len())];
        !id.is_empty() && ids.iter().any(|known| known == id)
    })
}
