//! Dataverse: rows, files and batches.

use super::client::{Reply, bearer, fetch, get, once, request};
use super::*;

const ROOT: &str = "/api/data/v9.2";

async fn send(
    simulator: &Simulator,
    method: &str,
    target: &str,
    extra: (&str, &str),
    body: &str,
) -> Reply {
    let bearer = bearer(simulator, ORGANISATION).await;
    let headers = [("authorization", bearer.as_str()), extra];
    let request = request(method, ORGANISATION, target, &headers, body.to_owned());
    once(simulator, request).await.unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn both_addresses_of_the_organisation_take_the_same_token() {
    let simulator = Simulator::start().await.unwrap();
    let bearer = bearer(&simulator, ORGANISATION).await;
    let target = format!("{ROOT}/WhoAmI");
    let request = get(ORGANISATION_API, &target, &bearer);
    let reply = once(&simulator, request).await.unwrap();
    assert_eq!(reply.status, 200);
    let context = reply.json()["@odata.context"].as_str().unwrap().to_owned();
    assert!(context.starts_with("https://contoso.api.crm.dynamics.com/api/data/v9.2/$metadata"));
    assert_eq!(simulator.violations(), []);
}

#[tokio::test]
async fn without_a_token_the_challenge_names_tenant_and_resource() {
    let simulator = Simulator::start().await.unwrap();
    let request = request("GET", ORGANISATION, &format!("{ROOT}/WhoAmI"), &[], "");
    let reply = once(&simulator, request).await.unwrap();
    assert_eq!(reply.status, 401);
    let expected = format!(
        "Bearer authorization_uri=https://login.microsoftonline.com/{TENANT_ID}/oauth2/authorize, resource_id=https://contoso.crm.dynamics.com/"
    );
    assert_eq!(reply.header("www-authenticate"), expected);
}

#[tokio::test]
async fn a_new_row_is_known_by_its_header_only() {
    let simulator = Simulator::start().await.unwrap();
    let made = send(
        &simulator,
        "POST",
        &format!("{ROOT}/accounts"),
        JSON,
        "{\"name\":\"x\"}",
    )
    .await;
    assert_eq!((made.status.as_u16(), made.body.len()), (204, 0));
    let location = made.header("odata-entityid").to_owned();
    assert!(location.starts_with("https://contoso.crm.dynamics.com/api/data/v9.2/accounts("));
    assert_eq!(fetch(&simulator, ORGANISATION, &location).await.status, 200);
    let refused = send(
        &simulator,
        "PATCH",
        &location,
        ("if-match", "W/\"1\""),
        "{}",
    )
    .await;
    assert_eq!(refused.status, 412);
}

#[tokio::test]
async fn a_reference_has_to_name_the_organisation() {
    let simulator = Simulator::start().await.unwrap();
    let base = format!(
        "{ROOT}/accounts(aaaa0001-0000-0000-0000-000000000000)/opportunity_customer_accounts/$ref?$id="
    );
    let own = "https://contoso.crm.dynamics.com/api/data/v9.2/opportunities(cccc0001-0000-0000-0000-000000000000)";
    for link in [
        own.to_owned(),
        own.replace("contoso.", "contoso.api."),
        own.replace('/', "%2F"),
    ] {
        let reply = send(&simulator, "DELETE", &format!("{base}{link}"), JSON, "").await;
        assert_eq!(reply.status, 204, "{link}");
    }
    assert_eq!(simulator.violations(), []);
    let proxied = own.replace(
        "https://contoso.crm.dynamics.com",
        "http://localhost:8080/dynamics",
    );
    assert_eq!(
        send(&simulator, "DELETE", &format!("{base}{proxied}"), JSON, "")
            .await
            .status,
        400
    );
    assert_eq!(simulator.violations().len(), 1);
}

#[tokio::test]
async fn a_file_is_sent_in_pieces_to_the_address_of_its_session() {
    let simulator = Simulator::start().await.unwrap();
    let column = format!("{ROOT}/accounts(aaaa0001-0000-0000-0000-000000000000)/sample_filecolumn");
    let target = format!("{column}?x-ms-file-name=25mb.pdf");
    let begun = send(
        &simulator,
        "PATCH",
        &target,
        ("x-ms-transfer-mode", "chunked"),
        "",
    )
    .await;
    assert_eq!(
        (begun.status.as_u16(), begun.header("x-ms-chunk-size")),
        (200, "4194304")
    );
    let location = begun.header("location").to_owned();
    assert!(
        location.ends_with("?sessiontoken=FAKE%2bSESSION%3d"),
        "{location}"
    );
    for (range, body, expected) in [
        ("bytes 0-3/6", "abcd", 206),
        ("bytes 0-4/6", "ef", 400),
        ("bytes 5-6/6", "ef", 400),
        ("bytes 4-5/6", "ef", 204),
    ] {
        let reply = send(
            &simulator,
            "PATCH",
            &location,
            ("content-range", range),
            body,
        )
        .await;
        assert_eq!(reply.status, expected);
    }
    assert_eq!(simulator.violations(), []);
}

#[tokio::test]
async fn a_session_address_that_was_tidied_up_is_refused() {
    let simulator = Simulator::start().await.unwrap();
    let column = format!("{ROOT}/accounts(aaaa0001-0000-0000-0000-000000000000)/sample_filecolumn");
    let tidied = format!("{column}?sessiontoken=FAKE%2bSESSION=");
    assert_eq!(
        send(
            &simulator,
            "PATCH",
            &tidied,
            ("content-range", "bytes 0-0/1"),
            "a"
        )
        .await
        .status,
        400
    );
    assert_eq!(simulator.violations().len(), 1);
    let nameless = ("content-type", "application/octet-stream");
    let reply = send(&simulator, "PATCH", &column, nameless, "abc").await;
    assert_eq!(reply.status, 400);
    let named = ("x-ms-file-name", "25mb.pdf");
    let reply = send(&simulator, "PATCH", &column, named, "abc").await;
    assert_eq!(reply.status, 204);
}

fn part(line: &str) -> String {
    format!(
        "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{line} HTTP/1.1\r\nAccept: application/json\r\n\r\n\r\n"
    )
}

#[tokio::test]
async fn a_batch_runs_operations_and_change_sets() {
    let simulator = Simulator::start().await.unwrap();
    let change = |id: u8, line: &str, body: &str| {
        format!(
            "--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: {id}\r\n\r\n{line} HTTP/1.1\r\nContent-Type: application/json; type=entry\r\n\r\n{body}\r\n"
        )
    };
    let body = format!(
        "--b\r\n{}--b\r\nContent-Type: multipart/mixed; boundary=\"c\"\r\n\r\n{}{}--c--\r\n\r\n--b--\r\n",
        part("GET https://contoso.crm.dynamics.com/api/data/v9.2/accounts?$select=name&$top=1"),
        change(1, "POST /api/data/v9.2/tasks", "{\"subject\":\"x\"}"),
        change(2, "PATCH $1", "{\"subject\":\"y\"}"),
    );
    let batch = ("content-type", "multipart/mixed; boundary=\"b\"");
    let reply = send(&simulator, "POST", &format!("{ROOT}/$batch"), batch, &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert_eq!(text.matches("HTTP/1.1 204 No Content").count(), 2, "{text}");
    assert!(
        text.contains(
            "\"@odata.context\":\"https://contoso.crm.dynamics.com/api/data/v9.2/$metadata"
        )
    );
    assert!(text.contains("odata-entityid: https://contoso.crm.dynamics.com/api/data/v9.2/tasks("));
    assert_eq!(simulator.violations(), []);
    let proxied = format!(
        "--b\r\n{}--b--\r\n",
        part("GET http://localhost:8080/dynamics/api/data/v9.2/accounts")
    );
    let reply = send(
        &simulator,
        "POST",
        &format!("{ROOT}/$batch"),
        batch,
        &proxied,
    )
    .await;
    assert_eq!(reply.status, 400);
    assert_eq!(simulator.violations().len(), 1);
    let reads = change(1, "GET /api/data/v9.2/accounts", "");
    let reads = format!(
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n{reads}--c--\r\n--b--\r\n"
    );
    let own = part("GET /api/data/v9.2/accounts").replace("Accept:", "Authorization: x\r\nAccept:");
    let own = format!("--b\r\n{own}--b--\r\n");
    let nested = format!("--b\r\n{}--b--\r\n", part("POST /api/data/v9.2/$batch"));
    for (body, status, noted) in [(&reads, 400, 1), (&own, 200, 2), (&nested, 400, 3)] {
        let reply = send(&simulator, "POST", &format!("{ROOT}/$batch"), batch, body).await;
        assert_eq!(reply.status, status, "{body}");
        assert_eq!(simulator.violations().len(), noted, "{body}");
    }
}

#[tokio::test]
async fn a_batch_ends_at_its_first_refusal_unless_it_is_to_go_on() {
    let simulator = Simulator::start().await.unwrap();
    let bearer = bearer(&simulator, ORGANISATION).await;
    let missing = part("GET /api/data/v9.2/Nothing");
    let who = part("GET /api/data/v9.2/WhoAmI");
    let two = format!("--b\r\n{missing}--b\r\n{who}--b--\r\n");
    let many = format!("{}--b--\r\n", format!("--b\r\n{who}").repeat(1001));
    for (prefer, body, status, answers) in [
        ("odata.maxpagesize=1", &two, 400, 1),
        ("odata.continue-on-error", &two, 200, 2),
        ("odata.continue-on-error", &many, 400, 0),
    ] {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "multipart/mixed; boundary=b"),
            ("prefer", prefer),
        ];
        let target = format!("{ROOT}/$batch");
        let post = request("POST", ORGANISATION, &target, &headers, body.clone());
        let reply = once(&simulator, post).await.unwrap();
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, status, "{prefer}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), answers, "{prefer}");
    }
}

