//! Any header block, with and without names that the route keeps: what goes up is what plain rules
//! leave of it, neither more nor less, it is refused when they refuse it, and doing it twice does
//! nothing more. Trailers and the operations of a batch are held to the same rules.
#![no_main]

use std::collections::BTreeSet;

use http::header::{CONTENT_LENGTH, COOKIE, TE};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tokenferry::config::HeaderEdits;
use tokenferry::policy::request_header::RequestRules;

/// What no route can keep, and beside it what begins with `proxy-`.
const NEVER: [&str; 11] = [
    "authorization",
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
];

/// What goes unless the route keeps it, and beside it what begins with `sec-` or `x-forwarded-`.
const UNLESS_KEPT: [&str; 10] = [
    "cookie",
    "cookie2",
    "forwarded",
    "origin",
    "referer",
    "via",
    "x-ms-authorization-auxiliary",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// What is refused unless the route keeps it, and beside it what begins with `mscrm.bypass`.
const REFUSED: [&str; 6] = [
    "callerobjectid",
    "mscrm.suppresscallbackregistrationexpanderjob",
    "mscrmcallerid",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// What the second route keeps; it cannot keep the last three.
const KEPT: [&str; 9] = [
    "callerobjectid",
    "cookie",
    "mscrm.bypassbusinesslogicexecution",
    "sec-fetch-site",
    "x-forwarded-for",
    "x_y",
    "authorization",
    "proxy-x",
    "content_length",
];

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Passes,
    Goes,
    Refused,
}

fn fate(name: &str, kept: &[&str]) -> Fate {
    let is_kept = kept.contains(&name) && name != "content_length";
    let is_odd = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.';
    if NEVER.contains(&name) || name.starts_with("proxy-") {
        Fate::Goes
    } else if is_kept {
        Fate::Passes
    } else if REFUSED.contains(&name) || name.starts_with("mscrm.bypass") {
        Fate::Refused
    } else if UNLESS_KEPT.contains(&name)
        || name.starts_with("sec-")
        || name.starts_with("x-forwarded-")
    {
        Fate::Goes
    } else if name.contains(is_odd) {
        Fate::Refused
    } else {
        Fate::Passes
    }
}

fn block(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|&b| b == b'\n') {
        let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.get(1..).unwrap_or_default()),
        ) {
            headers.append(name, value);
        }
    }
    headers
}

/// The elements of a list, in lower case.
fn elements(headers: &HeaderMap, name: &str) -> BTreeSet<String> {
    let lines = headers.get_all(name).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .map(|element| String::from_utf8_lossy(element.trim_ascii()).to_ascii_lowercase())
        .collect()
}

/// The one number that all of the lengths are.
fn length(headers: &HeaderMap) -> Option<u64> {
    let number = |line: &HeaderValue| {
        let digits = line.to_str().ok()?;
        let well = digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| well)
    };
    let mut lines = headers.get_all(CONTENT_LENGTH).iter().map(number);
    let first = lines.next()??;
    lines.all(|other| other == Some(first)).then_some(first)
}

/// What goes up; `None` when it is refused.
fn expected(before: &HeaderMap, kept: &[&str]) -> Option<HeaderMap> {
    let nominated = elements(before, "connection");
    let is_nominated = |name: &str| {
        let named = !matches!(name, "close" | "keep-alive" | "content-length");
        named && nominated.contains(name)
    };
    let mut after = HeaderMap::new();
    for (name, value) in before {
        match fate(name.as_str(), kept) {
            Fate::Refused => return None,
            // What a route keeps because it means something is not lost in silence either.
            Fate::Passes if is_nominated(name.as_str()) => {
                if fate(name.as_str(), &[]) == Fate::Refused && !name.as_str().contains('_') {
                    return None;
                }
            }
            Fate::Passes => {
                after.append(name, value.clone());
            }
            Fate::Goes => {}
        }
    }
    if elements(before, "te").contains("trailers") {
        after.insert(TE, HeaderValue::from_static("trailers"));
    }
    match length(before) {
        Some(length) => after.insert(CONTENT_LENGTH, length.into()),
        None => after.remove(CONTENT_LENGTH),
    };
    let cookies: Vec<_> = after
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(all) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
        && !cookies.is_empty()
    {
        after.insert(COOKIE, all);
    }
    Some(after)
}

fn hold(before: &HeaderMap, kept: &[&'static str]) {
    let names: Vec<_> = kept
        .iter()
        .map(|name| HeaderName::from_static(name))
        .collect();
    let rules = RequestRules::new(&names, &HeaderEdits::default());
    let once = rules.apply(before, false).ok();
    let once = once.as_ref().map(HeaderMap::from);
    assert_eq!(once, expected(before, kept));
    if let Some(once) = once {
        let twice = rules.apply(&once, false).expect("it passed before");
        assert_eq!(HeaderMap::from(&twice), once);
    }
    let mut trailers = before.clone();
    rules.trailers(&mut trailers);
    for (name, lines) in before.keys().map(|name| (name, before.get_all(name))) {
        // Neither of them has a use in a trailer, kept or not.
        let passes = fate(name.as_str(), &[]) == Fate::Passes && name != CONTENT_LENGTH;
        assert_eq!(trailers.contains_key(name), passes, "{name}");
        assert!(!passes || trailers.get_all(name) == lines, "{name}");
        if fate(name.as_str(), kept) == Fate::Refused {
            assert!(rules.refuses(&name.as_str().to_ascii_uppercase()), "{name}");
        }
    }
}

fuzz_target!(|text: &[u8]| {
    let before = block(text);
    hold(&before, &[]);
    hold(&before, &KEPT);
});
