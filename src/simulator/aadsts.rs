//! The error documents of the token endpoint, by AADSTS code. Statuses and classes are those that
//! were observed or documented; the sentences are our own, as clients must not read them.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;
use super::ident::{guid, iso};

/// The media type of every answer of the token endpoint that is not a gateway's.
pub(super) const JSON: &str = "application/json; charset=utf-8";

/// Status, OAuth error and sentence of a code. `{}` stands for the thing at fault.
fn entry(code: u32) -> (u16, &'static str, &'static str) {
    match code {
        28003 => (
            400,
            "invalid_request",
            "The scope parameter names several resources: {}.",
        ),
        50013 => (401, "invalid_client", "The assertion is not valid: {}."),
        50027 => (
            401,
            "invalid_client",
            "The assertion is not a token that can be read: {}.",
        ),
        50048 => (
            401,
            "invalid_client",
            "The assertion's issuer and subject differ: {}.",
        ),
        50194 => (
            400,
            "invalid_request",
            "The tenant {} cannot be used for this grant.",
        ),
        53003 => (
            400,
            "invalid_grant",
            "Blocked by Conditional Access policies {}.",
        ),
        65001 => (
            400,
            "invalid_grant",
            "No administrator has consented to {}.",
        ),
        70003 => (
            400,
            "unsupported_grant_type",
            "The grant type {} is not supported.",
        ),
        70011 => (400, "invalid_scope", "The scope {} is not valid."),
        70021 => (
            401,
            "invalid_client",
            "No federated identity record matches {}.",
        ),
        90002 => (400, "invalid_tenant", "Tenant '{}' was not found."),
        90014 => (
            400,
            "invalid_request",
            "The field {} is missing or malformed.",
        ),
        90033 => (
            503,
            "temporarily_unavailable",
            "A directory that {} needs is away.",
        ),
        90055 => (
            400,
            "invalid_request",
            "The tenant {} sends too many requests.",
        ),
        500_011 => (
            400,
            "invalid_resource",
            "Resource principal {} was not found in the tenant.",
        ),
        500_014 => (
            400,
            "invalid_resource",
            "The service principal of {} is disabled.",
        ),
        700_016 => (
            400,
            "unauthorized_client",
            "Application '{}' was not found in the directory.",
        ),
        700_024 => (
            401,
            "invalid_client",
            "The assertion is outside its valid time range: {}.",
        ),
        700_027 => (
            401,
            "invalid_client",
            "The assertion's signature cannot be verified: {}.",
        ),
        700_211 => (
            401,
            "invalid_client",
            "No federated identity record matches issuer '{}'.",
        ),
        700_212 => (
            401,
            "invalid_client",
            "No federated identity record matches audience '{}'.",
        ),
        700_213 => (
            401,
            "invalid_client",
            "No federated identity record matches subject '{}'.",
        ),
        900_023 => (
            400,
            "invalid_request",
            "The tenant identifier '{}' is malformed.",
        ),
        900_144 => (
            400,
            "invalid_request",
            "The request body must contain the field {}.",
        ),
        900_561 => (
            400,
            "invalid_request",
            "The endpoint accepts POST only, not {}.",
        ),
        1_002_012 => (
            400,
            "invalid_scope",
            "The scope {} does not end in /.default.",
        ),
        7_000_112 => (400, "unauthorized_client", "Application '{}' is disabled."),
        7_000_215 => (
            401,
            "invalid_client",
            "The client secret of app '{}' is not valid.",
        ),
        7_000_218 => (
            401,
            "invalid_client",
            "The request of app '{}' carries no credential.",
        ),
        7_000_222 => (
            401,
            "invalid_client",
            "The client secret keys of app '{}' are expired.",
        ),
        7_000_229 => (
            401,
            "invalid_client",
            "App '{}' has no service principal in the tenant.",
        ),
        _ => (400, "invalid_request", "The request was refused: {}."),
    }
}

/// The answer for a code; `about` is the tenant, app, scope or other thing at fault.
pub(super) fn refuse(code: u32, about: &str, correlation: &str) -> Answer {
    let (status, error, sentence) = entry(code);
    let trace = guid();
    let stamp = iso(SystemTime::now()).replace('T', " ") + "Z";
    // Two styles are about; which one a code has does not matter to a client, so both appear.
    let joint = if code.is_multiple_of(2) { "\r\n" } else { " " };
    let parts = [
        format!("AADSTS{code}: {}", sentence.replace("{}", about)),
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
