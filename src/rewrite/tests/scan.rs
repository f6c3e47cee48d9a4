//! What the scanner finds and what it leaves.

use crate::config::RewriteLinks;
use crate::rewrite::address::Links;
use crate::rewrite::sample::{graph, graph_with, scan};
use crate::rewrite::scan::{Piece, Scanner};
use crate::rewrite::text::Text;

/// The output for the text, which has to be the same for every way to cut it in two and for single
/// bytes.
fn scanned_as(links: &Links, kind: &Text, text: &str) -> String {
    let text = text.as_bytes();
    let output = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut scanner = Scanner::of(links.clone(), kind.clone());
        String::from_utf8(scan(&mut scanner, chunks)).unwrap()
    };
    let whole = output(&mut [text].into_iter());
    for cut in 0..=text.len() {
        assert_eq!(
            output(&mut [&text[..cut], &text[cut..]].into_iter()),
            whole,
            "cut at {cut}"
        );
    }
    assert_eq!(output(&mut text.chunks(1)), whole);
    whole
}

fn scanned(links: &Links, text: &str) -> String {
    scanned_as(links, &Text::Answer, text)
}

const UP: &str = "https://graph.microsoft.com";
const DOWN: &str = "http://localhost:8080/graph";

/// `UP` is where an upstream link stands in the template; `^` where one stands that is rewritten.
fn check(links: &Links, template: &str) {
    check_as(links, &Text::Answer, template);
}

fn check_as(links: &Links, kind: &Text, template: &str) {
    let input = template.replace('^', UP).replace("UP", UP);
    let expected = template.replace('^', DOWN).replace("UP", UP);
    assert_eq!(scanned_as(links, kind, &input), expected);
}

#[test]
fn next_delta_and_context_links_are_rewritten_at_any_depth() {
    check(
        &graph(),
        r#"{"@odata.context":"^/v1.0/$metadata#users","@odata.nextLink" : "^/v1.0/users?$skiptoken=%3C%253c",
        "value":[{"members@odata.nextLink":	"^/v1.0/m","@odata.id":"UP/v1.0/i","a":{"b":[[{"@odata.deltaLink":"^?x"}]]}}]}"#,
    );
}

#[test]
fn user_text_is_never_touched() {
    check(
        &graph(),
        r#"{"aboutMe":"see UP/v1.0/ \"@odata.nextLink\":\"UP/v1.0\"","t":"@odata.nextLink","u":"UP/x",
        "\\\"@odata.nextLink\"":"UP","@odata.nextLinks":"UP/","odata.nextLink":"UP/","@odata.nextlink":"UP/",
        "@odata.etag":"W/\"UP\"","@odata.nextLink":" UP/","x":["@odata.nextLink","UP/"]}"#,
    );
    // The second backslash of two begins no escape.
    check(&graph(), r#"{"\\u0040odata.nextLin\u006b":"UP/x"}"#);
    check(&graph(), r#"{"\u0040odata.nextLin\n":"UP/x"}"#);
}

#[test]
fn other_hosts_and_ports_are_never_touched() {
    let links = graph();
    for url in [
        "https://contoso.sharepoint.com/_api?tempauth=1",
        "https://graph.microsoft.com:8443/v1.0",
        "https://graph.microsoft.com.evil.example/",
        "http://graph.microsoft.com/",
        "https://graph.microsoft.com\\\"/",
        "https://graph.microsoft.com\\\\/",
        "https://graph.microsoft.com\\u0000/",
    ] {
        let text = format!(r#"{{"@odata.nextLink":"{url}"}}"#);
        assert_eq!(scanned(&links, &text), text);
    }
}

#[test]
fn escapes_count_as_what_they_mean_and_stay_after_the_origin() {
    let links = graph();
    for (input, output) in [
        (
            r#"{"@odata.nextLink":"https:\/\/graph.microsoft.com\/v1.0\/u\u0073ers"}"#,
            r#"{"@odata.nextLink":"http://localhost:8080/graph\/v1.0\/u\u0073ers"}"#,
        ),
        (
            r#"{"\u0040odata\u002EnextLin\u006b":"HTTPS\u003a\u002f\u002FGraph\u002emicrosoft.com:443\u002fx"}"#,
            r#"{"\u0040odata\u002EnextLin\u006b":"http://localhost:8080/graph\u002fx"}"#,
        ),
        (
            r#"{"a\\\u0040odata.context":"https://graph.microsoft.com","a\\u0040odata.context":"https://graph.microsoft.com"}"#,
            r#"{"a\\\u0040odata.context":"http://localhost:8080/graph","a\\u0040odata.context":"https://graph.microsoft.com"}"#,
        ),
        (
            r#"{"é\u00e9\ud83d\ude00@odata.nextLink":"https://graph.microsoft.com?é"}"#,
            r#"{"é\u00e9\ud83d\ude00@odata.nextLink":"http://localhost:8080/graph?é"}"#,
        ),
    ] {
        assert_eq!(scanned(&links, input), output);
    }
}

#[test]
fn further_names_match_as_a_whole_in_any_spelling() {
    let links = graph_with(
        RewriteLinks::On,
        &["nextLink", "a/b\"c", "é😀", "0", "@odata.id"],
    );
    check(
        &links,
        r#"{"nextLink":"^/1","xnextLink":"UP/2","nextLinkx":"UP/3","\u006eextLink":"^/4","\"nextLink":"UP/5",
        "a/b\"c":"^/6","a\/b\u0022c":"^/7","é😀":"^/8","\u00E9\ud83D\uDE00":"^/9","0":"^/10","\u0030":"^/11",
        "\u0040":"UP/12","10":"UP/13","nextLink":{"nextLink":"^/14"},"nextLink":["UP/15"],"@odata.id":"^/16",
        "x@odata.id":"UP/17","\\u0030":"UP/18","@odata.nextLink":"^/19"}"#,
    );
}

#[test]
fn in_mode_all_every_value_that_begins_with_the_origin_is_a_link() {
    check(
        &graph_with(RewriteLinks::All, &[]),
        r#"{"@odata.id" : "^/1", "UP/key":"^/2","x":["^/3", "^/4",{"UP/k" :1 , "UP/k":"^","UP/k"
        : [ "^" ]}],"t":" UP","u":"see UP","v":"\"UP","h":"h","w":",\"UP", "e":""}"#,
    );
    check(&graph_with(RewriteLinks::All, &[]), "\"^/top\"\n\"^/next\"");
    let all = graph_with(RewriteLinks::All, &[]);
    let escaped = r#"["\u0068ttps:\/\/graph.microsoft.com\/x","HTTPS://GRAPH.microsoft.com"]"#;
    let expected = r#"["http://localhost:8080/graph\/x","http://localhost:8080/graph"]"#;
    assert_eq!(scanned(&all, escaped), expected);
}

