//! What links come in, end to end: each content coding, the parts of a change set, routes that are
//! reached by host, a proxy behind a proxy, the proxy's own TLS.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use tokenferry::simulator::{Fault, GRAPH, Script};

use crate::harness::stage::Stage;
use crate::tls::{Authority, get, secure_stage, shake};

const PAGE: &[u8] = br#"{"@odata.nextLink":"https://graph.microsoft.com/v1.0/x","value":[]}"#;

fn gzip() -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(PAGE).expect("a vector takes everything");
    packer.finish().expect("a vector takes everything")
}

fn zlib() -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(PAGE).expect("a vector takes everything");
    packer.finish().expect("a vector takes everything")
}

/// Without its zlib head, as some servers send it.
fn bare_deflate() -> Vec<u8> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(PAGE).expect("a vector takes everything");
    packer.finish().expect("a vector takes everything")
}

#[tokio::test]
async fn each_coding_is_undone_and_its_links_are_turned() {
    let stage = Stage::open().await;
    let host = stage.address();
    for (coding, body) in [
        ("gzip", gzip()),
        ("deflate", zlib()),
        ("deflate", bare_deflate()),
    ] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", coding),
        ];
        let fault = Fault::answer(200, &headers, body);
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let lines =
            format!("GET /graph/v1.0/x HTTP/1.1\nHost: {host}\nAccept-Encoding: gzip, deflate, br");
        let answer = stage.ask(&lines).await.expect(200);
        let text = format!(r#"{{"@odata.nextLink":"http://{host}/graph/v1.0/x","value":[]}}"#);
        assert_eq!(answer.text(), text, "{coding}");
        assert_eq!(answer.field("content-encoding"), "");
        let length = answer.field("content-length");
        assert!(length.is_empty() || length == text.len().to_string());
    }
}

#[tokio::test]
async fn a_coding_that_no_upstream_is_asked_for_passes_as_it_comes() {
    let stage = Stage::open().await;
    // What it says once it is undone is nothing to this proxy.
    for coding in ["br", "zstd", "gzip, br"] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", coding),
        ];
        let fault = Fault::answer(200, &headers, PAGE);
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let answer = stage.get("/graph/v1.0/x").await.expect(200);
        assert_eq!(answer.field("content-encoding"), coding);
        assert_eq!(answer.body, PAGE, "{coding}");
    }
}

#[tokio::test]
async fn the_codings_that_a_caller_takes_go_up_as_they_are_for_a_file_alone() {
    let stage = Stage::open().await;
    let taken = "Accept-Encoding: br, deflate;q=0.5";
    for (path, wanted) in [
        ("/graph/v1.0/users/7/photo/$value", "br, deflate;q=0.5"),
        ("/graph/v1.0/users/7", "deflate"),
    ] {
        stage.ask(&format!("GET {path} HTTP/1.1\n{taken}")).await;
        let sent = stage.last().header("accept-encoding");
        assert_eq!(sent.as_deref(), Some(wanted));
    }
}

