//! Users in Graph: pages, single users, changes of them, and their changes since last time.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::graph::{Place, bad_body, count, error, json, missing, reads, wrong_method};
use super::graph_work::bound_elsewhere;
use super::paging::Paging;
use super::user::{etag, id, named, selected};
use super::world::World;

/// Users on a page when nobody says.
const PAGE: usize = 100;
/// Most users on a page.
const PAGE_MOST: usize = 999;

/// Users on a page of changes.
const DELTA_PAGE: usize = 400;

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
        ["delta"] if reads(&call.method) => changes(world, call, place),
        ["$count"] if reads(&call.method) && is_eventual(call) => count(world.users.count()),
        ["$count"] if reads(&call.method) => {
            let text = "$count is not currently supported.";
            error(call, 400, "Request_BadRequest", text)
        }
        [name] => one(world, call, place, &named(name)),
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
    if call.raw_option("$search").is_some() && !is_eventual(call) {
        return unsupported("$search needs the header ConsistencyLevel: eventual.");
    }
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
    // The first page of an advanced query has it.
    if call.raw_option("$count") == Some("true") && is_eventual(call) && from == 0 {
        page["@odata.count"] = json!(world.users.count());
    }
    if let Some(next) = next {
        page["@odata.nextLink"] = json!(SKIP.link(call, next));
    }
    page["value"] = Value::Array(users);
    json(200, &page)
        .with("odata-version", "4.0")
        .with("x-ms-resource-unit", "2")
}

/// Whether a query is an advanced one, which each of its pages has to say.
fn is_eventual(call: &Call) -> bool {
    let level = call.header("consistencylevel");
    level.is_some_and(|level| level.eq_ignore_ascii_case("eventual"))
}

/// The changes of users: pages as of a list, then a link for next time, then tombstones.
fn changes(world: &World, call: &Call, place: &Place<'_>) -> Answer {
    let root = place.root(call);
    if call.raw_option("$deltatoken") == Some("expired") {
        let location = format!("{root}/users/delta?$deltatoken=latest");
        let answer = error(
            call,
            410,
            "syncStateNotFound",
            "The sync state generation is not found.",
        );
        return answer.with("location", &location);
    }
    let Ok(from) = SKIP.position(call) else {
        return altered(world, call);
    };
    let mut page = json!({"@odata.context": format!("{root}/$metadata#users")});
    if call.raw_option("$deltatoken").is_some() {
        let gone = |index, reason: &str| json!({"id": id(index), "@removed": {"reason": reason}});
        page["value"] = json!([gone(1, "changed"), gone(2, "deleted")]);
    } else {
        let (users, next) = world.users.page(from, DELTA_PAGE);
        page["value"] = Value::Array(users);
        if let Some(next) = next {
            page["@odata.nextLink"] = json!(SKIP.link(call, next));
            return json(200, &page);
        }
    }
    page["@odata.deltaLink"] = json!(format!(
        "{root}/users/delta?$deltatoken=FAKEdelta-oEcO%2523SpF_h"
    ));
    json(200, &page)
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
    let expected = call.header("if-match");
    if expected.is_some_and(|expected| expected != "*" && expected != etag(&user)) {
        let text = "The resource was changed meanwhile.";
        return error(call, 412, "PreconditionFailed", text);
    }
    if reads(&call.method) {
        return shown(call, place, &user);
    }
    match (&call.method, call.json()) {
        (&Method::PATCH, Some(Value::Object(members))) => {
            let refusal = bound_elsewhere(world, call, &members);
            refusal.unwrap_or_else(|| {
                world.users.change(id, &members);
                Answer::new(StatusCode::NO_CONTENT)
            })
        }
        (&Method::PATCH, _) => bad_body(call),
        (&Method::DELETE, _) => {
            world.users.delete(id);
            Answer::new(StatusCode::NO_CONTENT)
        }
        _ => wrong_method(call),
    }
}

fn shown(call: &Call, place: &Place<'_>, user: &Value) -> Answer {
    let tag = etag(user);
    if call.header("if-none-match") == Some(tag) {
        return Answer::new(StatusCode::NOT_MODIFIED).with("etag", tag);
    }
    let root = place.root(call);
    let mut shown = selected(user, call.option("$select").as_deref());
    shown["@odata.context"] = json!(format!("{root}/$metadata#users/$entity"));
    json(200, &shown).with("etag", tag)
}
