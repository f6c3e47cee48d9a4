//! The page, read back by a strict reader.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use super::page::Page;
use super::*;

const GRAPH: &str = "https://graph.microsoft.com/.default";

fn metrics() -> Arc<Metrics> {
    Metrics::new(UNIX_EPOCH + Duration::from_secs(1_000))
}

fn read(metrics: &Metrics) -> Page {
    Page::read(&metrics.render())
}

/// Names, kinds and labels, by which the dashboards of other people go: as the manual has them.
fn promised() -> Vec<(&'static str, &'static str, BTreeSet<String>)> {
    let manual = include_str!("../../docs/operations.md");
    let rows = manual
        .lines()
        .filter(|line| line.starts_with("| `tokenferry_"));
    let metrics = rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2);
        let labels: BTreeSet<String> = quoted(cells[3]).map(str::to_owned).collect();
        quoted(cells[1]).map(move |name| (name, cells[2], labels.clone()))
    });
    metrics.collect()
}

#[test]
fn every_metric_of_the_manual_and_no_other_is_there_at_zero_before_the_first_request() {
    let metrics = metrics();
    metrics.route_cells(0, "graph");
    metrics.token_cells(0, "contoso", GRAPH);
    let token = TokenNumbers {
        credential: "contoso".into(),
        scope: GRAPH.into(),
        ..TokenNumbers::default()
    };
    metrics.refreshes().of("contoso", GRAPH);
    let expires = UNIX_EPOCH + Duration::from_secs(9);
    metrics.ask(move || Reading {
        tokens: vec![token.clone()],
        credentials: [("contoso".into(), expires)].into(),
        fallbacks: [("contoso".into(), false)].into(),
        ..Reading::default()
    });
    let page = read(&metrics);
    let promised = promised();
    for (name, kind, labels) in &promised {
        let found = page.kinds.get(*name).map(String::as_str);
        assert_eq!(found, Some(*kind), "{name}");
        assert_eq!(page.label_names(name), *labels, "{name}");
    }
    let ours = page
        .kinds
        .keys()
        .filter(|name| name.starts_with("tokenferry_"));
    assert_eq!(ours.count(), promised.len());
    for code in Code::ALL {
        page.expect(&format!("tokenferry_refused_total{{reason=\"{code}\"}} 0"));
    }
    page.expect(r#"tokenferry_requests_total{route="graph",method="GET",code="200"} 0"#);
    page.expect(r#"tokenferry_token_refreshes_total{credential="contoso",scope="https://graph.microsoft.com/.default",outcome="rejected"} 0"#);
}

#[test]
fn a_route_has_at_most_fifty_series_before_its_first_request() {
    let metrics = metrics();
    metrics.route_cells(0, "graph");
    metrics.route_cells(1, "graph");
    let series = read(&metrics).series_with("route", "graph");
    assert!(series <= 50, "{series}");
}

#[test]
fn workers_count_apart_and_the_page_shows_their_sum() {
    let metrics = metrics();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (route, token) = (
                metrics.route_cells(worker, "graph"),
                metrics.token_cells(worker, "contoso", GRAPH),
            );
            let refusals = metrics.refusals(worker);
            scope.spawn(move || {
                for n in 0..5_000 {
                    route.request_started();
                    route.head_arrived(Duration::from_millis(6));
                    let status = if n % 5 == 0 { 429 } else { 200 };
                    let took = Duration::from_millis(80);
                    route.request_ended(MethodLabel::Post, status, took, 3, 1 << 40);
                    token.hit();
                    refusals.refused(Code::Throttled);
                }
                token.miss();
                route.retried(RetryReason::Token);
                route.throttled();
                route.links_rewritten(7);
                route.request_started();
                route.connection_entered(ConnectionState::Active);
                route.connection_entered(ConnectionState::Idle);
                route.connection_left(ConnectionState::Active);
            });
        }
        // The page is in order while they count, too.
        for _ in 0..20 {
            read(&metrics);
        }
    });
    let page = read(&metrics);
    for line in [
        r#"tokenferry_requests_total{route="graph",method="POST",code="200"} 16000"#,
        r#"tokenferry_requests_total{route="graph",method="POST",code="429"} 4000"#,
        r#"tokenferry_request_duration_seconds_count{route="graph"} 20000"#,
        r#"tokenferry_request_duration_seconds_sum{route="graph"} 1600"#,
        r#"tokenferry_request_duration_seconds_bucket{route="graph",le="0.075"} 0"#,
        r#"tokenferry_request_duration_seconds_bucket{route="graph",le="0.1"} 20000"#,
        r#"tokenferry_upstream_response_seconds_bucket{route="graph",le="0.01"} 20000"#,
        r#"tokenferry_request_bytes_total{route="graph"} 60000"#,
        r#"tokenferry_response_bytes_total{route="graph"} 21990232555520000"#,
        r#"tokenferry_requests_in_flight{route="graph"} 4"#,
        r#"tokenferry_upstream_retries_total{route="graph",reason="token"} 4"#,
        r#"tokenferry_upstream_throttled_total{route="graph"} 4"#,
        r#"tokenferry_links_rewritten_total{route="graph"} 28"#,
        r#"tokenferry_upstream_connections{route="graph",state="active"} 0"#,
        r#"tokenferry_upstream_connections{route="graph",state="idle"} 4"#,
        r#"tokenferry_refused_total{reason="throttled"} 20000"#,
        r#"tokenferry_token_cache_hits_total{credential="contoso",scope="https://graph.microsoft.com/.default"} 20000"#,
        r#"tokenferry_token_cache_misses_total{credential="contoso",scope="https://graph.microsoft.com/.default"} 4"#,
    ] {
        page.expect(line);
    }
}

