//! Rows of the organisation's tables: pages, single rows, references between them.

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::call::Call;
use super::dataverse::{ROOTS, error, json, link, missing};
use super::graph::reads;
use super::paging::Paging;
use super::world::World;
use super::{bind, host};
use crate::guid;

/// Rows in every table.
const ROWS: usize = 1000;
/// Rows on a page when nobody says, and at most.
const PAGE: usize = 5000;
/// Where the contacts of a row are.
const CONTACTS: &str = "contact_customer_accounts";
/// The column that is the key of every table.
const KEY: &str = "accountid";

/// Encoded twice, with bare slashes and equals signs, in both cases of hexadecimal.
const COOKIE: Paging = Paging {
    option: "$skiptoken",
    value: |position, seal| {
        let inner = format!(
            "%253ccookie%2520page%253d%25221%2522%253e%253caccountid%2520last%253d%2522%257bAAAA{position}-0000%257d%2522%2520seal%253d%2522{seal}%2522%2520%252f%253e%253c%252fcookie%253e"
        );
        format!(
            "%3Ccookie%20pagenumber=%222%22%20pagingcookie=%22{inner}%22%20istracking=%22False%22%20/%3E"
        )
    },
};

/// A path below the root, as tables have it: `table`, `table(key)`, `table(key)/rest`.
struct Row<'a> {
    table: &'a str,
    key: Option<&'a str>,
    rest: &'a str,
}

impl<'a> Row<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let (table, key) = match first.split_once('(') {
            Some((table, key)) => (table, Some(key.strip_suffix(')')?)),
            None => (first, None),
        };
        let is_name = !table.is_empty()
            && table
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        is_name.then_some(Self { table, key, rest })
    }
}

/// Answers for everything that is a table.
pub(super) fn answer(world: &World, call: &Call, path: &str) -> Answer {
    let Some(row) = Row::parse(path) else {
        return missing(call);
    };
    match (&call.method, row.key, row.rest) {
        (method, None, "") if reads(method) => list(world, call, row.table),
        (&Method::POST, None, "") => create(world, call, row.table),
        (&Method::POST, None, "Microsoft.Dynamics.CRM.CreateMultiple") => {
            create_multiple(world, call)
        }
        (_, Some(key), "") => single(world, call, row.table, key),
        (method, Some(_), CONTACTS) if reads(method) => contacts(call),
        (method, Some(_), rest) if rest.ends_with("/$ref") => reference(world, call, method),
        _ => missing(call),
    }
}

fn record(index: usize) -> Value {
    let number = index + 1;
    let contact = format!("bbbb{number:04x}-0000-0000-0000-000000000000");
    json!({
        "@odata.etag": format!("W/\"{}\"", 81_359_849 + index),
        "name": format!("Fourth Coffee {number} (fake)"),
        "revenue": 100_000.0,
        "_primarycontactid_value": index.is_multiple_of(2).then_some(contact),
        "accountid": format!("aaaa{number:04x}-0000-0000-0000-000000000000"),
    })
}

/// A row with the columns of a `$select`. Its key and what OData says of it always come along.
fn selected(call: &Call, mut row: Value) -> Value {
    if let (Some(select), Value::Object(members)) = (call.option("$select"), &mut row) {
        let columns: Vec<&str> = select.split(',').map(str::trim).collect();
        members.retain(|name, _| {
            name == KEY || name.starts_with("@odata.") || columns.contains(&name.as_str())
        });
    }
    row
}

/// The columns of a `$select`, as a context names them behind the table.
fn columns(call: &Call) -> String {
    let select = call.option("$select");
    select.map_or_else(String::new, |select| format!("({select})"))
}

/// The page size that `Prefer` asks for.
fn page_size(call: &Call) -> Option<usize> {
    let preferences = call.header("prefer")?.split(',');
    let mut sizes = preferences.filter_map(|one| one.trim().strip_prefix("odata.maxpagesize="));
    sizes.next()?.parse().ok()
}

fn list(world: &World, call: &Call, table: &str) -> Answer {
    let Ok(from) = COOKIE.position(call) else {
        world.offend(call, "a next link that was not followed byte for byte");
        return error(400, "0x80040203", "Invalid paging cookie.");
    };
    let size = page_size(call).unwrap_or(PAGE).clamp(1, PAGE);
    let top = call
        .number_option("$top")
        .map_or(ROWS, |top| ROWS.min(top as usize));
    let until = top.min(from + size);
    let rows = (from..until).map(|index| selected(call, record(index)));
    let rows: Vec<Value> = rows.collect();
    let mut page = json!({
        "@odata.context": link(call, format_args!("$metadata#{table}{}", columns(call))),
        "value": rows,
    });
    if until < top {
        page["@odata.nextLink"] = json!(COOKIE.link(call, until));
    }
    let answer = json(200, &page);
    match page_size(call) {
        Some(size) => answer.with("preference-applied", &format!("odata.maxpagesize={size}")),
        None => answer,
    }
}

fn create(world: &World, call: &Call, table: &str) -> Answer {
    let Some(Value::Object(members)) = call.json() else {
        return bad_payload();
    };
    if let Some(refusal) = bound_elsewhere(world, call, &members) {
        return refusal;
    }
    let id = guid::fresh();
    let location = link(call, format_args!("{table}({id})"));
    Answer::new(StatusCode::NO_CONTENT)
        .with("odata-entityid", &location)
        .with("location", &location)
}

