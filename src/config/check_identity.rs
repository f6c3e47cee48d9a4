//! Credentials that are one identity: their tokens are one, whatever each proves it with.

use std::collections::HashMap;
use std::mem::discriminant;

use super::CredentialSpec;
use super::file::RawCredential;
use super::node::Key;
use super::read::Item;
use super::report::{Report, quoted_key};
use super::roster::Roster;

/// Warns of credentials of one identity with different proofs. A pair of which one stands by for
/// the other is what `fallback` is for.
pub(super) fn shared(
    rows: &[(Key, Option<Item<RawCredential>>)],
    all: &Roster<CredentialSpec>,
    report: &mut Report,
) {
    let mut firsts = HashMap::new();
    for ((_, item), named) in rows.iter().zip(&all.entries) {
        let (Some(item), Some(spec)) = (item, &named.spec) else {
            continue;
        };
        let Some(app) = spec.kind.app().filter(|_| is_known(&item.value)) else {
            continue;
        };
        let first: &mut &CredentialSpec = firsts
            .entry((discriminant(&spec.kind), app))
            .or_insert(spec);
        if first.kind == spec.kind || stands_by(first, spec) || stands_by(spec, first) {
            continue;
        }
        let (name, other) = (quoted_key(&named.name), quoted_key(first.name.as_str()));
        report.warning(
            named.span,
            format!("{name} is the same app as {other}, with another secret or file"),
            "routes of one scope share one token of the two, got with what the last of them has; keep one, or make one the fallback of the other",
        );
    }
}

fn stands_by(second: &CredentialSpec, first: &CredentialSpec) -> bool {
    first.fallback.as_ref() == Some(&second.name)
}

/// Whether the identity is what will be used. What stands in for variables that are not set is the
/// same for all.
fn is_known(raw: &RawCredential) -> bool {
    raw.tenant_id.item().is_none_or(Item::is_known)
        && raw.client_id.item().is_none_or(Item::is_known)
        && raw.authority.item().is_none_or(Item::is_known)
}
