//! Any header block: what goes up holds nothing that must not, everything else is untouched, and
//! doing it twice does nothing more.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tokenferry::config::HeaderEdits;
use tokenferry::policy::request_header::RequestRules;

const NEVER: [&str; 12] = [
    "authorization",
    "callerobjectid",
    "connection",
    "cookie",
    "expect",
    "host",
    "mscrmcallerid",
    "origin",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-http-method",
];

const NEVER_BEGINS: [&str; 4] = ["mscrm.bypass", "proxy-", "sec-", "x-forwarded-"];

fuzz_target!(|block: &[u8]| {
    let mut before = HeaderMap::new();
    for line in block.split(|&b| b == b'\n') {
        let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.get(1..).unwrap_or_default()),
        ) {
            before.append(name, value);
        }
    }
    let rules = RequestRules::new(&[], &HeaderEdits::default());
    let Ok(once) = rules.apply(&before, None) else {
        return;
    };
    let once = HeaderMap::from(&once);
    for name in once.keys().map(HeaderName::as_str) {
        assert!(!NEVER.contains(&name) && !name.contains('_'), "{name}");
        assert!(
            !NEVER_BEGINS.iter().any(|start| name.starts_with(start)),
            "{name}"
        );
        if !matches!(name, "te" | "content-length") {
            assert!(once.get_all(name).iter().eq(before.get_all(name)), "{name}");
        }
    }
    let twice = rules.apply(&once, None).expect("it passed before");
    assert_eq!(HeaderMap::from(&twice), once);
});