#[test]
fn a_link_with_a_ticket_is_never_turned() {
    for mode in [RewriteLinks::On, RewriteLinks::All] {
        check(
            &graph_with(mode, &["url"]),
            r#"{"@odata.nextLink":"UP/v1.0/x?$skiptoken=1&tempauth=2","url":"UP?sig=1","@odata.context":"^/tempauth=1",
            "a@odata.deltaLink" : "UP/x?a=1\u0026AuthToken=x","b@odata.deltaLink":"^/x?sigs=1&b=sig","h":1,
            "@odata.nextLink":"UP/x\u003fauthToken=\u00e9","url":"^/x?$filter=a\"&#&sig=1"}"#,
        );
    }
    check(
        &graph_with(RewriteLinks::All, &[]),
        r#"["UP/x?access_token=1","^/x?y=1"]"#,
    );
}

#[test]
fn addresses_for_whoever_has_them_are_never_turned() {
    check(
        &graph_with(RewriteLinks::All, &["uploadUrl", "href"]),
        r#"{"uploadUrl":"UP/1","downloadUrl" : "UP/2","@microsoft.graph.downloadUrl":"UP/3","@content.downloadUrl":"UP/4",
        "upload\u0055rl":"UP/5","\u0075ploadUrl":"UP/6","uploadUrls":"^/7","xuploadUrl":"^/8","href":"^/9",
        "uploadUrl":null,"a":"^/10","uploadUrl":{"uploadUrl":"UP/11","b":"^/12"},"c":["uploadUrl","^/13"]}"#,
    );
    check(
        &graph_with(RewriteLinks::On, &["uploadUrl", "url"]),
        r#"{"uploadUrl":"UP/1","url":"^/2"}"#,
    );
}

#[test]
fn in_mode_all_only_links_lead_to_other_routes() {
    let links = graph_with(RewriteLinks::All, &["href", "url"]);
    let other = "https://contoso-fake.crm4.dynamics.com";
    let rewritten = "http://localhost:8080/dynamics";
    let text = |up: &str| {
        format!(
            r#"{{"webUrl":"{other}/1","a":"^/","h":0,"href":"{up}/2","url":"{up}/3","\u0068ref":"{up}/4","x@odata.nextLink":"{up}/5",
            "y":{{"href" : "{up}/6"}},"hr":"{other}/7","hrefs":"{other}/8","z":[0,"href","{other}/9"],"http":"{other}/10"}}"#
        )
    };
    let output = text(rewritten).replace('^', DOWN);
    assert_eq!(scanned(&links, &text(other).replace('^', UP)), output);
}

#[test]
fn headers_of_operations_in_a_batch_answer_lead_to_no_other_route() {
    let text = r#"{"responses":[{"headers":{"Location":"https://contoso-fake.crm4.dynamics.com/x"}},
        {"headers":{"Location":"UP/x?tempauth=1","Content-Location":"^/y"}}]}"#;
    check_as(&graph(), &Text::BatchAnswer, text);
}

