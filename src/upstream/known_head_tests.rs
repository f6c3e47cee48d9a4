//! Heads that are like one that came before.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, Response};
use proptest::prelude::*;

use super::Breakage;
use super::answer_head::Heads;
use super::framing::{Framing, conclude};
use crate::config::HeaderEdits;
use crate::policy::response_header::{ResponseRules, Settled};
use crate::rewrite::sample::graph;
use crate::rewrite::{Asked, Representation, plan};

type Read = (Response<Settled>, Framing, bool);

fn read(heads: &mut Heads, method: &Method, text: &str) -> Result<Read, Breakage> {
    read_for(heads, method, text, false)
}

fn read_for(
    heads: &mut Heads,
    method: &Method,
    text: &str,
    rewrites: bool,
) -> Result<Read, Breakage> {
    let head = heads.read(&mut BytesMut::from(text), rewrites)?;
    let (response, known) = head.ok_or(Breakage::Ended)?;
    conclude(method, response, known)
}

/// What is to be the same for all that reads it: where the answer ends, its head before these rules
/// as far as it is read there, and after them, with whether there are links in it and what it says of
/// its body.
fn outcome(read: &Read, rules: &ResponseRules) -> impl PartialEq + std::fmt::Debug + use<> {
    let (response, framing, persists) = read;
    let (settled, mut ruled) = (*response.body(), response.headers().clone());
    let mut came = ruled.clone();
    rules.unread().strip(&mut came, settled);
    let linked = rules.apply(&mut ruled, settled);
    let representation = rules.representation(&ruled, settled);
    (*framing, *persists, linked, representation, [came, ruled])
}

/// What goes down, where links are rewritten.
fn goes_down(
    read: Read,
    asked: &Asked<'_>,
    rules: &ResponseRules,
) -> impl PartialEq + std::fmt::Debug + use<> {
    let (response, framing, persists) = read;
    let (settled, status) = (*response.body(), response.status());
    let mut fields = response.into_parts().0.headers;
    let linked = rules.apply(&mut fields, settled);
    let representation = rules.representation(&fields, settled);
    let plan = plan(asked, status, &mut fields, representation, graph());
    (framing, persists, linked, plan.is_some(), fields)
}

#[test]
fn a_value_that_has_varied_is_read_where_it_is_as_at_first_too() {
    let mut heads = Heads::default();
    for values in [
        ["1", "1", "1"],
        ["2", "1", "1"],
        ["1", "2", "2"],
        ["3", "2", "1"],
    ] {
        let [a, b, c] = values;
        let text = format!("HTTP/1.1 200 OK\r\na: {a}\r\nb: {b}\r\nc: {c}\r\n\r\n");
        let head = heads.read(&mut BytesMut::from(text.as_str()), false);
        let (response, _) = head.unwrap().unwrap();
        let read = ["a", "b", "c"].map(|name| response.headers()[name].to_str().unwrap());
        assert_eq!(read, values);
    }
}

#[test]
fn a_value_that_varies_comes_down_in_its_place_where_others_are_taken_away() {
    let heads = &mut Heads::default();
    for number in 0..4 {
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x-a\r\nKeep-Alive: {number}\r\n\
             x-a: {number}\r\nDate: {number}\r\nTE: a\r\nETag: {number}\r\n\r\n"
        );
        let (response, known) = heads
            .read(&mut BytesMut::from(&*text), false)
            .unwrap()
            .unwrap();
        assert_eq!(known.is_some(), number > 0, "only the first is read");
        let (response, ..) = conclude(&Method::GET, response, known).unwrap();
        let mut left = response.headers().clone();
        for name in ["date", "etag"] {
            assert_eq!(left.remove(name).unwrap(), &*number.to_string(), "{name}");
        }
        for name in [
            "content-length",
            "x-content-type-options",
            "cross-origin-resource-policy",
        ] {
            assert!(left.remove(name).is_some(), "{name}");
        }
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn what_nobody_reads_is_gone_before_the_rules_and_a_challenge_is_not() {
    let rules = ResponseRules::new(&[], &HeaderEdits::default());
    let heads = &mut Heads::new(rules.unread());
    let text = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Bearer\r\n\
        Strict-Transport-Security: max-age=9\r\nLocation: /\r\n\r\n";
    for is_known in [false, true] {
        let (response, ..) = read(heads, &Method::GET, text).unwrap();
        let (settled, mut fields) = (*response.body(), response.into_parts().0.headers);
        assert_eq!(fields["www-authenticate"], "Bearer");
        assert_eq!(fields.contains_key("strict-transport-security"), !is_known);
        assert!(rules.apply(&mut fields, settled), "there is a link");
        for name in ["www-authenticate", "strict-transport-security"] {
            assert!(!fields.contains_key(name), "{name}");
        }
    }
}

#[test]
fn a_page_is_of_no_origin_among_answers_of_another_type() {
    let heads = &mut Heads::default();
    for kind in [
        "application/json",
        "text/html",
        "application/json",
        "text/html",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: {kind}\r\n\r\n");
        let (response, ..) = read(heads, &Method::GET, &text).unwrap();
        let sandboxed = response.headers().contains_key("content-security-policy");
        assert_eq!(sandboxed, kind == "text/html");
    }
}

#[test]
fn what_a_head_says_of_its_body_goes_by_its_own_values_and_what_the_route_leaves_of_them() {
    let remove = vec![HeaderName::from_static("content-disposition")];
    let set = Vec::new();
    for edits in [HeaderEdits { set, remove }, HeaderEdits::default()] {
        let rules = ResponseRules::new(&[], &edits);
        let heads = &mut Heads::new(rules.unread());
        for kind in ["attachment", "attachment", "inline", "attachment"] {
            let text = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: application/json\r\n\
                 Content-Disposition: {kind}\r\n\r\n"
            );
            let (response, ..) = read(heads, &Method::GET, &text).unwrap();
            let (settled, mut fields) = (*response.body(), response.into_parts().0.headers);
            rules.apply(&mut fields, settled);
            let said = rules.representation(&fields, settled);
            assert_eq!(said, Representation::of(&fields), "{kind} {edits:?}");
        }
    }
}

