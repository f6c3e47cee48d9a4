//! The operations manual and the alerts say what the program does: names are checked both ways.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokenferry::access_log::{AccessRecord, Outcome, TokenUse};
use tokenferry::code::Code;
use tokenferry::metrics::{Metrics, TokenNumbers};
use tokenferry::output::Format;

const MANUAL: &str = include_str!("../../docs/operations.md");
const RULES: &str = include_str!("../../deploy/monitoring/rules.yaml");
const RULE_TESTS: &str = include_str!("../../deploy/monitoring/rules.test.yaml");
const OPERATOR_RULES: &str = include_str!("../../deploy/monitoring/prometheusrule.yaml");
const DASHBOARD: &str = include_str!("../../deploy/monitoring/dashboard.json");

/// The names of all metrics of ours.
fn metrics() -> BTreeSet<String> {
    let metrics = Metrics::new(SystemTime::UNIX_EPOCH);
    metrics.route_cells(0, "graph");
    metrics.token_cells(0, "contoso", "scope");
    metrics.refreshes().of("contoso", "scope");
    metrics.set_token_source(Box::new(|| vec![TokenNumbers::default()]));
    metrics.set_credential_expiry(Box::new(|| {
        vec![("contoso".into(), SystemTime::UNIX_EPOCH)]
    }));
    metrics.set_fallbacks(Box::new(|| vec![("contoso".into(), false)]));
    let page = metrics.render();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.filter_map(|rest| rest.split(' ').next());
    names
        .filter(|name| name.starts_with("tokenferry_"))
        .map(Into::into)
        .collect()
}

/// The metrics that a text names, without the suffixes of histograms.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("tokenferry_"));
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
        .collect()
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("the file is YAML")
}

fn alerts() -> Vec<String> {
    let rules = &yaml(RULES)["groups"][0]["rules"];
    let rules = rules.as_array().expect("there is a list of rules");
    let names = rules
        .iter()
        .map(|rule| rule["alert"].as_str().expect("a rule is an alert"));
    names.map(Into::into).collect()
}

#[test]
fn the_manual_names_every_metric_and_no_other() {
    assert_eq!(named(MANUAL), metrics());
}

#[test]
fn alerts_ask_only_for_metrics_that_exist() {
    assert!(named(RULES).len() > 8);
    assert!(named(RULES).is_subset(&metrics()), "{:?}", named(RULES));
    assert!(
        named(RULE_TESTS).is_subset(&metrics()),
        "{:?}",
        named(RULE_TESTS)
    );
}

#[test]
fn every_alert_has_its_place_in_the_manual_and_its_test() {
    assert!(alerts().len() > 8);
    for alert in alerts() {
        let heading = format!("\n### {alert}\n");
        assert!(MANUAL.contains(&heading), "{alert} is not explained");
        let anchor = format!("docs/operations.md#{}\n", alert.to_lowercase());
        assert!(
            RULES.contains(&anchor),
            "{alert} does not point at the manual"
        );
        assert!(RULE_TESTS.contains(&anchor), "no test fires {alert}");
    }
}

#[test]
fn the_operator_gets_the_same_rules() {
    assert_eq!(
        yaml(OPERATOR_RULES)["spec"]["groups"],
        yaml(RULES)["groups"]
    );
}

#[test]
fn the_dashboard_asks_for_every_metric_and_no_other() {
    assert_eq!(named(DASHBOARD), metrics());
}

#[test]
fn every_panel_says_what_it_shows_of_which_source_and_instances() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    assert!(dashboard["id"].is_null(), "Grafana gives the id");
    let panels = dashboard["panels"].as_array().expect("there are panels");
    let (rows, panels): (Vec<_>, Vec<_>) = panels.iter().partition(|panel| panel["type"] == "row");
    assert!(rows.len() > 4 && panels.len() > 15);
    for panel in panels {
        let title = panel["title"].as_str().expect("a panel has a title");
        assert!(panel["description"].is_string(), "{title}");
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        let targets = panel["targets"].as_array().expect("a panel asks");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let asked = target["expr"].as_str().expect("a target asks");
            let selectors = asked.matches('{').count();
            let chosen = "{job=~\"$job\", instance=~\"$instance\"";
            assert_eq!(asked.matches(chosen).count(), selectors, "{title}: {asked}");
            let windows = asked.matches('[').count();
            assert_eq!(
                asked.matches("[$__rate_interval]").count(),
                windows,
                "{title}"
            );
        }
    }
}

#[test]
fn the_manual_explains_every_code_with_its_status() {
    for code in Code::ALL {
        let row = format!("| `{code}` | {} |", code.status().as_u16());
        assert!(MANUAL.contains(&row), "{row}");
    }
}

#[test]
fn the_manual_explains_every_field_of_the_access_log() {
    let mut line = Vec::new();
    let record = AccessRecord {
        time: SystemTime::UNIX_EPOCH,
        request_id: "1",
        caller: Some("reports"),
        route: Some("graph"),
        method: "GET",
        path: b"/",
        status: 200,
        request_bytes: 0,
        response_bytes: 0,
        head: Some(Duration::ZERO),
        total: Duration::ZERO,
        token: Some(TokenUse::Hit),
        attempts: 1,
        upstream_request_id: Some(b"2"),
        refused: Some(Code::NoRoute),
        outcome: Outcome::Complete,
    };
    record.append(Format::Json, &mut line);
    let fields: Value = serde_json::from_slice(&line).expect("a line is JSON");
    let fields = fields.as_object().expect("a line is an object");
    assert_eq!(fields.len(), 16);
    for field in fields.keys() {
        let log = MANUAL.split("## Logs").nth(1).expect("there is a chapter");
        assert!(
            log.contains(&format!("`{field}`")),
            "{field} is not explained"
        );
    }
}

#[test]
fn the_manual_names_no_message_that_the_program_has_not() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source];
    let mut program = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                program += &std::fs::read_to_string(path).expect("the source is text");
            }
        }
    }
    let table = MANUAL.split("| message | level |").nth(1);
    let rows = table.expect("there is a table").lines().skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 15);
    for row in rows {
        let cell = row.split('|').nth(1).expect("a row has cells");
        for message in cell.split('`').skip(1).step_by(2) {
            assert!(program.contains(message), "{message}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn levels_that_are_not_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    // Where it cannot listen, so that it ends in any case.
    let (_simulator, folder) = crate::cli::desk("listen: 'unix:/nowhere/socket'\n").await;
    let mut command = crate::cli::with_file(&["run"], folder.path());
    command.env("TOKENFERRY_LOG", std::ffi::OsStr::from_bytes(b"debug\xff"));
    let (code, _, err) = crate::harness::program::run(command).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("TOKENFERRY_LOG: it is not UTF-8"), "{err}");
}
