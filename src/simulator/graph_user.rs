//! Users in Graph: pages, single users, new ones.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::graph::{Place, bad_body, error, json, missing, reads, wrong_method};
use super::graph_work::bound_elsewhere;
use super::paging::Paging;
use super::user::selected;
use super::world::World;

/// Users on a page when nobody says.
const PAGE: usize = 100;
/// Most users on a page.
const PAGE_MOST: usize = 999;

/// Opaque to clients, and full of what a careless one would change.
pub(super) const SKIP: Paging = Paging {
    option: "$skiptoken",
    value: |position, seal| format!("RFNwdAIAAQAAABpG_{position}%2523%7B{seal}%7d!~"),
};

/// Answers for everything below `users`.
pub(super) fn answer(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    match &place.segments[1..] {
        [] if reads(&call.method) => list(world, call, place),
        [] if call.method == Method::POST => create(world, call, place),
        [] => wrong_method(call),
        [id] => one(world, call, place, id),
        _ => missing(call),
    }
}

/// A link that was changed on its way.
pub(super) fn altered(world: &World, call: &Call) -> Answer {
    world.offend(call, "a next link that was not followed byte for byte");
    error(
        call,
        400,
        "Directory_ExpiredPageToken",
        "The specified page token value is not valid.",
    )
}

fn list(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    let Ok(from) = SKIP.position(call) else {
        return altered(world, call);
    };
    let unsupported = |text: &str| error(call, 400, "Request_UnsupportedQuery", text);
    let size = match call.raw_option("$top").map(str::parse) {
        None => PAGE,
        Some(Ok(size @ 1..=PAGE_MOST)) => size,
        Some(_) => return unsupported("A page has 1 to 999 users."),
    };
    let (users, next) = world.users.page(from, size);
    let select = call.option("$select");
    let select = select.as_deref();
    let users: Vec<Value> = users.iter().map(|user| selected(user, select)).collect();
    let fields = select.map_or_else(String::new, |select| format!("({select})"));
    let context = format!("{}/$metadata#users{fields}", place.root(call));
    let mut page = json!({"@odata.context": context});
    if let Some(next) = next {
        page["@odata.nextLink"] = json!(SKIP.link(call, next));
    }
    page["value"] = Value::Array(users);
    json(200, &page)
        .with("odata-version", "4.0")
        .with("x-ms-resource-unit", "2")
}

fn create(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    let Some(Value::Object(members)) = call.json() else {
        return bad_body(call);
    };
    if let Some(refusal) = bound_elsewhere(world, call, &members) {
        return refusal;
    }
    let mut user = world.users.create(members);
    let id = user["id"].as_str().unwrap_or_default().to_owned();
    let root = place.root(call);
    user["@odata.context"] = json!(format!("{root}/$metadata#users/$entity"));
    let location = format!("{root}/users/{id}");
    json(201, &user).with("location", &location)
}

fn one(world: &World, call: &Call, place: &Place<'_>, id: &str) -> Answer {
    let Some(user) = world.users.find(id) else {
        return missing(call);
    };
    match call.method {
        Method::DELETE => {
            world.users.delete(id);
            Answer::new(StatusCode::NO_CONTENT)
        }
        _ if reads(&call.method) => shown(call, place, &user),
        _ => wrong_method(call),
    }
}

fn shown(call: &Call, place: &Place<'_>, user: &Value) -> Answer {
    let root = place.root(call);
    let mut shown = selected(user, call.option("$select").as_deref());
    shown["@odata.context"] = json!(format!("{root}/$metadata#users/$entity"));
    json(200, &shown)
}
