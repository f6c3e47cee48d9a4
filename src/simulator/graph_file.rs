//! Files in Graph: contents that lie on another host behind a ticket, upload sessions there, changes
//! of a drive, and pictures that come directly.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::graph::{Place, bad_body, error, json, missing, reads};
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
        "delta" if reads(method) => changes(call, place),
        last if reads(method) && last.starts_with("microsoft.graph.delta(") => changes(call, place),
        _ if reads(method) => json(200, &item(world, call, place)),
        _ => missing(call),
    }
}

/// The picture of a user.
pub(super) fn picture(call: &Call) -> Answer {
    if !reads(&call.method) {
        return missing(call);
    }
    let tag = "\"BA09D118\"";
    if call.header("if-none-match") == Some(tag) {
        return Answer::new(StatusCode::NOT_MODIFIED).with("etag", tag);
    }
    Answer::content(StatusCode::OK, "image/jpeg", PICTURE.repeat(50)).with("etag", tag)
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

/// The changes of a drive, by function call in the path or by option; a token that is too old sends
/// the client back to the beginning.
fn changes(call: &Call, place: &Place<'_>) -> Answer {
    let drive = place.segments.get(1).copied().unwrap_or_default();
    let root = place.root(call);
    if call.raw_option("token") == Some("expired") {
        let location = format!("{root}/drives/{drive}/root/delta?token=FAKE-resync");
        let answer = error(
            call,
            410,
            "resyncChangesApplyDifferences",
            "Resync required.",
        );
        return answer.with("location", &location);
    }
    let mut page =
        json!({"@odata.context": format!("{root}/$metadata#Collection(driveItem)"), "value": []});
    if call.path().contains("delta(token=") {
        page["@odata.deltaLink"] = json!(format!(
            "{root}/drives/{drive}/root/delta?token=FAKE%2523last"
        ));
    } else {
        let next =
            format!("{root}/drives/{drive}/root/microsoft.graph.delta(token='FAKE-token%2F1%3D')");
        page["@odata.nextLink"] = json!(next);
    }
    json(200, &page)
}