#[test]
fn a_head_whose_length_varies_is_known_and_ends_where_it_says_itself() {
    let (heads, rules) = (
        &mut Heads::default(),
        ResponseRules::new(&[], &HeaderEdits::default()),
    );
    for (number, length) in ["5", "12", "0", "005", "", "5, 5", "-1", "7"]
        .iter()
        .enumerate()
    {
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let is_plain = !["005", "", "5, 5", "-1"].contains(length);
        let (_, known) = heads
            .read(&mut BytesMut::from(&*text), false)
            .unwrap()
            .unwrap();
        assert_eq!(known.is_some(), is_plain && number > 0, "{length}");
        let [alike, first] = [&mut *heads, &mut Heads::default()].map(|heads| {
            let read = read(heads, &Method::GET, &text);
            read.map(|read| outcome(&read, &rules))
                .map_err(|error| error.to_string())
        });
        assert_eq!(alike, first, "{length}");
    }
}

/// A field of each kind that a rule is about, and some that none is.
fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
        "Keep-Alive",
        "Content-Type",
        "Content-Disposition",
        "Content-Encoding",
        "Accept-Ranges",
        "Digest",
        "Content-Security-Policy",
        "X-Content-Type-Options",
        "Cross-Origin-Resource-Policy",
        "Set-Cookie",
        "Strict-Transport-Security",
        "WWW-Authenticate",
        "Access-Control-Allow-Origin",
        "Access-Control-X",
        "Location",
        "Date",
        "ETag",
        "x-a",
    ]);
    let value = prop::sample::select(vec![
        "",
        "5",
        "005",
        "chunked",
        "gzip, chunked",
        "close",
        "keep-alive",
        "x-a, date, content-type",
        "etag",
        "text/html",
        "application/json",
        "attachment",
        "gzip",
        "0",
        "same-site",
        "a\u{b}b",
    ]);
    (name, value).prop_map(|(name, value)| format!("{name}: {value}\r\n"))
}

/// Heads of which most have the names of another one, in its order.
fn heads() -> impl Strategy<Value = Vec<String>> {
    // Most say where the answer ends: of others nothing is known.
    let end = prop::sample::select(vec![
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "",
    ]);
    let kind = (end, prop::collection::vec(line(), 0..7)).prop_map(|(end, mut lines)| {
        lines.insert(lines.len() / 2, end.to_owned());
        lines
    });
    let names = prop::collection::vec(kind, 1..4);
    let changes = prop::collection::vec((any::<[prop::sample::Index; 2]>(), line()), 1..24);
    (names, changes).prop_map(|(mut kinds, changes)| {
        let mut texts = Vec::new();
        for ([kind, at], line) in changes {
            let lines = kind.get_mut(&mut kinds);
            let at = at.index(lines.len());
            // Another value, and now and then another name.
            let (name, value) = (lines[at].find(':'), line.find(':'));
            let name = name.filter(|_| line.len() % 8 > 0).unwrap_or(0);
            let value = value.filter(|_| name > 0).unwrap_or(0);
            lines[at] = [&lines[at][..name], &line[value..]].concat();
            texts.push(lines.concat());
        }
        texts
    })
}

