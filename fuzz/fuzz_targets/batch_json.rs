//! Any text as a batch of Graph: what is read is what a lenient parser reads.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tokenferry::config::BaseUrl;
use tokenferry::policy::batch::{Place, read};

fuzz_target!(|body: &[u8]| {
    let upstream = BaseUrl::parse("https://graph.microsoft.com").expect("a URL");
    let place = Place { upstream: &upstream, path: "/v1.0/$batch" };
    let kind = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
    let Ok(operations) = read(&place, &headers, body) else {
        return;
    };
    let value: serde_json::Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        // Grammar has no largest number (RFC 8259 section 6), but this parser has.
        Err(error) if error.to_string().starts_with("number out of range") => return,
        Err(error) => panic!("what was read is no JSON: {error}"),
    };
    let requests = value["requests"].as_array().expect("a list of requests");
    assert_eq!(requests.len(), operations.len());
    for (request, operation) in requests.iter().zip(&operations) {
        let path = request["url"].as_str().and_then(|url| url.split('?').next());
        let path = path.expect("a target").trim_start_matches('/');
        assert_eq!(operation.path.trim_start_matches("/v1.0").trim_start_matches('/'), path);
    }
});
