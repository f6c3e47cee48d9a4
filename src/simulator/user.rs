//! The users of the tenant: as many as asked for, always the same ones, and who came and went since
//! the start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use crate::lock::locked;

/// Users at start.
const AT_START: usize = 1000;
/// Changes remembered; a script that goes on creating users does not fill the memory.
const CHANGES: usize = 10_000;

/// Ends every principal name.
const DOMAIN: &str = "@contoso-fake.example";

/// Given names that try a client's patience with characters.
const NAMES: &[&str] = &[
    "Ada",
    "Björn",
    "Chloé \"C\"",
    "王",
    "Dieter\\Backslash",
    "Eve\u{1F600}",
    "Fatima",
    "Gus\ttab",
    "Hans</script>",
    "Ines",
];

/// See the module.
pub(super) struct Users(Mutex<State>);

struct State {
    created: BTreeMap<String, Value>,
    deleted: BTreeSet<String>,
    version: u64,
}

impl Default for Users {
    fn default() -> Self {
        Self(Mutex::new(State {
            created: BTreeMap::new(),
            deleted: BTreeSet::new(),
            version: 1,
        }))
    }
}

/// The id of a user by position.
pub(super) fn id(index: usize) -> String {
    format!("66666666-aaaa-4bbb-8ccc-{:012x}", index.saturating_add(1))
}

fn index(id: &str) -> Option<usize> {
    let digits = id.strip_prefix("66666666-aaaa-4bbb-8ccc-")?;
    usize::from_str_radix(digits, 16).ok()?.checked_sub(1)
}

/// A user as it was at start.
fn original(index: usize) -> Value {
    let given = NAMES[index % NAMES.len()];
    let account = format!("user{index}{DOMAIN}");
    let mut user = json!({
        "id": id(index),
        "displayName": format!("{given} Fake {index}"),
        "givenName": given,
        "surname": "Fake",
        "userPrincipalName": account,
        "mail": account,
        "jobTitle": null,
        "businessPhones": [],
    });
    if index.is_multiple_of(10) {
        // Links in a person's own words are nobody's links.
        let text = "see https://graph.microsoft.com/v1.0/ and \"@odata.nextLink\":\"https://graph.microsoft.com/v1.0/me\"";
        user["aboutMe"] = json!(text);
    }
    user
}

impl Users {
    /// The users from `from` on, at most `limit` of them, and where the next page begins.
    pub(super) fn page(&self, from: usize, limit: usize) -> (Vec<Value>, Option<usize>) {
        let state = locked(&self.0);
        let until = AT_START.min(from.saturating_add(limit));
        let ids = (from..until).map(|index| (id(index), index));
        let alive = ids.filter(|(id, _)| !state.deleted.contains(id));
        let mut users: Vec<Value> = alive.map(|(_, index)| original(index)).collect();
        let next = (until < AT_START).then_some(until);
        if next.is_none() {
            users.extend(state.created.values().cloned());
        }
        (users, next)
    }

    /// One user, by id.
    pub(super) fn find(&self, id: &str) -> Option<Value> {
        locked(&self.0).find(id)
    }

    /// Creates a user and returns it.
    pub(super) fn create(&self, mut user: Map<String, Value>) -> Value {
        let mut state = locked(&self.0);
        state.version += 1;
        let id = format!("66666666-bbbb-4bbb-8ccc-{:012x}", state.version);
        user.insert("id".to_owned(), json!(id));
        let user = Value::Object(user);
        if state.created.len() < CHANGES {
            state.created.insert(id, user.clone());
        }
        user
    }

    /// Deletes a user, if there is one.
    pub(super) fn delete(&self, id: &str) {
        let mut state = locked(&self.0);
        if state.find(id).is_none() {
            return;
        }
        if state.created.remove(id).is_none() && state.deleted.len() < CHANGES {
            state.deleted.insert(id.to_owned());
        }
    }
}

impl State {
    fn find(&self, id: &str) -> Option<Value> {
        if self.deleted.contains(id) {
            return None;
        }
        let created = self.created.get(id).cloned();
        created.or_else(|| index(id).filter(|&index| index < AT_START).map(original))
    }
}

/// The user with only the members of a `$select`.
pub(super) fn selected(user: &Value, select: Option<&str>) -> Value {
    let (Some(select), Some(members)) = (select, user.as_object()) else {
        return user.clone();
    };
    let wanted: Vec<&str> = select.split(',').collect();
    let kept = members
        .iter()
        .filter(|(name, _)| wanted.contains(&name.as_str()));
    Value::Object(
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}
