//! Batches of Graph.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use crate::code::Code;
use crate::config::{AllowSpec, BaseUrl, HeaderEdits, PatternSegment};
use crate::policy::Refusal;
use crate::policy::allow::Allow;
use crate::policy::batch::{BatchContext, Operation, check, read};
use crate::policy::request_header::RequestRules;

fn read_at(upstream: &str, path: &str, body: &str) -> Result<Vec<Operation>, Refusal> {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    let upstream = BaseUrl::parse(upstream).unwrap();
    let context = BatchContext {
        upstream: &upstream,
        path,
    };
    read(&context, &headers, body.as_bytes())
}

fn graph(body: &str) -> Result<Vec<Operation>, Refusal> {
    read_at("https://graph.microsoft.com", "/v1.0/$batch", body)
}

/// A batch with these members in its second request.
fn batch(members: &str) -> String {
    format!(r#"{{"requests":[{{"id":"1","method":"GET","url":"/me"}},{{"id":"2",{members}}}]}}"#)
}

fn many_headers() -> String {
    (0..40_000)
        .map(|number| format!("\"a{number}\":\"\","))
        .collect()
}

fn path_of(url: &str) -> Result<String, Refusal> {
    let url = serde_json::Value::from(url);
    let operations = graph(&batch(&format!(r#""method":"GET","url":{url}"#)))?;
    assert_eq!(operations[0].path, "/v1.0/me");
    Ok(operations[1].path.clone())
}

#[test]
fn operations_are_read_with_method_path_and_headers() {
    let operations = graph(
        r#" {"requests":[{"id":"1","method":"post","\u0075rl":"/groups/9/members/$ref?a=/b","headers":{"Content-Type":"application/json","ConsistencyLevel":"eventual"},
        "body":{"url":1,"URL":2,"url":3},"dependsOn":["2"]},{"url":"users('a:b')","method":"GET","id":2,"headers":null,"body":null,"depends_on":[]}]}
        "#,
    )
    .unwrap();
    let headers: HeaderMap = [
        ("content-type", "application/json"),
        ("consistencylevel", "eventual"),
    ]
    .into_iter()
    .map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    })
    .collect();
    let post = Operation {
        method: Method::POST,
        path: "/v1.0/groups/9/members/$ref".to_owned(),
        headers,
    };
    let get = Operation {
        method: Method::GET,
        path: "/v1.0/users('a:b')".to_owned(),
        headers: HeaderMap::new(),
    };
    assert_eq!(operations, [post, get]);
    assert_eq!(graph(r#"{"requests":[]}"#).unwrap(), []);
}

#[test]
fn what_two_servers_may_read_in_two_ways_is_refused() {
    let get = r#""method":"GET","url":"/me""#;
    assert!(graph(&batch(get)).is_ok());
    for members in [
        r#""method":"GET","url":"/me","url":"/x""#,
        r#""method":"GET","url":"/me","URL":"/x""#,
        r#""method":"GET","url":"/me","Url":"/x""#,
        r#""method":"GET","url":"/me","\u0055rl":"/x""#,
        r#""method":"GET","url":"/me","method":"DELETE""#,
        r#""method":"GET","url":"/me","Method":"DELETE""#,
        r#""method":"GET","url":"/me","unknown":1"#,
        r#""method":"GET","url":"/me","headers":{"A":"1","a":"2"}"#,
        r#""method":"GET","url":"/me","headers":{"a b":"1"}"#,
        r#""method":"GET","url":"/me","headers":{"a":"1\r\nb: 2"}"#,
        r#""method":"GET","url":"/me","headers":{"a":1}"#,
        r#""method":"GET","url":"/me","headers":[]"#,
        r#""method":"GET","url":["/me"]"#,
        r#""method":"GET""#,
        r#""url":"/me""#,
        r#""method":"TRACE","url":"/me""#,
        r#""method":"GET ","url":"/me""#,
        r#""method":"GET","url":"/me\ud800""#,
    ] {
        let refusal = graph(&batch(members)).unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest, "{members}");
        assert!(
            refusal.message.contains("operation 2 of the batch"),
            "{}",
            refusal.message
        );
    }
    let batch = batch(get);
    for body in [
        String::new(),
        "[]".to_owned(),
        "null".to_owned(),
        r#"[[["1","GET","/me"]]]"#.to_owned(),
        r#"{"requests":[["1","GET","/me"]]}"#.to_owned(),
        "{}".to_owned(),
        format!("{batch}{batch}"),
        format!("{batch} x"),
        format!("\u{feff}{batch}"),
        batch.replace("\"requests\"", "\"Requests\""),
        batch.replace("{\"requests\"", "{\"requests\":[],\"requests\""),
        batch.replace("{\"requests\"", "{\"Requests\":[],\"requests\""),
        batch.replace("{\"id\":\"1\"", "{\"id\":01"),
        batch.replace(']', ",]"),
        batch.replace("\"1\"", &format!("{}{}", "[".repeat(100), "]".repeat(100))),
        batch.replace(
            "\"GET\"",
            &format!("\"GET\",\"headers\":{{{}\"b\":\"\"}}", many_headers()),
        ),
        format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000)),
        format!(
            r#"{{"requests":[{}]}}"#,
            vec![r#"{"method":"GET","url":"/me"}"#; 5001].join(",")
        ),
    ] {
        let refusal = graph(&body).unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest, "{body:.80}");
    }
}

