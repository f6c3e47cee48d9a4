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

/// Another word than the key's: what stands in for a variable that is not set, and a problem else.
fn other_word<T>(
    node: &Node,
    key: &Key,
    stand_in: T,
    expected: &str,
    report: &mut Report,
) -> Option<T> {
    if node.provenance == Provenance::Unknown {
        return Some(stand_in);
    }
    let message = format!("{} takes {expected}", quoted_key(&key.text));
    report.problem(node.span, message, "");
    None
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
        match word(node) {
            None => RawTlsFiles::read(node, key, report)
                .map(Box::new)
                .map(Self::Files),
            Some("local") => Some(Self::Local),
            Some(_) => {
                let expected = "local, or certificate_file and key_file";
                other_word(node, key, Self::Local, expected, report)
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let files = RawTlsFiles::schema(generator);
        json_schema!({ "anyOf": [{ "const": "local" }, reference(), files] })
    }
}

impl Read for RawThrottle {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        match word(node) {
            None => RawHold::read(node, key, report).map(Self::HoldFor),
            Some("hold") => Some(Self::Hold),
            Some("pass") => Some(Self::Pass),
            Some(_) => other_word(node, key, Self::Pass, "pass, hold or {hold: 20s}", report),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let hold = RawHold::schema(generator);
        json_schema!({ "anyOf": [{ "enum": ["pass", "hold"] }, reference(), hold] })
    }
}

impl Read for RawManagedIdentity {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        match word(node) {
            None => RawIdentitySelector::read(node, key, report).map(Self::Selected),
            Some("system") => Some(Self::System),
            Some(_) => {
                let expected = "system, or {client_id: …}, {object_id: …} or {resource_id: …}";
                other_word(node, key, Self::System, expected, report)
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let selected = RawIdentitySelector::schema(generator);
        json_schema!({ "anyOf": [{ "const": "system" }, reference(), selected] })
    }
}
