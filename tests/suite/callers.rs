//! Who is asking: routes with callers let in those who prove themselves, by name.

use std::fs;

use serde_json::json;
use tokenferry::simulator::{FEDERATED_ISSUER, GRAPH, Simulator};
use tokio::net::TcpStream;

use crate::harness::program::Program;
use crate::harness::stage::Stage;
use crate::harness::until;
use crate::tls::{Authority, Identity, client, get, secure_stage, shake, shake_as};

/// A stage whose graph route asks for `cron`, by a key in a file of `folder`.
async fn asking(folder: &std::path::Path) -> Stage {
    fs::write(folder.join("key"), "a-key-of-good-length-0001\n")
        .expect("the folder can be written");
    Stage::with(&format!(
        "callers: {{cron: {{api_key_file: '{}'}}}}\n\
         routes:\n\
         - {{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [cron], allow: ['GET /sim/**']}}\n\
         - {{name: open, path: /open, upstream: 'https://GRAPH'}}\n",
        folder.join("key").display()
    ))
    .await
}

#[tokio::test]
async fn a_caller_with_the_key_is_let_in_and_named_and_its_key_stays_here() {
    let folder = tempfile::tempdir().unwrap();
    let stage = asking(folder.path()).await;
    let with_key = "GET /graph/sim/bytes/1 HTTP/1.1\nX-Api-Key: a-key-of-good-length-0001";
    stage.ask(with_key).await.expect(200);
    let line = stage.log.with("/route", "graph").await;
    assert_eq!(line["caller"], "cron");
    let seen = stage.last();
    let names: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name.eq_ignore_ascii_case("x-api-key")),
        "{names:?}"
    );
}

#[tokio::test]
async fn others_get_401_before_they_learn_what_the_route_allows() {
    let folder = tempfile::tempdir().unwrap();
    let stage = asking(folder.path()).await;
    for lines in [
        "GET /graph/sim/bytes/1 HTTP/1.1",
        "GET /graph/sim/bytes/1 HTTP/1.1\nX-Api-Key: a-key-of-good-length-0002",
        "GET /graph/sim/bytes/1 HTTP/1.1\nX-Api-Key: a-key-of-good-length-000",
        "GET /graph/sim/bytes/1 HTTP/1.1\nX-Api-Key:",
        "GET /graph/sim/bytes/1 HTTP/1.1\nX-Api-Key: cron",
        "GET /graph/sim/bytes/1 HTTP/1.1\nX-Api-Key: a-key-of-good-length-0001\nX-Api-Key: x",
        "GET /graph/sim/bytes/1 HTTP/1.1\nAuthorization: Bearer a-key-of-good-length-0001",
        "GET /graph/not/allowed HTTP/1.1",
        "DELETE /graph/sim/bytes/1 HTTP/1.1",
    ] {
        let answer = stage.ask(lines).await;
        assert_eq!(
            answer.refusal(),
            (401, "callerUnknown".to_owned()),
            "{lines}"
        );
        assert!(
            answer.all("www-authenticate").is_empty(),
            "SDKs would try to log in"
        );
    }
    assert_eq!(stage.arrivals(GRAPH), 0);
    stage.get("/open/sim/bytes/1").await.expect(200);
    stage
        .becomes(
            "tokenferry_refused_total",
            &[("reason", "callerUnknown")],
            9.0,
        )
        .await;
}

#[tokio::test]
async fn a_replaced_key_counts_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stage = asking(folder.path()).await;
    fs::write(folder.path().join("key"), "a-key-of-good-length-0009").unwrap();
    until("the new key counts", async || {
        let answer = stage
            .ask("GET /graph/sim/bytes/1 HTTP/1.1\nX-Api-Key: a-key-of-good-length-0009")
            .await;
        answer.status == 200
    })
    .await;
    let old = "GET /graph/sim/bytes/1 HTTP/1.1\nX-Api-Key: a-key-of-good-length-0001";
    assert_eq!(stage.ask(old).await.status, 401);
}

