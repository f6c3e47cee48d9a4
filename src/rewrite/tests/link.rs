//! Which URL leads where.

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::rewrite::address::{Found, Links, Way};
use crate::rewrite::header;
use crate::rewrite::sample::{graph, links, links_at, route, two};
use crate::rewrite::spelling::Spelling;

fn rewritten(way: Way, links: &Links, url: &str) -> String {
    match links.find(way, url.as_bytes(), Spelling::Plain) {
        Found::Yes { len, route } => links.text(way, route).concat() + &url[len..],
        Found::Cut => panic!("plain text is never cut"),
        Found::No => url.to_owned(),
    }
}

pub(super) fn down(links: &Links, url: &str) -> String {
    rewritten(Way::ToCaller, links, url)
}

pub(super) fn up(links: &Links, url: &str) -> String {
    rewritten(Way::ToUpstream, links, url)
}

#[test]
fn everything_after_the_origin_is_opaque() {
    let rest =
        "/v1.0/users?$filter=startsWith(n%2c%27A%2523%27)&$skiptoken=%3Ccookie%20a=%22%253c#/é";
    let url = format!("https://graph.microsoft.com{rest}");
    assert_eq!(
        down(&graph(), &url),
        format!("http://localhost:8080/graph{rest}")
    );
}

#[test]
fn an_origin_ends_at_a_slash_a_question_mark_a_hash_or_the_end() {
    let links = graph();
    for end in ["", "/", "?a", "#a", "/v1.0"] {
        let url = format!("HTTPS://Graph.Microsoft.Com:443{end}");
        assert_eq!(
            down(&links, &url),
            format!("http://localhost:8080/graph{end}")
        );
    }
    for url in [
        "https://graph.microsoft.com.evil.example/",
        "https://graph.microsoft.com:444/",
        "https://graph.microsoft.com@evil.example/",
        "https://graph.microsoft.com;x/",
        "http://graph.microsoft.com/",
        "https://contoso.sharepoint.com/x?tempauth=1",
        " https://graph.microsoft.com/",
        "see https://graph.microsoft.com/",
        "/v1.0/users",
        "",
    ] {
        assert_eq!(down(&links, url), url);
    }
}

#[test]
fn both_names_of_a_dataverse_organisation_are_one_upstream() {
    let mut routes = two();
    routes.push(route("/gov", "https://org.api.crm.microsoftdynamics.us"));
    let links = links_at(None, routes, 1, "localhost:8080");
    for host in [
        "contoso-fake.crm4.dynamics.com",
        "contoso-fake.api.crm4.dynamics.com",
    ] {
        let url = format!("https://{host}/api/data/v9.2/");
        assert_eq!(
            down(&links, &url),
            "http://localhost:8080/dynamics/api/data/v9.2/"
        );
    }
    let url = "https://org.crm.microsoftdynamics.us/a";
    assert_eq!(down(&links, url), "http://localhost:8080/gov/a");
    for url in [
        "https://contoso-fake.crm.dynamics.com/",
        "https://contoso-fake.web.crm4.dynamics.com/",
        "https://other.api.crm4.dynamics.com/",
        "https://contoso-fake.api.api.crm4.dynamics.com/",
    ] {
        assert_eq!(down(&links, url), url);
    }
}

#[test]
fn each_name_of_an_organisation_leads_to_the_route_that_has_it() {
    let own = route("/own", "https://a.crm4.dynamics.com");
    let api = route("/api", "https://a.api.crm4.dynamics.com");
    for others in [[own.clone(), api.clone()], [api, own]] {
        let links = links([&two()[..1], &others].concat(), "localhost");
        for (name, path) in [("a", "own"), ("a.api", "api")] {
            let url = format!("https://{name}.crm4.dynamics.com/x");
            assert_eq!(down(&links, &url), format!("http://localhost/{path}/x"));
        }
    }
}

