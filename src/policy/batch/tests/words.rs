//! Bounds of a batch are told as they are.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::config::BaseUrl;
use crate::policy::batch::{BatchContext, MOST, MOST_HEADERS, read, reference};

fn told(kind: &'static str, body: &str) -> String {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let context = BatchContext {
        upstream: &BaseUrl::parse("https://org.crm4.dynamics.com").unwrap(),
        path: "/api/data/v9.2/$batch",
    };
    let refusal = read(&context, &headers, body.as_bytes()).unwrap_err();
    refusal.message.into_owned()
}

fn json(requests: &[String]) -> String {
    let batch = format!(r#"{{"requests":[{}]}}"#, requests.join(","));
    told("application/json", &batch)
}

fn part(boundary: &str, message: &str) -> String {
    format!("--{boundary}\r\nContent-Type: application/http\r\n\r\n{message}\r\n")
}

fn multipart(parts: &str) -> String {
    told("multipart/mixed; boundary=b", &format!("{parts}--b--"))
}

#[test]
fn bounds_of_a_json_batch() {
    let operation = |id: usize, headers: &str| {
        format!(r#"{{"id":"x{id}","method":"GET","url":"a","headers":{{{headers}}}}}"#)
    };
    let many: Vec<_> = (0..=MOST).map(|id| operation(id, "")).collect();
    let words = json(&many);
    let most = format!("more than {MOST} requests");
    assert!(words.contains(&most), "{words}");
    let headers: Vec<_> = (0..=MOST_HEADERS)
        .map(|at| format!(r#""a{at}":"b""#))
        .collect();
    let words = json(&[operation(1, &headers.join(","))]);
    let most = format!("up to {MOST_HEADERS} texts");
    assert!(words.contains(&most), "{words}");
}

#[test]
fn bounds_of_a_multipart_batch() {
    let get = "GET /a HTTP/1.1\r\n\r\n";
    let words = multipart(&part("b", get).repeat(MOST + 1));
    let most = format!("more than {MOST} parts");
    assert!(words.contains(&most), "{words}");
    let set = |boundary: &str| {
        let parts = part(boundary, get).repeat(MOST / 2 + 1);
        format!(
            "--b\r\nContent-Type: multipart/mixed; boundary={boundary}\r\n\r\n{parts}--{boundary}--\r\n"
        )
    };
    let words = multipart(&(set("c") + &set("d")));
    let most = format!("at most {MOST} operations");
    assert!(words.contains(&most), "{words}");
    let headers = "a: b\r\n".repeat(MOST_HEADERS + 1);
    let words = multipart(&part("b", &format!("GET /a HTTP/1.1\r\n{headers}\r\n")));
    let most = format!("more than {MOST_HEADERS} headers");
    assert!(words.contains(&most), "{words}");
    let long = format!(
        "PUT /{} HTTP/1.1\r\nContent-ID: 1\r\n\r\n",
        "a".repeat(reference::LONGEST)
    );
    let words = multipart(&(part("b", &long) + &part("b", "GET $1 HTTP/1.1\r\n\r\n")));
    let most = format!("more than {} bytes", reference::LONGEST);
    assert!(words.contains(&most), "{words}");
}
