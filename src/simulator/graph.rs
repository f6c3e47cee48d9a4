//! Microsoft Graph, `v1.0` and `beta`: who is let in, and which part answers.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::ident::iso;
use super::token::Refusal;
use super::world::World;
use super::{graph_batch, graph_file, graph_user, graph_work, host, probe};
use crate::guid;

/// The media type of Graph's JSON.
pub(super) const JSON: &str = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
/// What every Graph answer says about the server that gave it.
const DIAGNOSTIC: &str = r#"{"ServerInfo":{"DataCenter":"West Europe","Slice":"E","Ring":"5","ScaleUnit":"000","RoleInstance":"FAKE00000000001"}}"#;

/// A path below the version, split at its slashes. `users('x')` is as good as `users/x`.
pub(super) struct Place<'a> {
    /// `v1.0` or `beta`.
    pub(super) version: &'a str,
    pub(super) segments: Vec<&'a str>,
}

impl<'a> Place<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let (version, rest) = path.strip_prefix('/')?.split_once('/')?;
        if !["v1.0", "beta"].contains(&version) {
            return None;
        }
        let segments = rest.trim_end_matches('/').split('/').flat_map(keyed);
        Some(Self {
            version,
            segments: segments.collect(),
        })
    }

    /// The beginning of every absolute link to this version.
    pub(super) fn root(&self, call: &Call) -> String {
        format!("{}/{}", call.origin(), self.version)
    }
}

/// The one or two segments that `name` or `name('key')` stand for.
fn keyed(segment: &str) -> Vec<&str> {
    let pair = segment
        .strip_suffix("')")
        .and_then(|inner| inner.split_once("('"));
    match pair {
        Some((name, key)) if !name.contains('=') => vec![name, key],
        _ => vec![segment],
    }
}

/// Answers a request to Graph.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    if let Err(refusal) = world.admit(call) {
        return dressed(unauthorized(call, &refusal), call);
    }
    dressed(admitted(world, call), call)
}

/// Answers a request, or an operation of a batch, that carries a good token.
pub(super) fn admitted(world: &World, call: &Call) -> Answer {
    if let Some(rest) = call.path().strip_prefix("/sim/") {
        return probe::answer(world, call, rest);
    }
    let Some(place) = Place::parse(call.path()) else {
        return error(call, 400, "BadRequest", "Invalid version.");
    };
    match (&call.method, place.segments.as_slice()) {
        (&Method::POST, ["$batch"]) => graph_batch::answer(world, call, &place),
        (_, ["drives", ..] | ["users", _, "drive", ..]) => graph_file::drive(world, call, &place),
        (_, ["users", _, "photo", "$value"]) => graph_file::picture(call),
        (_, ["users"] | ["users", _]) => graph_user::answer(world, call, &place),
        (_, ["users", _, ..]) => graph_work::belongings(world, call, &place),
        (_, ["groups", ..]) => graph_work::groups(world, call, &place),
        (method, ["organization"]) if reads(method) => graph_work::organisation(call, &place),
        (_, ["me", ..]) => {
            let text = "/me request is only valid with delegated authentication flow.";
            error(call, 400, "BadRequest", text)
        }
        _ => missing(call),
    }
}

/// The fields that every Graph answer carries.
fn dressed(answer: Answer, call: &Call) -> Answer {
    let id = guid::fresh();
    let client_id = call.header("client-request-id").unwrap_or(&id);
    answer
        .with("cache-control", "no-cache")
        .with("vary", "Accept-Encoding")
        .with("strict-transport-security", "max-age=31536000")
        .with("request-id", &id)
        .with("client-request-id", client_id)
        .with("x-ms-ags-diagnostic", DIAGNOSTIC)
}

/// An answer in JSON, sent without a length.
pub(super) fn json(status: u16, value: &Value) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    Answer::json(status, JSON, value).chunked()
}

/// An answer in Graph's error form.
pub(super) fn error(call: &Call, status: u16, code: &str, message: &str) -> Answer {
    let id = guid::fresh();
    let client_id = call.header("client-request-id").unwrap_or(&id);
    let inner = json!({
        "date": iso(SystemTime::now()),
        "request-id": id,
        "client-request-id": client_id,
    });
    let error = json!({"code": code, "message": message, "innerError": inner});
    json(status, &json!({"error": error}))
}

/// 404.
pub(super) fn missing(call: &Call) -> Answer {
    let text = format!("Resource '{}' does not exist.", call.path());
    error(call, 404, "Request_ResourceNotFound", &text)
}

/// 405.
pub(super) fn wrong_method(call: &Call) -> Answer {
    let text = format!("{} is not possible here.", call.method);
    error(call, 405, "Request_BadRequest", &text)
}

/// 400 for a body that is not what it should be.
pub(super) fn bad_body(call: &Call) -> Answer {
    error(
        call,
        400,
        "BadRequest",
        "Unable to read JSON request payload.",
    )
}

/// Whether a method only reads.
pub(super) fn reads(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// 401, with the challenge in Graph's form.
fn unauthorized(call: &Call, refusal: &Refusal) -> Answer {
    let uri = format!("https://{}/common/oauth2/authorize", host::LOGIN);
    let client = "00000003-0000-0000-c000-000000000000";
    let message = match refusal {
        Refusal::Absent => "Access token is empty.",
        Refusal::Audience(_) => "Access token validation failure. Invalid audience.",
        Refusal::Claims(_) => {
            "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp"
        }
        Refusal::Dead | Refusal::Expired => "Lifetime validation failed, the token is expired.",
        Refusal::Revoked => "The token was revoked.",
        Refusal::Several | Refusal::Unknown => "Access token validation failure.",
    };
    let challenge = match refusal {
        // As captured: an unquoted value, padding inside a quoted one, commas everywhere.
        Refusal::Claims(claims) => format!(
            "Bearer realm=\"\", authorization_uri={uri}, client_id=\"{client}\", error=\"insufficient_claims\", claims=\"{}\", errorDescription=\"{message}\"",
            STANDARD.encode(claims)
        ),
        _ => format!("Bearer realm=\"\", authorization_uri=\"{uri}\", client_id=\"{client}\""),
    };
    let code = "InvalidAuthenticationToken";
    error(call, 401, code, message).with("www-authenticate", &challenge)
}
