//! The host where files lie. What it hands out and takes in is opened by a ticket in the address;
//! a bearer token that arrives here has been given to a stranger, and is an offence.

use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use serde_json::json;

use super::answer::Answer;
use super::call::Call;
use super::host;
use super::world::World;

/// Begins every ticket, so that a leak is found by searching for it.
pub const TICKET_CANARY: &str = "CANARY-TICKET-";
/// Length of the file behind every download, in bytes.
pub(super) const SIZE: usize = 65_536;

/// An address from which a file can be fetched.
pub(super) fn link(world: &World, id: &str) -> String {
    format!(
        "https://{}/_layouts/15/download.aspx?UniqueId={id}&Translate=false&tempauth={}&ApiVersion=2.0",
        host::DOWNLOAD,
        world.ticket
    )
}

/// An address to which a file can be sent in pieces. Clients go there themselves, so it leads here, to
/// those as well who do not know where to find the real names.
pub(super) fn upload_link(world: &World) -> String {
    format!(
        "https://localhost:{}/sites/tools/_api/v2.0/drive/items/01FAKE/uploadSession?guid=%2700000000-fake%27&overwrite=False&rename=True&dc=0&tempauth={}",
        world.port.load(Ordering::Relaxed),
        world.ticket
    )
}

/// The same of an attachment.
pub(super) fn attachment_link(world: &World, message: &str) -> String {
    format!(
        "https://localhost:{}/sites/mail/Users('FAKE@TENANT')/Messages('{message}')/AttachmentSessions('AAMkFAKE2=')/uploadSession?authtoken={}",
        world.port.load(Ordering::Relaxed),
        world.ticket
    )
}

/// Answers a request to the host.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    if call.headers.contains_key("authorization") {
        world.offend(call, "an Authorization field to a host that is not the API");
        return Answer::new(StatusCode::UNAUTHORIZED);
    }
    let tickets = ["tempauth", "authtoken"].map(|name| call.raw_option(name));
    if !tickets.contains(&Some(world.ticket.as_str())) {
        return Answer::new(StatusCode::UNAUTHORIZED);
    }
    match (&call.method, call.path()) {
        (&Method::GET | &Method::HEAD, "/_layouts/15/download.aspx") => file(call),
        (&Method::PUT, path) if path.ends_with("/uploadSession") => piece(call),
        _ => Answer::new(StatusCode::NOT_FOUND),
    }
}

/// The file, or the range asked for.
fn file(call: &Call) -> Answer {
    let line = b"the content of a file, not of an API \"@odata.nextLink\":\"https://graph.microsoft.com/v1.0/x\"\n";
    let bytes: Vec<u8> = line.iter().copied().cycle().take(SIZE).collect();
    ranged(call, &bytes)
        .with("content-type", "application/octet-stream")
        .with("content-disposition", "attachment; filename=\"plan.xlsx\"")
        .with("etag", "\"{FAKE},1\"")
}

/// Bytes, whole or the one range that the request asks for.
fn ranged(call: &Call, bytes: &[u8]) -> Answer {
    let whole = || {
        Answer::new(StatusCode::OK)
            .carrying(bytes.to_vec())
            .with("accept-ranges", "bytes")
    };
    let Some(range) = call
        .header("range")
        .and_then(|value| value.strip_prefix("bytes="))
    else {
        return whole();
    };
    let Some((from, until)) = range.split_once('-') else {
        return whole();
    };
    let last = bytes.len().saturating_sub(1);
    let until = until.parse().map_or(last, |until: usize| until.min(last));
    match from.parse::<usize>() {
        Ok(from) if from <= until => Answer::new(StatusCode::PARTIAL_CONTENT)
            .carrying(bytes[from..=until].to_vec())
            .with("accept-ranges", "bytes")
            .with(
                "content-range",
                &format!("bytes {from}-{until}/{}", bytes.len()),
            ),
        _ => Answer::new(StatusCode::RANGE_NOT_SATISFIABLE)
            .with("content-range", &format!("bytes */{}", bytes.len())),
    }
}

/// `Content-Range: bytes 0-3/10` as first, last and total.
pub(super) fn content_range(call: &Call) -> Option<(u64, u64, u64)> {
    let (range, total) = call
        .header("content-range")?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}

/// One piece of a file that is being sent.
fn piece(call: &Call) -> Answer {
    let Some((first, last, total)) = content_range(call) else {
        return Answer::new(StatusCode::BAD_REQUEST);
    };
    if last.checked_sub(first).map(|length| length + 1) != Some(call.body.length) || last >= total {
        return Answer::new(StatusCode::RANGE_NOT_SATISFIABLE);
    }
    if last + 1 == total {
        let item = json!({"id": "01FAKE", "name": "big.bin", "size": total});
        return Answer::json(StatusCode::CREATED, "application/json", &item);
    }
    let rest = json!({"nextExpectedRanges": [format!("{}-", last + 1)]});
    Answer::json(StatusCode::ACCEPTED, "application/json", &rest)
}
