//! A secret as routes.yaml may name it: exactly one `${NAME}` without a default. The variable is
//! read when the secret is used, and its value never passes through the configuration.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::node::{Content, Key, Node};
use super::read::Read;
use super::report::{Report, quoted_key};
use super::variable;
use crate::secret::SecretSource;

/// The variable that holds a secret.
#[derive(Clone)]
pub(super) struct SecretReference(pub(super) SecretSource);

impl Read for SecretReference {
    fn read(node: &Node, key: &Key, report: &mut Report) -> Option<Self> {
        let name = &key.text;
        let accepted = format!(
            "write exactly ${{NAME}}, an environment variable without a default, or use \
             {name}_file: PATH"
        );
        let Content::Scalar(text) = &node.content else {
            if matches!(node.content, Content::Empty) {
                report.problem(
                    key.span,
                    format!("{} has no value", quoted_key(name)),
                    &accepted,
                );
            } else {
                let message = format!("{} takes ${{NAME}}, not {}", quoted_key(name), node.noun());
                report.problem(node.span, message, &accepted);
            }
            return None;
        };
        let Some(variable) = variable::sole_reference(text) else {
            let message = format!("{} must not hold the secret itself", quoted_key(name));
            report.problem(node.span, message, &accepted);
            return None;
        };
        Some(Self(SecretSource::Env(variable.to_owned())))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$" })
    }
}
