//! Rules of the names whose values are links.

use super::file::RawRoute;
use super::report::Report;
use super::{PREAUTHENTICATED_KEYS, RewriteLinks};

/// The `link_keys` of a route.
pub(super) fn link_keys(raw: &RawRoute, report: &mut Report) -> Vec<String> {
    left_out(raw, report);
    let items = raw.link_keys.items();
    for item in items {
        // What JSON would escape cannot be compared byte for byte while streaming.
        let plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
        if item.value.0.len() > 128 || !item.value.0.bytes().all(plain) {
            let message = "\"link_keys\" takes names of JSON members";
            report.problem(
                item.span,
                message,
                "up to 128 ASCII characters, without quotes: nextLink",
            );
        }
    }
    for item in items {
        if PREAUTHENTICATED_KEYS.contains(&item.value.0.as_str()) {
            let message = format!("{:?} in \"link_keys\" has no effect", item.value.0);
            let help = "such an address needs no token, and must never get it; leave it out";
            report.warning(item.span, message, help);
        }
    }
    if let (Some(key), Some(RewriteLinks::Off)) = (raw.link_keys.key(), raw.rewrite_links.value()) {
        let message = "\"link_keys\" has no effect with rewrite_links: false";
        report.warning(key, message, "leave one of the two out");
    }
    items.iter().map(|item| item.value.0.clone()).collect()
}

/// Warns of an API whose clients follow links that are not turned, past this proxy and without a token.
fn left_out(raw: &RawRoute, report: &mut Report) {
    let Some(upstream) = raw.upstream.item().filter(|upstream| upstream.is_known()) else {
        return;
    };
    let host = upstream.value.origin.host.as_str();
    let Some(name) = own_name(host) else {
        return;
    };
    let listed = raw.link_keys.items();
    let is_listed = listed.iter().any(|key| key.value.0 == name);
    if !is_listed && raw.rewrite_links.or(RewriteLinks::On) == RewriteLinks::On {
        let host = upstream.quote(host);
        let message = format!("clients of {host} follow links in {name:?} past this proxy");
        let help = match listed.is_empty() {
            true => format!("link_keys: [{name}]"),
            false => format!("add {name} to link_keys"),
        };
        report.warning(upstream.span, message, &help);
    }
}

/// The name of links that an API has beside those of OData.
fn own_name(host: &str) -> Option<&'static str> {
    match host {
        // The next page, in every list of Azure Resource Manager.
        "management.azure.com" | "management.chinacloudapi.cn" | "management.usgovcloudapi.net" => {
            Some("nextLink")
        }
        // Where a service of the organisation is: clients ask for it first.
        "dev.azure.com" => Some("locationUrl"),
        _ => None,
    }
}
