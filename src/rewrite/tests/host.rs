//! Which of several routes a link leads to where their hosts overlap: the one that answers there.

use super::link::{down, up};
use crate::rewrite::sample::{links_at, route};

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
