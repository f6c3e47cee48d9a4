//! From the tree to the shapes of `file`: every key is known or reported, every value is parsed
//! once, and reading goes on after a fault so that all of them are found.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::node::{Content, Key, Node, Provenance};
use super::report::{Report, Span, is_word, quoted, quoted_key};
use super::value::Name;
use super::{file, hidden, spelling, variable};

/// Something that a value of the file can be read as.
pub(super) trait Read: Sized {
    /// Reads the value of this key; `None` when a problem has been reported.
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self>;

    /// What an editor accepts here.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// Something that is written as a single value.
pub(super) trait Scalar: Sized {
    /// What it is, with its article: "a duration".
    const NOUN: &'static str;
    /// One, or how they look.
    const EXAMPLE: &'static str;
    /// What stands for a value whose variable is not set, where that is allowed.
    const STAND_IN: &'static str;

    /// Parses the text.
    ///
    /// # Errors
    /// What would be accepted.
    fn parse(text: &str) -> Result<Self, String>;

    /// What an editor accepts here.
    fn schema() -> Schema;
}

/// The value of a key.
#[derive(Default)]
pub(super) enum Field<T> {
    /// The key is not in the file.
    #[default]
    Absent,
    /// The key is there.
    Given(Item<T>),
    /// The key is there, and what is wrong with it has been reported.
    Wrong(Span),
}

/// A value with its place.
pub(super) struct Item<T> {
    pub(super) value: T,
    pub(super) span: Span,
    pub(super) key: Span,
    pub(super) provenance: Provenance,
}

/// A list; elements that are wrong have been reported and are left out.
pub(super) struct List<T> {
    pub(super) items: Vec<Item<T>>,
    /// Whether the file gives no element at all.
    pub(super) is_empty: bool,
}

/// A list, or a single value that stands for a list of one.
pub(super) struct OneOrMany<T>(pub(super) Vec<Item<T>>);

/// A mapping whose keys are names that the file chooses; a value that is wrong is `None`, so that
/// its name is known all the same.
pub(super) struct Table<T>(pub(super) Vec<(Key, Option<Item<T>>)>);

impl<T> Field<T> {
    pub(super) fn item(&self) -> Option<&Item<T>> {
        match self {
            Self::Given(item) => Some(item),
            Self::Absent | Self::Wrong(_) => None,
        }
    }

    pub(super) fn value(&self) -> Option<&T> {
        self.item().map(|item| &item.value)
    }

    /// Where the key stands, whether its value is right or wrong.
    pub(super) fn key(&self) -> Option<Span> {
        match self {
            Self::Absent => None,
            Self::Given(item) => Some(item.key),
            Self::Wrong(span) => Some(*span),
        }
    }

    /// The value of a key that must be there.
    pub(super) fn required(
        &self,
        key: &str,
        within: Span,
        help: &str,
        report: &mut Report,
    ) -> Option<&Item<T>> {
        if matches!(self, Self::Absent) {
            report.problem(within, format!("{} is missing", quoted(key)), help);
        }
        self.item()
    }
}

impl<T> Field<List<T>> {
    /// The elements of a list that may not be there.
    pub(super) fn items(&self) -> &[Item<T>] {
        self.value().map_or(&[], |list| &list.items)
    }
}

impl<T: Clone> Field<List<T>> {
    /// Their values.
    pub(super) fn values(&self) -> Vec<T> {
        let items = self.items().iter();
        items.map(|item| item.value.clone()).collect()
    }
}

impl<T: Clone> Field<T> {
    pub(super) fn or(&self, default: T) -> T {
        self.value().cloned().unwrap_or(default)
    }
}

impl<T> Item<T> {
    /// Whether the file says it: no variable had a part in it.
    pub(super) fn is_written(&self) -> bool {
        self.provenance == Provenance::Written
    }

    /// Whether it is what will be used, and not a stand-in for a variable that is not set.
    pub(super) fn is_known(&self) -> bool {
        self.provenance != Provenance::Unknown
    }

