//! What scanning costs: it grows with the text and not with its square, whatever the text is and
//! however it comes.

use std::time::Duration;

use crate::clock::processor_time;
use crate::rewrite::address::Links;
use crate::rewrite::sample::{graph, links, route, scan};
use crate::rewrite::scan::Scanner;
use crate::rewrite::text::Text;

/// What it takes to scan `text` in chunks of this length.
fn cost(links: &Links, kind: &Text, text: &str, chunk: usize) -> Duration {
    let mut scanner = Scanner::of(links.clone(), kind.clone());
    let begun = processor_time();
    scan(&mut scanner, text.as_bytes().chunks(chunk));
    processor_time() - begun
}

/// That the second costs less than eight times the first. They take turns, and the least of each counts:
/// a machine may be half as fast for a while, and then both are slow. Five turns do on a quiet one;
/// where others empty its caches more of them tell, and what costs too much costs it in each.
fn assert_cheap(what: &str, costs: [&dyn Fn() -> Duration; 2]) {
    let mut least = [Duration::MAX; 2];
    for turn in 1..=100 {
        for (least, cost) in least.iter_mut().zip(costs) {
            *least = cost().min(*least);
        }
        let [few, many] = least;
        if turn >= 5 && many < few * 8 {
            return;
        }
    }
    panic!("{what}: {least:?}");
}

/// Of four times the text, four times the cost is as it should be, and the square would be sixteen.
fn assert_linear(kind: &Text, chunk: usize, text: impl Fn(usize) -> String) {
    let links = graph();
    let (short, long) = (text(4 << 10), text(16 << 10));
    let of = |text: &str| cost(&links, kind, text, chunk);
    assert_cheap(&format!("by {chunk}"), [&|| of(&short), &|| of(&long)]);
}

#[test]
fn a_link_that_comes_in_many_pieces_is_not_read_again_for_each() {
    for chunk in [1, 16] {
        for unit in ["a", r"\/", r#"\""#] {
            assert_linear(&Text::Answer, chunk, |length| {
                let path = unit.repeat(length / unit.len());
                format!(r#"{{"@odata.nextLink":"https://graph.microsoft.com/{path}"#)
            });
        }
    }
}

#[test]
fn backslashes_are_not_counted_again_for_each_escape_behind_them() {
    assert_linear(&Text::BatchAnswer, usize::MAX, |length| {
        let run = "\\".repeat(length / 2);
        let escapes = r"\u0061".repeat(length / 12);
        format!(r#"{{"responses":[{{"headers":{{"a":{run}[{escapes}"#)
    });
}

#[test]
fn a_link_to_nobody_is_not_compared_with_the_upstream_of_each_route() {
    let text = r#"{"@odata.nextLink":"https://elsewhere.example/"}"#.repeat(100);
    let among = |routes| {
        let upstream = |at| route(&format!("/{at}"), &format!("https://a{at}.example"));
        links((0..routes).map(upstream).collect(), "localhost:8080")
    };
    let (few, many) = (among(10), among(1000));
    let of = |links: &Links| cost(links, &Text::Answer, &text, usize::MAX);
    assert_cheap("routes", [&|| of(&few), &|| of(&many)]);
}

#[test]
fn a_link_is_not_compared_with_each_route_that_it_may_lead_to() {
    let reference = r#"{"@odata.id":"http://a.corp/elsewhere"}"#.repeat(100);
    let link = r#"{"@odata.nextLink":"https://a.example/b/c"}"#.repeat(100);
    let among = |hosts: bool, routes| {
        let place = |at: usize| match hosts {
            true => format!("*.b{at}.corp/r"),
            false => format!("/r{at}"),
        };
        let upstream = |at| route(&place(at), &format!("https://a.example/a{at}"));
        let mut routes: Vec<_> = (0..routes).map(upstream).collect();
        routes.push(route("*.corp/r", "https://a.example/b"));
        links(routes, "a.corp")
    };
    for hosts in [false, true] {
        let (few, many) = (among(hosts, 10), among(hosts, 1000));
        for (kind, text) in [(Text::Request, &reference), (Text::Answer, &link)] {
            let of = |links: &Links| cost(links, &kind, text, usize::MAX);
            let what = format!("{kind:?}, {hosts}");
            assert_cheap(&what, [&|| of(&few), &|| of(&many)]);
        }
    }
}
