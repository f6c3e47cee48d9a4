//! Values that are written as a word or as something longer: `admin`, `tls`, `throttle` and
//! `managed_identity`.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::ListenAddress;
use super::file::{RawHold, RawIdentitySelector, RawTlsFiles};
use super::node::{Content, Key, Node, Provenance};
use super::read::{OneOrMany, Read};
use super::report::{Report, quoted_key};
use super::scalar::reference;

/// `off`, or where the admin listener is.
pub(super) enum RawAdmin {
    Off,
    On(OneOrMany<ListenAddress>),
}

/// `local`, or files.
pub(super) enum RawTls {
    Files(Box<RawTlsFiles>),
    Local,
}

/// `pass`, `hold`, or `{hold: 20s}`.
pub(super) enum RawThrottle {
    Hold,
    HoldFor(RawHold),
    Pass,
}

/// `system`, or one of the identifiers.
pub(super) enum RawManagedIdentity {
    Selected(RawIdentitySelector),
    System,
}

/// The single word that a value is, if it is one.
fn word(node: &Node) -> Option<&str> {
    match &node.content {
        Content::Scalar(text) => Some(text),
        Content::Empty | Content::List(_) | Content::Mapping(_) => None,
    }
}

/// Reads one of these words, or else a mapping. Another word is a problem, unless it stands in for a
/// variable that is not set: then it is the first of them.
fn word_or<M: Read, T, const N: usize>(
    node: &Node,
    key: &Key,
    words: [(&str, T); N],
    mapping: impl FnOnce(M) -> T,
    expected: &str,
    report: &mut Report,
) -> Option<T> {
    let Some(own) = word(node) else {
        return M::read(node, key, report).map(mapping);
    };
    let unknown = node.provenance == Provenance::Unknown;
    let mut words = words.into_iter();
    let found = words.find(|(word, _)| unknown || *word == own);
    if found.is_none() {
        let message = format!("{} takes {expected}", quoted_key(&key.text));
        report.problem(node.span, message, "");
    }
    found.map(|(_, value)| value)
}

/// What people write when they mean off.
const OFF: [&str; 5] = ["disabled", "never", "no", "none", "off"];

impl Read for RawAdmin {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        match word(node) {
            // YAML 1.1 tools write `off` as `false`.
            Some("off" | "false" | "False" | "FALSE") => Some(Self::Off),
            Some(_) if node.provenance == Provenance::Unknown => Some(Self::Off),
            Some(word) if OFF.contains(&word.to_ascii_lowercase().as_str()) => {
                let message = format!("{} takes an address, or off", quoted_key(&key.text));
                report.problem(
                    node.span,
                    message,
                    "write off, in small letters, to have none",
                );
                None
            }
            _ => OneOrMany::read(node, key, report).map(Self::On),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let addresses = OneOrMany::<ListenAddress>::schema(generator);
        json_schema!({ "anyOf": [{ "const": false }, addresses] })
    }
}

impl Read for RawTls {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        let words = [("local", Self::Local)];
        let expected = "local, or certificate_file and key_file";
        word_or(
            node,
            key,
            words,
            |files| Self::Files(Box::new(files)),
            expected,
            report,
        )
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let files = RawTlsFiles::schema(generator);
        json_schema!({ "anyOf": [{ "const": "local" }, reference(), files] })
    }
}

impl Read for RawThrottle {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        let words = [("pass", Self::Pass), ("hold", Self::Hold)];
        let expected = "pass, hold or {hold: 20s}";
        word_or(node, key, words, Self::HoldFor, expected, report)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let hold = RawHold::schema(generator);
        json_schema!({ "anyOf": [{ "enum": ["pass", "hold"] }, reference(), hold] })
    }
}

impl Read for RawManagedIdentity {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        let words = [("system", Self::System)];
        let expected = "system, or {client_id: …}, {object_id: …} or {resource_id: …}";
        word_or(node, key, words, Self::Selected, expected, report)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let selected = RawIdentitySelector::schema(generator);
        json_schema!({ "anyOf": [{ "const": "system" }, reference(), selected] })
    }
}