#[test]
fn an_upstream_prefix_goes_and_what_is_outside_of_it_stays() {
    let links = links(
        vec![route("/g", "https://graph.microsoft.com/v1.0")],
        "localhost:8080",
    );
    assert_eq!(
        down(&links, "https://graph.microsoft.com/v1.0/me"),
        "http://localhost:8080/g/me"
    );
    assert_eq!(
        down(&links, "https://graph.microsoft.com/v1.0?x"),
        "http://localhost:8080/g?x"
    );
    for url in [
        "https://graph.microsoft.com/v1.01/me",
        "https://graph.microsoft.com/beta/me",
    ] {
        assert_eq!(down(&links, url), url);
    }
}

#[test]
fn another_routes_upstream_leads_to_that_route_and_the_most_specific_wins() {
    let mut routes = two();
    routes.push(route("/beta", "https://graph.microsoft.com/beta"));
    let url = "https://graph.microsoft.com/beta/users";
    let at = |index| {
        down(
            &links_at(None, routes.clone(), index, "localhost:8080"),
            url,
        )
    };
    assert_eq!(at(0), "http://localhost:8080/graph/beta/users");
    assert_eq!(at(1), "http://localhost:8080/beta/users");
    assert_eq!(at(2), "http://localhost:8080/beta/users");
}

#[test]
fn public_url_is_the_base_of_routes_without_a_host() {
    let links = links_at(Some("https://gw.example/api"), two(), 0, "10.0.0.1:8080");
    let url = "https://graph.microsoft.com/v1.0";
    assert_eq!(down(&links, url), "https://gw.example/api/graph/v1.0");
    for ours in [
        "https://gw.example/api/graph/v1.0",
        "http://10.0.0.1:8080/graph/v1.0",
    ] {
        assert_eq!(up(&links, ours), url);
    }
    for other in [
        "https://gw.example/graph/v1.0",
        "https://gw.example:8/api/graph/v1.0",
    ] {
        assert_eq!(up(&links, other), other);
    }
}

#[test]
fn a_route_with_a_host_is_not_below_the_public_url() {
    let mut routes = two();
    routes.push(route("graph.internal/x", "https://a.example"));
    routes.push(route("gw.example/y", "https://b.example"));
    routes.push(route("*.example/z", "https://c.example"));
    let links = links_at(Some("https://gw.example/api"), routes, 0, "10.0.0.1:8080");
    for url in [
        "https://gw.example/api/x/q",
        "https://gw.example/api/y/q",
        "https://gw.example/api/z/q",
    ] {
        assert_eq!(up(&links, url), url);
    }
}

#[test]
fn a_route_with_a_host_is_reached_at_its_host() {
    let mut routes = two();
    routes.push(route("graph.internal/", "https://a.example"));
    routes.push(route("*.apps.internal/x", "https://b.example"));
    let links = |index, host| links_at(None, routes.clone(), index, host);
    let (a, b) = ("https://a.example/q", "https://b.example/q");
    assert_eq!(
        down(&links(0, "localhost:8080"), a),
        "http://graph.internal:8080/q"
    );
    assert_eq!(down(&links(0, "localhost"), a), "http://graph.internal/q");
    let own = links(3, "One.apps.internal:81");
    assert_eq!(down(&own, b), "http://One.apps.internal:81/x/q");
    assert_eq!(down(&own, a), "http://graph.internal:81/q");
    // Nothing says which of its hosts would do.
    assert_eq!(down(&links(0, "localhost:8080"), b), b);
    // At this host the other route answers.
    let graph = "https://graph.microsoft.com/q";
    assert_eq!(down(&links(2, "graph.internal:8080"), graph), graph);
    assert_eq!(up(&own, "http://one.apps.internal:81/x/q"), b);
    assert_eq!(up(&own, "http://graph.internal:81/q"), a);
    assert_eq!(
        up(&own, "http://graph.internal:82/q"),
        "http://graph.internal:82/q"
    );
}

