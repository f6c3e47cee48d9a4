//! Files in Graph: contents that lie on another host behind a ticket, upload sessions there, and
//! pictures that come directly.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::graph::{Place, bad_body, json, missing, reads};
use super::ident::hex;
use super::world::World;
use super::{download, host};

/// A picture that, read as text, is full of links nobody may touch.
const PICTURE: &str =
    "\u{fffd}JFIF \"@odata.nextLink\":\"https://graph.microsoft.com/v1.0/users\" FAKE";

/// Answers for everything below a drive: `drives/{id}/…` and `users/{id}/drive/…`.
pub(super) fn drive(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    let method = &call.method;
    match place.segments.last().copied().unwrap_or_default() {
        "content" if reads(method) => {
            let location = download::link(world, "01FAKE");
            Answer::new(StatusCode::FOUND).with("location", &location)
        }
        "content" if *method == Method::PUT => uploaded(call, place),
        "createUploadSession" if *method == Method::POST => session(world, call, place),
        _ if reads(method) => json(200, &item(world, call, place)),
        _ => missing(call),
    }
}

/// The picture of a user.
pub(super) fn picture(call: &Call) -> Answer {
    if !reads(&call.method) {
        return missing(call);
    }
    Answer::content(StatusCode::OK, "image/jpeg", PICTURE.repeat(50))
}

fn item(world: &World, call: &Call, place: &Place<'_>) -> Value {
    let context = format!(
        "{}/$metadata#drives('b%21FAKE')/items/$entity",
        place.root(call)
    );
    json!({
        "@odata.context": context,
        "@microsoft.graph.downloadUrl": download::link(world, "01FAKE"),
        "id": "01FAKE",
        "name": "plan.xlsx",
        "size": download::SIZE,
        "webUrl": format!("https://{}/Shared%20Documents/plan.xlsx", host::DOWNLOAD),
    })
}

fn uploaded(call: &Call, place: &Place<'_>) -> Answer {
    let Some(hash) = call.body.sha256 else {
        return bad_body(call);
    };
    let root = place.root(call);
    let item = json!({
        "@odata.context": format!("{root}/$metadata#drives('b%21FAKE')/items/$entity"),
        "id": "01FAKE",
        "size": call.body.length,
        "file": {"hashes": {"sha256Hash": hex(&hash)}},
    });
    json(201, &item)
}

fn session(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    let context = format!(
        "{}/$metadata#microsoft.graph.uploadSession",
        place.root(call)
    );
    json(
        200,
        &json!({
            "@odata.context": context,
            "uploadUrl": download::upload_link(world),
            "expirationDateTime": "2030-01-01T01:05:00Z",
            "nextExpectedRanges": ["0-"],
        }),
    )
}
