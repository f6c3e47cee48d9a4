//! Rows of the organisation's tables.

use http::Method;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::dataverse::{ROOT, error, json, missing};
use super::graph::reads;
use super::paging::Paging;
use super::world::World;

/// Accounts there are.
const ACCOUNTS: usize = 500;
/// Rows on a page when nobody says, and at most.
const PAGE: usize = 5000;

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

/// Answers for everything below `accounts`.
pub(super) fn answer(world: &World, call: &Call, rest: &str) -> Answer {
    match rest {
        "accounts" if reads(&call.method) => list(world, call),
        "accounts" if call.method == Method::POST => create(call),
        _ => missing(call),
    }
}

fn account(index: usize) -> Value {
    let number = index + 1;
    let mut row = json!({
        "@odata.etag": format!("W/\"{}\"", 81_359_849 + index),
        "name": format!("Fourth Coffee {number} (fake)"),
        "revenue@OData.Community.Display.V1.FormattedValue": "€100,000.00",
        "revenue": 100_000.0,
        "_primarycontactid_value": null,
        "accountid": format!("aaaa{number:04x}-0000-0000-0000-000000000000"),
    });
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

fn list(world: &World, call: &Call) -> Answer {
    let Ok(from) = COOKIE.position(call) else {
        world.offend(call, "a next link that was not followed byte for byte");
        return error(400, "0x80040203", "Invalid paging cookie.");
    };
    let size = page_size(call).unwrap_or(PAGE).clamp(1, PAGE);
    let top = call
        .number_option("$top")
        .map_or(ACCOUNTS, |top| ACCOUNTS.min(top as usize));
    let until = top.min(from + size);
    let rows: Vec<Value> = (from..until).map(account).collect();
    let mut page = json!({
        "@odata.context": format!("{}{ROOT}$metadata#accounts", call.origin()),
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

fn create(call: &Call) -> Answer {
    if !matches!(call.json(), Some(Value::Object(_))) {
        return error(
            400,
            "0x80048d19",
            "Error identified in Payload provided by the user.",
        );
    }
    let id = super::ident::guid();
    let location = format!("{}{ROOT}accounts({id})", call.origin());
    Answer::new(http::StatusCode::NO_CONTENT)
        .with("odata-entityid", &location)
        .with("location", &location)
}
