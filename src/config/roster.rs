//! What the file gives a name: credentials and callers, right or wrong, found by name.

use std::collections::HashMap;

use super::node::Key;
use super::read::Item;
use super::report::{Span, quoted, quoted_key};
use super::value::Name;

/// Something with a name; `spec` is `None` when it is wrong and that has been reported.
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) spec: Option<T>,
}

/// Named things in file order. A file can hold thousands, so they are found without a search.
pub(super) struct Roster<T> {
    pub(super) entries: Vec<Named<T>>,
    index: HashMap<String, usize>,
}

impl<T> Named<T> {
    pub(super) fn new(key: &Key, spec: Option<T>) -> Self {
        Self {
            name: key.text.clone(),
            span: key.span,
            spec,
        }
    }
}

impl<T> Roster<T> {
    pub(super) fn new(entries: Vec<Named<T>>) -> Self {
        let names = entries.iter().enumerate();
        let index = names.map(|(at, entry)| (entry.name.clone(), at)).collect();
        Self { entries, index }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The first names, for messages.
    pub(super) fn names(&self) -> String {
        const MOST: usize = 10;
        let names = self.entries.iter().take(MOST);
        let names: Vec<String> = names.map(|entry| quoted_key(&entry.name)).collect();
        let more = if self.entries.len() > MOST {
            ", …"
        } else {
            ""
        };
        names.join(", ") + more
    }

    /// The specs in file order, without those that are wrong.
    pub(super) fn right(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| entry.spec.as_ref())
    }

    /// The same, for good.
    pub(super) fn specs(self) -> Vec<T> {
        let specs = self.entries.into_iter().map(|entry| entry.spec);
        specs.flatten().collect()
    }
}

/// That nothing has this name; what a variable holds is not shown.
pub(super) fn unknown(noun: &str, name: &Item<Name>) -> String {
    match name.is_written() {
        true => format!("unknown {noun} {}", quoted(name.value.as_str())),
        false => format!("the variable names no {noun}"),
    }
}
