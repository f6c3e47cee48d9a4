//! The error documents of the token endpoint, by AADSTS code. Statuses and classes are those that
//! were observed or documented; the sentences are our own, as clients must not read them.

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

/// What a code means; `{}` stands for the thing at fault.
fn sentence(code: u32) -> &'static str {
    match code {
        28003 => "The scope names several resources: {}.",
        50013 => "The assertion is not valid: {}.",
        50027 => "The assertion cannot be read: {}.",
        50048 => "Issuer and subject differ: {}.",
        50194 => "Tenant {} does not suit this grant.",
        53003 => "Blocked by Conditional Access {}.",
        65001 => "Nobody has consented to {}.",
        70003 => "Grant type {} is not supported.",
        70011 => "The scope {} is not valid.",
        70021 => "No federated record matches {}.",
        90002 => "Tenant '{}' was not found.",
        90014 => "The field {} is missing or malformed.",
        90033 => "A directory that {} needs is away.",
        90055 => "Tenant {} sends too many requests.",
        500_011 => "Resource principal {} was not found.",
        500_014 => "The principal of {} is disabled.",
        501_051 => "Application {} has no role there.",
        700_016 => "Application '{}' was not found.",
        700_024 => "The assertion is not valid now: {}.",
        700_027 => "The signature cannot be verified: {}.",
        700_211 => "No federated record matches issuer '{}'.",
        700_212 => "No federated record matches audience '{}'.",
        700_213 => "No federated record matches subject '{}'.",
        900_023 => "Tenant '{}' is malformed.",
        900_144 => "The request must contain the field {}.",
        900_561 => "Only POST is accepted, not {}.",
        1_002_012 => "The scope {} is not a /.default.",
        7_000_112 => "Application '{}' is disabled.",
        7_000_215 => "The secret of app '{}' is not valid.",
        7_000_216 => "App '{}' shows no credential.",
        7_000_222 => "The secrets of app '{}' are expired.",
        7_000_229 => "App '{}' has no service principal.",
        _ => "The request was refused: {}.",
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
        format!("AADSTS{code}: {}", sentence(code).replace("{}", about)),
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
