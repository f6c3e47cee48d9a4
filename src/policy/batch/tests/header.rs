//! Headers of operations, which both forms are held to alike.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use crate::code::Code;
use crate::config::{BaseUrl, HeaderEdits};
use crate::policy::allow::Allow;
use crate::policy::batch::{BatchContext, check, read};
use crate::policy::request_header::RequestRules;

fn judged(kind: &'static str, body: &str, kept: &[&'static str]) -> Result<(), Code> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let upstream = BaseUrl::parse("https://org.crm4.dynamics.com").unwrap();
    let context = BatchContext {
        upstream: &upstream,
        path: "/api/data/v9.2/$batch",
    };
    let kept: Vec<_> = kept.iter().map(|name| name.parse().unwrap()).collect();
    let rules = RequestRules::new(&kept, &HeaderEdits::default());
    let allow = Allow::new(None, &kept);
    read(&context, &headers, body.as_bytes())
        .and_then(|operations| check(&operations, &allow, &rules))
        .map_err(|refusal| refusal.code)
}

/// What becomes of an operation with this header, in JSON and in multipart.
fn both(name: &str, value: &str, kept: &[&'static str]) -> [Result<(), Code>; 2] {
    let json = format!(
        r#"{{"requests":[{{"id":"1","method":"GET","url":"accounts","headers":{{"{name}":"{value}"}}}}]}}"#
    );
    let multipart = format!(
        "--b\r\nContent-Type: application/http\r\n\r\nGET /api/data/v9.2/accounts HTTP/1.1\r\n{name}: {value}\r\n\r\n\r\n--b--\r\n"
    );
    [
        judged("application/json", &json, kept),
        judged("multipart/mixed; boundary=b", &multipart, kept),
    ]
}

#[test]
fn a_header_that_chooses_a_target_or_a_caller_is_refused_unless_kept() {
    for name in [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Real-IP",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "x-forwarded-prefix",
        "X-Forwarded-New",
    ] {
        let refused = Err(Code::NotAllowed);
        assert_eq!(both(name, "/admin", &[]), [refused, refused], "{name}");
    }
    let kept = ["x-forwarded-for", "x-forwarded-new"];
    for name in kept {
        assert_eq!(both(name, "10.0.0.1", &kept), [Ok(()), Ok(())], "{name}");
    }
}

#[test]
fn a_batch_may_say_in_any_case_that_it_has_no_coding() {
    let upstream = BaseUrl::parse("https://graph.microsoft.com").unwrap();
    let context = BatchContext {
        upstream: &upstream,
        path: "/v1.0/$batch",
    };
    for (coding, read_well) in [("Identity", true), ("identity", true), ("gzip", false)] {
        let json = HeaderValue::from_static("application/json");
        let fields = [
            (CONTENT_TYPE, json),
            (CONTENT_ENCODING, HeaderValue::from_static(coding)),
        ];
        let operations = read(
            &context,
            &HeaderMap::from_iter(fields),
            br#"{"requests":[]}"#,
        );
        assert_eq!(operations.is_ok(), read_well, "{coding}");
    }
}

#[test]
fn a_host_is_the_upstreams_and_nothing_frames_an_operation_anew() {
    let host = |host: &str| both("host", host, &[]);
    assert_eq!(host("org.crm4.dynamics.com"), [Ok(()), Ok(())]);
    let refused = Err(Code::NotAllowed);
    for other in ["evil.example", "org.crm4.dynamics.com:80", ""] {
        assert_eq!(host(other), [refused, refused], "{other}");
    }
    let unreadable = Err(Code::BadRequest);
    for (name, value) in [
        ("Transfer-Encoding", "chunked"),
        ("Content-Encoding", "gzip"),
        ("Expect", "100-continue"),
    ] {
        assert_eq!(both(name, value, &[]), [unreadable, unreadable], "{name}");
    }
}

#[test]
fn the_scheme_of_an_operation_and_the_port_of_its_host_are_the_upstreams() {
    let upstream = BaseUrl::parse("http://localhost").unwrap();
    let kind = HeaderValue::from_static("multipart/mixed;boundary=b");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
    let context = BatchContext {
        upstream: &upstream,
        path: "/$batch",
    };
    let refused = Err(Code::NotAllowed);
    for (origin, host, wanted) in [
        ("http://localhost", "localhost", Ok(())),
        ("HTTP://localhost:80", "localhost:80", Ok(())),
        ("https://localhost", "localhost", refused),
        ("https://localhost:80", "localhost", refused),
        ("http://localhost:443", "localhost", refused),
        ("http://localhost", "localhost:443", refused),
    ] {
        let body = format!(
            "--b\r\nContent-Type: application/http\r\n\r\nGET {origin}/x HTTP/1.1\r\nHost: {host}\r\n\r\n\r\n--b--\r\n"
        );
        let read = read(&context, &headers, body.as_bytes());
        let read = read.map(|_| ()).map_err(|refusal| refusal.code);
        assert_eq!(read, wanted, "{origin} {host}");
    }
}

#[test]
fn what_clients_write_into_operations_passes() {
    for (name, value) in [
        ("Accept", "application/json"),
        ("Accept-Language", "de"),
        ("client-request-id", "1"),
        ("ConsistencyLevel", "eventual"),
        ("Content-ID", "1"),
        ("Content-Type", "application/json; odata.metadata=minimal"),
        ("If-Match", "*"),
        ("If-None-Match", "*"),
        ("MSCRM.SolutionUniqueName", "x"),
        ("MSCRM.SuppressDuplicateDetection", "true"),
        ("OData-Version", "4.0"),
        ("Origin", "https://app.example"),
        ("Prefer", "return=representation"),
        ("Referer", "https://app.example/"),
        ("SdkVersion", "graph-js"),
        ("User-Agent", "a"),
        ("X-HTTP-Method-Overridden", "no"),
        ("X-Forwarded", "1"),
    ] {
        assert_eq!(both(name, value, &[]), [Ok(()), Ok(())], "{name}");
    }
}
