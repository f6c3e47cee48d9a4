//! The operations manual and the alerts say what the program does: names are checked both ways.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokenferry::access_log::{AccessRecord, Outcome, TokenUse};
use tokenferry::code::Code;
use tokenferry::metrics::{Metrics, Reading, TokenNumbers};
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
    metrics.ask(|| Reading {
        tokens: vec![TokenNumbers::default()],
        credentials: [("contoso".into(), SystemTime::UNIX_EPOCH)].into(),
        fallbacks: [("contoso".into(), false)].into(),
        ..Reading::default()
    });
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

#[tokio::test]
async fn the_manual_names_every_value_of_labels_that_have_few() {
    let stage = crate::harness::stage::Stage::open().await;
    let page = stage.ask_admin("GET /metrics HTTP/1.1").await.text();
    let mut found = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("tokenferry_")) {
        let (metric, labels) = line.split_once('{').unwrap_or((line, ""));
        for label in ["outcome", "reason", "state"] {
            let value = labels.split_once(&format!("{label}=\""));
            if let Some((value, _)) = value.and_then(|(_, rest)| rest.split_once('"')) {
                found.insert((metric.to_owned(), value.to_owned()));
            }
        }
    }
    // Refusals have a table of their own.
    found.retain(|(metric, _)| metric != "tokenferry_refused_total");
    assert!(found.len() > 10, "{found:?}");
    let rows = table("| metric | type | labels | meaning |");
    for (metric, value) in found {
        let row = rows
            .iter()
            .find(|row| row[0].contains(&format!("`{metric}`")));
        let row = row.expect("each metric has its row");
        assert!(
            quoted(row[3]).any(|named| named == value),
            "{metric} {value}"
        );
    }
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

/// The cells of the manual's table that begins with this line.
fn table(head: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = MANUAL.split_once(head).expect("there is a table");
    let rows = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').map(str::trim).skip(1).collect())
        .collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_manual_explains_every_code_with_its_status_and_no_other() {
    let rows = table("| code | status | what to do |");
    let explained: BTreeSet<String> = rows.iter().map(|row| row[..2].join(" ")).collect();
    let codes = Code::ALL.iter();
    let codes = codes.map(|code| format!("`{code}` {}", code.status().as_u16()));
    assert_eq!(explained, codes.collect());
    assert_eq!(rows.len(), Code::ALL.len());
}

#[test]
fn the_manual_explains_every_field_of_the_access_log_and_no_other() {
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
    let rows = table("| field | meaning |");
    let explained: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    assert_eq!(explained, fields.keys().map(String::as_str).collect());
}

/// The files of the program, without the tests that stand below the code.
fn program() -> Vec<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![source], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(path).expect("the source is text");
                let code = text.split("#[cfg(test)]\nmod tests {").next();
                files.push(code.unwrap_or_default().to_owned());
            }
        }
    }
    files
}

/// The messages of the program's log at this level that are texts of its own.
fn messages(file: &str, level: &str) -> Vec<String> {
    let macro_call = format!("tracing::{level}!(");
    let calls = file.split(macro_call.as_str()).skip(1);
    let last_text = |call: &str| {
        let arguments = call.split(");").next().unwrap_or_default();
        arguments.rsplit('"').nth(1).unwrap_or_default().to_owned()
    };
    let said = calls.map(last_text);
    said.filter(|message| !message.starts_with("{words"))
        .collect()
}

#[test]
fn the_manual_names_no_message_that_the_program_has_not() {
    let program = program().concat();
    let rows = table("| message | level |");
    assert!(rows.len() > 15);
    for message in rows.iter().flat_map(|row| quoted(row[0])) {
        assert!(program.contains(message), "{message}");
    }
}

#[test]
fn the_manual_names_every_message_of_the_log_as_it_is_by_default() {
    let rows = table("| message | level |");
    let first = rows.iter().flat_map(|row| quoted(row[0]));
    // What ends something stands beside it; single words there are fields.
    let beside = rows.iter().flat_map(|row| quoted(row[2]));
    let named: Vec<&str> = first.chain(beside.filter(|it| it.contains(' '))).collect();
    let files = program();
    let said = ["info", "warn", "error"].into_iter().flat_map(|level| {
        let of_file = move |file: &String| messages(file, level);
        files.iter().flat_map(of_file)
    });
    let said: Vec<String> = said.collect();
    assert!(said.len() > 30, "{said:?}");
    for message in said {
        let is_named = named.iter().any(|named| message.contains(named));
        assert!(is_named, "{message:?} is not explained");
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
