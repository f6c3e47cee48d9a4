//! References between the operations of a batch.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::code::Code;
use crate::config::BaseUrl;
use crate::policy::Refusal;
use crate::policy::batch::{BatchContext, read};

/// The paths of the operations in a batch below `/odata`.
fn paths(upstream: &str, kind: &'static str, body: &str) -> Result<Vec<String>, Refusal> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let upstream = BaseUrl::parse(upstream).unwrap();
    let path = "/odata/$batch";
    let context = BatchContext {
        upstream: &upstream,
        path,
    };
    let operations = read(&context, &headers, body.as_bytes())?;
    Ok(operations.into_iter().map(|one| one.path).collect())
}

/// A multipart batch of operations with an id, if not empty.
fn multipart(operations: &[(&str, &str)]) -> Result<Vec<String>, Refusal> {
    let part = |(id, line): &(&str, &str)| {
        let id = if id.is_empty() {
            String::new()
        } else {
            format!("Content-ID: {id}\r\n")
        };
        format!("--b\r\nContent-Type: application/http\r\n{id}\r\n{line} HTTP/1.1\r\n\r\n\r\n")
    };
    let body: String = operations.iter().map(part).collect();
    let kind = "multipart/mixed;boundary=b";
    paths("https://api.contoso.com", kind, &(body + "--b--"))
}

fn request(id: &Value, line: &str) -> Value {
    let (method, url) = line.split_once(' ').unwrap();
    json!({"id": id, "method": method, "url": url})
}

/// A JSON batch of the same.
fn json(operations: &[(Value, &str)]) -> Result<Vec<String>, Refusal> {
    let requests = operations.iter().map(|(id, line)| request(id, line));
    let body = json!({"requests": requests.collect::<Vec<_>>()}).to_string();
    paths("https://api.contoso.com", "application/json", &body)
}

const MAKE: (&str, &str) = ("a", "POST /odata/Orders");

/// Whether operation 2 is refused because of this id.
fn blames(refusal: &Refusal, id: &str) -> bool {
    let named = format!("\"${id}\"");
    refusal.code == Code::BadRequest
        && refusal.message.contains("operation 2 of the batch")
        && refusal.message.contains(&named)
        && refusal.message.contains("another id")
}

#[test]
fn a_reference_stands_at_the_beginning_of_a_target_and_nowhere_else() {
    for line in [
        "GET /odata/Status?$a/Customer/Secrets",
        "GET /odata/Status?x=1&y='$a'",
        "GET /odata/Status?$a",
        "PATCH /odata/Drafts/$a/Customer",
        "GET /odata/Drafts('$a')",
        "GET https://api.contoso.com/odata/Drafts?$a",
        "GET /odata/Drafts?$$a",
        "GET /odata/Drafts?$b$a/x",
        "GET /odata/Drafts/%24a/Customer",
        "GET /odata/Drafts/%2524%2561",
        "GET /odata/Drafts?$%61",
        "GET /odata/Drafts?$a%62",
        "GET /odata/Drafts?$%61%2562",
        "GET /odata/Drafts?$%2561%252562",
        "GET /odata/Drafts/%c0%a4a/Customer",
        "GET /odata/Drafts?%25c0%25a4%c1%a1",
        "GET $a/Lines/$a",
        "GET $a?$a/Secrets",
    ] {
        for id in ["", "2"] {
            let refusal = multipart(&[MAKE, (id, line)]).unwrap_err();
            assert!(blames(&refusal, "a"), "{line}: {}", refusal.message);
        }
    }
    // Of the whole batch, in whatever order, and one's own.
    let late = multipart(&[("", "GET /odata/x"), ("b", "GET /odata/x?$b"), MAKE]);
    assert!(blames(&late.unwrap_err(), "b"));
    let late = multipart(&[("", "GET /odata/x"), ("b", "GET /odata/x?$a"), MAKE]);
    assert!(blames(&late.unwrap_err(), "a"));
    for line in [
        "GET /odata/Status?$top=1&$filter=x eq '$'".replace(' ', "%20"),
        "GET /odata/Status?$aa/x".to_owned(),
        "GET /odata/Status?$a-/x".to_owned(),
        "GET /odata/Status?$A/a".to_owned(),
        "GET /odata/Orders/$count".to_owned(),
        "GET /odata/a/$value?a=%24".to_owned(),
    ] {
        let line = line.replacen("%20", " ", 1);
        let read = multipart(&[MAKE, ("2", &line)]);
        assert!(read.is_ok(), "{line}");
    }
}

#[test]
fn the_id_of_a_change_set_or_among_an_operations_headers_counts_as_well() {
    let body = |set: &str, message: &str| {
        format!(
            "--b\r\nContent-Type: application/http\r\n\r\nGET /odata/x HTTP/1.1\r\n\r\n\r\n\
             --b\r\nContent-Type: application/http\r\n\r\nGET /odata/x?$a/y HTTP/1.1\r\n\r\n\r\n\
             --b\r\nContent-Type: multipart/mixed; boundary=c\r\n{set}\r\n\
             --c\r\nContent-Type: application/http\r\n\r\nPOST /odata/x HTTP/1.1\r\n{message}\r\n{{}}\r\n--c--\r\n--b--"
        )
    };
    let read = |body: &str| {
        paths(
            "https://api.contoso.com",
            "multipart/mixed;boundary=b",
            body,
        )
    };
    let id = "Content-ID: a\r\n";
    assert!(read(&body("", "")).is_ok());
    for body in [body(id, ""), body("", id), body(id, id)] {
        assert!(blames(&read(&body).unwrap_err(), "a"), "{body}");
    }
}

