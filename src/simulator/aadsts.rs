//! The error documents of the token endpoint, by AADSTS code. Statuses and classes are those that
//! were observed or documented; one sentence does for all of them, as clients must not read it.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;
use super::ident::iso;
use crate::guid;

/// The media type of every answer of the token endpoint that is not a gateway's.
pub(super) const JSON: &str = "application/json; charset=utf-8";

/// Status and OAuth error of a code.
fn class(code: u32) -> (u16, &'static str) {
    match code {
        50013 | 50027 | 50048 | 70021 | 501_051 | 700_024 | 700_027 | 700_211 | 700_212
        | 700_213 | 7_000_215 | 7_000_216 | 7_000_222 | 7_000_229 => (401, "invalid_client"),
        53003 | 65001 => (400, "invalid_grant"),
        70003 => (400, "unsupported_grant_type"),
        70011 | 1_002_012 => (400, "invalid_scope"),
        90002 => (400, "invalid_tenant"),
        90033 => (503, "temporarily_unavailable"),
        500_011 | 500_014 => (400, "invalid_resource"),
        700_016 | 7_000_112 => (400, "unauthorized_client"),
        _ => (400, "invalid_request"),
    }
}

/// The answer for a code; `about` is the tenant, app, scope or other thing at fault.
pub(super) fn refuse(code: u32, about: &str, correlation: &str) -> Answer {
    let (status, error) = class(code);
    let trace = guid::fresh();
    let stamp = iso(SystemTime::now()).replace('T', " ") + "Z";
    // Two styles are about; which one a code has does not matter to a client, so both appear.
    let joint = if code.is_multiple_of(2) { "\r\n" } else { " " };
    let parts = [
        format!("AADSTS{code}: The request was refused: {about}."),
        format!("Trace ID: {trace}"),
        format!("Correlation ID: {correlation}"),
        format!("Timestamp: {stamp}"),
    ];
    let mut document = json!({
        "error": error,
        "error_description": parts.join(joint),
        "error_codes": [code],
        "timestamp": stamp,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
    });
    if code == 53003 {
        document["suberror"] = json!("message_only");
        let policy = "55555555-aaaa-4bbb-8ccc-000000000005";
        let claims = json!({"access_token": {"capolids": {"essential": true, "values": [policy]}}});
        document["claims"] = Value::String(claims.to_string());
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    dressed(Answer::json(status, JSON, &document), &trace)
}

/// The fields that every answer of the token endpoint carries.
pub(super) fn dressed(answer: Answer, trace: &str) -> Answer {
    answer
        .with("cache-control", "no-store, no-cache")
        .with("pragma", "no-cache")
        .with("expires", "-1")
        .with(
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        )
        .with("x-content-type-options", "nosniff")
        .with("x-ms-request-id", trace)
        .with("x-ms-srs", "1.P")
}
