//! What of a row an answer shows: the columns of a `$select`, and the annotations that `Prefer` asks
//! for with `odata.include-annotations`. Key and entity tag always come along.

use std::borrow::Cow;

use serde_json::Value;

use super::call::Call;

/// The column that is the key of every table.
pub(super) const KEY: &str = "accountid";

/// See the module.
pub(super) struct Shown<'a> {
    select: Option<Cow<'a, str>>,
    /// Names, and beginnings of names that end in `*`, with commas between them.
    annotations: &'a str,
}

impl<'a> Shown<'a> {
    /// What a call asks for.
    pub(super) fn of(call: &'a Call) -> Self {
        Self {
            select: call.option("$select"),
            annotations: annotations(call.header("prefer").unwrap_or_default()),
        }
    }

    /// A row as it is shown.
    pub(super) fn row(&self, row: Value) -> Value {
        kept(row, |column, annotation| {
            self.selects(column) && self.includes(annotation)
        })
    }

    /// A page as it is shown; its rows are already.
    pub(super) fn page(&self, page: Value) -> Value {
        kept(page, |_, annotation| self.includes(annotation))
    }

    fn selects(&self, column: &str) -> bool {
        let Some(select) = &self.select else {
            return true;
        };
        let selected = || select.split(',').any(|one| one.trim() == column);
        column.is_empty() || column == KEY || selected()
    }

    fn includes(&self, annotation: &str) -> bool {
        let mut wanted = self.annotations.split(',').map(str::trim);
        let is_wanted = |one: &str| match one.strip_suffix('*') {
            Some(front) => annotation.starts_with(front),
            None => annotation == one,
        };
        annotation.is_empty() || annotation.starts_with("odata.") || wanted.any(is_wanted)
    }
}

/// The document with the members that are kept by column and annotation: `column@annotation`.
fn kept(mut document: Value, keeps: impl Fn(&str, &str) -> bool) -> Value {
    if let Value::Object(members) = &mut document {
        members.retain(|name, _| {
            let (column, annotation) = name.split_once('@').unwrap_or((name, ""));
            keeps(column, annotation)
        });
    }
    document
}

/// What `Prefer` says of annotations.
fn annotations(prefer: &str) -> &str {
    let (_, value) = prefer
        .split_once("odata.include-annotations=")
        .unwrap_or_default();
    let end = |value: &str, end| value.find(end).unwrap_or(value.len());
    match value.strip_prefix('"') {
        Some(quoted) => &quoted[..end(quoted, '"')],
        None => &value[..end(value, ',')],
    }
}
