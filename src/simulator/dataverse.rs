//! Dataverse, the Web API of Dynamics 365: who is let in, and which part answers.

use std::fmt::Display;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::dataverse_metadata::DEFINITIONS;
use super::directory::TENANT_ID;
use super::token::Refusal;
use super::world::World;
use super::{dataverse_batch, dataverse_file, dataverse_metadata, dataverse_row, host, probe};
use crate::guid;

/// The media type of Dataverse's JSON.
pub(super) const JSON: &str = "application/json; odata.metadata=minimal";
/// Where the Web API begins, by version. All of them answer the same.
pub(super) const ROOTS: [&str; 3] = ["/api/data/v9.2/", "/api/data/v9.1/", "/api/data/v9.0/"];

/// Answers a request to the organisation.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    if let Err(refusal) = world.admit(call) {
        return unauthorized(call, &refusal);
    }
    dressed(admitted(world, call), call)
}

/// Answers a request, or an operation of a batch, that carries a good token.
pub(super) fn admitted(world: &World, call: &Call) -> Answer {
    if let Some(rest) = call.path().strip_prefix("/sim/") {
        return probe::answer(world, call, rest);
    }
    let Some(rest) = call.path().strip_prefix(root(call)) else {
        return missing(call);
    };
    match rest {
        "$batch" if call.method == Method::POST => dataverse_batch::answer(world, call),
        "WhoAmI" | "WhoAmI()" => who_am_i(call),
        path if path.starts_with(DEFINITIONS) => dataverse_metadata::answer(call, path),
        path if dataverse_file::is_file(path) => dataverse_file::answer(world, call, path),
        path => dataverse_row::answer(world, call, path),
    }
}

fn who_am_i(call: &Call) -> Answer {
    let context = link(call, "$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse");
    let who = json!({
        "@odata.context": context,
        "BusinessUnitId": "aaaa0010-0000-0000-0000-000000000000",
        "UserId": "aaaa0009-0000-0000-0000-000000000000",
        "OrganizationId": "aaaa0011-0000-0000-0000-000000000000",
    });
    json(200, &who)
}

/// The fields that every answer of the organisation carries, the affinity cookie among them.
fn dressed(answer: Answer, call: &Call) -> Answer {
    let id = guid::fresh();
    let name = host::name(&call.authority);
    let cookie = format!(
        "ARRAffinity={}; domain={name}; path=/; secure; HttpOnly",
        id.replace('-', "")
    );
    answer
        .with("cache-control", "no-cache")
        .with("odata-version", "4.0")
        .with(
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        )
        .with("x-ms-service-request-id", &id)
        .with("req_id", &id)
        .with("x-ms-ratelimit-burst-remaining-xrm-requests", "5991")
        .with("x-ms-ratelimit-time-remaining-xrm-requests", "1,197.40")
        .with("set-cookie", &cookie)
}

/// Where the Web API begins for a call: links keep the version that was asked for.
fn root(call: &Call) -> &'static str {
    let mut roots = ROOTS.into_iter();
    let asked = roots.find(|root| call.path().starts_with(root));
    asked.unwrap_or(ROOTS[0])
}

/// The absolute link to what stands below the root.
pub(super) fn link(call: &Call, rest: impl Display) -> String {
    format!("{}{}{rest}", call.origin(), root(call))
}

/// An answer in JSON.
pub(super) fn json(status: u16, value: &Value) -> Answer {
    Answer::json(
        StatusCode::from_u16(status).unwrap_or_default(),
        JSON,
        value,
    )
}

/// An answer in Dataverse's error form.
pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
    json(
        status,
        &json!({"error": {"code": code, "message": message}}),
    )
}

/// 404.
pub(super) fn missing(call: &Call) -> Answer {
    let text = format!("Resource not found for the segment '{}'.", call.path());
    error(404, "0x8006088a", &text)
}

/// 401, with the challenge in Dataverse's form: nothing quoted, not even a sentence, and a slash at the
/// end.
fn unauthorized(call: &Call, refusal: &Refusal) -> Answer {
    let uri = format!("https://{}/{TENANT_ID}/oauth2/authorize", host::LOGIN);
    let resource = format!("{}/", call.origin());
    let error = match refusal {
        Refusal::Absent => "",
        _ => "error=invalid_token, error_description=Error during token validation!, ",
    };
    let challenge = format!("Bearer {error}authorization_uri={uri}, resource_id={resource}");
    Answer::new(StatusCode::UNAUTHORIZED).with("www-authenticate", &challenge)
}
