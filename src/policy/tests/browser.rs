//! Web pages: who may call, and what the answer says to the browser.

use http::{HeaderMap, HeaderValue, Method};

use super::headers;
use crate::code::Code;
use crate::config::{BaseUrl, Origin};
use crate::policy::authority::Authority;
use crate::policy::browser::{BrowserPolicy, Listener, Page};

fn origin(text: &str) -> Origin {
    BaseUrl::parse(text).unwrap().origin
}

fn browser_policy() -> BrowserPolicy {
    BrowserPolicy {
        listed: vec![
            origin("https://dash.example"),
            origin("http://localhost:3000"),
        ],
        public: Some(origin("https://gateway.example")),
    }
}

/// `own`, `listed` or the code of the refusal.
fn verdict(host: &str, secure: bool, lines: &[(&str, &str)]) -> &'static str {
    judge(Listener::Data, &Method::GET, host, secure, lines)
}

fn judge(
    listener: Listener,
    method: &Method,
    host: &str,
    secure: bool,
    lines: &[(&str, &str)],
) -> &'static str {
    let authority = Authority::parse(host).unwrap();
    match browser_policy().judge(listener, method, &authority, secure, &headers(lines)) {
        Ok(Page::Own) => "own",
        Ok(Page::Listed(_)) => "listed",
        Err(refusal) => {
            assert_eq!(refusal.code, Code::CrossSite);
            assert!(refusal.message.contains("browser_origins"));
            "refused"
        }
    }
}

#[test]
fn a_request_without_browser_headers_passes() {
    assert_eq!(verdict("localhost:8080", false, &[]), "own");
    assert_eq!(
        verdict("localhost:8080", false, &[("sec-fetch-site", "none")]),
        "own"
    );
    assert_eq!(
        verdict(
            "localhost:8080",
            false,
            &[("sec-fetch-site", "same-origin")]
        ),
        "own"
    );
}

#[test]
fn an_origin_is_ours_when_scheme_host_and_port_are() {
    for (host, secure, value, expected) in [
        ("localhost:8080", false, "http://localhost:8080", "own"),
        ("LocalHost.:8080", false, "http://localhost:8080", "own"),
        ("localhost:8080", false, "http://localhost:8081", "refused"),
        ("localhost:8080", false, "http://127.0.0.1:8080", "refused"),
        ("localhost:8080", false, "http://localhost", "refused"),
        ("gw.corp", true, "https://gw.corp", "own"),
        ("gw.corp:443", true, "https://gw.corp", "own"),
        ("gw.corp", true, "http://gw.corp", "refused"),
        ("gw.corp:443", true, "http://gw.corp:443", "refused"),
        // TLS may end in front of this process.
        ("gw.corp", false, "https://gw.corp", "own"),
        ("gw.corp", false, "http://gw.corp", "own"),
        ("10.0.0.1:8080", false, "https://gateway.example", "own"),
        ("10.0.0.1:8080", false, "http://gateway.example", "refused"),
        ("[::1]:8080", false, "http://[::1]:8080", "own"),
    ] {
        assert_eq!(
            verdict(host, secure, &[("origin", value)]),
            expected,
            "{host} {value}"
        );
    }
}

#[test]
fn a_foreign_origin_is_refused_whatever_else_is_said() {
    for value in [
        "http://evil.example",
        "null",
        "",
        "localhost:8080",
        "file://",
        "http://localhost:8080.evil.example",
        "http://localhost:8080/",
        "http://localhost:8080 http://evil.example",
        "HTTP://localhost:8080x",
        "https://dash.example.evil.example",
        "https://xdash.example",
        "http://dash.example",
        "https://dash.example:8443",
        "http://u@localhost:8080",
    ] {
        let lines = [("origin", value), ("sec-fetch-site", "same-origin")];
        assert_eq!(
            verdict("localhost:8080", false, &lines),
            "refused",
            "{value}"
        );
    }
    let twice = [
        ("origin", "http://localhost:8080"),
        ("origin", "http://localhost:8080"),
    ];
    assert_eq!(verdict("localhost:8080", false, &twice), "refused");
}

