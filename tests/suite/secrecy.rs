//! What must not be seen is nowhere to be seen.

use rustix::process::Signal;
use tokenferry::simulator::{
    Ending, Fault, GRAPH, LOGIN, ORGANISATION, SECRET_CANARY, Script, TOKEN_CANARY,
};

use crate::harness::caller::Caller;
use crate::harness::program::Program;

#[tokio::test]
async fn no_secret_and_no_token_is_in_anything_the_program_says() {
    let own = "\
timeouts: {drain_delay: 0s, response_head: 1s}
routes:
  - {name: graph, path: /graph, upstream: 'https://GRAPH'}
  - {name: two, path: /two, upstream: 'https://GRAPH', upstream_http: 2}
  - {name: dynamics, path: /dynamics, upstream: 'https://ORGANISATION'}
";
    let mut program = Program::start(own, "trace").await;
    let mut said = String::new();
    let mut hear = async |program: &Program, target: &str| {
        let answer = program.get(target).await;
        said.push_str(&format!("{:?}\n{}\n", answer.fields, answer.text()));
    };
    for target in [
        "/graph/v1.0/users?$top=1",
        "/two/sim/echo",
        "/dynamics/api/data/v9.2/accounts?$top=1",
        "/graph/sim/status/401",
        "/graph/sim/status/500",
        "/nowhere",
    ] {
        hear(&program, target).await;
    }
    for fault in [
        Fault::Break {
            after: None,
            ending: Ending::Reset,
        },
        Fault::Break {
            after: Some(5),
            ending: Ending::Close,
        },
        Fault::Raw(b"garbage\r\n\r\n".to_vec(), Ending::Close),
        Fault::Unprocessed,
        Fault::Goaway,
    ] {
        program.simulator.script(Script::on(GRAPH, fault).times(2));
        for target in ["/graph/sim/bytes/100", "/two/sim/bytes/100"] {
            hear(&program, target).await;
        }
        program.simulator.clear_scripts();
    }
    // Every way in which a token can fail to come, with a route that is new each time.
    for (number, fault) in [
        Fault::Entra(7_000_215),
        Fault::Break {
            after: None,
            ending: Ending::Close,
        },
        Fault::Answer {
            status: http::StatusCode::OK,
            headers: Vec::new(),
            body: b"{\"access_token\":".to_vec(),
        },
        Fault::Answer {
            status: http::StatusCode::TOO_MANY_REQUESTS,
            headers: Vec::new(),
            body: Vec::new(),
        },
    ]
    .into_iter()
    .enumerate()
    {
        program.simulator.clear_scripts();
        program.simulator.script(Script::on(LOGIN, fault));
        let scope = format!("https://other{number}.example/.default");
        program.rewrite(&format!("{own}  - {{name: new{number}, path: /new, upstream: 'https://{ORGANISATION}', scope: '{scope}'}}\n"));
        program.signal(Signal::HUP);
        let labels = [("outcome", "success")];
        let wanted = (number + 1) as f64;
        crate::harness::numbers::becomes(
            program.admin,
            "tokenferry_config_reloads_total",
            &labels,
            wanted,
        )
        .await;
        hear(&program, "/new/x").await;
    }
    let mut admin = Caller::connect(program.admin).await;
    for target in ["/metrics", "/status.json", "/", "/readyz"] {
        let answer = admin.exchange(&format!("GET {target} HTTP/1.1")).await;
        said.push_str(&answer.text());
    }
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
    program.out.with("/route", "new3").await;
    said.push_str(&program.out.text());
    said.push_str(&program.err.text());
    assert!(
        program.err.text().contains("AADSTS7000215"),
        "it did say something"
    );
    let refused = program.err.with("/outcome", "rejected").await;
    assert_eq!(refused["level"], "ERROR", "a person has to mend it");
    let tokens = program.simulator.tokens();
    assert!(!tokens.is_empty());
    for canary in [SECRET_CANARY, TOKEN_CANARY] {
        let at = said.find(canary);
        let near = at.map(|at| &said[at.saturating_sub(300)..(at + 60).min(said.len())]);
        assert_eq!(near, None);
    }
    for token in tokens {
        assert!(!said.contains(&token));
        let signature = token.rsplit('.').next().unwrap();
        assert!(!said.contains(signature));
    }
}
