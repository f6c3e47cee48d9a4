//! What passes here means the same to a URL parser of the WHATWG kind: the same path, and a host
//! that is served. Inputs of the web-platform-tests, see `tests/url/README.md`.

use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use proptest::prelude::*;
use url::Url;

use super::decode;
use crate::policy::authority::Authority;
use crate::policy::host::HostPolicy;
use crate::policy::path::check;
use crate::policy::target::Target;

fn inputs() -> Vec<String> {
    serde_json::from_str(include_str!("../../../tests/url/inputs.json")).unwrap()
}

/// What stands between `scheme://` and the path, and the path up to `?` or `#`.
fn parts(input: &str) -> (&str, &str) {
    let rest = input
        .split_once("//")
        .filter(|(scheme, _)| scheme.ends_with(':'))
        .map_or(input, |(_, rest)| rest);
    let path_at = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(path_at);
    let end = path.find(['?', '#']).unwrap_or(path.len());
    (host, &path[..end])
}

/// Whether a URL parser leaves a path as it is but for encoding what it does not like raw.
fn unchanged_by_url(path: &str) -> bool {
    let url = Url::parse(&format!("http://localhost{path}")).unwrap();
    decode(url.path().as_bytes()) == decode(path.as_bytes())
}

#[test]
fn a_path_that_passes_is_the_same_path_to_a_url_parser() {
    let mut passed = 0;
    for input in inputs() {
        let (_, path) = parts(&input);
        // hyper lets no raw space through, and a URL parser cuts spaces off at the end.
        if !path.contains(' ') && check(path).is_ok() {
            assert!(unchanged_by_url(path), "{path:?} of {input:?}");
            passed += 1;
        }
    }
    assert!(passed > 100, "only {passed} inputs passed");
}

#[test]
fn a_host_that_is_served_is_served_under_the_name_a_url_parser_gives_it() {
    let policy = HostPolicy::default();
    let mut served = 0;
    for input in inputs() {
        let (host, _) = parts(&input);
        if !Authority::parse(host).is_some_and(|a| policy.serves(&a.host)) {
            continue;
        }
        let Ok(url) = Url::parse(&format!("http://{host}/")) else {
            continue;
        };
        let normalised = url.host_str().unwrap();
        let again = Authority::parse(normalised).unwrap();
        assert!(policy.serves(&again.host), "{host:?} is {normalised:?}");
        served += 1;
    }
    assert!(served > 50, "only {served} hosts were served");
}

#[test]
fn every_input_is_decided_as_a_request_target() {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost"));
    let (mut passed, mut refused) = (0, 0);
    for input in inputs() {
        let Ok(uri) = input.parse::<Uri>() else {
            continue;
        };
        match Target::of(&Method::GET, &uri, &headers, Version::HTTP_11) {
            Ok(target) => {
                assert!(target.path.starts_with('/'), "{input:?}");
                assert!(unchanged_by_url(target.path), "{input:?}");
                assert!(!target.authority.text.contains('@'), "{input:?}");
                passed += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        passed > 50 && refused > 20,
        "{passed} passed, {refused} refused"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_path_that_passes_is_another_path_to_a_url_parser(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                ".", "..", "/", "\\", "%2e", "%2E", "%2f", "%5c", "%25", "2e", ";", "a", "%", "@", ":", "é", "\t",
            ]),
            0..12,
        ),
    ) {
        let path = format!("/{}", pieces.concat());
        if check(&path).is_ok() {
            prop_assert!(unchanged_by_url(&path), "{}", path);
        }
    }
}
