//! Links in the answers to multipart batches.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::rewrite::address::Links;
use crate::rewrite::multipart::boundary;
use crate::rewrite::sample::{links_at, rewrite, two};
use crate::rewrite::{Asked, Representation, Rewriter, plan};

fn dynamics() -> Links {
    links_at(None, two(), 1, "localhost:8080")
}

const UP: &str = "https://contoso-fake.crm4.dynamics.com";
const DOWN: &str = "http://localhost:8080/dynamics";

/// The rewriter of an answer of this media type.
fn planned(kind: &'static str) -> Rewriter {
    let asked = Asked {
        method: &Method::POST,
        file: false,
        batch: true,
    };
    let kind = HeaderValue::from_static(kind);
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
    let representation = Representation::of(&headers);
    let (status, links) = (StatusCode::OK, dynamics());
    plan(&asked, status, &mut headers, representation, links).unwrap()
}

/// The answer rewritten, the same for every cut. `^` is an upstream link that is rewritten, `UP`
/// one that is not, `~` where the route's path is put; lines end in CRLF.
fn check(template: &str) {
    check_lines(template, "\r\n");
}

/// The same with lines that end so.
fn check_lines(template: &str, line_end: &str) {
    let template = template.replace('\n', line_end);
    let links = template.matches(['^', '~']).count();
    let input = template.replace('^', UP).replace("UP", UP).replace('~', "");
    let expected = template
        .replace('^', DOWN)
        .replace("UP", UP)
        .replace('~', "/dynamics")
        .replace(&format!("Content-Length: 3{line_end}"), "");
    let output = |cuts: &[usize]| {
        let mut rewriter = planned("multipart/mixed; boundary=\"batchresponse_1\"");
        let mut from = 0;
        let chunks: Vec<_> = cuts
            .iter()
            .copied()
            .chain([input.len()])
            .map(|cut| &input.as_bytes()[std::mem::replace(&mut from, cut)..cut])
            .filter(|chunk| !chunk.is_empty())
            .collect();
        let output = rewrite(&mut rewriter, chunks).unwrap();
        assert_eq!(rewriter.links(), links as u64, "{cuts:?}");
        String::from_utf8(output).unwrap()
    };
    assert_eq!(output(&[]), expected);
    for cut in 0..input.len() {
        assert_eq!(output(&[cut]), expected, "cut at {cut}");
    }
    assert_eq!(output(&(0..input.len()).collect::<Vec<_>>()), expected);
}

#[test]
fn heads_and_json_bodies_of_parts_and_change_sets_are_rewritten() {
    check(
        r#"preamble UP
--batchresponse_1
Content-Type: application/http
Content-Transfer-Encoding: binary
Content-Length: 3

HTTP/1.1 200 OK
Content-Type: application/json; odata.metadata=minimal
Content-Encoding: Identity
Content-Length: 3
X-Location: UP/x

{"@odata.context":"^/api/data/v9.2/$metadata#accounts(name)","t":"UP",
"@odata.nextLink":"^/n"}
--batchresponse_1
Content-Type: multipart/mixed; boundary=changesetresponse_1

--changesetresponse_1
Content-Type: application/http
Content-ID: 1

HTTP/1.1 204 No Content
OData-Version: 4.0
location: ^/tasks(1)
OData-EntityId: ^/tasks(1)


--changesetresponse_1--
between UP
--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 4

"@odata.nextLink":"UP/"
--batchresponse_1--
epilogue "@odata.nextLink":"UP"
"#,
    );
}

#[test]
fn each_change_set_is_read_up_to_its_end() {
    check(
        r#"--batchresponse_1
Content-Type: multipart/mixed; boundary=c1

--c1
Content-Type: application/http

HTTP/1.1 204 No Content
Location: ^/a

--c1--
Content-Type: application/http

HTTP/1.1 204 No Content
Location: UP/b

--c1
Content-Type: application/http

HTTP/1.1 204 No Content
Location: UP/c

--batchresponse_1
Content-Type: multipart/mixed; boundary=c2

--c2
Content-Type: application/http

HTTP/1.1 204 No Content
Location: ^/d

--batchresponse_1
Content-Type: multipart/mixed; boundary=c3

--c3
Content-Type: application/http

HTTP/1.1 204 No Content
Location: ^/e

--batchresponse_1--
"#,
    );
}

#[test]
fn a_part_ends_at_a_delimiter_wherever_it_stands() {
    check_lines(
        r#"--batchresponse_1
Content-Type: application/http

HTTP/1.1 204 No Content
Content-Type: application/json

--batchresponse_1
Content-Type: application/http

HTTP/1.1 204 No Content
Location: ^/0

--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Location: UP/a
--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Location: ^/b
Content-Type: application/json

{"@odata.nextLink":"^/c"}
--batchresponse_1--
"#,
        "\n",
    );
}