#[test]
fn a_trailing_dot_is_the_same_name() {
    let mut routes = two();
    routes.push(route("*.apps.internal/x", "https://b.example"));
    routes.push(route("graph.internal/", "https://a.example"));
    let links = |index, host| links_at(None, routes.clone(), index, host);
    let dotted = links(2, "one.apps.internal.:81");
    let url = "https://b.example/q";
    let here = "http://one.apps.internal.:81/x/q";
    assert_eq!(down(&dotted, url), here);
    assert_eq!(up(&dotted, here), url);
    assert_eq!(up(&dotted, "http://one.apps.internal:81/x/q"), url);
    // At this host the other route answers.
    let graph = "https://graph.microsoft.com/q";
    assert_eq!(down(&links(3, "graph.internal."), graph), graph);
}

#[test]
fn what_goes_down_comes_up_again() {
    let mut routes = two();
    routes.push(route("/graph/deep", "http://127.0.0.1:5000/base"));
    let links = links_at(None, routes, 0, "localhost:8080");
    for url in [
        "https://graph.microsoft.com/v1.0/directoryObjects/1",
        "https://contoso-fake.crm4.dynamics.com/api/data/v9.2/accounts(1)",
        "http://127.0.0.1:5000/base/x?y",
    ] {
        assert_ne!(down(&links, url), url);
        assert_eq!(up(&links, &down(&links, url)), url);
    }
    // A front end took the TLS off.
    assert_eq!(
        up(&links, "https://LOCALHOST:8080/graph/a"),
        "https://graph.microsoft.com/a"
    );
    for url in [
        "http://localhost:8081/graph/a",
        "http://other/graph/a",
        "http://localhost:8080/graphs",
    ] {
        assert_eq!(up(&links, url), url);
    }
}

#[test]
fn the_five_headers_are_rewritten_on_any_status() {
    let mut headers = HeaderMap::new();
    for name in header::NAMES {
        headers.insert(
            name,
            HeaderValue::from_static("https://graph.microsoft.com/v1.0/a(1)"),
        );
    }
    headers.append(
        LOCATION,
        HeaderValue::from_static("https://graph.microsoft.com/b"),
    );
    headers.insert(
        "link",
        HeaderValue::from_static("https://graph.microsoft.com/c"),
    );
    assert_eq!(
        header::rewrite(&mut headers, StatusCode::NO_CONTENT, false, &graph()),
        6
    );
    for name in header::NAMES {
        assert_eq!(headers[name], "http://localhost:8080/graph/v1.0/a(1)");
    }
    let locations: Vec<_> = headers.get_all(LOCATION).iter().collect();
    assert_eq!(locations[1], "http://localhost:8080/graph/b");
    assert_eq!(headers["link"], "https://graph.microsoft.com/c");
}