#[tokio::test]
async fn the_set_of_a_table_is_looked_up_by_its_name() {
    let simulator = Simulator::start().await.unwrap();
    for (name, sets) in [("account", &["accounts"][..]), ("accounts", &[])] {
        let target = format!(
            "{ROOT}/EntityDefinitions?%24select=EntitySetName&%24filter=LogicalName+eq+%27{name}%27"
        );
        let found = send(&simulator, "GET", &target, JSON, "").await.json();
        let found = found["value"].as_array().unwrap().iter();
        let found: Vec<_> = found.map(|one| one["EntitySetName"].clone()).collect();
        assert_eq!(found, sets, "{name}");
    }
    let made = format!("{ROOT}/EntityDefinitions");
    let reply = send(&simulator, "POST", &made, JSON, "{}").await;
    assert_eq!(reply.status, 405);
}

#[tokio::test]
async fn rows_made_together_have_to_name_their_type() {
    let simulator = Simulator::start().await.unwrap();
    let target = format!("{ROOT}/accounts/Microsoft.Dynamics.CRM.CreateMultiple");
    let typed = r#"{"@odata.type":"Microsoft.Dynamics.CRM.account"}"#;
    let body = format!(r#"{{"Targets":[{typed},{typed}]}}"#);
    let reply = send(&simulator, "POST", &target, JSON, &body).await;
    assert_eq!(reply.json()["Ids"].as_array().map(Vec::len), Some(2));
    let body = format!(r#"{{"Targets":[{typed},{{"name":"x"}}]}}"#);
    let reply = send(&simulator, "POST", &target, JSON, &body).await;
    assert_eq!(reply.status, 400);
}
