//! Which API stands behind a route, as far as that decides how it is probed and what its answers
//! and roles mean.

use crate::config::{RouteSpec, is_graph};

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
            if is_graph(origin.host.as_str()) {
                return Self::Graph;
            }
            if origin.twin().is_some() {
                return Self::Dataverse;
            }
        }
        Self::Other
    }

    /// A GET that changes nothing and reads as little as there is, below the upstream's prefix.
    pub(super) fn probe(self, prefix: &str) -> String {
        let versioned = prefix.ends_with("/v1.0") || prefix.ends_with("/beta");
        match self {
            Self::Dataverse if prefix.contains("/api/data/") => format!("{prefix}/WhoAmI"),
            Self::Dataverse => format!("{prefix}/api/data/v9.2/WhoAmI"),
            Self::Graph if versioned => format!("{prefix}/organization?$select=id"),
            Self::Graph => format!("{prefix}/v1.0/organization?$select=id"),
            Self::Other => format!("{prefix}/"),
        }
    }
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
            (Api::Dataverse, "", "/api/data/v9.2/WhoAmI"),
            (Api::Dataverse, "/api/data/v9.1", "/api/data/v9.1/WhoAmI"),
            (Api::Other, "/things", "/things/"),
            (Api::Other, "", "/"),
        ] {
            assert_eq!(api.probe(prefix), expected);
        }
    }
}