#[tokio::test]
async fn a_key_outlives_its_file_and_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "a-key-of-good-length-0001\n").unwrap();
    let program = Program::start(
        &format!(
            "callers: {{cron: {{api_key_file: '{}'}}}}\n\
             routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [cron]}}]\n",
            key.display()
        ),
        "",
    )
    .await;
    fs::remove_file(&key).unwrap();
    program.err.says("those known before stay in use").await;
    let mut caller = program.caller().await;
    let answer = caller
        .exchange("GET /graph/sim/bytes/1 HTTP/1.1\nX-Api-Key: a-key-of-good-length-0001")
        .await;
    assert_eq!(answer.status, 200);
    assert!(!program.err.text().contains("a-key-of-good-length-0001"));
}

#[tokio::test]
async fn a_client_certificate_names_its_holder() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let own = "callers: {reports: {client_certificate: reports.corp}}\n\
               routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [reports]}]\n";
    let stage = secure_stage(folder.path(), &authority, own).await;
    let status = |identity| {
        let (address, pem) = (stage.address(), authority.pem.clone());
        async move {
            let mut stream = shake(address, &pem, &[], identity).await?;
            let text = get(&mut stream, "/graph/sim/bytes/1", "").await?;
            std::io::Result::Ok(text.split(' ').nth(1).unwrap_or_default().to_owned())
        }
    };
    let reports = authority.identity("reports.corp");
    let sales = authority.identity("sales.corp");
    let stranger = Authority::new().identity("reports.corp");
    assert_eq!(status(Some(&reports)).await.unwrap(), "200");
    assert_eq!(status(Some(&sales)).await.unwrap(), "401");
    assert_eq!(status(None).await.unwrap(), "401");
    assert!(
        status(Some(&stranger)).await.is_err(),
        "of another authority"
    );
    let line = stage.log.with("/caller", "reports").await;
    assert_eq!(line["status"], 200);
}

#[tokio::test]
async fn a_client_certificate_without_its_key_names_nobody() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let own = "callers: {reports: {client_certificate: reports.corp}}\n\
               routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [reports]}]\n";
    let stage = secure_stage(folder.path(), &authority, own).await;
    let reports = authority.identity("reports.corp");
    let thief = Identity {
        certificate: reports.certificate.clone(),
        key: authority.identity("reports.corp").key,
    };
    for version in rustls::ALL_VERSIONS {
        let status = async |identity| {
            let config = client(&authority.pem, &[version], Some(identity));
            let socket = TcpStream::connect(stage.address()).await?;
            let mut stream = shake_as(socket, config).await?;
            let text = get(&mut stream, "/graph/sim/bytes/1", "").await?;
            std::io::Result::Ok(text.split(' ').nth(1).unwrap_or_default().to_owned())
        };
        assert_eq!(status(&reports).await.unwrap(), "200", "{version:?}");
        assert!(status(&thief).await.is_err(), "{version:?}");
    }
}

#[tokio::test]
async fn a_preflight_of_a_listed_page_is_answered_before_the_caller_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "a-key-of-good-length-0001").unwrap();
    let stage = Stage::with(&format!(
        "browser_origins: ['https://app.corp']\n\
         callers: {{page: {{api_key_file: '{}'}}}}\n\
         routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [page]}}]\n",
        folder.path().join("key").display()
    ))
    .await;
    let answer = stage
        .ask(
            "OPTIONS /graph/sim/bytes/1 HTTP/1.1\nOrigin: https://app.corp\n\
             Access-Control-Request-Method: GET\nAccess-Control-Request-Headers: x-api-key",
        )
        .await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(
        answer.field("access-control-allow-origin"),
        "https://app.corp"
    );
    let answer = stage
        .ask("GET /graph/sim/bytes/1 HTTP/1.1\nOrigin: https://app.corp")
        .await;
    assert_eq!(answer.refusal(), (401, "callerUnknown".to_owned()));
    assert_eq!(
        answer.field("access-control-allow-origin"),
        "https://app.corp"
    );
}

