//! The doctor, as the real binary runs it.

use std::time::Duration;

use http::StatusCode;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, date_time_ymd};
use serde_json::{Value, json};
use tokenferry::simulator::{
    CLIENT_ID, Ending, Fault, GRAPH, Gate, LOGIN, ORGANISATION, SECRET_CANARY, Script, Simulator,
    TENANT_ID,
};

use crate::cli::{desk, with_file};
use crate::harness::program::run;
use crate::harness::until;

/// The exit code and what is printed, which holds no secret and no token.
pub(crate) async fn doctor(
    simulator: &Simulator,
    folder: &std::path::Path,
    words: &[&str],
) -> (i32, String) {
    let words = [&["doctor"], words].concat();
    let (code, out, err) = run(with_file(&words, folder)).await;
    let said = format!("{out}{err}");
    assert!(!said.contains(SECRET_CANARY), "{said}");
    for token in simulator.tokens() {
        let signature = token.rsplit('.').next().expect("a token has parts");
        assert!(!said.contains(signature), "{said}");
    }
    (code, said)
}

async fn document(simulator: &Simulator, folder: &std::path::Path, words: &[&str]) -> (i32, Value) {
    let words = [&["--json"], words].concat();
    let (code, said) = doctor(simulator, folder, &words).await;
    let document = serde_json::from_str(&said);
    (
        code,
        document.unwrap_or_else(|error| panic!("{error} in {said}")),
    )
}

/// An answer with an OData error.
pub(crate) fn refusal(status: StatusCode, code: &str) -> Fault {
    let body = json!({"error": {"code": code, "message": "No."}});
    Fault::Answer {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into_bytes(),
    }
}

/// The first finding of a route, in words.
fn found(document: &Value, route: usize) -> String {
    document["routes"][route]["findings"][0].to_string()
}

#[tokio::test]
async fn routes_that_work_are_shown_with_their_claims() {
    let (simulator, folder) = desk("").await;
    simulator.set_roles(&["User.Read.All"]);
    let (code, said) = doctor(&simulator, folder.path(), &[]).await;
    assert_eq!(code, 0, "{said}");
    for line in [
        "graph (ok): https://graph.microsoft.com",
        "dynamics (ok): https://contoso.crm.dynamics.com",
        "  audience   https://graph.microsoft.com",
        &format!("  app        {CLIENT_ID}"),
        &format!("  tenant     {TENANT_ID}"),
        "  roles      User.Read.All",
        "  upstream   GET /v1.0/organization?$select=id answered 200",
        "  upstream   GET /api/data/v9.2/WhoAmI answered 200",
        "2 routes: 0 problems, 0 warnings",
    ] {
        assert!(said.lines().any(|own| own == line), "{line} in {said}");
    }
    let token = format!("  token      from {LOGIN}, by credential contoso (client_secret), in ");
    assert!(said.contains(&token), "{said}");
    assert!(said.contains("  expires    20"), "{said}");
    // One call for each scope, one request to each upstream, and nothing that gives offence.
    assert_eq!(simulator.token_calls(), 2);
    assert_eq!(
        simulator.violations().len(),
        0,
        "{:?}",
        simulator.violations()
    );
}

#[tokio::test]
async fn one_route_can_be_asked_for_and_programs_get_a_document() {
    let (simulator, folder) = desk("").await;
    let (code, document) = document(&simulator, folder.path(), &["dynamics"]).await;
    assert_eq!((code, &document["works"]), (0, &json!(true)));
    let routes = document["routes"].as_array().expect("there are routes");
    assert_eq!(routes.len(), 1);
    let (token, probe) = (&routes[0]["token"], &routes[0]["probe"]);
    assert_eq!(token["audience"], format!("https://{ORGANISATION}"));
    assert_eq!(
        (&token["tenant"], &token["app"]),
        (&json!(TENANT_ID), &json!(CLIENT_ID))
    );
    assert!(token["expires_in"].as_u64() > Some(60), "{token}");
    assert_eq!(
        probe,
        &json!({"method": "GET", "path": "/api/data/v9.2/WhoAmI", "status": 200})
    );
    assert_eq!(simulator.token_calls(), 1);
}

#[tokio::test]
async fn a_refused_credential_is_explained_with_its_remedy() {
    let (simulator, folder) = desk("").await;
    simulator.expire_client_secrets();
    let (code, document) = document(&simulator, folder.path(), &["graph"]).await;
    assert_eq!((code, &document["works"]), (1, &json!(false)));
    let found = found(&document, 0);
    for word in [
        "problem",
        "credential",
        "contoso",
        "AADSTS7000222",
        "create a new secret",
        "trace id",
        "correlation id",
    ] {
        assert!(found.contains(word), "{word} in {found}");
    }
    assert_eq!(document["routes"][0]["probe"], Value::Null);
    assert!(
        simulator.seen().iter().all(|seen| seen.host == LOGIN),
        "nothing goes up without a token"
    );
}

