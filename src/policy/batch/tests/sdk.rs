//! Batches of Graph as Microsoft's SDKs write them: those for Python and JavaScript run in
//! `tests/clients`, the others are put down here as their sources have them.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::config::BaseUrl;
use crate::policy::Refusal;
use crate::policy::batch::{BatchContext, Operation, read};

fn graph(body: &str) -> Result<Vec<Operation>, Refusal> {
    let kind = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
    let upstream = BaseUrl::parse("https://graph.microsoft.com").unwrap();
    let context = BatchContext {
        upstream: &upstream,
        path: "/v1.0/$batch",
    };
    read(&context, &headers, body.as_bytes())
}

/// Method, path and number of headers of each operation.
fn brief(body: &str) -> Vec<(String, String, usize)> {
    let operations = graph(body).unwrap_or_else(|refusal| panic!("{}: {body}", refusal.message));
    let brief = |one: Operation| (one.method.to_string(), one.path, one.headers.len());
    operations.into_iter().map(brief).collect()
}

fn expected(wanted: &[(&str, &str, usize)]) -> Vec<(String, String, usize)> {
    let owned = |one: &(&str, &str, usize)| (one.0.to_owned(), one.1.to_owned(), one.2);
    wanted.iter().map(owned).collect()
}

#[test]
fn a_batch_of_the_sdk_for_go_is_read() {
    // Names of headers in lower case, values of one name joined, null for what is not there.
    let body = r#"{"requests":[
        {"id":"7b1c0d52-0000-4000-8000-000000000001","method":"GET","url":"/users?%24top=1","headers":{"accept":"application/json","consistencylevel":"eventual"},"body":null,"dependsOn":[]},
        {"id":"7b1c0d52-0000-4000-8000-000000000002","method":"POST","url":"/users","headers":{"accept":"application/json","content-type":"application/json"},"body":{"displayName":"Ada"},"dependsOn":["7b1c0d52-0000-4000-8000-000000000001"]}
    ]}"#;
    let wanted = [("GET", "/v1.0/users", 2), ("POST", "/v1.0/users", 2)];
    assert_eq!(brief(body), expected(&wanted));
}

#[test]
fn a_batch_of_the_sdk_for_java_is_read_with_its_content_type_written_twice() {
    // The body stands before the headers, and is text when it is not JSON.
    let body = r#"{"requests":[
        {"id":"1","url":"/users","method":"POST","body":{"displayName":"Ada"},"headers":{"accept":"application/json","content-type":"application/json","Content-Type":"application/json"}},
        {"id":"2","url":"/users/1/photo/$value","method":"PUT","dependsOn":["1"],"body":"AAEC","headers":{"Content-Type":"image/jpeg"}},
        {"id":"3","url":"/users?%24select=id","method":"GET","headers":{}}
    ]}"#;
    let wanted = [
        ("POST", "/v1.0/users", 2),
        ("PUT", "/v1.0/users/1/photo/$value", 1),
        ("GET", "/v1.0/users", 0),
    ];
    assert_eq!(brief(body), expected(&wanted));
    let twice = body.replace(
        "\"Content-Type\":\"application/json\"",
        "\"Content-Type\":\"text/plain\"",
    );
    assert!(graph(&twice).is_err());
}

#[test]
fn a_batch_of_the_sdk_for_net_is_read_with_its_queries_decoded() {
    let body = r#"{"requests":[
        {"id":"1","url":"/users?$filter=startswith(displayName,'A & B') and mail eq 'a#EXT#@b.example'&$count=true","method":"GET","headers":{"ConsistencyLevel":"eventual","Accept":"application/json"}},
        {"id":"2","url":"/me/drive/root:/a b/c.txt:/content","method":"PUT","dependsOn":["1"],"headers":{"Accept":"application/json","Content-Type":"text/plain"},"body":"aGVsbG8="},
        {"id":"3","url":"/users/1","method":"DELETE"}
    ]}"#;
    let wanted = [
        ("GET", "/v1.0/users", 2),
        ("PUT", "/v1.0/me/drive/root:/a b/c.txt:/content", 2),
        ("DELETE", "/v1.0/users/1", 0),
    ];
    assert_eq!(brief(body), expected(&wanted));
}

#[test]
fn the_order_of_members_the_kind_of_an_id_and_a_leading_slash_do_not_matter() {
    for members in [
        r#""id":"1","method":"GET","url":"/users","dependsOn":["2"],"headers":{"A":"b"}"#,
        r#""headers":{"a":"b"},"dependsOn":["2"],"url":"users","method":"get","id":1"#,
        r#""url":"/users?x=1","id":"a b/c","atomicityGroup":"g1","method":"GET","if":"x","headers":{"A":"b"},"body":null"#,
    ] {
        let body = format!("{{\n\t\"requests\" : [ {{ {members} }} ]\r\n}}");
        assert_eq!(brief(&body), expected(&[("GET", "/v1.0/users", 1)]));
    }
}
