//! Which API stands behind a route, as far as that decides how it is probed and what its answers
//! and roles mean.

use crate::config::RouteSpec;

/// What is worth telling apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// Dataverse, the Web API of Dynamics 365: who may do what is decided there, not by roles.
    Dataverse,
    /// Microsoft Graph: the roles in the token decide.
    Graph,
    /// Anything else.
    Other,
}

impl Api {
    /// By the upstream's name; a name of the house in front of it is told by the scope.
    pub(super) fn of(route: &RouteSpec) -> Self {
        let resource = crate::config::BaseUrl::parse(route.scope.resource().trim_end_matches('/'));
        let resource = resource.ok().map(|url| url.origin);
        let origins = [Some(&route.upstream.origin), resource.as_ref()];
        for origin in origins.into_iter().flatten() {
            if origin.is_graph() {
                return Self::Graph;
            }
            if origin.twin().is_some() {
                return Self::Dataverse;
            }
        }
        Self::Other
    }

    /// A GET that changes nothing and reads as little as there is, below the upstream's prefix up to
    /// its version: behind that may stand anything.
    pub(super) fn probe(self, prefix: &str) -> String {
        match self {
            Self::Dataverse => match web_api(prefix) {
                Some(root) => format!("{root}/WhoAmI"),
                None => {
                    // It may have a part of that already.
                    let mut parts = ["/api/data", "/api"].into_iter();
                    let front = parts.find_map(|part| prefix.strip_suffix(part));
                    format!("{}/api/data/v9.2/WhoAmI", front.unwrap_or(prefix))
                }
            },
            Self::Graph => match behind_version(prefix) {
                Some((versioned, _)) => format!("{versioned}/organization?$select=id"),
                None => format!("{prefix}/v1.0/organization?$select=id"),
            },
            Self::Other => format!("{prefix}/"),
        }
    }
}

/// Whether this segment of a path is a version of Graph.
pub(super) fn is_version(segment: &str) -> bool {
    segment == "v1.0" || segment == "beta"
}

/// A prefix up to Graph's version, and what stands behind that; `None` for one without a version.
pub(super) fn behind_version(prefix: &str) -> Option<(&str, &str)> {
    let mut ends = prefix
        .match_indices('/')
        .map(|(at, _)| at)
        .skip(1)
        .chain([prefix.len()]);
    let end = ends.find(|end| prefix[..*end].rsplit('/').next().is_some_and(is_version))?;
    Some(prefix.split_at(end))
}

/// A prefix up to the version of Dataverse's Web API.
fn web_api(prefix: &str) -> Option<&str> {
    let (front, behind) = prefix.split_once("/api/data/")?;
    let version = behind.split('/').next().unwrap_or_default();
    Some(&prefix[..front.len() + "/api/data/".len() + version.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::sample::route;

    #[test]
    fn an_api_is_told_by_its_name_or_by_the_scope() {
        for (upstream, more, expected) in [
            ("https://graph.microsoft.com", "", Api::Graph),
            ("https://graph.microsoft.us/v1.0", "", Api::Graph),
            ("https://org.crm4.dynamics.com", "", Api::Dataverse),
            ("https://org.api.crm.dynamics.com", "", Api::Dataverse),
            ("https://management.azure.com", "", Api::Other),
            (
                "http://localhost:1",
                "scope: https://graph.microsoft.com/.default",
                Api::Graph,
            ),
            (
                "http://localhost:1",
                "scope: https://org.crm.dynamics.com//.default",
                Api::Dataverse,
            ),
        ] {
            assert_eq!(Api::of(&route(upstream, more)), expected, "{upstream}");
        }
    }

    #[test]
    fn a_probe_stays_below_the_prefix_of_the_upstream() {
        for (api, prefix, expected) in [
            (Api::Graph, "", "/v1.0/organization?$select=id"),
            (Api::Graph, "/beta", "/beta/organization?$select=id"),
            (Api::Graph, "/v1.0/users", "/v1.0/organization?$select=id"),
            (Api::Graph, "/beta/v1.0", "/beta/organization?$select=id"),
            (
                Api::Graph,
                "/house/v1.0/users",
                "/house/v1.0/organization?$select=id",
            ),
            (Api::Dataverse, "", "/api/data/v9.2/WhoAmI"),
            (Api::Dataverse, "/api/data/v9.1", "/api/data/v9.1/WhoAmI"),
            (
                Api::Dataverse,
                "/api/data/v9.1/accounts",
                "/api/data/v9.1/WhoAmI",
            ),
            (Api::Dataverse, "/api/data", "/api/data/v9.2/WhoAmI"),
            (Api::Dataverse, "/house/api", "/house/api/data/v9.2/WhoAmI"),
            (Api::Dataverse, "/myapi", "/myapi/api/data/v9.2/WhoAmI"),
            (Api::Other, "/things", "/things/"),
            (Api::Other, "", "/"),
        ] {
            assert_eq!(api.probe(prefix), expected);
        }
    }
}
