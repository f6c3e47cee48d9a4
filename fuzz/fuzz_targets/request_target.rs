//! Any request target and Host, a line each, and a third line for HTTP/2: what passes names one host
//! and one path, and both are found again byte for byte in what goes up.
#![no_main]

use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use libfuzzer_sys::fuzz_target;
use tokenferry::config::PathPrefix;
use tokenferry::policy::host::HostPolicy;
use tokenferry::policy::target::Target;
use tokenferry::route::path::for_upstream;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(3, |&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (target, host, second) = (line(), line(), !line().is_empty());
    let Ok(uri) = Uri::try_from(target) else {
        return;
    };
    let mut headers = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_bytes(host) {
        headers.insert("host", host);
    }
    let version = if second {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    let Ok(target) = Target::of(&Method::GET, &uri, &headers, version) else {
        return;
    };
    let host = &target.authority.host;
    assert!(!host.is_empty() && !host.ends_with('.') && !host.contains(['@', '/', '\\', ' ', ',']));
    assert_eq!(host.to_ascii_lowercase(), host.as_ref());
    let _ = HostPolicy::default().serves(host);
    let up = for_upstream(&PathPrefix::default(), target.asked, target.path, None);
    assert_eq!(
        up.expect("no prefix makes it longer").as_str(),
        uri.path_and_query().map_or("", |whole| whole.as_str())
    );
});
