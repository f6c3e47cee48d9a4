//! What the status page tells, and in which words.

use super::tests::{SCOPE, World, token, wall, world};
use super::*;
use crate::config::Name;

/// The texts of a page's elements.
fn texts(page: &str) -> String {
    let (_, body) = page.split_once("<body>").unwrap();
    let texts = body
        .split('<')
        .filter_map(|piece| Some(piece.split_once('>')?.1.trim()));
    let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
    texts.join("|")
}

#[test]
fn the_page_begins_with_whether_requests_are_served() {
    let starting = world(TokenState::Valid);
    let ending = World::started(TokenState::Valid);
    ending.readiness.drain();
    for (world, verdict) in [
        (starting, "Not ready yet|: starting."),
        (ending, "Draining|: requests in flight are finished"),
        (World::started(TokenState::Valid), "Ready|.|Version"),
        (
            World::started(TokenState::Unavailable),
            "Ready, but tokens are missing|: see below.|Version",
        ),
    ] {
        let page = texts(world.get("/").body());
        assert!(page.starts_with(&format!("tokenferry|{verdict}")), "{page}");
        assert!(page.contains("|Stop that|Configuration|"), "{page}");
        let page = texts(world.get("/?still").body());
        assert!(page.contains("|Reload by itself|Configuration|"), "{page}");
    }
}

#[test]
fn the_page_tells_of_a_token_that_has_expired_and_of_one_that_stands_in() {
    let world = World::started(TokenState::Unavailable);
    world.admin.refuse(Code::NoRoute, "a reason", world.now);
    let mut replaced = token(TokenState::Valid);
    replaced.status.expires = None;
    replaced.status.last_renewal = None;
    replaced.status.fallback = Some(Name::parse("spare").unwrap());
    replaced.fallback_reason = Some("it was refused".into());
    replaced.credential_expires = Some(wall(1_000_000 - 90_000));
    {
        let mut report = world.report.lock().unwrap();
        report.tokens[0].status.expires = Some(wall(1_000_000));
        report.tokens.push(replaced);
    }
    let told = format!(
        "Loaded 1970-01-12T13:30:00.000Z.\
         |Tokens|Credential|Scope|State|Time left|Renewed|Last error\
         |contoso|{SCOPE}|{}|expired|2 min 5 s ago|next in 33 min 20 s\
         |contoso|replaced by spare|expires 1 day 1 h ago|{SCOPE}|{}|none|never\
         |next in 33 min 20 s|it was refused\
         |Routes|Route|Matches|Upstream|Token|Requests|In flight|4xx|5xx|Throttled|Mean time\
         |graph|/graph|https://graph.microsoft.com|{0}|0|0|0|0|0|none yet\
         |Answered here|Code|Requests|noRoute|1",
        TokenState::Unavailable.words(),
        TokenState::Valid.words(),
    );
    let page = world.get("/").into_body();
    assert!(texts(&page).ends_with(&told), "{}\n{told}", texts(&page));
    for element in [
        "main", "table", "thead", "tbody", "tr", "th", "td", "div", "span",
    ] {
        let opened = page.matches(&format!("<{element} ")).count()
            + page.matches(&format!("<{element}>")).count();
        let closed = page.matches(&format!("</{element}>")).count();
        assert_eq!(opened, closed, "{element}: {page}");
    }
}

#[test]
fn the_page_may_use_its_style_and_each_endpoint_says_what_it_is() {
    let world = World::started(TokenState::Valid);
    for (path, kind, styled) in [
        ("/", "text/html; charset=utf-8", true),
        ("/livez", "text/plain; charset=utf-8", false),
        ("/readyz", "application/json", false),
        ("/status.json", "application/json", false),
        ("/none", "application/json", false),
    ] {
        let answer = world.get(path);
        let headers = answer.headers();
        assert_eq!(headers["content-type"], kind, "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert_eq!(policy.contains("style-src 'sha256-"), styled, "{path}");
        assert!(!headers.contains_key("allow"), "{path}");
    }
}
