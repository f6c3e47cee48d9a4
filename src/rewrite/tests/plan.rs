//! Which bodies are rewritten, and what becomes of their headers.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::rewrite::decode::DecodeError;
use crate::rewrite::sample::{graph, rewrite};
use crate::rewrite::{Asked, Representation, Rewriter, names_file, plan};

const PAGE: &str =
    r#"{"@odata.nextLink":"https://graph.microsoft.com/v1.0/users?$skip=2","value":[]}"#;
const REWRITTEN: &str =
    r#"{"@odata.nextLink":"http://localhost:8080/graph/v1.0/users?$skip=2","value":[]}"#;

const ASKED: Asked<'_> = Asked {
    method: &Method::GET,
    file: false,
    batch: false,
};

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn planned(asked: &Asked<'_>, status: u16, fields: &[(&str, &str)]) -> Option<Rewriter> {
    let status = StatusCode::from_u16(status).unwrap();
    let mut headers = headers(fields);
    let representation = Representation::of(&headers);
    plan(asked, status, &mut headers, representation, graph())
}

fn decoded(coding: &str, body: &[u8], step: usize) -> Result<Vec<u8>, DecodeError> {
    let fields = [
        ("content-type", "application/json"),
        ("content-encoding", coding),
    ];
    let mut rewriter = planned(&ASKED, 200, &fields).unwrap();
    rewrite(&mut rewriter, body.chunks(step))
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn json_is_rewritten_on_every_status_that_has_a_body() {
    for kind in [
        "application/json",
        "application/json;odata.metadata=minimal;odata.streaming=true;charset=utf-8",
        "Application/JSON ; charset=UTF-8",
        "application/problem+json",
        "application/vnd.x+JSON; a=b",
        "application/x-ndjson",
        "Text/JSON",
    ] {
        for status in [200, 201, 202, 302, 400, 404, 410, 429, 500] {
            assert!(
                planned(&ASKED, status, &[("content-type", kind)]).is_some(),
                "{kind} {status}"
            );
        }
    }
}

#[test]
fn files_are_left_alone() {
    let json = ("content-type", "application/json");
    let path = |path| Asked {
        file: names_file(path),
        ..ASKED
    };
    for (asked, status, fields) in [
        (ASKED, 206, vec![json]),
        (ASKED, 204, vec![json]),
        (ASKED, 304, vec![json]),
        (
            Asked {
                file: true,
                ..ASKED
            },
            200,
            vec![json],
        ),
        (
            Asked {
                method: &Method::HEAD,
                ..ASKED
            },
            200,
            vec![json],
        ),
        (path("/v1.0/users/1/photo/$value"), 200, vec![json]),
        (path("/v1.0/users/1/photo/%24Value/"), 200, vec![json]),
        (
            path("/v1.0/drives/d/root:/a.json:/content"),
            200,
            vec![json],
        ),
        (
            ASKED,
            200,
            vec![
                json,
                ("content-disposition", "Attachment; filename=\"a.json\""),
            ],
        ),
        (ASKED, 200, vec![json, ("content-encoding", "zstd")]),
        (ASKED, 200, vec![json, ("content-encoding", "gzip, gzip")]),
        (ASKED, 200, vec![json, ("content-length", "0")]),
        (
            ASKED,
            200,
            vec![("content-type", "application/json;charset=utf-16")],
        ),
        (
            ASKED,
            200,
            vec![("content-type", "text/json; charset=\"UTF-16LE\"")],
        ),
        (ASKED, 200, vec![("content-type", "text/plain")]),
        (ASKED, 200, vec![("content-type", "application/jsonp")]),
        (ASKED, 200, vec![]),
    ] {
        assert!(
            planned(&asked, status, &fields).is_none(),
            "{asked:?} {status} {fields:?}"
        );
    }
    assert!(planned(&path("/v1.0/contents"), 200, &[json]).is_some());
    let inline = ("content-disposition", "inline; filename=attachment");
    assert!(planned(&ASKED, 200, &[json, inline]).is_some());
}

#[test]
fn headers_that_spoke_of_the_bytes_go_and_the_entity_tag_stays() {
    let fields = [
        ("content-type", "application/json"),
        ("content-length", "10"),
        ("content-encoding", "gzip"),
        ("content-md5", "x"),
        ("digest", "x"),
        ("content-digest", "x"),
        ("repr-digest", "x"),
        ("accept-ranges", "bytes"),
        ("etag", "W/\"1\""),
    ];
    for method in [Method::GET, Method::HEAD] {
        let asked = Asked {
            method: &method,
            ..ASKED
        };
        let mut headers = headers(&fields);
        let (status, representation) = (StatusCode::OK, Representation::of(&headers));
        let planned = plan(&asked, status, &mut headers, representation, graph());
        assert_eq!(planned.is_some(), method == Method::GET);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert_eq!(headers["etag"], "W/\"1\"");
    }
}

#[test]
fn coded_answers_are_decoded_and_rewritten_whatever_the_chunks() {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(PAGE.as_bytes()).unwrap();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
    raw.write_all(PAGE.as_bytes()).unwrap();
    let two_members = [gzip(&PAGE.as_bytes()[..30]), gzip(&PAGE.as_bytes()[30..])].concat();
    for (coding, body) in [
        ("gzip", gzip(PAGE.as_bytes())),
        ("X-GZIP", two_members),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", raw.finish().unwrap()),
    ] {
        for step in [1, 7, body.len()] {
            let text = decoded(coding, &body, step).unwrap();
            assert_eq!(String::from_utf8_lossy(&text), REWRITTEN, "{coding} {step}");
        }
    }
}

#[test]
fn a_cut_or_corrupt_stream_is_an_error_and_an_empty_body_is_not() {
    let mut body = gzip(PAGE.as_bytes());
    for length in 1..body.len() {
        let cut = decoded("gzip", &body[..length], 16);
        assert!(
            matches!(cut, Err(DecodeError::Truncated)),
            "{length}: {cut:?}"
        );
    }
    for coding in ["gzip", "deflate"] {
        assert_eq!(decoded(coding, b"", 1).unwrap(), b"", "{coding}");
    }
    body[20] ^= 0xff;
    assert!(decoded("gzip", &body, 1000).is_err());
    assert!(decoded("gzip", PAGE.as_bytes(), 1000).is_err());
}

#[test]
fn a_stream_that_expands_beyond_reason_is_given_up() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 64 << 20]).unwrap();
    let outcome = decoded("gzip", &encoder.finish().unwrap(), 4096).map(|body| body.len());
    assert!(
        matches!(outcome, Err(DecodeError::Bomb { given, .. }) if given < 20 << 20),
        "{outcome:?}"
    );
}

