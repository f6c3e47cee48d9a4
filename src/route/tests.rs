//! Laws of route finding against a slow reading of its rule, and hard cases by hand.

use http::uri::PathAndQuery;
use proptest::prelude::*;

use super::path::for_upstream;
use super::table::{Found, RouteTable};
use crate::config::{HostPattern, PathPrefix};

type Place = (Option<HostPattern>, PathPrefix);

fn place(host: &str, path: &str) -> Place {
    let host = (!host.is_empty()).then(|| HostPattern::parse(host).unwrap());
    (host, PathPrefix::parse(path).unwrap())
}

fn table(places: &[Place]) -> RouteTable {
    places
        .iter()
        .map(|(host, path)| (host.as_ref(), path))
        .collect()
}

fn found<'a>(places: &[Place], host: &str, path: &'a str) -> Option<(usize, &'a str)> {
    table(places)
        .find(host, path)
        .map(|Found { route, rest }| (route, rest))
}

/// The rule word for word: of all routes that match, the most specific.
fn slowest<'a>(places: &[Place], host: &str, path: &'a str) -> Option<(usize, &'a str)> {
    let matching = places
        .iter()
        .enumerate()
        .filter_map(|(route, (wanted, prefix))| {
            let (rank, suffix) = match wanted {
                None => (0, 0),
                Some(pattern) if !pattern.matches(host) => return None,
                Some(HostPattern::Suffix(name)) => (1, name.as_str().len()),
                Some(HostPattern::Exact(_)) => (2, 0),
            };
            let rest = path.strip_prefix(prefix.as_str())?;
            let whole = rest.is_empty() || rest.starts_with('/');
            whole.then_some(((rank, suffix, prefix.as_str().len()), route, rest))
        });
    // Of equal places the first stays, and `max_by_key` would take the last.
    matching
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, route, rest)| (route, rest))
}

#[test]
fn a_prefix_matches_at_a_segment_boundary_only() {
    let places = [place("", "/graph"), place("", "/graph/beta")];
    for (path, expected) in [
        ("/graph", Some((0, ""))),
        ("/graph/", Some((0, "/"))),
        ("/graph/v1.0/users", Some((0, "/v1.0/users"))),
        ("/graph//x", Some((0, "//x"))),
        ("/graph/beta", Some((1, ""))),
        ("/graph/beta/me", Some((1, "/me"))),
        ("/graph/betas", Some((0, "/betas"))),
        ("/graphs", None),
        ("/graph;x", None),
        ("/graph%2Fv1.0", None),
        ("/%67raph", None),
        ("/Graph", None),
        ("//graph", None),
        ("/", None),
    ] {
        assert_eq!(found(&places, "localhost", path), expected, "{path}");
    }
}

#[test]
fn the_longest_prefix_wins_wherever_it_stands() {
    for order in [["/a", "/a/b"], ["/a/b", "/a"]] {
        let places = order.map(|path| place("", path));
        let prefix = |path| order[found(&places, "", path).unwrap().0];
        assert_eq!(prefix("/a/b/c"), "/a/b");
        assert_eq!(prefix("/a/c"), "/a");
    }
}

#[test]
fn the_root_takes_what_nothing_else_takes() {
    let places = [place("", "/"), place("", "/graph")];
    assert_eq!(found(&places, "localhost", "/"), Some((0, "/")));
    assert_eq!(
        found(&places, "localhost", "//evil/x"),
        Some((0, "//evil/x"))
    );
    assert_eq!(found(&places, "localhost", "/graph/x"), Some((1, "/x")));
}

#[test]
fn an_exact_host_beats_the_longest_suffix_which_beats_no_host() {
    let places = [
        place("", "/api/data"),
        place("*.corp", "/api"),
        place("*.tools.corp", "/api"),
        place("a.tools.corp", "/"),
    ];
    assert_eq!(
        found(&places, "a.tools.corp", "/api/data"),
        Some((3, "/api/data"))
    );
    assert_eq!(
        found(&places, "b.tools.corp", "/api/data"),
        Some((2, "/data"))
    );
    assert_eq!(found(&places, "b.corp", "/api/data"), Some((1, "/data")));
    assert_eq!(found(&places, "corp", "/api/data"), Some((0, "")));
    assert_eq!(found(&places, ".corp", "/api/data"), Some((0, "")));
}

