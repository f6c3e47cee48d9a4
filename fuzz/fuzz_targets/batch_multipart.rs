//! Any bytes as a batch of Dataverse: each operation stands between two delimiters and leads
//! somewhere below the upstream.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tokenferry::config::BaseUrl;
use tokenferry::policy::batch::{Place, read};

fuzz_target!(|body: &[u8]| {
    let upstream = BaseUrl::parse("https://org.crm.dynamics.com").expect("a URL");
    let place = Place { upstream: &upstream, path: "/api/data/v9.2/$batch" };
    let kind = HeaderValue::from_static("multipart/mixed; boundary=b");
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
    if let Ok(operations) = read(&place, &headers, body) {
        let delimiters = memchr::memmem::find_iter(body, "\r\n--").count() + 1;
        assert!(!operations.is_empty() && operations.len() < delimiters);
        assert!(operations.iter().all(|operation| operation.path.starts_with('/')));
    }
});
