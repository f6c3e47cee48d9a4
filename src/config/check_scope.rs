//! Rules of scopes: a token for one host is of no use at another, and tokens never cross clouds.

use super::check::Surroundings;
use super::cloud;
use super::file::RawRoute;
use super::read::Item;
use super::report::{Report, quoted};
use super::resource::Resource;
use super::scalar::Cloud;
use super::value::{BaseUrl, Scope};
use super::{CredentialKind, CredentialSpec};
use crate::guid::is_guid;

/// The scope of a route, by default that of its upstream's origin.
pub(super) fn scope(
    raw: &RawRoute,
    upstream: Option<&BaseUrl>,
    report: &mut Report,
) -> Option<Scope> {
    let written = raw.upstream.item().filter(|upstream| upstream.is_known());
    if raw.scope.key().is_none() {
        if let Some(upstream) = written {
            default(upstream, report);
        }
        return Scope::parse(&format!("{}/.default", upstream?.origin)).ok();
    }
    let item = raw.scope.item()?;
    if let Some(upstream) = written {
        resource(item, upstream, report);
    }
    Some(item.value.clone())
}

/// Warns of an upstream that does not take what the default scope gives.
fn default(upstream: &Item<BaseUrl>, report: &mut Report) {
    let own = upstream.value.origin.host.as_str();
    if let Some(known) = Resource::of(own).filter(|known| !known.takes_own) {
        let own = upstream.quote(own);
        let message = format!("{own} takes tokens for a resource of another name than its host");
        report.warning(upstream.span, message, &format!("scope: {}", known.scope()));
    }
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
    let known = Resource::of(own);
    let taken = known.is_some_and(|known| known.takes(&item.value));
    let (shown, name) = (item.quote(&host), upstream.quote(own));
    let twin = upstream.value.origin.twin();
    if host == own || twin.is_some_and(|twin| twin.host.as_str() == host) {
        if let Some(known) = known.filter(|known| !known.takes_own) {
            let message = format!("{name} takes tokens for a resource of another name");
            report.warning(item.span, message, &format!("scope: {}", known.scope()));
        }
        return;
    }
    let message = format!("the token is for {shown}, the upstream is {name}");
    let help = match known {
        Some(_) if taken => "this API takes it, nothing needs to be changed".to_owned(),
        Some(known) => format!("this API takes {}", known.scope()),
        None => "most APIs refuse a token for another host; leave scope out for the upstream's"
            .to_owned(),
    };
    report.warning(item.span, message, &help);
}

/// Warns of an upstream for which this credential's tokens, or its fallback's, are of no use.
pub(super) fn credential(
    raw: &RawRoute,
    upstream: &BaseUrl,
    credential: Option<usize>,
    around: &Surroundings<'_>,
    report: &mut Report,
) {
    let all = around.credentials;
    let at = |index: usize| all.entries.get(index)?.spec.as_ref();
    let first = credential.and_then(at);
    let second = first.and_then(|first| at(all.find(first.fallback.as_ref()?.as_str())?));
    if let Some(item) = raw.upstream.item() {
        for spec in first.into_iter().chain(second) {
            proof(spec, item, upstream, report);
        }
    }
}

/// Warns of an upstream whose cloud is not the authority's, or that wants another proof.
fn proof(spec: &CredentialSpec, item: &Item<BaseUrl>, upstream: &BaseUrl, report: &mut Report) {
    let Some(app) = spec.kind.app() else {
        return;
    };
    let name = quoted(spec.name.as_str());
    // SharePoint looks at how the app proved itself, and not at the token's permissions alone.
    let by_secret = matches!(spec.kind, CredentialKind::ClientSecret { .. });
    if by_secret && cloud::is_sharepoint(upstream.origin.host.as_str()) {
        let message =
            format!("SharePoint refuses an app's tokens got with a secret, as {name} gets them");
        let help = "certificate_file in the credential";
        report.warning(item.span, message, help);
    }
    let Some(cloud) = Cloud::of_api(&upstream.origin) else {
        return;
    };
    let authority = app.authority.origin.host.as_str();
    if cloud.excludes_authority(authority) {
        let message = format!(
            "this API is in cloud {}, and credential {name} asks at {}",
            quoted(cloud.name()),
            quoted(authority),
        );
        let help = format!(
            "tokens never cross clouds: cloud: {} in the credential",
            cloud.name()
        );
        report.warning(item.span, message, &help);
    }
}
