//! Which of several routes a link leads to where their hosts overlap: the one that answers there.

use super::link::{down, up};
use crate::rewrite::sample::{links_at, route, two};

#[test]
fn a_more_specific_host_answers_for_itself() {
    let routes = vec![
        route("*.corp/g/deep", "https://a.example"),
        route("*.b.corp/g", "https://b.example"),
        route("x.b.corp/", "https://c.example"),
    ];
    let links = |index, host| links_at(None, routes.clone(), index, host);
    let (at_corp, at_b, at_x) = (
        links(0, "y.corp"),
        links(1, "y.b.corp"),
        links(2, "x.b.corp"),
    );
    for (own, url, here) in [
        (&at_corp, "https://a.example/q", "http://y.corp/g/deep/q"),
        (
            &at_b,
            "https://b.example/deep/q",
            "http://y.b.corp/g/deep/q",
        ),
        (
            &at_x,
            "https://c.example/g/deep/q",
            "http://x.b.corp/g/deep/q",
        ),
        (&at_b, "https://c.example/q", "http://x.b.corp/q"),
    ] {
        assert_eq!(down(own, url), here);
        assert_eq!(up(own, here), url);
    }
    // At these hosts another route answers.
    for (links, url) in [
        (&at_b, "https://a.example/q"),
        (&at_x, "https://a.example/q"),
        (&at_x, "https://b.example/q"),
    ] {
        assert_eq!(down(links, url), url);
    }
}

#[test]
fn a_port_or_a_name_alone_is_not_ours() {
    let at = |public, host| links_at(public, two(), 0, host);
    let (asked, public) = (
        at(None, "proxy.corp:8443"),
        at(Some("https://api.corp:8443/base"), "inner:8080"),
    );
    for (links, ours, others) in [
        (
            &asked,
            "http://PROXY.corp:8443/graph/x",
            [
                "http://other.corp:8443/graph/x",
                "http://proxy.corp:8444/graph/x",
            ],
        ),
        (
            &public,
            "https://api.corp:8443/base/graph/x",
            [
                "https://other.corp:8443/base/graph/x",
                "https://api.corp:8444/base/graph/x",
            ],
        ),
    ] {
        assert_eq!(up(links, ours), "https://graph.microsoft.com/x");
        for other in others {
            assert_eq!(up(links, other), other);
        }
    }
    // Where a front end took the TLS off.
    let links = at(None, "Proxy.corp");
    let ours = "https://proxy.CORP/graph/x";
    assert_eq!(up(&links, ours), "https://graph.microsoft.com/x");
}
