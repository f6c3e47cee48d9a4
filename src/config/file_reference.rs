//! The path of a file as routes.yaml may name it. What a variable in it holds is used and not
//! shown.

use schemars::{Schema, SchemaGenerator};

use super::node::{Content, Key, Node, Provenance};
use super::read::{Read, wrong_shape};
use super::report::{Report, quoted_key};
use super::scalar::plain;
use crate::secret::FilePath;

const NOUN: &str = "the path of a file";
const EXAMPLE: &str = "/run/secrets/graph";

impl Read for FilePath {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        let Content::Scalar(text) = &node.content else {
            wrong_shape(node, key, NOUN, EXAMPLE, report);
            return None;
        };
        match &node.written {
            Some(written) if node.provenance == Provenance::Unknown => Some(Self::unknown(written)),
            _ if text.trim().is_empty() => {
                let message = format!("{} is empty, and takes {NOUN}", quoted_key(&key.text));
                report.problem(node.span, message, &format!("for example {EXAMPLE}"));
                None
            }
            // It is printed in messages, where a line break would begin what looks like another.
            _ if text.contains(char::is_control) => {
                let message = format!(
                    "{} takes {NOUN}, on one line and without control characters",
                    quoted_key(&key.text)
                );
                let help = match &node.written {
                    None => "write it behind the key; a '|' or '>' block adds a line break",
                    Some(_) => "the variable has to hold the path and nothing else",
                };
                report.problem(node.span, message, help);
                None
            }
            Some(written) => Some(Self::replaced(text, written)),
            None => Some(Self::from(text)),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        plain()
    }
}
