//! Managed identity through the real binary, on each platform that the simulator stands in for: a
//! virtual machine, App Service, and a machine of Azure Arc.

use std::net::TcpListener;
use std::path::Path;

use http::StatusCode;
use serde_json::Value;
use tokenferry::simulator::{
    CLIENT_ID, Ending, Fault, IDENTITY_CANARY, METADATA, OBJECT_ID, RESOURCE_ID, Script, Seen,
    Simulator,
};
use tokio::task::JoinSet;

use crate::cli::{desk, with_file};
use crate::harness::program::{Program, run};
use crate::harness::{found, until};

const SELECTORS: [&str; 4] = [
    "system",
    "{client_id: CLIENT}",
    "{object_id: OBJECT}",
    "{resource_id: RESOURCE}",
];

/// A route whose credential is this managed identity.
pub(crate) fn managed(selector: &str) -> String {
    let selector = selector
        .replace("CLIENT", CLIENT_ID)
        .replace("OBJECT", OBJECT_ID)
        .replace("RESOURCE", RESOURCE_ID);
    format!(
        "credentials: {{app: {{managed_identity: {selector}}}}}\nroutes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', credential: app}}]\n"
    )
}

/// What App Service puts into the environment.
fn app_service(simulator: &Simulator) -> [(&'static str, String); 2] {
    let header = simulator.identity_header();
    let header = header.expose_str().expect("it is text").to_owned();
    let endpoint = format!("http://{}/msi/token", simulator.metadata_address());
    [("IDENTITY_ENDPOINT", endpoint), ("IDENTITY_HEADER", header)]
}

/// What the agent of Azure Arc puts into the environment.
pub(crate) fn arc(simulator: &Simulator) -> [(&'static str, String); 2] {
    let agent = format!("http://{}", simulator.metadata_address());
    let endpoint = format!("{agent}/metadata/identity/oauth2/token");
    [("IDENTITY_ENDPOINT", endpoint), ("IMDS_ENDPOINT", agent)]
}

/// Runs `token graph` with these variables.
pub(crate) async fn token(folder: &Path, variables: &[(&str, String)]) -> (i32, String) {
    let mut command = with_file(&["token", "graph"], folder);
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    let (code, out, err) = run(command).await;
    let said = format!("{out}{err}");
    assert!(!said.contains(IDENTITY_CANARY), "{said}");
    (code, said)
}

pub(crate) fn calls(simulator: &Simulator) -> Vec<Seen> {
    let mut seen = simulator.seen();
    seen.retain(|seen| seen.target().contains("/token?"));
    seen
}

#[tokio::test]
async fn a_virtual_machine_gives_each_of_its_identities() {
    for (selector, parameter) in
        SELECTORS
            .iter()
            .zip(["", "&client_id=", "&object_id=", "&msi_res_id="])
    {
        let (simulator, folder) = desk(&managed(selector)).await;
        let (code, said) = token(folder.path(), &[]).await;
        assert_eq!(code, 0, "{selector}: {said}");
        let calls = calls(&simulator);
        let call = &calls[0];
        assert_eq!(
            (calls.len(), call.host.as_str()),
            (1, METADATA),
            "{selector}"
        );
        let target = call.target();
        let begin = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fgraph.microsoft.com";
        let rest = target.strip_prefix(begin).expect(&target);
        assert!(
            rest.starts_with(parameter) && rest.is_empty() == parameter.is_empty(),
            "{target}"
        );
        assert_eq!(call.header("metadata").as_deref(), Some("true"));
    }
}

#[tokio::test]
async fn app_service_gives_each_of_its_identities() {
    for (selector, parameter) in
        SELECTORS
            .iter()
            .zip(["", "&client_id=", "&object_id=", "&mi_res_id="])
    {
        let (simulator, folder) = desk(&managed(selector)).await;
        let (code, said) = token(folder.path(), &app_service(&simulator)).await;
        assert_eq!(code, 0, "{selector}: {said}");
        let target = calls(&simulator)[0].target();
        assert!(
            target.starts_with("/msi/token?api-version=2019-08-01&resource="),
            "{target}"
        );
        assert!(target.contains(parameter), "{target}");
    }
}

#[tokio::test]
async fn an_identity_that_is_not_assigned_is_refused_with_what_to_check() {
    let own = managed("{client_id: CLIENT}").replace(CLIENT_ID, "another");
    let (_simulator, folder) = desk(&own).await;
    let (code, said) = token(folder.path(), &[]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("check that the identity is assigned here"),
        "{said}"
    );
    // App Service says it with a 500 and nothing else.
    let (simulator, folder) = desk(&own).await;
    let (code, said) = token(folder.path(), &app_service(&simulator)).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("500") && said.contains("a wrong identity or scope can look like this"),
        "{said}"
    );
    let (simulator, folder) = desk(&managed("system")).await;
    let [endpoint, _] = app_service(&simulator);
    let variables = [endpoint, ("IDENTITY_HEADER", "wrong".to_owned())];
    let (code, said) = token(folder.path(), &variables).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("managed identity endpoint") && said.contains("401"),
        "{said}"
    );
}

#[tokio::test]
async fn no_proxy_of_the_environment_sees_a_call_for_a_managed_identity() {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    proxy
        .set_nonblocking(true)
        .expect("it can be asked without waiting");
    let url = format!("http://{}", proxy.local_addr().expect("it is bound"));
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let (simulator, folder) = desk(&managed("system")).await;
    for platform in [&[][..], &app_service(&simulator)] {
        let proxies = names.map(|name| (name, url.clone()));
        let variables = [&proxies[..], platform].concat();
        let (code, said) = token(folder.path(), &variables).await;
        assert_eq!(code, 0, "{said}");
        assert!(proxy.accept().is_err(), "somebody called the proxy");
    }
}