#[tokio::test]
async fn a_service_account_is_let_in_by_the_keys_of_its_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = Simulator::start().await.unwrap();
    let keys = folder.path().join("keys.json");
    fs::write(&keys, simulator.federated_keys().unwrap().to_string()).unwrap();
    let good = simulator
        .federated_token(&json!({"aud": "tokenferry"}))
        .unwrap();
    let bad = [
        json!({"aud": "tokenferry", "exp": 1_000_000}),
        json!({"aud": "tokenferry", "iss": "https://evil.example"}),
        json!({"aud": "tokenferry", "sub": "system:serviceaccount:tools:other"}),
        json!({"aud": "another"}),
    ]
    .map(|claims| simulator.federated_token(&claims).unwrap());
    let own = format!(
        "kubernetes: {{issuer: '{FEDERATED_ISSUER}', audience: tokenferry, jwks_file: '{}'}}\n\
         callers: {{job: {{service_account: tools/tokenferry}}}}\n\
         routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [job]}}]\n",
        keys.display()
    );
    let program = Program::within(simulator, &own, &[]).await;
    let ask = |token: &str| {
        let lines = format!("GET /graph/sim/bytes/1 HTTP/1.1\nAuthorization: Bearer {token}");
        let program = &program;
        async move { program.caller().await.exchange(&lines).await }
    };
    ask(&good).await.expect(200);
    for token in &bad {
        assert_eq!(
            ask(token).await.refusal(),
            (401, "callerUnknown".to_owned())
        );
    }
    let forged = format!("{}x", &good[..good.len() - 1]);
    assert_eq!(ask(&forged).await.status, 401);
    let seen = program.simulator.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.header_values("authorization").len() < 2)
    );
    program.out.with("/caller", "job").await;

    fs::write(&keys, "hi").unwrap();
    let told = |line: &str| {
        let kept = "the keys of the cluster cannot be used; those known before stay in use";
        (line.contains(kept) && line.contains("jwks_file")).then_some(())
    };
    program.err.find("the failure", told).await;
    assert_eq!(ask(&good).await.status, 200);
}

#[tokio::test]
async fn service_accounts_are_known_from_the_first_request_on_and_over_every_reload() {
    let folder = tempfile::tempdir().unwrap();
    let own = |file: &str, issuer: &str| {
        format!(
            "kubernetes: {{issuer: '{issuer}', audience: tokenferry, jwks_file: '{}'}}\n\
             callers: {{job: {{service_account: tools/tokenferry}}}}\n\
             routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [job]}}]\n",
            folder.path().join(file).display()
        )
    };
    let stage = Stage::with("").await;
    let keys = stage.simulator.federated_keys().unwrap().to_string();
    for file in ["first", "second"] {
        fs::write(folder.path().join(file), &keys).unwrap();
    }
    let claims = json!({"aud": "tokenferry"});
    let token = stage.simulator.federated_token(&claims).unwrap();
    let lines = format!("GET /graph/sim/bytes/1 HTTP/1.1\nAuthorization: Bearer {token}");
    // A file that is not there for a moment leaves the issuer's keys as they are known.
    for file in ["first", "second", "none", "first"] {
        stage.reload(&own(file, FEDERATED_ISSUER));
        stage.ask(&lines).await.expect(200);
    }
    // Of another issuer none were ever known, so that nobody can be judged.
    stage.reload(&own("none", "https://another.example"));
    let refused = stage.ask(&lines).await;
    assert_eq!(refused.refusal(), (503, "tokenUnavailable".to_owned()));
}

#[cfg(unix)]
#[tokio::test]
async fn files_that_others_may_read_are_warned_of_at_start() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "a-key-of-good-length-0001").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let own = format!(
        "callers: {{cron: {{api_key_file: '{}'}}}}\n\
         routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [cron]}}]\n",
        key.display()
    );
    let program = Program::start(&own, "").await;
    program.err.says("is open to every user").await;
    assert!(!program.err.text().contains("a-key-of-good-length"));
}

#[tokio::test]
async fn spaces_around_a_key_in_a_variable_are_no_part_of_it() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    let own = "callers: {cron: {api_key: '${CRON_KEY}'}}\n\
        routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [cron]}]\n";
    let key = [("CRON_KEY", " the-key-of-cron-jobs ")];
    let program = Program::within(simulator, own, &key).await;
    let head = "GET /graph/v1.0/users HTTP/1.1\nX-Api-Key: the-key-of-cron-jobs";
    assert_eq!(program.caller().await.exchange(head).await.status, 200);
}