#[test]
fn a_byte_order_mark_white_space_and_several_documents_do_no_harm() {
    check(
        &graph(),
        "\u{feff} {\"@odata.nextLink\"\r\n\t :\r\n\t \"^/1\"}\n{\"@odata.nextLink\":\"^/2\"}{\"@odata.nextLink\":\"^/3\"}",
    );
    check(
        &graph_with(RewriteLinks::All, &[]),
        "\u{feff}\"^/1\" {\"UP\":\"^/3\"}",
    );
}

#[test]
fn headers_of_operations_in_a_batch_answer_are_links_too() {
    let text = r#"{"responses":[{"id":"1","headers":{"location":"^/1","Content-Type":"UP","Retry-After":3,
        "OData-EntityId" : "^/2","X-Location":"UP/3","Location":null,"Azure-AsyncOperation":"^/4"},
        "body":{"headers":{"Location":"UP/5"},"@odata.nextLink":"^/6","x":"\"headers\":{\"Location\":\"UP"}},
        {"headers" : {"Content-Location":"^/7","a":{"Location":"UP/8"}}},{"\u0068eaders":{"Location":"^/9"}},
        {"headers":{"a\"":"W/\"b\", c","d\\":"","Location":"^/10"}}]}"#;
    check_as(&graph(), &Text::BatchAnswer, text);
    check(
        &graph(),
        r#"{"responses":[{"headers":{"Location":"UP/1"}}]}"#,
    );
    check_as(
        &graph(),
        &Text::BatchAnswer,
        r#"{"headers":{"Location":"UP/1"}}"#,
    );
}

#[test]
fn a_long_run_of_backslashes_takes_no_longer_than_other_text() {
    // Looked at one by one, as many backslashes would take minutes.
    let links = graph_with(RewriteLinks::On, &["a/b"]);
    let run = "\\\\".repeat(500_000);
    let text = format!(r#"{{"{run}":1,"{run}\u0040odata.nextLink":"{UP}","a\/b":"{UP}"}}"#);
    let mut scanner = Scanner::new(links);
    let output = String::from_utf8(scan(&mut scanner, [text.as_bytes()])).unwrap();
    assert_eq!(output, text.replace(UP, DOWN));
}

#[test]
fn broken_text_loses_no_byte() {
    let links = graph();
    for text in [
        r#"{"@odata.nextLink":"https://graph.mic"#,
        r#"{"@odata.nextLink":"https://graph.microsoft.com"#,
        r#"{"@odata.nextLink":"https:\"#,
        r#"{"@odata.nextLink":"#,
        r#"{"@odata.nextLink""#,
        r#"{"@odata.nextLink" "https://graph.microsoft.com/"}"#,
        r#"{"@odata.nextLink":https://graph.microsoft.com/}"#,
        r#"{"@odata.nextLink"::"https://graph.microsoft.com/"}"#,
        "\\\\\\\"\"\"@odata.\"@odata.nextLink",
        "",
    ] {
        assert_eq!(scanned(&links, text), text);
    }
}

#[test]
fn a_very_long_string_is_held_no_longer_than_the_bound() {
    // A link is looked at as a whole, as far as anybody could ask for it.
    for (length, links_found) in [
        (3_000, 1),
        (10_000, 1),
        (60_000, 1),
        (70_000, 0),
        (900_000, 0),
    ] {
        let long = format!(r#"["a","{UP}/{}"]"#, "x".repeat(length));
        let links = graph_with(RewriteLinks::All, &[]);
        let mut scanner = Scanner::new(links);
        let (mut held, mut out) = (0_usize, 0_usize);
        for chunk in long.as_bytes().chunks(100) {
            scanner.push(chunk, |piece| match piece {
                Piece::Add(bytes) => out += bytes.len(),
                Piece::Keep(range) => out += range.len(),
            });
            held += chunk.len();
            assert!(held - out.min(held) < 66_000);
        }
        assert_eq!(scanner.links_found(), links_found, "{length}");
    }
}

#[test]
fn a_chunk_costs_no_allocation() {
    let row = r#"{"id":"7","@odata.etag":"W/\"1\"","mail":"a@b.example","text":"\u0040odata."},"#;
    let link = r#""@odata.nextLink":"https://graph.microsoft.com/v1.0/x","#;
    let chunk = format!("{}{link}{}", row.repeat(60), row.repeat(60)).into_bytes();
    for size in [100, 4096, chunk.len()] {
        let mut scanner = Scanner::of(graph_with(RewriteLinks::On, &["nextLink"]), Text::Answer);
        let mut scan = || {
            let mut length = 0;
            for piece in chunk.chunks(size) {
                scanner.push(piece, |piece| {
                    length += match piece {
                        Piece::Add(bytes) => bytes.len(),
                        Piece::Keep(range) => range.len(),
                    };
                });
            }
            length
        };
        // The first rounds make room for what is kept between chunks.
        assert!(scan() + scan() > chunk.len());
        let counted = allocation_counter::measure(|| {
            for _ in 0..20 {
                scan();
            }
        });
        assert_eq!(counted.count_total, 0, "in chunks of {size}");
    }
}