    /// The value in quotes, unless it came from a variable: that may be anything.
    pub(super) fn quote(&self, shown: &str) -> String {
        match self.provenance {
            Provenance::Written => quoted(shown),
            Provenance::Substituted | Provenance::Unknown => "what the variable holds".to_owned(),
        }
    }
}

impl<T: Scalar> Read for T {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        let Content::Scalar(text) = &node.content else {
            wrong_shape(node, key, T::NOUN, T::EXAMPLE, report);
            return None;
        };
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(_) if node.provenance == Provenance::Unknown => T::parse(T::STAND_IN).ok(),
            Err(help) => {
                let name = quoted_key(&key.text);
                let message = match text.trim().is_empty() {
                    true => format!("{name} is empty, and takes {}", T::NOUN),
                    false => format!("{name} takes {}", T::NOUN),
                };
                let help = match help.is_empty() {
                    true => file::meaning_of(&key.text).to_owned(),
                    false => help,
                };
                report.problem(node.span, message, &help);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

fn item<T: Read>(node: &Node, key: &Key, report: &mut Report) -> Option<Item<T>> {
    Some(Item {
        value: T::read(node, key, report)?,
        span: node.span,
        key: key.span,
        provenance: node.provenance,
    })
}

fn items<T: Read>(nodes: &[Node], key: &Key, report: &mut Report) -> Vec<Item<T>> {
    let one = |node: &Node| match node.content {
        // The list has its value; this line of it has none.
        Content::Empty => {
            let name = quoted_key(&key.text);
            let message = format!("an element of {name} has no value");
            let help = "give it one, or remove its line";
            report.problem(node.span, message, help);
            None
        }
        _ => item(node, key, report),
    };
    nodes.iter().filter_map(one).collect()
}

impl<T: Read> Read for List<T> {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        if let Content::List(nodes) = &node.content {
            return Some(Self {
                items: items(nodes, key, report),
                is_empty: nodes.is_empty(),
            });
        }
        wrong_shape(node, key, "a list", "", report);
        None
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = T::schema(generator);
        json_schema!({ "type": "array", "items": items })
    }
}

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        match &node.content {
            Content::List(nodes) => Some(Self(items(nodes, key, report))),
            _ => item(node, key, report).map(|item| Self(vec![item])),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let one = T::schema(generator);
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<T: Read> Read for Table<T> {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        let Content::Mapping(entries) = &node.content else {
            wrong_shape(node, key, "a mapping", "", report);
            return None;
        };
        let mut seen = std::collections::HashSet::new();
        let mut rows = Vec::new();
        for entry in entries {
            let name = entry.key.text.as_str();
            // A header may have any name; a caller or a credential of these is one left out.
            if variable::SECRET_KEYS.contains(&name) && key.text != "set" {
                let message = format!("{} stands where a name is expected", quoted(name));
                let help = format!("NAME: in a line above, and {name} further indented");
                report.problem(entry.key.span, message, &help);
            } else if !is_word(name) {
                let message = format!("{} is not a name", quoted_key(name));
                report.problem(entry.key.span, message, &help_of_name(&key.text, name));
                // What is wrong below it is told as well; what is right has no name to go by.
                let _ = item::<T>(&entry.value, &entry.key, report);
                rows.push((entry.key.clone(), None));
            } else if !seen.insert(name) {
                duplicate(&entry.key, report);
            } else {
                let value = item(&entry.value, &entry.key, report);
                if value.is_some() || !hidden::is_stray(&entry.key, &entry.value) {
                    rows.push((entry.key.clone(), value));
                }
            }
        }
        Some(Self(rows))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let values = T::schema(generator);
        json_schema!({ "type": "object", "additionalProperties": values })
    }
}

/// What a name below this key is made of. One with a colon has swallowed its value.
fn help_of_name(table: &str, name: &str) -> String {
    let names = matches!(table, "callers" | "credentials") && !name.contains(':');
    let help = Name::parse(name).err().filter(|_| names);
    help.unwrap_or_else(|| "a key is a word, then a colon and a space".to_owned())
}

impl<T: Read> JsonSchema for Field<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Field".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

/// The entries of a mapping whose keys are fixed.
pub(super) struct Entries<'a> {
    taken: Vec<(&'a Key, &'a Node)>,
    /// Misspelt keys and what they were most likely meant to be.
    meant: Vec<(&'a Key, String)>,
}

impl<'a> Entries<'a> {
    /// Opens a mapping, reporting the keys that do not belong there.
    pub(super) fn of(
        node: &'a Node,
        key: &Key,
        known: &[&str],
        report: &mut Report,
    ) -> Option<Self> {
        let Content::Mapping(entries) = &node.content else {
            wrong_shape(node, key, "a mapping", "", report);
            return None;
        };
        let mut taken: Vec<(&Key, &Node)> = Vec::new();
        let mut meant = Vec::new();
        for entry in entries {
            let name = entry.key.text.as_str();
            if !known.contains(&name) {
                if report.is_full() {
                    continue;
                }
                let near = spelling::nearest(name, known);
                let near = near.or_else(|| spelling::in_full(name, known));
                let help = spelling::instead_of(name, near, known);
                let stray = near.is_none() && matches!(entry.value.content, Content::Empty);
                let message = if stray {
                    "unknown key, without a value".to_owned()
                } else {
                    spelling::unknown_key(name, &key.text)
                };
                report.problem(entry.key.span, message, &help);
                meant.extend(near.map(|near| (&entry.key, near.to_owned())));
            } else if taken.iter().any(|(key, _)| key.text == name) {
                duplicate(&entry.key, report);
            } else {
                taken.push((&entry.key, &entry.value));
            }
        }
        Some(Self { taken, meant })
    }