#[test]
fn large_pieces_are_handed_on_without_a_copy() {
    let mut rewriter = planned(&ASKED, 200, &[("content-type", "application/json")]).unwrap();
    let plain = bytes::Bytes::from(vec![b' '; 10_000]);
    rewriter.push(plain.clone());
    let out = rewriter.next().unwrap().unwrap();
    assert_eq!(out.as_ptr(), plain.as_ptr());
    assert!(rewriter.next().unwrap().is_none());

    let page = bytes::Bytes::from(PAGE.to_owned() + &" ".repeat(10_000));
    rewriter.push(page.clone());
    let head = rewriter.next().unwrap().unwrap();
    let tail = rewriter.next().unwrap().unwrap();
    assert!(head.starts_with(br#"{"@odata.nextLink":"http://localhost:8080/graph"#));
    assert_eq!(tail.as_ptr_range().end, page.as_ptr_range().end);
    assert_eq!(rewriter.links(), 1);
}

#[test]
fn what_is_copied_and_what_is_not_comes_in_order_and_whole() {
    let large = " ".repeat(10_000);
    let text = [&large, PAGE, &large, PAGE, PAGE].concat();
    let mut rewriter = planned(&ASKED, 200, &[("content-type", "application/json")]).unwrap();
    let output = rewrite(&mut rewriter, [text.as_bytes()]).unwrap();
    assert!(output == text.replace(PAGE, REWRITTEN).as_bytes());
}