#[tokio::test]
async fn the_new_rows_of_a_change_set_are_addresses_of_this_proxy() {
    let stage = Stage::open().await;
    let base = format!("http://{}/dynamics/api/data/v9.2", stage.address());
    let row = "aaaa0001-0000-0000-0000-000000000000";
    let operation = |id: u8, line: &str, body: &str| {
        format!(
            "--change\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: {id}\r\n\r\n{line} HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{body}\r\n"
        )
    };
    let bind = format!(r#"{{"regardingobjectid_account@odata.bind":"{base}/accounts({row})"}}"#);
    let reference = format!(r#"{{"@odata.id":"{base}/contacts({row})"}}"#);
    let body = [
        "--batch\r\nContent-Type: multipart/mixed; boundary=change\r\n\r\n".to_owned(),
        operation(1, &format!("POST {base}/tasks"), &bind),
        operation(2, "POST $1/task_contacts/$ref", &reference),
        "--change--\r\n\r\n--batch--\r\n".to_owned(),
    ]
    .concat();
    let mut caller = stage.caller().await;
    caller
        .ask(&format!(
            "POST /dynamics/api/data/v9.2/$batch HTTP/1.1\nHost: {}\nContent-Type: multipart/mixed; boundary=batch\nContent-Length: {}",
            stage.address(),
            body.len()
        ))
        .await;
    caller.send(&body).await;
    let answer = caller.answer("POST").await.expect(200).text();
    let lines = |name: &str| {
        let lines = answer.lines().filter_map(|line| line.split_once(": "));
        let named = lines.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(answer.matches("HTTP/1.1 204").count(), 2, "{answer}");
    for name in ["Location", "OData-EntityId"] {
        let links = lines(name);
        assert!(
            links.len() == 1 && links[0].starts_with(&format!("{base}/tasks(")),
            "{answer}"
        );
    }
    let sent = stage.last().text();
    assert!(!sent.contains(&base) && sent.matches("https://contoso.crm.dynamics.com").count() == 3);
}

#[tokio::test]
async fn a_route_by_host_is_linked_at_its_host_or_behind_the_proxy_in_front() {
    let host = "graph.contoso.example";
    let route = format!("routes: [{{name: graph, host: {host}, upstream: 'https://GRAPH'}}]\n");
    let stage = Stage::with(&route).await;
    let port = stage.address().port();
    let ask = |stage: &Stage, authority: String| {
        let lines = format!("GET /v1.0/users?$top=1 HTTP/1.1\nHost: {authority}");
        let address = stage.address();
        async move {
            let mut caller = crate::harness::caller::Caller::connect(address).await;
            let page = caller.exchange(&lines).await.expect(200).json();
            page["@odata.nextLink"].as_str().unwrap().to_owned()
        }
    };
    let next = ask(&stage, format!("{host}:{port}")).await;
    assert!(
        next.starts_with(&format!("http://{host}:{port}/v1.0/users?")),
        "{next}"
    );

    // TLS ends at a proxy in front, which keeps the host: the scheme and port are public_url's.
    let stage = Stage::with(&format!(
        "public_url: https://ferry.contoso.example\n{route}"
    ))
    .await;
    let next = ask(&stage, host.to_owned()).await;
    assert!(
        next.starts_with(&format!("https://{host}/v1.0/users?")),
        "{next}"
    );
}

#[tokio::test]
async fn links_of_a_tls_listener_are_https() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let stage = secure_stage(folder.path(), &authority, "").await;
    let mut stream = shake(stage.address(), &authority.pem, &["http/1.1"], None)
        .await
        .unwrap();
    let text = get(&mut stream, "/graph/v1.0/users?$top=1", "").await;
    let text = text.unwrap();
    assert!(
        text.contains(r#""@odata.nextLink":"https://localhost/graph/v1.0/users?"#),
        "{text}"
    );
}

#[tokio::test]
async fn an_answer_that_came_before_is_whole_again_for_who_asks_for_a_file() {
    let routes = [
        "{name: graph, path: /graph, ",
        "{name: plain, path: /plain, response_headers: {remove: [content-type]}, ",
    ];
    let routes = routes.map(|route| format!("{route}upstream: 'https://GRAPH'}}"));
    let stage = Stage::with(&format!("routes: [{}]\n", routes.join(", "))).await;
    let host = stage.address();
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
        ("accept-ranges", "bytes"),
        ("digest", "x"),
    ];
    let length = gzip().len().to_string();
    let text = format!(r#"{{"@odata.nextLink":"http://{host}/graph/v1.0/x","value":[]}}"#);
    let gone = || ["content-encoding", "accept-ranges", "digest"].into_iter();
    let mut caller = stage.caller().await;
    // Both connections stay, and what is sent has one head from the second time on.
    let mut ask = async |line: &str, body: Vec<u8>| {
        let fault = Fault::answer(200, &headers, body);
        stage.simulator.script(Script::on(GRAPH, fault).times(1));
        let lines = format!("{line}\nHost: {host}\nAccept-Encoding: gzip");
        caller.exchange(&lines).await.expect(200)
    };
    for round in 0..3 {
        let answer = ask("GET /graph/v1.0/x HTTP/1.1", gzip()).await;
        assert_eq!(answer.text(), text, "{round}");
        assert_eq!(answer.field("content-length"), text.len().to_string());
        assert!(
            gone().all(|name| answer.field(name).is_empty()),
            "{answer:?}"
        );
        let answer = ask("HEAD /graph/v1.0/x HTTP/1.1", gzip()).await;
        assert!(
            gone().all(|name| answer.field(name).is_empty()),
            "{answer:?}"
        );
        for line in [
            "GET /graph/v1.0/x/$value HTTP/1.1",
            "GET /graph/v1.0/x HTTP/1.1\nRange: bytes=0-",
            "GET /plain/v1.0/x HTTP/1.1",
        ] {
            let answer = ask(line, gzip()).await;
            assert!(answer.body == gzip(), "{line} {round}");
            assert_eq!(answer.field("content-length"), length, "{line}");
            assert!(gone().all(|name| !answer.field(name).is_empty()), "{line}");
        }
        let empty = ask("GET /graph/v1.0/x HTTP/1.1", Vec::new()).await;
        assert_eq!(empty.field("content-length"), "0", "{round}");
        assert!(
            gone().all(|name| !empty.field(name).is_empty()),
            "{empty:?}"
        );
    }
}