fn rules() -> impl Strategy<Value = ResponseRules> {
    let names = || {
        let all = [
            "set-cookie",
            "strict-transport-security",
            "access-control-x",
            "connection",
            "content-type",
            "content-disposition",
            "date",
            "etag",
            "x-a",
        ];
        let one = prop::sample::select(all.to_vec());
        prop::collection::vec(one.prop_map(HeaderName::from_static), 0..3)
    };
    (names(), names(), names()).prop_map(|(keep, remove, set)| {
        let ours = HeaderValue::from_static("ours");
        let set = set.into_iter().map(|name| (name, ours.clone())).collect();
        ResponseRules::new(&keep, &HeaderEdits { remove, set })
    })
}

/// What answers say of their bodies; first what may vary in such as are alike.
const SAID: [(&str, &[&str]); 8] = [
    ("Date", &["1", "2", "3"]),
    ("Content-Length", &["5", "12", "0", "0", "005"]),
    ("Accept-Ranges", &["bytes", "none"]),
    ("Digest", &["a", "b"]),
    (
        "Content-Type",
        &["application/json", "text/json", "text/plain"],
    ),
    ("Content-Encoding", &["gzip", "identity", "br"]),
    ("Content-Disposition", &["inline", "inline", "attachment"]),
    ("Transfer-Encoding", &["chunked"]),
];

/// Heads with the same names, each like the one before but for one value: mostly one by which they
/// stay alike, for no other comes amended.
fn said() -> impl Strategy<Value = Vec<String>> {
    let value = any::<prop::sample::Index>;
    let line = prop_oneof![19 => 0..4_usize, 1 => 4..SAID.len()];
    let changes = prop::collection::vec((line, value()), 1..12);
    let there = SAID.map(|(name, _)| match name {
        "Content-Length" | "Content-Type" => 0.9,
        "Transfer-Encoding" => 0.1,
        _ => 0.5,
    });
    (
        there.map(prop::bool::weighted),
        there.map(|_| value()),
        changes,
    )
        .prop_map(|(there, mut values, changes)| {
            let head = |values: &[prop::sample::Index; SAID.len()]| {
                let said = SAID
                    .iter()
                    .zip(values)
                    .zip(there)
                    .filter(|(_, there)| *there);
                said.map(|(((name, all), value), _)| format!("{name}: {}\r\n", value.get(all)))
                    .collect()
            };
            let change = |(at, value)| {
                values[at] = value;
                head(&values)
            };
            changes.into_iter().map(change).collect()
        })
}

proptest! {
    #[test]
    fn what_goes_down_is_the_same_for_a_head_that_came_before(
        texts in said(),
        rules in prop_oneof![Just(ResponseRules::new(&[], &HeaderEdits::default())), rules()],
        method in prop::sample::select(vec![Method::GET, Method::HEAD]),
        status in prop::sample::select(vec![
            "200 OK",
            "201 Created",
            "204 No Content",
            "206 Partial Content",
            "401 Unauthorized",
        ]),
        file in prop::sample::select(vec![false, false, false, true]),
        batch in any::<bool>(),
    ) {
        let heads = &mut Heads::new(rules.unread());
        let asked = &Asked { method: &method, file, batch };
        for lines in &texts {
            let text = &format!("HTTP/1.1 {status}\r\n{lines}\r\n");
            let alike = read_for(heads, &method, text, !file && !rules.edits());
            let first = read(&mut Heads::default(), &method, text);
            let [alike, first] = [alike, first].map(|read| {
                // A refusal is read before it goes down, if it does.
                let refusal = |read: &Read| status.starts_with('4').then(|| outcome(read, &rules));
                let read = read.map(|read| (refusal(&read), goes_down(read, asked, &rules)));
                read.map_err(|error| error.to_string())
            });
            prop_assert_eq!(alike, first, "{:?}", text);
        }
    }

    #[test]
    fn what_comes_of_a_head_does_not_go_by_those_before(
        texts in heads(),
        rules in rules(),
        method in prop::sample::select(vec![Method::GET, Method::HEAD]),
        status in prop::sample::select(vec!["200 OK", "204 No Content"]),
    ) {
        let heads = &mut Heads::new(rules.unread());
        for lines in &texts {
            let text = &format!("HTTP/1.1 {status}\r\n{lines}\r\n");
            let first = &mut Heads::default();
            let [alike, first] = [&mut *heads, first].map(|heads| {
                let read = read(heads, &method, text);
                read.map(|read| outcome(&read, &rules)).map_err(|error| error.to_string())
            });
            prop_assert_eq!(alike, first, "{:?}", text);
        }
    }
}
