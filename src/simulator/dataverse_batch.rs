//! Multipart batches of Dataverse: up to a thousand operations, change sets that succeed or fail as
//! one, answers with absolute links inside.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::answer::Answer;
use super::call::Call;
use super::dataverse::{self, error};
use super::dataverse_row::is_own;
use super::multipart::{Operation, Part, boundary, parse, write};
use super::world::World;
use crate::guid;

/// Most operations in a batch.
const OPERATIONS: usize = 1000;

/// Answers `POST …/$batch`.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    let unreadable = |why: &str| error(400, "0x80048d19", why);
    let Some(own) = call.header("content-type").and_then(boundary) else {
        return unreadable("The batch has no boundary.");
    };
    let body = call.body.bytes.as_deref().unwrap_or_default();
    let parts = match parse(body, &own) {
        Ok(parts) => parts,
        Err(why) => return unreadable(why),
    };
    let count = |part: &Part| match part {
        Part::ChangeSet(operations) => operations.len(),
        Part::Operation(_) => 1,
    };
    if parts.iter().map(count).sum::<usize>() > OPERATIONS {
        return unreadable("A batch holds at most 1000 operations.");
    }
    let goes_on = call
        .header("prefer")
        .is_some_and(|prefer| prefer.contains("odata.continue-on-error"));
    let outer = format!("batchresponse_{}", guid::fresh());
    let mut out = Vec::new();
    let mut status = StatusCode::OK;
    for part in &parts {
        let good = match part {
            Part::Operation(operation) => {
                let answer = run(world, call, operation, &HashMap::new());
                write(&mut out, &outer, operation.content_id.as_deref(), &answer);
                !answer.is_failure()
            }
            Part::ChangeSet(operations) => change_set(world, call, &mut out, &outer, operations),
        };
        if !good && !goes_on {
            status = StatusCode::BAD_REQUEST;
            break;
        }
    }
    out.extend_from_slice(format!("--{outer}--\r\n").as_bytes());
    Answer::content(status, &format!("multipart/mixed; boundary={outer}"), out)
}

/// Runs a change set: all its answers, or the first refusal alone. True when all went well.
fn change_set(
    world: &World,
    call: &Call,
    out: &mut Vec<u8>,
    outer: &str,
    operations: &[Operation],
) -> bool {
    let inner = format!("changesetresponse_{}", guid::fresh());
    let mut made = HashMap::new();
    let mut answers = Vec::new();
    for operation in operations {
        let answer = if operation.method == Method::GET {
            error(400, "0x80048d19", "A change set does not read.")
        } else {
            run(world, call, operation, &made)
        };
        if !answer.status.is_success() {
            write(out, outer, operation.content_id.as_deref(), &answer);
            return false;
        }
        let entity = answer
            .headers
            .get("odata-entityid")
            .and_then(|value| value.to_str().ok());
        if let (Some(id), Some(entity)) = (&operation.content_id, entity) {
            made.insert(format!("${id}"), entity.to_owned());
        }
        answers.push((operation.content_id.as_deref(), answer));
    }
    let head = format!("--{outer}\r\nContent-Type: multipart/mixed; boundary={inner}\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
    for (id, answer) in &answers {
        write(out, &inner, *id, answer);
    }
    out.extend_from_slice(format!("--{inner}--\r\n").as_bytes());
    true
}

/// Runs one operation. `made` are the rows that earlier ones of the change set created.
fn run(
    world: &World,
    outer: &Call,
    operation: &Operation,
    made: &HashMap<String, String>,
) -> Answer {
    if operation.headers.contains_key("authorization") {
        world.offend(outer, "a batch operation with an Authorization field");
    }
    let Some(target) = target(outer, &operation.target, made) else {
        world.offend(outer, &format!("a batch operation on {}", operation.target));
        return error(400, "0x80048d19", "The request line names another host.");
    };
    let body = Bytes::from(operation.body.clone());
    let (method, headers) = (operation.method.clone(), operation.headers.clone());
    let inner = outer.inner(method, target, headers, body);
    let canned = world.faults.within(&inner);
    canned.unwrap_or_else(|| dataverse::admitted(world, &inner))
}

/// Path and query of what a request line names: root-relative, absolute on this organisation,
/// relative to where the batch is, or a row made before.
fn target(outer: &Call, written: &str, made: &HashMap<String, String>) -> Option<String> {
    let (path, query) = written.split_at(written.find('?').unwrap_or(written.len()));
    let (id, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    let path = made
        .get(id)
        .map_or_else(|| path.to_owned(), |row| format!("{row}{rest}"));
    if !is_own(outer, &path) || path.ends_with("$batch") {
        return None;
    }
    let path = match path.split_once("://") {
        Some((_, rest)) => rest[rest.find('/')?..].to_owned(),
        None if path.starts_with('/') => path,
        None if path.starts_with('$') => return None,
        None => {
            let (root, _) = outer.path().rsplit_once('/')?;
            format!("{root}/{path}")
        }
    };
    Some(path + query)
}
