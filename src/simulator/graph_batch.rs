//! JSON batches: up to twenty operations in one request, each run as if it had come alone and not
//! before what it waits for, answered in another order than they were asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::dependency::dependencies;
use super::graph::{self, Place, bad_body, error};
use super::world::World;

/// Most operations in a batch.
const OPERATIONS: usize = 20;

/// Answers `POST …/$batch`.
pub(super) fn answer(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    let requests = call
        .json()
        .and_then(|body| body["requests"].as_array().cloned());
    let Some(requests) = requests else {
        return bad_body(call);
    };
    if requests.is_empty() || requests.len() > OPERATIONS {
        let text = format!("A batch holds 1 to {OPERATIONS} operations.");
        return error(call, 400, "BadRequest", &text);
    }
    let dependencies = match dependencies(&requests) {
        Ok(dependencies) => dependencies,
        Err(why) => return error(call, 400, "BadRequest", &why),
    };
    let mut answers: Vec<Answer> = Vec::new();
    for (request, dependency) in requests.iter().zip(dependencies) {
        let failed = dependency.is_some_and(|other| answers[other].is_failure());
        answers.push(if failed {
            let text = "The operation that this one depends on failed.";
            error(call, 424, "FailedDependency", text)
        } else {
            operation(world, call, place, request)
        });
    }
    let both = requests.iter().zip(&answers);
    let mut responses: Vec<Value> = both
        .map(|(request, answer)| written(&request["id"], answer))
        .collect();
    // The order means nothing; a client that counts on it should be found out.
    responses.reverse();
    graph::json(200, &json!({"responses": responses}))
}

/// Runs one operation.
fn operation(world: &World, outer: &Call, place: &Place<'_>, request: &Value) -> Answer {
    let refuse = |text| error(outer, 400, "BadRequest", text);
    let method = request["method"].as_str().map(str::parse::<Method>);
    let (Some(Ok(method)), Some(url)) = (method, request["url"].as_str()) else {
        return refuse("An operation has no method or url.");
    };
    let path = url.split('?').next().unwrap_or_default();
    if path.contains("://") || path.contains("$batch") {
        world.offend(outer, &format!("a batch operation on {url}"));
        return refuse("Invalid url in a batch operation.");
    }
    let headers = fields(request["headers"].as_object());
    if headers.contains_key("authorization") {
        world.offend(outer, "a batch operation with an Authorization field");
    }
    let body = request.get("body").filter(|body| !body.is_null());
    if body.is_some() && !headers.contains_key("content-type") {
        return refuse("An operation with a body has no Content-Type.");
    }
    let target = format!("/{}/{}", place.version, url.trim_start_matches('/'));
    let inner = outer.inner(method, target, headers, bytes(body));
    let canned = world.faults.within(&inner);
    canned.unwrap_or_else(|| graph::admitted(world, &inner))
}

fn fields(members: Option<&Map<String, Value>>) -> HeaderMap {
    let pairs = members.into_iter().flatten().filter_map(|(name, value)| {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        Some((name, HeaderValue::from_str(value.as_str()?).ok()?))
    });
    pairs.collect()
}

/// A body as it stands in a batch: JSON as it is, anything else as base64 text.
fn bytes(body: Option<&Value>) -> Bytes {
    let bytes = match body {
        None => Vec::new(),
        Some(Value::String(text)) => STANDARD.decode(text).unwrap_or_default(),
        Some(body) => body.to_string().into_bytes(),
    };
    Bytes::from(bytes)
}

/// One answer, as it stands in the answer of the batch.
fn written(id: &Value, answer: &Answer) -> Value {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Map<String, Value> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(text(value))))
        .collect();
    let mut response = json!({"id": id, "status": answer.status.as_u16(), "headers": headers});
    if !answer.bytes().is_empty() {
        let parsed = serde_json::from_slice::<Value>(answer.bytes());
        response["body"] = parsed.unwrap_or_else(|_| json!(STANDARD.encode(answer.bytes())));
    }
    response
}
