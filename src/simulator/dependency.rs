//! Which operations of a JSON batch wait for which. Ids are the same in any case, what is waited for
//! stands earlier, and the whole follows one of the patterns that Graph takes.

use serde_json::Value;

/// What a batch is answered that follows none of the patterns.
const PATTERN: &str = "Batch should be either fully sequential or fully parallel.";

/// Of each operation the index of the one that it waits for, which is a lower one.
///
/// # Errors
/// Why there is no order to run them in.
pub(super) fn dependencies(requests: &[Value]) -> Result<Vec<Option<usize>>, String> {
    let mut ids: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for request in requests {
        let id = request["id"].as_str().ok_or("An operation has no id.")?;
        let folded = id.to_ascii_lowercase();
        if ids.contains(&folded) {
            return Err("Two operations have the same id.".to_owned());
        }
        found.push(dependency(&ids, id, &request["dependsOn"])?);
        ids.push(folded);
    }
    if follows_a_pattern(&found) {
        Ok(found)
    } else {
        Err(PATTERN.to_owned())
    }
}

/// The one that `dependsOn` of the operation `id` names among those before it.
fn dependency(earlier: &[String], id: &str, named: &Value) -> Result<Option<usize>, String> {
    let invalid = || format!("Invalid dependency for request Id: {id}");
    let named = match named {
        Value::Null => return Ok(None),
        named => named.as_array().ok_or_else(invalid)?,
    };
    let index = |one: &Value| {
        let one = one.as_str()?.to_ascii_lowercase();
        earlier.iter().position(|other| *other == one)
    };
    let indexes: Option<Vec<usize>> = named.iter().map(index).collect();
    match indexes.ok_or_else(invalid)?.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        _ => Err(PATTERN.to_owned()),
    }
}

/// Parallel (nobody waits), serial (each for the one before it) or same (all who wait do so for the
/// same one), as the SDKs check it before they send a batch.
fn follows_a_pattern(found: &[Option<usize>]) -> bool {
    let mut waiting = found.iter().flatten();
    let first = waiting.next();
    let same = waiting.all(|one| Some(one) == first);
    let serial = (0..found.len()).map(|index| index.checked_sub(1));
    same || serial.eq(found.iter().copied())
}