#[test]
fn a_host_without_a_matching_path_does_not_hide_routes_without_host() {
    let places = [
        place("a.corp", "/only"),
        place("*.corp", "/some"),
        place("", "/graph"),
    ];
    assert_eq!(found(&places, "a.corp", "/graph/x"), Some((2, "/x")));
    assert_eq!(found(&places, "a.corp", "/some/x"), Some((1, "/x")));
    assert_eq!(found(&places, "a.corp", "/none"), None);
}

#[test]
fn a_path_that_is_too_long_with_its_prefix_is_an_error() {
    let prefix = PathPrefix::parse("/api").unwrap();
    let asked: PathAndQuery = format!("/{}", "a".repeat(65_530)).parse().unwrap();
    assert!(for_upstream(&prefix, &asked, asked.path(), None).is_err());
}

#[test]
fn an_empty_path_goes_up_as_a_slash_and_a_lone_question_mark_stays() {
    let up = |prefix: &str, below: &str| {
        let prefix = PathPrefix::parse(prefix).unwrap();
        let asked: PathAndQuery = format!("/graph{below}").parse().unwrap();
        let rest = &asked.path()["/graph".len()..];
        let went = for_upstream(&prefix, &asked, rest, None).unwrap();
        assert_eq!(went.parsed().as_str(), went.as_str());
        went.as_str().to_owned()
    };
    assert_eq!(up("/", ""), "/");
    assert_eq!(up("/", "?x=1"), "/?x=1");
    assert_eq!(up("/", "/?"), "/?");
    assert_eq!(up("/api", "?x"), "/api?x");
    assert_eq!(up("/api", "/"), "/api/");
}

fn hosts() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "a",
        "b.a",
        "*.a",
        "*.b.a",
        "c.b.a",
        "*.c.b.a",
        "d.c.b.a",
        "localhost",
    ])
    .prop_map(str::to_owned)
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "b", "a!", "aa", "", "%61"]),
        0..6,
    )
    .prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    #[test]
    fn the_table_finds_the_most_specific_of_all_that_match(
        raw in prop::collection::vec((hosts(), paths()), 0..12),
        host in hosts(),
        path in paths(),
        below in any::<prop::sample::Index>(),
    ) {
        let places: Vec<Place> = raw
            .iter()
            .filter(|(_, path)| PathPrefix::parse(path).is_ok())
            .map(|(host, path)| place(host, path))
            .collect();
        let host = host.trim_start_matches("*.");
        prop_assert_eq!(found(&places, host, &path), slowest(&places, host, &path));
        // Of paths that are made apart hardly one lies below a long prefix.
        if !places.is_empty() {
            let path = format!("{}{path}", below.get(&places).1.as_str());
            prop_assert_eq!(found(&places, host, &path), slowest(&places, host, &path));
        }
    }

    #[test]
    fn prefix_and_rest_are_the_path_that_came(path in paths()) {
        let places = [place("", "/a"), place("", "/a/b"), place("", "/")];
        let (route, rest) = found(&places, "localhost", &path).unwrap();
        prop_assert_eq!(format!("{}{}", places[route].1.as_str(), rest), path);
    }

    #[test]
    fn every_byte_that_arrives_goes_up(
        // As hyper hands it over: some of these are not request targets at all.
        whole in "/[!-\"$-~é]{0,40}(\\?[!-\"$-~é]{0,40})?"
            .prop_filter("a target", |text| text.parse::<PathAndQuery>().is_ok()),
    ) {
        let came: PathAndQuery = whole.parse().unwrap();
        // Of a path of several segments the route may have taken some.
        let cuts = came.path().match_indices('/').map(|(at, _)| at);
        for cut in cuts.chain([came.path().len()]) {
            let rest = &came.path()[cut..];
            for prefix in ["", "/up"] {
                let spec = PathPrefix::parse(&format!("{prefix}/")).unwrap();
                let went = for_upstream(&spec, &came, rest, None).unwrap();
                let root = if prefix.is_empty() && rest.is_empty() { "/" } else { "" };
                prop_assert_eq!(went.as_str(), format!("{prefix}{root}{}", &whole[cut..]));
                let parsed = went.parsed();
                prop_assert_eq!(parsed.as_str(), went.as_str());
                let other = for_upstream(&spec, &came, rest, Some("q")).unwrap();
                prop_assert_eq!(other.as_str(), format!("{prefix}{root}{rest}?q"));
            }
        }
    }
}