fn bad_payload() -> Answer {
    let text = "Error identified in Payload provided by the user.";
    error(400, "0x80048d19", text)
}

/// Creates the rows of an array: each has to name its type, as every array of mixed rows does.
fn create_multiple(world: &World, call: &Call) -> Answer {
    let body = call.json().unwrap_or_default();
    let members = body.as_object();
    if let Some(refusal) = members.and_then(|members| bound_elsewhere(world, call, members)) {
        return refusal;
    }
    let targets = body["Targets"].as_array().map_or(&[][..], Vec::as_slice);
    let typed = |row: &Value| row["@odata.type"].is_string();
    if targets.is_empty() || !targets.iter().all(typed) {
        return error(400, "0x80048d19", "Targets are rows with their type.");
    }
    let ids: Vec<String> = targets.iter().map(|_| guid::fresh()).collect();
    let context = link(
        call,
        "$metadata#Microsoft.Dynamics.CRM.CreateMultipleResponse",
    );
    json(200, &json!({"@odata.context": context, "Ids": ids}))
}

fn single(world: &World, call: &Call, table: &str, key: &str) -> Answer {
    let method = &call.method;
    let row = kept(call, table, key);
    let tag = &row["@odata.etag"];
    if let Some(expected) = call.header("if-match")
        && expected != "*"
        && tag != expected
    {
        return error(
            412,
            "0x80060882",
            "The version of the existing record does not match.",
        );
    }
    match *method {
        _ if reads(method) => {
            let mut row = selected(call, row);
            let rest = format_args!("{table}({key})/{CONTACTS}?$skiptoken=%253c").to_string();
            row[format!("{CONTACTS}@odata.nextLink")] = json!(link(call, rest));
            json(200, &row)
        }
        Method::PATCH => change(world, call, table, key),
        Method::DELETE => Answer::new(StatusCode::NO_CONTENT),
        _ => error(
            405,
            "0x8006088a",
            "The requested resource does not support this method.",
        ),
    }
}

/// The last page of the contacts of a row.
fn contacts(call: &Call) -> Answer {
    let one = selected(call, record(0));
    let context = link(call, "$metadata#contacts");
    json(200, &json!({"@odata.context": context, "value": [one]}))
}

/// The row that a key leads to: that of the page, or the first one under the key.
fn kept(call: &Call, table: &str, key: &str) -> Value {
    let context = format_args!("$metadata#{table}{}/$entity", columns(call)).to_string();
    let number = key
        .strip_prefix("aaaa")
        .and_then(|rest| rest.strip_suffix("-0000-0000-0000-000000000000"))
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .filter(|number| (1..=ROWS).contains(number));
    let mut row = record(number.unwrap_or(1) - 1);
    row[KEY] = json!(key);
    row["@odata.context"] = json!(link(call, context));
    row
}

/// Changes a row: nothing is kept of it.
fn change(world: &World, call: &Call, table: &str, key: &str) -> Answer {
    let Some(Value::Object(members)) = call.json() else {
        return bad_payload();
    };
    if let Some(refusal) = bound_elsewhere(world, call, &members) {
        return refusal;
    }
    let location = link(call, format_args!("{table}({key})"));
    Answer::new(StatusCode::NO_CONTENT).with("odata-entityid", &location)
}

/// Associates or dissociates: the other row is named in the body, or in `$id`, and has to be one of
/// this organisation.
fn reference(world: &World, call: &Call, method: &Method) -> Answer {
    let link = match *method {
        Method::POST | Method::PUT => call
            .json()
            .and_then(|body| body["@odata.id"].as_str().map(str::to_owned)),
        Method::DELETE => match call
            .raw_option("$id")
            .or_else(|| call.raw_option("@odata.id"))
        {
            Some(id) => Some(percent_decode_str(id).decode_utf8_lossy().into_owned()),
            // `table(key)/single(other)/$ref` names it in the path.
            None if call.path().matches('(').count() > 1 => {
                return Answer::new(StatusCode::NO_CONTENT);
            }
            None => None,
        },
        _ => None,
    };
    let Some(link) = link else {
        return error(400, "0x80060888", "A reference link is missing.");
    };
    elsewhere(world, call, &link).unwrap_or_else(|| Answer::new(StatusCode::NO_CONTENT))
}

/// The refusal of a body that binds a row of another organisation.
fn bound_elsewhere(world: &World, call: &Call, members: &Map<String, Value>) -> Option<Answer> {
    let mut links = bind::links(members).into_iter();
    links.find_map(|link| elsewhere(world, call, link))
}

/// The refusal of a reference to another organisation.
fn elsewhere(world: &World, call: &Call, link: &str) -> Option<Answer> {
    if is_own(call, link) {
        return None;
    }
    let offence = format!("a reference to another organisation: {link}");
    world.offend(call, &offence);
    let text = "The reference link is not of this organisation.";
    Some(error(400, "0x80060888", text))
}

/// Whether a link is relative, or names this organisation by either of its hosts.
pub(super) fn is_own(call: &Call, link: &str) -> bool {
    let Some(rest) = link.strip_prefix(&format!("{}://", call.scheme)) else {
        return !link.contains("://");
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let path = &rest[authority.len()..];
    host::same_api(authority, &call.authority) && ROOTS.iter().any(|root| path.starts_with(root))
}