#[test]
fn a_json_batch_has_references_outside_of_graph() {
    let make = || (json!("a"), "POST Orders");
    for line in [
        "GET Status?$a/Customer",
        "GET Drafts/$a/x",
        "GET /odata/Drafts/$a",
        "GET Drafts/%24a",
        "GET $a?$a",
        "GET $a(1)",
        "GET $a#/x",
    ] {
        let refusal = json(&[make(), (json!("2"), line)]).unwrap_err();
        let unread = refusal.message.contains("fragment");
        assert!(unread || blames(&refusal, "a"), "{line}");
    }
    let read = |id: Value, line: &str| json(&[(id, "POST Orders"), (json!("2"), line)]);
    for line in ["GET Status?$1/Customer", "GET Drafts/$1/x"] {
        for id in [json!("1"), json!(1)] {
            assert!(blames(&read(id, line).unwrap_err(), "1"), "{line}");
        }
    }
    assert_eq!(
        read(json!("a"), "GET $a/Lines?$top=1").unwrap(),
        ["/odata/Orders", "/odata/Orders(…)/Lines"]
    );
    assert_eq!(
        read(json!("a"), "GET $metadata").unwrap(),
        ["/odata/Orders", "/odata/$metadata"]
    );
    assert_eq!(
        read(json!("a'b"), "GET $a'b/x").unwrap(),
        ["/odata/Orders", "/odata/$a'b/x"]
    );
    for line in ["GET $a/../x", "GET $a/$batch", "GET $a/\n", "GET $a?x=\n"] {
        assert!(read(json!("a"), line).is_err(), "{line}");
    }
    // What could be read as another id, or as none.
    for id in [json!(1.0), json!(-1), json!(true), json!([1]), json!("é")] {
        assert_eq!(read(id, "GET x").unwrap_err().code, Code::BadRequest);
    }
    assert!(read(json!(null), "GET x?$1").is_ok());
    let header = json!({"requests": [
        {"method": "POST", "url": "x", "headers": {"Content-ID": "a"}},
        {"method": "GET", "url": "x?$a"},
    ]});
    let upstream = "https://api.contoso.com";
    let refusal = paths(upstream, "application/json", &header.to_string()).unwrap_err();
    assert!(blames(&refusal, "a"));
}

#[test]
fn what_odata_names_itself_is_no_reference() {
    for name in ["metadata", "Entity", "all"] {
        let line = format!("GET ${name}");
        let refusal = json(&[(json!(name), "GET Orders"), (json!("2"), &line)]).unwrap_err();
        assert!(blames(&refusal, name), "{}", refusal.message);
        let refusal = multipart(&[(name, "GET /odata/Orders"), ("2", &line)]).unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest);
    }
    let refusal = json(&[(json!(""), "GET Orders"), (json!("2"), "GET $/x")]);
    assert_eq!(refusal.unwrap(), ["/odata/Orders", "/odata/$/x"]);
}

#[test]
fn references_do_not_multiply_a_long_path() {
    let read = |length: usize| {
        let make = format!("POST /odata/{}", "x".repeat(length));
        let mut operations = vec![("a", make.as_str())];
        operations.resize(5000, ("", "PUT $a/y"));
        let read = multipart(&operations).map_err(|refusal| refusal.code)?;
        Ok(read.iter().map(String::len).sum::<usize>())
    };
    assert!(read(2000).unwrap() < 11 << 20);
    assert_eq!(read(100_000), Err(Code::BadRequest));
    // A reference to what a reference made is as long as both.
    let line = |id: usize| format!("PUT ${id}/{}", "y".repeat(1000));
    let chain = [line(1), line(2), line(3), line(4)];
    let mut operations = vec![("1", "POST /odata/x")];
    operations.extend(
        ["2", "3", "4", "5"]
            .into_iter()
            .zip(chain.iter().map(String::as_str)),
    );
    assert_eq!(multipart(&operations[..3]).unwrap().len(), 3);
    let refusal = multipart(&operations).unwrap_err();
    assert!(refusal.message.contains("2048"), "{}", refusal.message);
}

#[test]
fn a_json_batch_of_graph_has_no_references() {
    let body = json!({"requests": [
        request(&json!("count"), "GET /users/$count"),
        request(&json!("count"), "GET users?$count=true"),
    ]});
    for upstream in ["https://graph.microsoft.com", "http://localhost:9000"] {
        let upstream = BaseUrl::parse(upstream).unwrap();
        let kind = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        let read = |path: &str| {
            let context = BatchContext {
                upstream: &upstream,
                path,
            };
            read(&context, &headers, body.to_string().as_bytes()).is_ok()
        };
        assert!(read("/v1.0/$batch"));
        assert!(!read("/$batch"));
    }
}

proptest! {
    #[test]
    fn no_spelling_hides_an_id(
        which in prop::collection::vec(0_u8..4, 3),
        front in "[a-z0-9?/$.]{0,8}",
        back in "([/?=&'(][a-z0-9?/]{0,6})?",
    ) {
        let mut target = format!("/odata/x{front}");
        for (byte, times) in "$id".bytes().zip(which) {
            let mut text = char::from(byte).to_string();
            for round in 0..times {
                text = if round == 0 { format!("%{byte:02x}") } else { text.replacen('%', "%25", 1) };
            }
            target.push_str(&text);
        }
        let line = format!("GET {target}{back}");
        prop_assert!(multipart(&[("id", "POST /odata/x"), ("", &line)]).is_err(), "{}", line);
    }
}
