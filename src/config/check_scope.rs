//! Rules of scopes: a token for one host is of no use at another, and tokens never cross clouds.

use super::CredentialKind;
use super::check::Surroundings;
use super::file::RawRoute;
use super::read::Item;
use super::report::{Report, quoted};
use super::scalar::Cloud;
use super::value::{BaseUrl, Scope};

/// The scope of a route, by default that of its upstream's origin.
pub(super) fn scope(
    raw: &RawRoute,
    upstream: Option<&BaseUrl>,
    report: &mut Report,
) -> Option<Scope> {
    if raw.scope.key().is_none() {
        return Scope::parse(&format!("{}/.default", upstream?.origin)).ok();
    }
    let item = raw.scope.item()?;
    let upstream = raw.upstream.item();
    if let Some(upstream) = upstream.filter(|upstream| upstream.is_known() && item.is_known()) {
        resource(item, upstream, report);
    }
    Some(item.value.clone())
}

/// Warns of a scope that is most likely not the upstream's.
fn resource(item: &Item<Scope>, upstream: &Item<BaseUrl>, report: &mut Report) {
    let resource = item.value.resource();
    let Some((scheme, rest)) = resource.split_once("://") else {
        if !is_guid(resource) {
            let message = "the scope has no scheme, which Entra refuses (AADSTS70011)";
            report.warning(
                item.span,
                message,
                "https://HOST/.default, api://ID/.default or a GUID",
            );
        }
        return;
    };
    // An App ID URI such as api://ID names an application, not a host.
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return;
    }
    let host = rest
        .split(['/', ':'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let own = upstream.value.origin.host.as_str();
    if environment(&host) != environment(own) {
        let (host, own) = (item.quote(&host), upstream.quote(own));
        let message = format!("the token is for {host}, the upstream is {own}");
        let help = "most APIs refuse a token for another host; leave scope out for the upstream's";
        report.warning(item.span, message, help);
    }
}

/// `org.api.crm4.dynamics.com` and `org.crm4.dynamics.com` are one Dataverse environment.
fn environment(host: &str) -> String {
    match host.split_once(".api.") {
        Some((org, rest)) if rest.starts_with("crm") => format!("{org}.{rest}"),
        _ => host.to_owned(),
    }
}

pub(super) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Whether this host is a Microsoft Graph.
pub fn is_graph(host: &str) -> bool {
    Cloud::of_graph(host).is_some()
}

/// Warns of a Graph whose cloud the credential's authority does not serve.
pub(super) fn cloud(
    raw: &RawRoute,
    upstream: &BaseUrl,
    credential: Option<usize>,
    around: &Surroundings<'_>,
    report: &mut Report,
) {
    let Some(cloud) = Cloud::of_graph(upstream.origin.host.as_str()) else {
        return;
    };
    let named = credential.and_then(|index| around.credentials.entries.get(index));
    let Some(spec) = named.and_then(|named| named.spec.as_ref()) else {
        return;
    };
    let app = match &spec.kind {
        CredentialKind::Certificate { app, .. }
        | CredentialKind::ClientSecret { app, .. }
        | CredentialKind::FederatedToken { app, .. } => app,
        CredentialKind::ManagedIdentity(_) => return,
    };
    let authority = app.authority.origin.host.as_str();
    if cloud.excludes_authority(authority)
        && let Some(item) = raw.upstream.item()
    {
        let message = format!(
            "this Graph is in cloud {}, and credential {} asks at {}",
            quoted(cloud.name()),
            quoted(spec.name.as_str()),
            quoted(authority),
        );
        let help = format!(
            "tokens never cross clouds: cloud: {} in the credential",
            cloud.name()
        );
        report.warning(item.span, message, &help);
    }
}
