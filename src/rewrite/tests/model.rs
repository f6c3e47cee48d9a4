//! The rewriter of answers as it would be with all of the document parsed: slow and plain. The fuzz
//! target of the scanner is held to it as well.

use serde_json::Value;

/// What a document becomes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    /// Whether any string may be a link, and not only those under a link's name.
    pub(super) all: bool,
    /// The names whose strings stay as they are.
    pub(super) stays: &'static [&'static str],
    /// What a string becomes that may be a link.
    pub(super) turned: fn(&str) -> String,
}

impl Model {
    /// A value; `link` is whether it stands under a link's name.
    pub(super) fn rewritten(self, value: Value, link: bool) -> Value {
        match value {
            Value::String(text) if self.all || link => Value::String((self.turned)(&text)),
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.rewritten(item, false))
                .collect(),
            Value::Object(members) => {
                let member = |(key, value): (String, Value)| {
                    let ends = ["@odata.nextLink", "@odata.deltaLink", "@odata.context"];
                    let link = ends.iter().any(|end| key.ends_with(end)) || key == "nextLink";
                    let value = match value {
                        Value::String(text) if self.stays.contains(&key.as_str()) => text.into(),
                        value => self.rewritten(value, link),
                    };
                    (key, value)
                };
                Value::Object(members.into_iter().map(member).collect())
            }
            other => other,
        }
    }
}