#[tokio::test]
async fn one_broken_route_does_not_hide_the_others() {
    let (simulator, folder) = desk("").await;
    simulator.outage(GRAPH);
    let (code, said) = doctor(&simulator, folder.path(), &[]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("graph (FAILS)") && said.contains("dynamics (ok)"),
        "{said}"
    );
    assert!(
        said.contains("GET /v1.0/organization?$select=id was not answered"),
        "{said}"
    );
    assert!(said.contains("2 routes: 1 problem, 0 warnings"), "{said}");
}

#[tokio::test]
async fn what_an_upstream_refuses_is_interpreted() {
    let (simulator, folder) = desk("").await;
    simulator.revoke_tokens(None);
    for (host, route, fault, code, said) in [
        (
            ORGANISATION,
            "dynamics",
            refusal(StatusCode::FORBIDDEN, "0x80072560"),
            1,
            "application user",
        ),
        (
            ORGANISATION,
            "dynamics",
            refusal(StatusCode::UNAUTHORIZED, ""),
            1,
            "application user",
        ),
        (
            GRAPH,
            "graph",
            refusal(StatusCode::FORBIDDEN, "Authorization_RequestDenied"),
            0,
            "Organization.Read.All",
        ),
        (
            GRAPH,
            "graph",
            refusal(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken"),
            1,
            "InvalidAuthenticationToken",
        ),
        (
            GRAPH,
            "graph",
            refusal(StatusCode::SERVICE_UNAVAILABLE, "x"),
            1,
            "unwell",
        ),
        (
            GRAPH,
            "graph",
            Fault::Raw(b"nonsense\r\n\r\n".to_vec(), Ending::Close),
            1,
            "graph.microsoft.com gave no answer that can be used; check that upstream is the API's address",
        ),
        (
            GRAPH,
            "graph",
            Fault::Break {
                after: None,
                ending: Ending::Close,
            },
            1,
            "check that upstream is the API's address, and what stands between this machine and it",
        ),
    ] {
        simulator.clear_scripts();
        simulator.set_roles(&["User.Read.All"]);
        simulator.script(Script::on(host, fault));
        let (own, document) = document(&simulator, folder.path(), &[route]).await;
        let found = found(&document, 0);
        assert_eq!(own, code, "{found}");
        assert!(found.contains(said), "{said} in {found}");
    }
    simulator.set_roles(&[]);
    simulator.clear_scripts();
    simulator.script(Script::on(
        GRAPH,
        refusal(StatusCode::FORBIDDEN, "Authorization_RequestDenied"),
    ));
    let (code, document) = document(&simulator, folder.path(), &["graph"]).await;
    let found = found(&document, 0);
    assert_eq!(code, 1, "{found}");
    assert!(found.contains("admin consent"), "{found}");
}

#[tokio::test]
async fn a_token_for_another_resource_is_told_from_the_challenge() {
    let own = "\
routes:
  - {name: dynamics, path: /dynamics, upstream: 'https://ORGANISATION', scope: 'https://GRAPH/.default'}
";
    let (simulator, folder) = desk(own).await;
    let (code, out, err) = run(with_file(&["doctor"], folder.path())).await;
    assert_eq!(code, 1, "{out}{err}");
    let said = format!("set the route's scope to https://{ORGANISATION}/.default");
    assert!(out.contains(&said), "{out}");
    assert!(
        err.contains("warning"),
        "what check says is said here as well: {err}"
    );
    assert!(out.contains("1 route: 1 problem, 1 warning\n"), "{out}");
    drop(simulator);
}

#[tokio::test]
async fn a_certificate_whose_time_has_not_come_is_told_whatever_became_of_it() {
    let own = format!(
        "credentials: {{app: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, certificate_file: SECRET_FILE}}}}\n\
         routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH'}}]\n"
    );
    let (simulator, folder) = desk(&own).await;
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key can be made");
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2999, 1, 1);
    let certificate = params.self_signed(&key).expect("it can be signed");
    let pem = certificate.pem() + &key.serialize_pem();
    std::fs::write(folder.path().join("secret"), pem).expect("the folder can be written");
    let (code, said) = doctor(&simulator, folder.path(), &[]).await;
    assert_eq!(code, 1, "{said}");
    let told = "warning    credential \"app\" is not valid before 2999-01-01T00:00:00";
    assert!(said.contains(told), "{said}");
}