    /// Reads the value of a key.
    pub(super) fn field<T: Read>(&self, name: &str, report: &mut Report) -> Field<T> {
        let Some((key, node)) = self.taken.iter().find(|(key, _)| key.text == name) else {
            // A misspelt key is reported once, and not as a missing one as well.
            let misspelt = self.meant.iter().find(|(_, meant)| meant == name);
            return misspelt.map_or(Field::Absent, |(key, _)| Field::Wrong(key.span));
        };
        item(node, key, report).map_or(Field::Wrong(key.span), Field::Given)
    }
}

fn duplicate(key: &Key, report: &mut Report) {
    let message = format!("{} is given twice", quoted_key(&key.text));
    report.problem(key.span, message, "keep one of the two");
}

/// Reports a value of the wrong shape; without a value the key is what is looked at.
pub(super) fn wrong_shape(
    node: &Node,
    key: &Key,
    expected: &str,
    example: &str,
    report: &mut Report,
) {
    let stray = expected == "a mapping" && hidden::is_stray(key, node);
    let name = quoted_key(if stray { "…" } else { &key.text });
    if matches!(node.content, Content::Empty) {
        let help = match file::is_required(&key.text) {
            true => format!("give it {expected}; it cannot be left out"),
            false => format!("give it {expected}, or leave the key out"),
        };
        report.wrong_shape(key.span, format!("{name} has no value"), &help);
    } else if (key.text.as_str(), expected) == ("routes", "a mapping") {
        // An element of the list, which has no key of its own.
        let message = format!("a route is a mapping, not {}", node.noun());
        let help = "- name: graph, then path: and upstream: in lines of their own below it";
        report.wrong_shape(node.span, message, help);
    } else {
        let message = format!("{name} takes {expected}, not {}", node.noun());
        let help = match expected {
            "a list" => "one element a line, each after '- '".to_owned(),
            "a mapping" => "one key a line below it, further indented".to_owned(),
            _ => format!("for example {example}"),
        };
        report.wrong_shape(node.span, message, &help);
    }
}