/// Scripts one bad answer of a virtual machine's service.
fn answers(status: u16, headers: &[(&str, &str)]) -> Script {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let fault = Fault::Answer {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: headers.iter().map(own).collect(),
        body: b"{\"error\":\"x\",\"error_description\":\"y\"}".to_vec(),
    };
    Script::on(METADATA, fault).times(1)
}

async fn status(program: &Program) -> Value {
    program.get_admin("/status.json").await.json()["tokens"][0].clone()
}

#[tokio::test]
async fn statuses_that_pass_are_asked_again_by_themselves() {
    let mut cases = JoinSet::new();
    for (code, headers) in [
        (404, &[][..]),
        (408, &[]),
        (429, &[("retry-after", "1")]),
        (500, &[]),
        (503, &[]),
    ] {
        cases.spawn(async move {
            let simulator = Simulator::start().await.expect("the simulator starts");
            simulator.script(answers(code, headers));
            let program = Program::within(simulator, &managed("system"), &[]).await;
            until("the token is there", async || {
                let status = program.get("/graph/v1.0/users?$top=1").await.status;
                assert!([200, 503].contains(&status), "{code} leads to {status}");
                status == 200
            })
            .await;
            assert_eq!(program.simulator.metadata_calls(), 2, "{code}");
        });
    }
    cases.join_all().await;
}

#[tokio::test]
async fn an_updating_service_is_left_alone_for_the_documented_pause() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    simulator.script(answers(410, &[]));
    let program = Program::within(simulator, &managed("system"), &[]).await;
    let token = found("the failure is shown", || async {
        let token = status(&program).await;
        token["failure"].is_object().then_some(token)
    })
    .await;
    assert_eq!(token["state"], "unavailable", "{token}");
    let next = token["next_attempt_in_seconds"]
        .as_i64()
        .expect("it is asked again");
    assert!((8..=15).contains(&next), "{token}");
    let answer = program.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (503, "tokenUnavailable".to_owned()));
    let after: i64 = answer.field("retry-after").parse().expect("seconds");
    assert!((7..=15).contains(&after), "{after}");
    assert!(
        answer.message().contains("being updated"),
        "{}",
        answer.message()
    );
    assert_eq!(program.simulator.metadata_calls(), 1);
}

#[tokio::test]
async fn a_refusal_of_the_platform_is_told_and_asked_again_slowly() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    simulator.script(answers(400, &[]).times(100));
    let program = Program::within(simulator, &managed("system"), &[]).await;
    let answer = program.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (502, "tokenRejected".to_owned()));
    let token = status(&program).await;
    assert_eq!(token["state"], "rejected", "{token}");
    assert!(
        token["next_attempt_in_seconds"].as_i64() > Some(20),
        "{token}"
    );
}

#[tokio::test]
async fn a_service_that_is_not_there_is_an_outage_and_not_a_refusal() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    let fault = Fault::Break {
        after: None,
        ending: Ending::Reset,
    };
    simulator.script(Script::on(METADATA, fault).times(1));
    let program = Program::within(simulator, &managed("system"), &[]).await;
    until("the token is there", async || {
        let status = program.get("/graph/v1.0/users?$top=1").await.status;
        status == 200
    })
    .await;
}

/// Where the agent of Azure Arc keeps its keys; nobody else's folder is believed.
pub(crate) const ARC_KEYS: &str = "/var/opt/azcmagent/tokens";

#[tokio::test]
async fn no_file_outside_the_agents_folder_is_read_or_sent() {
    let (simulator, folder) = desk(&managed("system")).await;
    let outside = folder.path().join("private.key");
    std::fs::write(&outside, "private").expect("the folder can be written");
    for named in [
        outside.display().to_string(),
        format!("{ARC_KEYS}/../../../..{}", outside.display()),
        format!("{ARC_KEYS}/../tokens.key"),
        "private.key".to_owned(),
    ] {
        simulator.clear();
        simulator.arc_key(&named);
        refused_unread(&simulator, folder.path()).await;
    }
    let user_assigned = managed("{client_id: CLIENT}");
    let (simulator, folder) = desk(&user_assigned).await;
    let (code, said) = token(folder.path(), &arc(&simulator)).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("write `managed_identity: system`"), "{said}");
    assert_eq!(simulator.metadata_calls(), 0);
}

#[tokio::test]
async fn what_a_key_is_called_acts_on_no_terminal() {
    let (simulator, folder) = desk(&managed("system")).await;
    let acts = ['\u{9b}', '\u{202e}', '\u{2028}'];
    for c in acts {
        simulator.arc_key(&format!("{ARC_KEYS}/{c}2J.key"));
        let (code, said) = token(folder.path(), &arc(&simulator)).await;
        assert_eq!(code, 1, "{said:?}");
        assert!(!said.contains(acts), "{said:?}");
    }
}

pub(crate) async fn refused_unread(simulator: &Simulator, folder: &Path) {
    let before = calls(simulator).len();
    let (code, said) = token(folder, &arc(simulator)).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("it was not read"), "{said}");
    let calls = calls(simulator);
    assert_eq!(
        calls.len(),
        before + 1,
        "nothing is sent after such a challenge"
    );
    assert_eq!(calls[before].header("authorization"), None);
}