#[test]
fn a_fetch_from_another_site_without_origin_is_refused() {
    for site in ["cross-site", "same-site", "Cross-Site"] {
        assert_eq!(
            verdict("localhost:8080", false, &[("sec-fetch-site", site)]),
            "refused",
            "{site}"
        );
    }
    let lines = [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
    assert_eq!(verdict("localhost:8080", false, &lines), "refused");
}

#[test]
fn a_navigation_opens_the_admin_pages_only() {
    let navigation = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let at = |listener, method: &Method, lines: &[(&str, &str)]| {
        judge(listener, method, "localhost", false, lines)
    };
    assert_eq!(at(Listener::Admin, &Method::GET, &navigation), "own");
    assert_eq!(at(Listener::Data, &Method::GET, &navigation), "refused");
    assert_eq!(at(Listener::Admin, &Method::POST, &navigation), "refused");
    // As browsers said it before they named a destination.
    assert_eq!(at(Listener::Admin, &Method::GET, &navigation[..2]), "own");
    assert_eq!(
        at(Listener::Admin, &Method::GET, &navigation[..1]),
        "refused"
    );
    let embedded = [navigation[0], ("sec-fetch-mode", "no-cors")];
    assert_eq!(at(Listener::Admin, &Method::GET, &embedded), "refused");
    let framed = [navigation[0], navigation[1], ("sec-fetch-dest", "iframe")];
    assert_eq!(at(Listener::Admin, &Method::GET, &framed), "refused");
    let with_origin = [
        navigation[0],
        navigation[1],
        navigation[2],
        ("origin", "null"),
    ];
    assert_eq!(at(Listener::Admin, &Method::GET, &with_origin), "refused");
}

#[test]
fn a_listed_page_may_read_the_answer() {
    for (value, host) in [
        ("https://dash.example", "localhost:8080"),
        ("http://localhost:3000", "localhost:8080"),
    ] {
        let lines = [("origin", value), ("sec-fetch-site", "cross-site")];
        let authority = Authority::parse(host).unwrap();
        let page = browser_policy()
            .judge(
                Listener::Data,
                &Method::GET,
                &authority,
                false,
                &headers(&lines),
            )
            .unwrap();
        let mut answer = headers(&[("vary", "Accept")]);
        browser_policy().mark(&page, &mut answer);
        assert_eq!(answer["access-control-allow-origin"], value);
        assert!(
            answer["access-control-expose-headers"]
                .to_str()
                .unwrap()
                .contains("Retry-After")
        );
        let vary: Vec<_> = answer.get_all("vary").iter().collect();
        assert_eq!(vary, ["Accept", "Origin"]);
    }
}

#[test]
fn an_own_page_or_no_page_is_told_no_more_than_that_it_goes_by_who_asks() {
    let mut answer = HeaderMap::new();
    browser_policy().mark(&Page::Own, &mut answer);
    assert_eq!(answer.len(), 1);
    assert_eq!(answer["vary"], "Origin");
    let mut answer = HeaderMap::new();
    BrowserPolicy::default().mark(&Page::Own, &mut answer);
    assert!(answer.is_empty());
    let asks = headers(&[("access-control-request-method", "GET")]);
    assert_eq!(Page::Own.preflight(&Method::OPTIONS, &asks), None);
}

#[test]
fn a_preflight_of_a_listed_page_is_answered_here() {
    let page = Page::Listed(HeaderValue::from_static("https://dash.example"));
    let asks = headers(&[
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "content-type,x-api-key"),
        ("access-control-request-private-network", "true"),
    ]);
    let answer = page.preflight(&Method::OPTIONS, &asks).unwrap();
    assert_eq!(
        answer["access-control-allow-origin"],
        "https://dash.example"
    );
    assert_eq!(
        answer["access-control-allow-headers"],
        "content-type,x-api-key"
    );
    assert!(
        answer["access-control-allow-methods"]
            .to_str()
            .unwrap()
            .contains("PATCH")
    );
    assert_eq!(answer["access-control-allow-private-network"], "true");
    assert_eq!(answer["vary"], "Origin");
    assert_eq!(answer["x-content-type-options"], "nosniff");
    let public = headers(&[("access-control-request-method", "GET")]);
    let answer = page.preflight(&Method::OPTIONS, &public).unwrap();
    assert!(!answer.contains_key("access-control-allow-private-network"));
    assert_eq!(page.preflight(&Method::OPTIONS, &HeaderMap::new()), None);
    assert_eq!(page.preflight(&Method::POST, &asks), None);
}
