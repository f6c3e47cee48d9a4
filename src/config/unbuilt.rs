//! Keys of routes.yaml that are specified and not built yet. They are refused where they stand,
//! so that nobody believes in a protection that is not there. Building one means deleting its
//! line here: its shape and rules are in place already.

use super::node::{Content, Node};
use super::report::{Report, Span, quoted};
use super::{Config, CredentialKind};

/// Paths of keys; `*` is a name or a list element, and what follows `=` a single value.
pub(super) const KEYS: &[&str] = &[];

/// Reports every key of the file that is not built.
pub(super) fn refuse(root: &Node, keys: &[&str], report: &mut Report) {
    for key in keys {
        let (path, value) = match key.split_once('=') {
            Some((path, value)) => (path, Some(value)),
            None => (*key, None),
        };
        let path: Vec<&str> = path.split('.').collect();
        find(root, &path, value, Span::default(), &mut |span| {
            report.problem(span, message(&path, value), "leave it out for now");
        });
    }
}

fn message(path: &[&str], value: Option<&str>) -> String {
    let key = path.last().copied().unwrap_or_default();
    match value {
        Some(value) => format!(
            "{} is not supported yet",
            quoted(&format!("{key}: {value}"))
        ),
        None => format!("{} is not supported yet", quoted(key)),
    }
}

fn find(node: &Node, path: &[&str], value: Option<&str>, at: Span, found: &mut dyn FnMut(Span)) {
    let Some((step, rest)) = path.split_first() else {
        match (value, &node.content) {
            (None, _) => found(at),
            (Some(value), Content::Scalar(text)) if text == value => found(node.span),
            (Some(_), _) => {}
        }
        return;
    };
    match &node.content {
        Content::Mapping(entries) => {
            for entry in entries {
                if *step == "*" || entry.key.text == *step {
                    find(&entry.value, rest, value, entry.key.span, found);
                }
            }
        }
        Content::List(items) if *step == "*" => {
            for item in items {
                find(item, rest, value, item.span, found);
            }
        }
        Content::Empty | Content::List(_) | Content::Scalar(_) => {}
    }
}

/// Reports kinds that are not built and that the environment chose.
pub(super) fn refuse_environment(config: &Config, at: Span, keys: &[&str], report: &mut Report) {
    for credential in &config.credentials {
        let (key, variable) = match credential.kind {
            CredentialKind::Certificate { .. } => (
                "credentials.*.certificate_file",
                "AZURE_CLIENT_CERTIFICATE_PATH",
            ),
            CredentialKind::FederatedToken { .. } => (
                "credentials.*.federated_token_file",
                "AZURE_FEDERATED_TOKEN_FILE",
            ),
            CredentialKind::ClientSecret { .. } | CredentialKind::ManagedIdentity(_) => continue,
        };
        if keys.contains(&key) {
            report.problem(
                at,
                format!("{variable} is not supported yet"),
                "AZURE_CLIENT_SECRET is",
            );
        }
    }
}
