//! A batch is many requests in one: none of them gets past what the route allows.

use super::Fort;
use super::Want::Denied;

fn post(target: &str, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn no_spelling_of_a_batch_gets_past_the_route() {
    let fort = Fort::build("").await;
    let body = r#"{"requests":[{"id":"1","method":"DELETE","url":"/users/1"}]}"#;
    for path in [
        "/v1.0/$batch",
        "/v1.0/%24batch",
        "/v1.0/$BATCH",
        "/v1.0/$Batch",
        "/v1.0/$batch/",
        "/beta/$batch",
        "/$batch",
        "/v1.0/%24%62atch",
        "/v1.0/%2524batch",
        "/v1.0//$batch",
        "/v1.0/users/$batch",
        "/v1.0/$batch?x",
        "/v1.0/$batch;x",
        "/v1.0/$b%61tch",
        "/V1.0/$batch",
        "/v1.0/$batch%2F",
        "/v1.0%2F$batch",
        "/v1.0/users/%24batch",
        "/sim/$batch",
        "/sim/%2524batch",
        "/sim/x/$BaTcH/",
    ] {
        let bytes = post(&format!("/graph{path}"), "application/json", body);
        fort.face(path, &bytes, Denied).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn every_operation_of_a_batch_must_be_allowed_and_readable() {
    let fort = Fort::build("").await;
    for body in [
        r#"{"requests":[{"id":"1","method":"GET","url":"/users"},{"id":"2","method":"DELETE","url":"/users/1"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"/groups"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","method":"DELETE","url":"/users/1"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"/users","URL":"/groups"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"/users","Url":"/groups"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"/users"}],"Requests":[{"id":"1","method":"DELETE","url":"/users/1"}]}"#,
        r#"{"requests":[],"requests":[{"id":"1","method":"DELETE","url":"/users/1"}]}"#,
        r#"{"requests":[{"id":"1","method":"DELETE","url":"/users/1"}]}{}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"https://evil.example/users"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"//evil.example/users"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"/users/../groups"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"/users/%2e%2e/groups"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"/users\u002f..\u002fgroups"}]}"#,
        r#"{"requests":[{"id":"1","method":"POST","url":"/$batch","body":{"requests":[]}}]}"#,
        r#"{"requests":[{"id":"1","method":"POST","url":"/%24batch","body":{"requests":[]}}]}"#,
        r#"{"requests":[{"id":"1","method":"get","url":"/groups"}]}"#,
        r#"{"requests":[{"id":"1","method":"GET","url":"/users","headers":{"CallerObjectId":"x"}}]}"#,
        r#"{"requests":[{"id":"1","method":"POST","url":"/users/1/sendMail","headers":{"X-HTTP-Method-Override":"DELETE"}}]}"#,
        r#"{"requests":[{"id":"1","url":"/groups"}]}"#,
        r#"{"requests":{"id":"1","method":"DELETE","url":"/users/1"}}"#,
        r#"[{"id":"1","method":"DELETE","url":"/users/1"}]"#,
        r#"{"requests":[{"id":"1","method":"DELETE","url":"/users/1"}"#,
        "\u{feff}{\"requests\":[{\"id\":\"1\",\"method\":\"DELETE\",\"url\":\"/users/1\"}]}",
        "not JSON",
        "",
    ] {
        let bytes = post("/graph/v1.0/$batch", "application/json", body);
        fort.face(body, &bytes, Denied).await;
    }
    let deep = format!(
        "{{\"requests\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    fort.face(
        "a deep document",
        &post("/graph/v1.0/$batch", "application/json", &deep),
        Denied,
    )
    .await;
    let huge = format!(
        "{{\"requests\":[{}]}}",
        "{\"id\":\"1\",\"method\":\"GET\",\"url\":\"/users\"},".repeat(100_000)
    );
    fort.face(
        "a large document",
        &post("/graph/v1.0/$batch", "application/json", &huge),
        Denied,
    )
    .await;
    let kinds = ["application/json", "multipart/mixed; boundary=b"];
    for (first, second) in [(kinds[0], kinds[1]), (kinds[1], kinds[0])] {
        let body = r#"{"requests":[{"id":"1","method":"GET","url":"/users"}]}"#;
        let both = format!("{first}\r\nContent-Type: {second}");
        let bytes = post("/graph/v1.0/$batch", &both, body);
        fort.face("two kinds at once", &bytes, Denied).await;
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=x",
        "",
    ] {
        let body = r#"{"requests":[{"id":"1","method":"DELETE","url":"/users/1"}]}"#;
        fort.face(kind, &post("/graph/v1.0/$batch", kind, body), Denied)
            .await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn the_parts_of_a_multipart_batch_are_judged_too() {
    let fort = Fort::build("").await;
    let part = |request: &str| {
        format!(
            "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{request}\r\n\r\n\r\n--b--\r\n"
        )
    };
    for body in [
        part("DELETE /api/data/v9.2/accounts(1) HTTP/1.1"),
        part("GET /api/data/v9.2/contacts HTTP/1.1"),
        part("GET https://evil.example/api/data/v9.2/accounts HTTP/1.1"),
        part("GET /api/data/v9.2/accounts/../contacts HTTP/1.1"),
        part("GET /api/data/v9.2/accounts HTTP/1.1\r\nMSCRMCallerID: x"),
        part("POST /api/data/v9.2/$batch HTTP/1.1"),
        part("GET contacts HTTP/1.1"),
        part("NONSENSE"),
        part("GET /api/data/v9.2/accounts HTTP/1.1").replace("--b--", "--c--") + &part("DELETE /api/data/v9.2/accounts(1) HTTP/1.1"),
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\nDELETE /api/data/v9.2/accounts(1) HTTP/1.1\r\n\r\n--c--\r\n--b--\r\n".to_owned(),
        // A reference that does not begin its target.
        part("GET /api/data/v9.2/accounts HTTP/1.1").replacen("\r\n\r\n", "\r\nContent-ID: a\r\n\r\n", 1).replace("--b--\r\n", "")
            + &part("GET /api/data/v9.2/accounts?$a/contacts HTTP/1.1"),
        "no parts at all".to_owned(),
        String::new(),
    ] {
        for kind in ["multipart/mixed; boundary=b", "multipart/mixed;boundary=\"b\"", "multipart/mixed; boundary=z", "multipart/mixed"] {
            let bytes = post("/dynamics/api/data/v9.2/$batch", kind, &body);
            fort.face(&body, &bytes, Denied).await;
        }
    }
    fort.stands().await;
}

#[tokio::test]
async fn no_header_of_an_operation_says_where_it_goes() {
    let fort = Fort::build("").await;
    for (name, value) in [
        ("X-Original-URL", "/v1.0/groups"),
        ("X-Rewrite-URL", "/v1.0/groups"),
        ("Forwarded", "host=evil.example"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Prefix", "/v1.0/groups"),
        ("Host", "evil.example"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Encoding", "gzip"),
        ("Expect", "100-continue"),
    ] {
        let json = format!(
            r#"{{"requests":[{{"id":"1","method":"GET","url":"/users","headers":{{"{name}":"{value}"}}}}]}}"#
        );
        let bytes = post("/graph/v1.0/$batch", "application/json", &json);
        fort.face(name, &bytes, Denied).await;
        let multipart = format!(
            "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET /api/data/v9.2/accounts HTTP/1.1\r\n{name}: {value}\r\n\r\n\r\n--b--\r\n"
        );
        let kind = "multipart/mixed; boundary=b";
        let bytes = post("/dynamics/api/data/v9.2/$batch", kind, &multipart);
        fort.face(name, &bytes, Denied).await;
    }
    fort.stands().await;
}