#[tokio::test]
async fn the_time_left_is_told_of_a_token_that_cannot_be_read_too() {
    let (simulator, folder) = desk("").await;
    simulator.set_token_lifetime(Duration::from_secs(5430), None);
    let (_, said) = doctor(&simulator, folder.path(), &["graph"]).await;
    assert!(said.contains("Z, in 90 min\n"), "{said}");
    simulator.patch_token_reply(json!({"access_token": "opaque"}));
    let (_, said) = doctor(&simulator, folder.path(), &["graph"]).await;
    let told =
        "\n  expires    in 90 min\n  claims     none that can be read: the token is opaque\n";
    assert!(said.contains(told), "{said}");
}

#[tokio::test]
async fn every_token_is_asked_for_at_the_same_time() {
    let own = format!(
        "credentials:\n  app:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n    client_secret_file: SECRET_FILE\n    fallback: spare\n  spare:\n    tenant_id: {TENANT_ID}\n    client_id: 33333333-aaaa-4bbb-8ccc-000000000003\n    client_secret_file: SECRET_FILE\n\
         routes:\n  - {{name: graph, path: /graph, upstream: 'https://GRAPH', credential: app}}\n  - {{name: dynamics, path: /dynamics, upstream: 'https://ORGANISATION', credential: app}}\n"
    );
    let (simulator, folder) = desk(&own).await;
    simulator.set_roles(&["User.Read.All"]);
    let gate = Gate::new();
    simulator.script(Script::on(LOGIN, Fault::Hold(gate.clone())));
    let examined = doctor(&simulator, folder.path(), &[]);
    let asked = async {
        until("four calls are under way", async || {
            simulator.token_calls() == 4
        })
        .await;
        gate.open();
    };
    let ((code, said), ()) = tokio::join!(examined, asked);
    assert_eq!(code, 0, "{said}");
    let at = |words: &str| said.find(words).expect("each route is shown");
    assert!(at("graph (ok)") < at("dynamics (ok)"), "{said}");
}

#[tokio::test]
async fn a_fallback_is_tried_before_it_is_needed() {
    let own = format!(
        "credentials:\n  app:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n    client_secret: ${{FIRST}}\n    fallback: spare\n  spare:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n    client_secret: ${{SECOND}}\n\
         routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', credential: app}}]\n"
    );
    let (simulator, folder) = desk(&own).await;
    simulator.set_roles(&["User.Read.All"]);
    let good = simulator.client_secret().expect("the app has a secret");
    let good = good.expose_str().expect("it is text");
    for (first, second, code, severity, said) in [
        (
            good,
            "wrong",
            0,
            "warning",
            "the fallback could not stand in: credential \\\"spare\\\"",
        ),
        (
            "wrong",
            good,
            0,
            "warning",
            "its fallback \\\"spare\\\" gives the token instead",
        ),
        ("wrong", "wrong", 1, "problem", "AADSTS7000215"),
    ] {
        let mut command = with_file(&["doctor", "--json"], folder.path());
        command.env("FIRST", first).env("SECOND", second);
        let (own, out, err) = run(command).await;
        assert_eq!(own, code, "{out}{err}");
        let document: Value = serde_json::from_str(&out).expect("it is JSON");
        let found = found(&document, 0);
        assert!(
            found.contains(said) && found.contains(severity),
            "{said} in {found}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_refused_with_2() {
    let (_simulator, folder) = desk("").await;
    let (code, out, err) = run(with_file(&["doctor", "nowhere"], folder.path())).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("graph") && err.contains("dynamics"), "{err}");
    let (_simulator, folder) = desk("routes: []\n").await;
    let (code, _, err) = run(with_file(&["doctor"], folder.path())).await;
    assert_eq!(code, 2, "{err}");
}

#[tokio::test]
async fn a_file_that_check_refuses_is_refused_in_the_same_words() {
    for own in [
        "tls: {certificate_file: /nowhere/tls.pem, key_file: /nowhere/tls.key}\n",
        "trust: {ca_file: /nowhere/ca.pem}\n",
        "routes: [{name: graph, path: graph, upstream: 'https://GRAPH'}]\n",
        "callers: {one: {api_key_file: SECRET_FILE}, two: {api_key_file: SECRET_FILE}}\n\
         routes: [{name: graph, path: /graph, upstream: 'https://GRAPH', callers: [one, two]}]\n",
    ] {
        let (simulator, folder) = desk(own).await;
        let (_, _, checked) = run(with_file(&["check"], folder.path())).await;
        let (code, out, err) = run(with_file(&["doctor"], folder.path())).await;
        assert_eq!((code, out.as_str()), (2, ""), "{own}: {err}");
        assert_eq!(err, checked, "{own}");
        assert!(err.contains(": refused, "), "{own}: {err}");
        assert!(err.ends_with('\n'), "{own}: {err}");
        assert_eq!(simulator.token_calls(), 0, "{own}");
    }
}