#[test]
fn headers_in_a_batch_lead_to_no_other_route_and_tickets_nowhere() {
    check(
        r#"--batchresponse_1
Content-Type: application/http

HTTP/1.1 302 Found
Location: https://graph.microsoft.com/v1.0/x
Content-Location: UP/x?a&sig=1
OData-EntityId: ^/x

--batchresponse_1
Content-Type: application/http

HTTP/1.1 202 Accepted
Content-Type: application/json
Location: UP/x?tempauth=1

{"@odata.nextLink":"UP/x?tempauth=1","@odata.context":"^/"}
--batchresponse_1
Content-Type: application/http

HTTP/1.1 201 Created
Location: /x

--batchresponse_1
Content-Type: application/http

HTTP/1.1 302 Found
Location: ~/x
Content-Location: /x
OData-EntityId: ^/x#tempauth=1

--batchresponse_1--
"#,
    );
}

#[test]
fn what_is_no_message_or_lies_too_deep_is_left_as_it_is() {
    check(
        r#"--batchresponse_1
Content-Type: text/plain
Content-Length: 4

UP/x
--batchresponse_1
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: application/http

HTTP/1.1 204 No Content
Location: UP/x

--b--
--a--
--batchresponse_1--
"#,
    );
}

#[test]
fn a_head_beyond_reason_ends_the_search_for_links() {
    let part = "--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\n";
    let long = "x".repeat(128 * 1024);
    let text = format!("{part}A: {long}\r\nLocation: {UP}/x\r\n\r\n{part}Location: {UP}/x\r\n\r\n");
    let mut rewriter = planned("multipart/mixed; boundary=b");
    let output = rewrite(&mut rewriter, text.as_bytes().chunks(1000)).unwrap();
    assert!(output == text.as_bytes());
}

#[test]
fn what_only_looks_like_a_delimiter_is_text() {
    check(
        r#"--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Content-Type: application/json

{"a":"
--batchresponse_12
--batchresponse
--
-
 --batchresponse_1
","@odata.nextLink":"^/"}
--batchresponse_1 "@odata.nextLink":"^/"
--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Content-Type: text/plain

--batchresponse_1 "@odata.nextLink":"UP/"
--batchresponse_1--
"#,
    );
}

#[test]
fn each_body_is_a_document_of_its_own() {
    check(
        r#"--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Content-Type: application/json

{"@odata.nextLink":
--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Content-Type: application/json

"UP/"
--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Content-Type: application/json
Content-Encoding: gzip

{"@odata.nextLink":"UP/"}
--batchresponse_1--"#,
    );
}

#[test]
fn broken_batches_lose_no_byte() {
    for text in [
        "",
        "\n",
        "--batchresponse_1",
        "--batchresponse_1\n",
        "--batchresponse_1\nContent-Type: application/http\n\nHTTP/1.1 200 OK\nLocation: UP/",
        "--batchresponse_1\nContent-Type: application/http\n\nHTTP/1.1 200 OK\n\
         Content-Type: application/json\n\n{\"@odata.nextLink\":\"UP",
        "--batchresponse_1\n--batchresponse_1\n\n--batchresponse_1--\n",
        "--batchresponse_1--\nLocation: UP/\n",
        "--batchresponse_1\nContent-Type: multipart/mixed; boundary=\n\n--\n",
    ] {
        check(text);
    }
    let long = format!(
        "--batchresponse_1\nA: {}\n\nLocation: UP/\n",
        "x".repeat(300)
    );
    check(&long);
}

#[test]
fn what_has_no_end_is_not_held() {
    let part = "--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\n";
    // A head, a line that begins like a delimiter, and JSON in one line.
    let json = "Content-Type: application/json\r\n\r\n{";
    for end in ["A: ", "\r\n--b--", json] {
        let begin = part.to_owned() + end;
        let mut rewriter = planned("multipart/mixed; boundary=b");
        let mut open = 0;
        for _ in 0..200 {
            let chunk = if open == 0 { begin.as_str() } else { "" }.to_owned() + &" ".repeat(1024);
            open += chunk.len();
            rewriter.push(chunk.into());
            while let Some(piece) = rewriter.next().unwrap() {
                open -= piece.len();
            }
        }
        assert!(open <= 1, "{begin}");
    }
}

#[test]
fn only_mixed_parts_are_operations() {
    let longest = "c".repeat(70);
    for (kind, expected) in [
        ("Multipart/Mixed; a=b; Boundary=c", Some("c")),
        ("multipart/mixed;boundary = \"c d\" ; a=b", Some("c d")),
        (
            &format!("multipart/mixed; boundary={longest}"),
            Some(&*longest),
        ),
        (&format!("multipart/mixed; boundary={longest}c"), None),
        ("multipart/mixed; boundary=", None),
        ("multipart/related; boundary=c", None),
        ("multipart/mixed", None),
    ] {
        assert_eq!(boundary(kind).as_deref(), expected, "{kind}");
    }
}
