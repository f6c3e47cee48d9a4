//! Groups and mail in Graph: the places where links hide outside the usual
//! two properties, or point somewhere that a proxy must leave alone.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::bind;
use super::call::Call;
use super::directory::TENANT_ID;
use super::download;
use super::graph::{Place, bad_body, error, json, missing, reads};
use super::graph_user::{SKIP, altered};
use super::user;
use super::world::World;

/// Groups there are, after a first page that is empty.
const GROUPS: usize = 3;

/// Answers for everything below `groups`.
pub(super) fn groups(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    match (&call.method, &place.segments[1..]) {
        (method, []) if reads(method) => group_list(world, call, place),
        (method, [id]) if reads(method) => json(200, &group(call, place, id)),
        (method, [_, "members"]) if reads(method) => member_list(call, place),
        (&Method::POST, [_, "members", "$ref"]) => {
            let id = call
                .json()
                .and_then(|body| body["@odata.id"].as_str().map(str::to_owned));
            match id {
                Some(id) => reference(world, call, &id),
                None => bad_body(call),
            }
        }
        (&Method::DELETE, [_, "members", _, "$ref"]) => Answer::new(StatusCode::NO_CONTENT),
        (&Method::PATCH, [_]) => bind(world, call),
        _ => missing(call),
    }
}

/// The tenant as Graph describes it.
pub(super) fn organisation(call: &Call, place: &Place<'_>) -> Answer {
    let root = place.root(call);
    let tenant = json!({"id": TENANT_ID, "displayName": "Contoso Fake"});
    let context = format!("{root}/$metadata#organization");
    json(200, &json!({"@odata.context": context, "value": [tenant]}))
}

/// An empty page that leads to a full one: legal, and paging has to go on.
fn group_list(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    let Ok(from) = SKIP.position(call) else {
        return altered(world, call);
    };
    let root = place.root(call);
    let mut page = json!({"@odata.context": format!("{root}/$metadata#groups"), "value": []});
    if from == 0 {
        page["@odata.nextLink"] = json!(SKIP.link(call, 1));
    } else {
        let id = |index: usize| format!("99999999-aaaa-4bbb-8ccc-{index:012x}");
        page["value"] = (0..GROUPS)
            .map(|index| group(call, place, &id(index)))
            .collect();
    }
    json(200, &page)
}

/// A group with its members expanded: links of their own inside an item, and the same words in text.
fn group(call: &Call, place: &Place<'_>, id: &str) -> Value {
    let root = place.root(call);
    json!({
        "@odata.id": format!("{root}/directoryObjects/{id}/Microsoft.DirectoryServices.Group"),
        "id": id,
        "displayName": "Tools \"@odata.nextLink\": \"https://graph.microsoft.com/v1.0/x\"",
        "members@odata.context": format!("{root}/$metadata#groups('{id}')/members"),
        "members@odata.nextLink": format!("{root}/groups/{id}/members?$skiptoken=RFNw%2523{id}"),
        "members": [{"@odata.type": "#microsoft.graph.user", "id": user::id(0)}],
    })
}

fn member_list(call: &Call, place: &Place<'_>) -> Answer {
    let context = format!("{}/$metadata#directoryObjects", place.root(call));
    let member = json!({"@odata.type": "#microsoft.graph.user", "id": user::id(1)});
    json(200, &json!({"@odata.context": context, "value": [member]}))
}

/// Takes a reference to a directory object, which must be an absolute link to Graph itself.
fn reference(world: &World, call: &Call, link: &str) -> Answer {
    let own = call.origin();
    let rest = link.strip_prefix(&own).unwrap_or_default();
    if rest.starts_with("/v1.0/") || rest.starts_with("/beta/") {
        return Answer::new(StatusCode::NO_CONTENT);
    }
    world.offend(
        call,
        &format!("a reference to another host than Graph: {link}"),
    );
    let text = format!("Invalid entity reference: '{link}'.");
    error(call, 400, "Request_BadRequest", &text)
}

/// Takes the `…@odata.bind` members of a body.
fn bind(world: &World, call: &Call) -> Answer {
    match call.json() {
        Some(Value::Object(members)) => bound_elsewhere(world, call, &members)
            .unwrap_or_else(|| Answer::new(StatusCode::NO_CONTENT)),
        _ => bad_body(call),
    }
}

/// The refusal of a body that binds what is not in Graph.
pub(super) fn bound_elsewhere(
    world: &World,
    call: &Call,
    members: &Map<String, Value>,
) -> Option<Answer> {
    let links = bind::links(members).into_iter();
    let mut answers = links.map(|link| reference(world, call, link));
    answers.find(|answer| answer.status != StatusCode::NO_CONTENT)
}

/// What a user has beside the user itself.
pub(super) fn belongings(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    let root = place.root(call);
    match (&call.method, &place.segments[2..]) {
        (method, ["messages"]) if reads(method) => {
            let context = format!("{root}/$metadata#users/messages");
            json(200, &json!({"@odata.context": context, "value": []}))
        }
        (&Method::POST, ["messages", id, "attachments", "createUploadSession"]) => {
            let url = download::attachment_link(world, id);
            let context = format!("{root}/$metadata#microsoft.graph.uploadSession");
            json(
                201,
                &json!({"@odata.context": context, "uploadUrl": url, "nextExpectedRanges": ["0-"]}),
            )
        }
        (&Method::POST, ["sendMail"]) => Answer::new(StatusCode::ACCEPTED),
        _ => missing(call),
    }
}
