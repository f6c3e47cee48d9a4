//! Rows of the organisation's tables: pages, single rows, references between them.

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::dataverse::{ROOT, error, json, missing};
use super::graph::reads;
use super::host;
use super::ident::guid;
use super::paging::Paging;
use super::world::World;

/// Rows in every table.
const ROWS: usize = 1000;
/// Rows on a page when nobody says, and at most.
const PAGE: usize = 5000;
/// The entity tag of every row.
const TAG: &str = "W/\"81359849\"";

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
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
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
        (&Method::POST, None, "") => create(call, row.table),
        (&Method::POST, None, "Microsoft.Dynamics.CRM.CreateMultiple") => create_multiple(call),
        (method, Some(key), "") => single(call, method, row.table, key),
        (method, Some(_), rest) if rest.ends_with("/$ref") => reference(world, call, method),
        _ => missing(call),
    }
}

fn record(table: &str, index: usize) -> Value {
    let number = index + 1;
    let mut row = json!({
        "@odata.etag": format!("W/\"{}\"", 81_359_849 + index),
        "name": format!("Fourth Coffee {number} (fake)"),
        "revenue@OData.Community.Display.V1.FormattedValue": "€100,000.00",
        "revenue": 100_000.0,
        "_primarycontactid_value": null,
        "accountid": format!("aaaa{number:04x}-0000-0000-0000-000000000000"),
    });
    if table != "accounts" {
        row["@Microsoft.PowerApps.CDS.HelpLink"] =
            json!("https://go.microsoft.com/fwlink/?LinkID=1");
    }
    if index.is_multiple_of(2) {
        let prefix = "_primarycontactid_value";
        row[prefix] = json!(format!("bbbb{number:04x}-0000-0000-0000-000000000000"));
        row[format!("{prefix}@OData.Community.Display.V1.FormattedValue")] = json!("Ada Fake");
        row[format!("{prefix}@Microsoft.Dynamics.CRM.lookuplogicalname")] = json!("contact");
    }
    row
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
    let rows: Vec<Value> = (from..until).map(|index| record(table, index)).collect();
    let mut page = json!({
        "@odata.context": format!("{}{ROOT}$metadata#{table}", call.origin()),
        "@Microsoft.Dynamics.CRM.totalrecordcount": -1,
        "@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded": false,
        "@Microsoft.Dynamics.CRM.globalmetadataversion": "83482801",
        "value": rows,
    });
    if until < top {
        page["@odata.nextLink"] = json!(COOKIE.link(call, until));
    }
    let answer = json(200, &page);
    match call.header("prefer") {
        Some(prefer) => answer.with("preference-applied", prefer),
        None => answer,
    }
}

fn create(call: &Call, table: &str) -> Answer {
    let Some(Value::Object(mut members)) = call.json() else {
        return error(
            400,
            "0x80048d19",
            "Error identified in Payload provided by the user.",
        );
    };
    let location = format!("{}{ROOT}{table}({})", call.origin(), guid());
    if call
        .header("prefer")
        .is_some_and(|prefer| prefer.contains("return=representation"))
    {
        let context = format!("{}{ROOT}$metadata#{table}/$entity", call.origin());
        members.insert("@odata.context".to_owned(), json!(context));
        let answer = json(201, &Value::Object(members)).with("location", &location);
        return answer.with("preference-applied", "return=representation");
    }
    Answer::new(StatusCode::NO_CONTENT)
        .with("odata-entityid", &location)
        .with("location", &location)
}

/// Creates the rows of an array: each has to name its type, as every array of mixed rows does.
fn create_multiple(call: &Call) -> Answer {
    let body = call.json().unwrap_or_default();
    let targets = body["Targets"].as_array().map_or(&[][..], Vec::as_slice);
    let typed = |row: &Value| row["@odata.type"].is_string();
    if targets.is_empty() || !targets.iter().all(typed) {
        return error(400, "0x80048d19", "Targets are rows with their type.");
    }
    let ids: Vec<String> = targets.iter().map(|_| guid()).collect();
    let context = format!(
        "{}{ROOT}$metadata#Microsoft.Dynamics.CRM.CreateMultipleResponse",
        call.origin()
    );
    json(200, &json!({"@odata.context": context, "Ids": ids}))
}

fn single(call: &Call, method: &Method, table: &str, key: &str) -> Answer {
    if let Some(expected) = call.header("if-match")
        && !["*", TAG].contains(&expected)
    {
        return error(
            412,
            "0x80060882",
            "The version of the existing record does not match.",
        );
    }
    if reads(method) {
        let mut row = record(table, 0);
        row["@odata.etag"] = json!(TAG);
        row["accountid"] = json!(key);
        row["@odata.context"] = json!(format!("{}{ROOT}$metadata#{table}/$entity", call.origin()));
        row["contact_customer_accounts@odata.nextLink"] = json!(format!(
            "{}{ROOT}{table}({key})/contact_customer_accounts?$skiptoken=%253c",
            call.origin()
        ));
        return json(200, &row);
    }
    match *method {
        Method::PATCH => {
            let location = format!("{}{ROOT}{table}({key})", call.origin());
            Answer::new(StatusCode::NO_CONTENT).with("odata-entityid", &location)
        }
        Method::DELETE => Answer::new(StatusCode::NO_CONTENT),
        _ => error(
            405,
            "0x8006088a",
            "The requested resource does not support this method.",
        ),
    }
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
    if is_own(call, &link) {
        return Answer::new(StatusCode::NO_CONTENT);
    }
    world.offend(
        call,
        &format!("a reference to another organisation: {link}"),
    );
    error(
        400,
        "0x80060888",
        "The reference link is not of this organisation.",
    )
}

/// Whether a link is relative, or names this organisation by either of its hosts.
pub(super) fn is_own(call: &Call, link: &str) -> bool {
    let Some(rest) = link.strip_prefix(&format!("{}://", call.scheme)) else {
        return !link.contains("://");
    };
    let authority = rest.split('/').next().unwrap_or_default();
    host::same_api(authority, &call.authority) && rest[authority.len()..].starts_with(ROOT)
}
