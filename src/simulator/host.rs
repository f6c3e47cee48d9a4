//! The names the simulator answers to, and which of its services stands behind each.

/// The public identity service.
pub const LOGIN: &str = "login.microsoftonline.com";
/// The identity service of the US government cloud.
pub const LOGIN_USGOV: &str = "login.microsoftonline.us";
/// Microsoft Graph.
pub const GRAPH: &str = "graph.microsoft.com";
/// The Dataverse organisation, by its application address.
pub const ORGANISATION: &str = "contoso.crm.dynamics.com";
/// The same organisation, by its API address.
pub const ORGANISATION_API: &str = "contoso.api.crm.dynamics.com";
/// Where files are downloaded from and uploaded to, with a ticket in the address and no token.
pub const DOWNLOAD: &str = "contoso.sharepoint.com";
/// The link-local address of the virtual machine's metadata service.
pub const METADATA: &str = "169.254.169.254";

/// The names of this machine.
pub(super) const LOOPBACK: &[&str] = &["localhost", "127.0.0.1"];

/// The names that a proxy has to be told to find here instead of on the internet.
pub(super) const RESOLVED: &[&str] = &[
    LOGIN,
    LOGIN_USGOV,
    GRAPH,
    ORGANISATION,
    ORGANISATION_API,
    DOWNLOAD,
];

/// One of the services behind the TLS listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Dataverse,
    Download,
    Entra,
    Graph,
}

/// The service that an authority (`host` or `host:port`) and a path lead to. A loopback name is
/// all of them at once, told apart by the path.
pub(super) fn service(authority: &str, path: &str) -> Option<Service> {
    match name(authority) {
        LOGIN | LOGIN_USGOV => Some(Service::Entra),
        GRAPH => Some(Service::Graph),
        ORGANISATION | ORGANISATION_API => Some(Service::Dataverse),
        DOWNLOAD => Some(Service::Download),
        name if !LOOPBACK.contains(&name) => None,
        _ if path.contains("/oauth2/") => Some(Service::Entra),
        _ if path.starts_with("/sites/") => Some(Service::Download),
        _ if path.starts_with("/api/") => Some(Service::Dataverse),
        _ => Some(Service::Graph),
    }
}

/// The authority without its port. Good for the names above, none of which is an IPv6 literal.
pub(super) fn name(authority: &str) -> &str {
    authority
        .split_once(':')
        .map_or(authority, |(name, _)| name)
}

/// Whether two authorities are one API: equal names, or the two addresses of the organisation.
pub(super) fn same_api(one: &str, other: &str) -> bool {
    let canonical = |authority: &str| match authority {
        ORGANISATION_API => ORGANISATION.to_owned(),
        other => other.to_ascii_lowercase(),
    };
    let without_default = |authority: &str| {
        let trimmed = authority.strip_suffix(":443").unwrap_or(authority);
        canonical(trimmed)
    };
    without_default(one) == without_default(other)
}
