//! What dashboards and alerts of other people rely on: the page is held to this table.

/// Names, kinds and labels that dashboards of other people rely on.
pub(super) const PROMISED: &[(&str, &str, &[&str])] = &[
    (
        "tokenferry_requests_total",
        "counter",
        &["route", "method", "code"],
    ),
    (
        "tokenferry_request_duration_seconds",
        "histogram",
        &["route"],
    ),
    (
        "tokenferry_upstream_response_seconds",
        "histogram",
        &["route"],
    ),
    ("tokenferry_requests_in_flight", "gauge", &["route"]),
    ("tokenferry_request_bytes_total", "counter", &["route"]),
    ("tokenferry_response_bytes_total", "counter", &["route"]),
    (
        "tokenferry_token_cache_hits_total",
        "counter",
        &["credential", "scope"],
    ),
    (
        "tokenferry_token_cache_misses_total",
        "counter",
        &["credential", "scope"],
    ),
    (
        "tokenferry_token_refreshes_total",
        "counter",
        &["credential", "scope", "outcome"],
    ),
    (
        "tokenferry_token_refresh_duration_seconds",
        "histogram",
        &["credential", "scope"],
    ),
    (
        "tokenferry_token_expiry_timestamp_seconds",
        "gauge",
        &["credential", "scope"],
    ),
    (
        "tokenferry_token_waiters",
        "gauge",
        &["credential", "scope"],
    ),
    (
        "tokenferry_credential_expiry_timestamp_seconds",
        "gauge",
        &["credential"],
    ),
    (
        "tokenferry_credential_fallback_active",
        "gauge",
        &["credential"],
    ),
    (
        "tokenferry_upstream_retries_total",
        "counter",
        &["route", "reason"],
    ),
    ("tokenferry_upstream_throttled_total", "counter", &["route"]),
    (
        "tokenferry_upstream_connections",
        "gauge",
        &["route", "state"],
    ),
    ("tokenferry_refused_total", "counter", &["reason"]),
    ("tokenferry_links_rewritten_total", "counter", &["route"]),
    ("tokenferry_config_reloads_total", "counter", &["outcome"]),
    ("tokenferry_config_last_reload_successful", "gauge", &[]),
    (
        "tokenferry_config_last_reload_timestamp_seconds",
        "gauge",
        &[],
    ),
    ("tokenferry_build_info", "gauge", &["version", "revision"]),
    ("tokenferry_access_log_dropped_total", "counter", &[]),
    ("tokenferry_panics_total", "counter", &[]),
];