#[test]
fn how_many_operations_a_batch_may_have_is_the_upstreams_to_say() {
    for many in [20, 21, 1001, 5000] {
        let list = vec![r#"{"method":"GET","url":"/me"}"#; many].join(",");
        let operations = graph(&format!(r#"{{"requests":[{list}]}}"#)).unwrap();
        assert_eq!(operations.len(), many);
    }
}

#[test]
fn a_batch_has_sixty_four_levels_and_no_more() {
    let reads = |body: &str| {
        let members = format!(r#""method":"POST","url":"/me","body":{body}"#);
        graph(&batch(&members)).is_ok()
    };
    for (inner, well) in [(61, true), (62, false)] {
        let body = format!("{}{}", "[".repeat(inner), "]".repeat(inner));
        assert_eq!(reads(&body), well, "{inner}");
    }
    // Brackets in a text open and close nothing, escaped quotes or not.
    for inside in ["[", r#"\"["#, r#"\\","["#] {
        let texts = vec![format!("\"{inside}\""); 100].join(",");
        assert!(reads(&format!("[{texts}]")), "{inside}");
    }
    for inside in ["]", r#"\"]"#] {
        let deep = format!("[\"{inside}\",").repeat(100) + "0" + &"]".repeat(100);
        assert!(!reads(&deep), "{inside}");
    }
}

#[test]
fn targets_are_relative_to_the_version() {
    assert_eq!(path_of("/users/1").unwrap(), "/v1.0/users/1");
    assert_eq!(
        path_of("users?$filter=userPrincipalName eq 'a#EXT#@b'").unwrap(),
        "/v1.0/users"
    );
    assert_eq!(
        path_of("users?$filter=a eq 'b'&c=//").unwrap(),
        "/v1.0/users"
    );
    assert_eq!(path_of("/").unwrap(), "/v1.0/");
    for url in [
        "https://graph.microsoft.com/v1.0/me",
        "//evil.example/me",
        "http:me",
        "HTTPS:/x",
    ] {
        assert_eq!(path_of(url).unwrap_err().code, Code::NotAllowed, "{url}");
    }
    for url in [
        "",
        "?a",
        "#",
        "/users/../me",
        "/users/%2e%2E/me",
        "/users\\me",
        "/a/%5C",
        "/users/%zz",
        "/é",
        " /me",
        "/me ",
        "/me\t",
        "/m\u{0}e",
        "/m\ne",
        "/me?a=\u{1}b",
        "/me?a=\u{7f}b",
        "/v1.0/me",
        "/beta/me",
        "/V2/me",
        "/%62eta/me",
        "v1.0/me",
        "beta/me",
        "Beta",
        "%62eta/me?x",
        "/me#/x",
        "/me#?x",
    ] {
        assert_eq!(path_of(url).unwrap_err().code, Code::BadRequest, "{url:?}");
    }
    for url in ["/$batch", "$BATCH/", "/%24batch?x", "/x/$batch"] {
        assert_eq!(path_of(url).unwrap_err().code, Code::NotAllowed, "{url}");
    }
}

#[test]
fn outside_of_graph_a_leading_slash_names_the_root_of_the_host() {
    let at = |upstream: &str, path: &str, url: &str| {
        let body = format!(r#"{{"requests":[{{"id":"1","method":"GET","url":"{url}"}}]}}"#);
        read_at(upstream, path, &body)
            .map(|operations| operations[0].path.clone())
            .ok()
    };
    let host = "https://api.businesscentral.dynamics.com";
    let path = "/v2.0/prod/api/v2.0/$batch";
    assert_eq!(
        at(host, path, "companies").unwrap(),
        "/v2.0/prod/api/v2.0/companies"
    );
    let full = "/v2.0/prod/api/v2.0/companies";
    assert_eq!(at(host, path, full).unwrap(), full);
    assert_eq!(at(host, path, "/companies"), None);
    assert_eq!(at(host, "/odata/$batch", "/companies"), None);
    assert_eq!(at(host, "/$batch", "/companies").unwrap(), "/companies");
    let graph = "https://graph.microsoft.com/v1.0";
    assert_eq!(at(graph, "/$batch", "/me").unwrap(), "/me");
    assert_eq!(at(graph, "/$batch", "me").unwrap(), "/me");
    assert_eq!(at(host, "/v1.0%2F$batch", "me"), None);
    assert_eq!(at(host, "/v1.0/%24Batch/", "me").unwrap(), "/v1.0/me");
    assert_eq!(at(host, "/v1.0/$BATCH", "me").unwrap(), "/v1.0/me");
}

#[test]
fn only_graph_takes_a_leading_slash_for_its_version() {
    let at = |upstream: &str, path: &str| {
        let body = r#"{"requests":[{"id":"1","method":"GET","url":"/admin/keys"}]}"#;
        read_at(upstream, path, body)
            .map(|operations| operations[0].path.clone())
            .map_err(|refusal| refusal.code)
    };
    for host in [
        "graph.microsoft.com",
        "graph.microsoft.us",
        "dod-graph.microsoft.us",
        "microsoftgraph.chinacloudapi.cn",
        "localhost:9000",
        "graph.localhost",
        "127.1.2.3",
        "[::1]:9000",
    ] {
        let upstream = format!("https://{host}");
        for version in ["/v1.0", "/beta", "/V1.0", "/%62eta"] {
            let path = at(&upstream, &format!("{version}/$batch"));
            assert_eq!(path, Ok(format!("{version}/admin/keys")), "{host}");
        }
        for root in [
            "/v1",
            "/v2.0",
            "/v1.0/users",
            "/odata",
            "//beta",
            "/beta%2F",
        ] {
            let path = at(&upstream, &format!("{root}/$batch"));
            assert_eq!(path, Err(Code::BadRequest), "{host} {root}");
        }
        assert_eq!(at(&upstream, "/$batch"), Ok("/admin/keys".to_owned()));
    }
    for host in [
        "api.contoso.com",
        "graph.microsoft.com.contoso.com",
        "localhost.contoso.com",
        "10.0.0.1",
    ] {
        let upstream = format!("https://{host}");
        for root in ["/v1", "/v1.0", "/beta", "/v9.2"] {
            let path = at(&upstream, &format!("{root}/$batch"));
            assert_eq!(path, Err(Code::BadRequest), "{host} {root}");
            let path = at(&format!("{upstream}{root}"), "/$batch");
            assert_eq!(path, Err(Code::BadRequest), "{host} {root}");
        }
        assert_eq!(at(&upstream, "/$batch"), Ok("/admin/keys".to_owned()));
    }
}

#[test]
fn a_compressed_or_foreign_batch_is_refused() {
    let upstream = BaseUrl::parse("https://graph.microsoft.com").unwrap();
    let context = BatchContext {
        upstream: &upstream,
        path: "/v1.0/$batch",
    };
    for fields in [
        vec![
            (CONTENT_TYPE, "application/json"),
            (CONTENT_ENCODING, "gzip"),
        ],
        vec![(CONTENT_TYPE, "application/json; charset=utf-16")],
        vec![(CONTENT_TYPE, "application/json; a=b; charset =utf-16")],
        vec![(CONTENT_TYPE, "application/json; charset*=''utf-16")],
        vec![(CONTENT_TYPE, "application/json; CharSet*0=utf-16")],
        vec![
            (CONTENT_TYPE, "application/json"),
            (CONTENT_TYPE, "multipart/mixed; boundary=a"),
        ],
        vec![(CONTENT_TYPE, "text/plain")],
        vec![(CONTENT_TYPE, "multipart/mixed")],
        vec![],
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        let refusal = read(&context, &headers, br#"{"requests":[]}"#).unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest, "{fields:?}");
    }
    for kind in [
        "application/json; odata.metadata=minimal; a=utf-16",
        "application/json; charset=\"UTF-8\"",
    ] {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let operations = read(&context, &headers, br#"{"requests":[]}"#);
        assert_eq!(operations.unwrap(), [], "{kind}");
    }
}

#[test]
fn one_operation_that_may_not_pass_refuses_the_batch() {
    let spec = AllowSpec {
        methods: vec![Method::GET],
        pattern: vec![
            PatternSegment::Literal("v1.0".to_owned()),
            PatternSegment::AnyNumber,
        ],
    };
    let allow = Allow::new(Some(&[spec]), &[]);
    let rules = RequestRules::new(&[], &HeaderEdits::default());
    let judge = |members: &str| check(&graph(&batch(members)).unwrap(), &allow, &rules);
    assert!(judge(r#""method":"GET","url":"/x","headers":{"Prefer":"a"}"#).is_ok());
    for members in [
        r#""method":"DELETE","url":"/x""#,
        r#""method":"GET","url":"/x","headers":{"mscrmcallerid":"1"}"#,
        r#""method":"GET","url":"/x","headers":{"MSCRM.BypassCustomPluginExecution":"true"}"#,
        r#""method":"GET","url":"/x","headers":{"Authorization":"Bearer x"}"#,
    ] {
        let refusal = judge(members).unwrap_err();
        assert_eq!(refusal.code, Code::NotAllowed);
        assert!(
            refusal.message.starts_with("operation 2 of the batch"),
            "{}",
            refusal.message
        );
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(body in ".{0,200}", url in ".{0,40}") {
        let _ = graph(&body);
        let _ = path_of(&url);
        let _ = graph(&batch(&body));
    }

    #[test]
    fn what_is_read_is_what_another_parser_reads(
        urls in prop::collection::vec("/[a-z]{1,5}(/[a-z0-9()'=]{1,6}){0,2}", 0..20),
    ) {
        let request = |url: &String| serde_json::json!({"id": "1", "method": "GET", "url": url});
        let body = serde_json::json!({"requests": urls.iter().map(request).collect::<Vec<_>>()});
        let read = graph(&body.to_string()).unwrap();
        let paths: Vec<_> = read.into_iter().map(|operation| operation.path).collect();
        let expected: Vec<_> = urls.iter().map(|url| format!("/v1.0{url}")).collect();
        prop_assert_eq!(paths, expected);
    }
}