#[test]
fn a_root_relative_location_gets_the_prefix_on_3xx_only() {
    let location = |links: &Links, status: u16, value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static(value));
        headers.insert(CONTENT_LOCATION, HeaderValue::from_static("/c"));
        header::rewrite(
            &mut headers,
            StatusCode::from_u16(status).unwrap(),
            false,
            links,
        );
        assert_eq!(headers[CONTENT_LOCATION], "/c");
        headers[LOCATION].to_str().unwrap().to_owned()
    };
    assert_eq!(
        location(&graph(), 302, "/v1.0/x%2F?y"),
        "/graph/v1.0/x%2F?y"
    );
    assert_eq!(location(&graph(), 202, "/teams('1')"), "/teams('1')");
    assert_eq!(
        location(&graph(), 302, "//evil.example/x"),
        "//evil.example/x"
    );
    assert_eq!(location(&graph(), 302, "x"), "x");
    let deep = links_at(
        Some("https://gw.example/api"),
        vec![route("/g", "https://graph.microsoft.com/v1.0")],
        0,
        "localhost:8080",
    );
    assert_eq!(location(&deep, 307, "/v1.0/me"), "/api/g/me");
    assert_eq!(location(&deep, 202, "/beta/me"), "/beta/me");
    // Here it would lead to another route or to none.
    assert_eq!(
        location(&deep, 307, "/beta/me"),
        "https://graph.microsoft.com/beta/me"
    );
    let both = links(
        vec![
            route("/gv", "https://graph.microsoft.com/v1.0"),
            route("/g", "https://graph.microsoft.com"),
        ],
        "localhost:8080",
    );
    let own = route("graph.example", "https://graph.microsoft.com/v1.0");
    let own = links(vec![own], "graph.example");
    for (sent, wanted) in [("/v1.0/x", "/x"), ("/v1.0", "/"), ("/v1.0?a", "/?a")] {
        assert_eq!(location(&own, 302, sent), wanted);
    }
    // Cut to `//evil.example/x` it would name another host.
    for (sent, wanted) in [
        (
            "/v1.0//evil.example/x",
            "http://graph.example//evil.example/x",
        ),
        (
            "/v1.0/\\evil.example/x",
            "http://graph.example/\\evil.example/x",
        ),
    ] {
        assert_eq!(location(&own, 302, sent), wanted);
    }
    assert_eq!(location(&both, 302, "/v1.0/x"), "/gv/x");
    assert_eq!(
        location(&both, 302, "/v1.0x"),
        "http://localhost:8080/g/v1.0x"
    );
    assert_eq!(
        location(&both, 302, "/beta/x?y"),
        "http://localhost:8080/g/beta/x?y"
    );
}

#[test]
fn a_location_that_needs_no_token_leads_to_no_route() {
    let file = "https://contoso.sharepoint.com/_layouts/15/download.aspx?UniqueId=1";
    let preauthenticated = "https://contoso.sharepoint.com/x?a=1&tempauth=x";
    let own = "https://graph.microsoft.com/v1.0/y";
    let rewritten = |status: u16, file: bool, value: &str| {
        let mut routes = two();
        routes.push(route("/sp", "https://contoso.sharepoint.com"));
        let links = links(routes, "localhost:8080");
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_str(value).unwrap());
        let other = HeaderValue::from_static("https://contoso.sharepoint.com/y");
        headers.insert(CONTENT_LOCATION, other);
        let status = StatusCode::from_u16(status).unwrap();
        header::rewrite(&mut headers, status, file, &links);
        // No client follows this one by itself.
        assert_eq!(headers[CONTENT_LOCATION], "http://localhost:8080/sp/y");
        let location = headers[LOCATION].to_str().unwrap();
        location.replace("http://localhost:8080", "")
    };
    for (status, is_file) in [(302, true), (200, true), (202, false)] {
        assert_eq!(rewritten(status, is_file, file), file);
        assert_eq!(rewritten(status, is_file, own), "/graph/v1.0/y");
    }
    assert_eq!(
        rewritten(302, false, file),
        "/sp/_layouts/15/download.aspx?UniqueId=1"
    );
    for status in [200, 201, 202, 302] {
        assert_eq!(rewritten(status, false, preauthenticated), preauthenticated);
        let signed = "https://graph.microsoft.com/x?sig=1";
        assert_eq!(rewritten(status, false, signed), signed);
    }
    // Read as a reference to this proxy, it would lead to a route at the root.
    assert_eq!(
        rewritten(302, true, "/x?tempauth=1"),
        "https://graph.microsoft.com/x?tempauth=1"
    );
}

#[test]
fn a_host_that_could_break_out_of_a_string_is_no_base() {
    for host in ["a\"b", "a b", "a/b", "a\\b", "", "a,b"] {
        assert!(crate::rewrite::PublicBase::new(true, host).is_none());
    }
    assert!(crate::rewrite::PublicBase::new(true, "[::1]:8080").is_some());
    let long = |length| crate::rewrite::PublicBase::new(true, &"a".repeat(length));
    assert!(long(259).is_some() && long(260).is_none());
}