#[test]
fn buckets_are_the_published_ones() {
    let metrics = metrics();
    metrics.route_cells(0, "graph");
    let labels = [("route".to_owned(), "graph".to_owned())].into();
    let page = read(&metrics);
    let mut buckets = page.buckets("tokenferry_request_duration_seconds", &labels);
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bounds: Vec<f64> = buckets.into_iter().map(|(bound, _)| bound).collect();
    let expected = [
        0.005,
        0.01,
        0.025,
        0.05,
        0.075,
        0.1,
        0.25,
        0.5,
        0.75,
        1.0,
        2.5,
        5.0,
        7.5,
        10.0,
        30.0,
        100.0,
        f64::INFINITY,
    ];
    assert_eq!(bounds, expected);
}

#[test]
fn labels_with_the_same_concatenation_stay_apart() {
    let metrics = metrics();
    metrics.token_cells(0, "ab", "c").hit();
    metrics.token_cells(0, "a", "bc").miss();
    let page = read(&metrics);
    let hits = "tokenferry_token_cache_hits_total";
    for (credential, scope, expected) in [("ab", "c", 1.0), ("a", "bc", 0.0)] {
        let labels = [("credential", credential), ("scope", scope)];
        assert_eq!(page.value(hits, &labels), expected);
    }
}

#[test]
fn any_label_value_is_escaped() {
    let odd = "a\"b\\c\nd}e,f=\"g\" 1";
    let metrics = metrics();
    metrics.token_cells(0, odd, odd).hit();
    let page = read(&metrics);
    let labels = [("credential", odd), ("scope", odd)];
    assert_eq!(
        page.value("tokenferry_token_cache_hits_total", &labels),
        1.0
    );
}

#[test]
fn two_slots_under_one_name_become_one_series() {
    let numbers = |expires: u64| TokenNumbers {
        credential: "contoso".into(),
        scope: GRAPH.into(),
        expires: Some(UNIX_EPOCH + Duration::from_millis(expires)),
        waiters: 2,
    };
    let metrics = metrics();
    for _ in 0..2 {
        let calls = metrics.refreshes().of("contoso", GRAPH);
        calls.ended(RefreshOutcome::Success, Duration::from_millis(300));
        calls.ended(RefreshOutcome::Throttled, Duration::from_millis(20));
    }
    let both = [numbers(5_500), numbers(7_000)];
    metrics.ask(move || Reading {
        tokens: both.to_vec(),
        credentials: [("contoso".into(), UNIX_EPOCH + Duration::from_secs(8))].into(),
        ..Reading::default()
    });
    let page = read(&metrics);
    let of = |name: &str, more: &[(&str, &str)]| {
        let labels = [&[("credential", "contoso"), ("scope", GRAPH)], more].concat();
        page.value(&format!("tokenferry_token_{name}"), &labels)
    };
    assert_eq!(of("refreshes_total", &[("outcome", "success")]), 2.0);
    assert_eq!(of("refreshes_total", &[("outcome", "throttled")]), 2.0);
    assert_eq!(of("refresh_duration_seconds_count", &[]), 4.0);
    assert_eq!(of("expiry_timestamp_seconds", &[]), 5.5);
    assert_eq!(of("waiters", &[]), 4.0);
    let name = "tokenferry_credential_expiry_timestamp_seconds";
    assert_eq!(page.value(name, &[("credential", "contoso")]), 8.0);
}

#[test]
fn a_refused_reload_shows_until_one_is_in_force() {
    let metrics = metrics();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let successful = "tokenferry_config_last_reload_successful";
    let timestamp = "tokenferry_config_last_reload_timestamp_seconds";
    assert_eq!(read(&metrics).value(successful, &[]), 1.0);
    assert_eq!(read(&metrics).value(timestamp, &[]), 1_000.0);
    metrics.reload_ended(false, at(2_000));
    assert_eq!(read(&metrics).value(successful, &[]), 0.0);
    metrics.reload_ended(true, at(3_000));
    let page = read(&metrics);
    assert_eq!(page.value(successful, &[]), 1.0);
    assert_eq!(page.value(timestamp, &[]), 3_000.0);
    for outcome in ["success", "failure"] {
        let labels = [("outcome", outcome)];
        assert_eq!(page.value("tokenferry_config_reloads_total", &labels), 1.0);
    }
}

#[test]
fn requests_that_match_no_route_have_no_upstream() {
    let metrics = metrics();
    let cells = metrics.route_cells(0, "");
    cells.request_started();
    cells.request_ended(
        MethodLabel::of(&"BREW".parse().unwrap()),
        404,
        Duration::ZERO,
        0,
        9,
    );
    let page = read(&metrics);
    let labels = [("route", ""), ("method", "_OTHER"), ("code", "404")];
    assert_eq!(page.value("tokenferry_requests_total", &labels), 1.0);
    assert!(
        !page
            .kinds
            .contains_key("tokenferry_upstream_response_seconds")
    );
    assert_eq!(metrics.route_totals()[""].answered(400, 500), 1);
}
