//! References in the bodies of requests: the `…@odata.bind` members, at any depth.

use serde_json::{Map, Value};

/// The links that a body binds; what is no text is an empty one.
pub(super) fn links(members: &Map<String, Value>) -> Vec<&str> {
    let mut links = Vec::new();
    for (name, value) in members {
        match value {
            Value::Array(all) if is_bind(name) => links.extend(all.iter().map(text)),
            one if is_bind(name) => links.push(text(one)),
            Value::Array(all) => {
                let objects = all.iter().filter_map(Value::as_object);
                links.extend(objects.flat_map(self::links));
            }
            Value::Object(members) => links.extend(self::links(members)),
            _ => {}
        }
    }
    links
}

fn is_bind(name: &str) -> bool {
    name.ends_with("@odata.bind")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
