//! Rules of `allow`: an empty list is refused, and what a line seems not to mean as it is written is
//! told, with what would be.

use http::Method;

use super::file::RawRoute;
use super::read::Item;
use super::report::{Report, quoted};
use super::value::BaseUrl;
use super::{AllowSpec, PatternSegment};

/// The lines of a route, if it has any.
pub(super) fn allow(
    raw: &RawRoute,
    upstream: Option<&BaseUrl>,
    report: &mut Report,
) -> Option<Vec<AllowSpec>> {
    let item = raw.allow.item()?;
    if item.value.is_empty {
        let message = "an empty \"allow\" lets nothing through";
        report.problem(
            item.key,
            message,
            "leave the key out to let everything through",
        );
    }
    let own = raw.path.value().map_or("", |path| path.as_str());
    let lines = &item.value.items;
    for line in lines {
        if let Some((message, help)) = doubt(&line.value, own, upstream, lines) {
            report.warning(line.span, message, &help);
        }
    }
    Some(raw.allow.values())
}

/// What one of all lines seems not to mean as it is written, and what would be.
fn doubt(
    line: &AllowSpec,
    own: &str,
    upstream: Option<&BaseUrl>,
    all: &[Item<AllowSpec>],
) -> Option<(String, String)> {
    let (message, help) = if !own.is_empty() && line.begins_with(own) {
        let own = quoted(own);
        (
            format!("the pattern begins with the route's own path {own}"),
            "patterns see the path after it is removed: GET /v1.0/users/**".to_owned(),
        )
    } else if upstream.is_some_and(|url| lacks_version(url, line)) {
        (
            "no path of Microsoft Graph begins like this".to_owned(),
            "its version comes first: GET /v1.0/users/**".to_owned(),
        )
    } else if let Some(segment) = line.parameter() {
        (
            format!("{} stands for nothing but itself", quoted(segment)),
            "'*' is any one segment, and NAME(*) is NAME with any key: GET /v1.0/users/*"
                .to_owned(),
        )
    } else {
        let dataverse = upstream.filter(|url| url.origin.twin().is_some())?;
        let table = without_rows(line, dataverse, all)?;
        (
            format!(
                "rows of {} do not pass, because their keys stand in its own segment",
                quoted(table)
            ),
            format!("a line with {table}(*) in place of {table} lets them pass"),
        )
    };
    Some((message, help))
}

/// Whether the pattern lets through what Graph answers with an error at best: each of its paths begins
/// with `v1.0` or `beta`.
fn lacks_version(upstream: &BaseUrl, line: &AllowSpec) -> bool {
    let is_version = |text: &str| ["v1.0", "beta"].contains(&text.to_ascii_lowercase().as_str());
    let lacks = match line.pattern.first() {
        Some(PatternSegment::Literal(text)) => !is_version(text),
        Some(PatternSegment::Keyed(_)) => true,
        Some(PatternSegment::AnyNumber | PatternSegment::AnyOne) | None => false,
    };
    upstream.prefix.as_str().is_empty() && upstream.origin.is_graph() && lacks
}

/// The table of a line that ends in `/TABLE/**` and reads as if its rows passed; none where one of all
/// lines lets them.
fn without_rows<'l>(
    line: &'l AllowSpec,
    upstream: &BaseUrl,
    all: &[Item<AllowSpec>],
) -> Option<&'l str> {
    use PatternSegment::{AnyNumber, AnyOne, Keyed, Literal};
    let [front @ .., Literal(table), AnyNumber] = line.pattern.as_slice() else {
        return None;
    };
    // Tables stand behind the version, `/api/data/v9.2`, which may be the upstream's.
    let root = match front.last() {
        Some(Literal(text)) => text.as_str(),
        Some(_) => return None,
        None => upstream.prefix.as_str().rsplit('/').next()?,
    };
    let is_version = matches!(root.as_bytes(), [b'v', b'0'..=b'9', ..]);
    let is_table = is_version && !table.contains(['(', '$']);
    // A POST makes a row, and has no key.
    let is_for_rows = line.methods.iter().any(|method| method != Method::POST);
    let lets_rows_pass = |other: &Item<AllowSpec>| {
        let pattern = &other.value.pattern;
        let row = match pattern.strip_prefix(front).and_then(<[_]>::first) {
            Some(Keyed(name)) => name == table,
            first => first == Some(&AnyOne),
        };
        let mut begin = pattern.iter().take(front.len() + 1);
        row || begin.any(|segment| *segment == AnyNumber)
    };
    (is_table && is_for_rows && !all.iter().any(lets_rows_pass)).then_some(table)
}
