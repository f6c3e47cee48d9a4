//! Microsoft's clouds: which hosts belong to which. Tokens never cross clouds, so an API of one with
//! an authority of another can only fail (Microsoft identity platform, "national clouds").

use super::scalar::Cloud;
use super::value::Origin;

impl Cloud {
    /// The authority that issues tokens for this cloud.
    pub(super) fn authority(self) -> &'static str {
        match self {
            Self::China => "https://login.partner.microsoftonline.cn",
            Self::Public => PUBLIC_AUTHORITY,
            Self::UsGov | Self::UsGovDod => "https://login.microsoftonline.us",
        }
    }

    /// The name in routes.yaml.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::China => "china",
            Self::Public => "public",
            Self::UsGov => "usgov",
            Self::UsGovDod => "usgov-dod",
        }
    }

    /// The cloud whose Microsoft Graph this host is.
    pub(super) fn of_graph(host: &str) -> Option<Self> {
        match host {
            "dod-graph.microsoft.us" => Some(Self::UsGovDod),
            "canary.graph.microsoft.com" | "graph.microsoft.com" => Some(Self::Public),
            "graph.microsoft.us" => Some(Self::UsGov),
            "microsoftgraph.chinacloudapi.cn" => Some(Self::China),
            _ => None,
        }
    }

    /// The cloud whose API this is, as far as Graph, Azure Resource Manager and Dataverse go.
    pub(super) fn of_api(origin: &Origin) -> Option<Self> {
        let host = origin.host.as_str();
        match host {
            "management.azure.com" => return Some(Self::Public),
            "management.chinacloudapi.cn" => return Some(Self::China),
            // Of both clouds of the US government, which share an authority.
            "management.usgovcloudapi.net" => return Some(Self::UsGov),
            _ => {}
        }
        let dataverse = || {
            // Only Dataverse has a second name.
            origin.twin()?;
            let of = |(domain, _): &&(&str, Self)| host.ends_with(domain);
            DATAVERSE.iter().find(of).map(|(_, cloud)| *cloud)
        };
        Self::of_graph(host).or_else(dataverse)
    }

    /// Whether this authority cannot issue tokens for this cloud. An unknown authority may be a
    /// newer one, or a test double: nothing is said about it.
    pub(super) fn excludes_authority(self, host: &str) -> bool {
        let authority = match host {
            "login.microsoftonline.com"
            | "login.windows.net"
            | "login.microsoft.com"
            | "sts.windows.net" => Self::Public.authority(),
            "login.microsoftonline.us" | "login.usgovcloudapi.net" => Self::UsGov.authority(),
            "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => {
                Self::China.authority()
            }
            _ => return false,
        };
        authority != self.authority()
    }
}

/// The domains of Dataverse, each of one cloud.
pub(super) const DATAVERSE: [(&str, Cloud); 4] = [
    ("dynamics.com", Cloud::Public),
    ("microsoftdynamics.us", Cloud::UsGov),
    ("appsplatform.us", Cloud::UsGovDod),
    ("dynamics.cn", Cloud::China),
];

/// The authority when nothing else is said.
pub(super) const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";

/// Whether this host is a SharePoint: `contoso.sharepoint.com`, or one of the national clouds.
pub fn is_sharepoint(host: &str) -> bool {
    const DOMAINS: [&str; 4] = [
        ".sharepoint.com",
        ".sharepoint.us",
        ".sharepoint-mil.us",
        ".sharepoint.cn",
    ];
    DOMAINS.iter().any(|domain| host.ends_with(domain))
}

#[cfg(test)]
mod tests {
    use super::super::value::BaseUrl;
    use super::*;

    #[test]
    fn each_graph_root_goes_with_the_authority_of_its_cloud() {
        let all = [Cloud::China, Cloud::Public, Cloud::UsGov, Cloud::UsGovDod];
        for cloud in all {
            let host = cloud.authority().trim_start_matches("https://");
            assert!(!cloud.excludes_authority(host), "{}", cloud.name());
        }
        let graph = Cloud::of_graph("graph.microsoft.us").unwrap();
        assert!(graph.excludes_authority("login.microsoftonline.com"));
        assert!(graph.excludes_authority("login.chinacloudapi.cn"));
        assert!(!graph.excludes_authority("login.usgovcloudapi.net"));
        assert!(!graph.excludes_authority("login.contoso.test"));
        assert_eq!(Cloud::of_graph("contoso.crm.dynamics.com"), None);
    }

    #[test]
    fn an_api_is_in_the_cloud_of_its_name() {
        for (host, cloud) in [
            ("graph.microsoft.us", Some(Cloud::UsGov)),
            ("dod-graph.microsoft.us", Some(Cloud::UsGovDod)),
            ("microsoftgraph.chinacloudapi.cn", Some(Cloud::China)),
            ("management.azure.com", Some(Cloud::Public)),
            ("management.usgovcloudapi.net", Some(Cloud::UsGov)),
            ("management.chinacloudapi.cn", Some(Cloud::China)),
            ("contoso.crm4.dynamics.com", Some(Cloud::Public)),
            // GCC: with the authority of everybody else.
            ("contoso.crm9.dynamics.com", Some(Cloud::Public)),
            ("contoso.api.crm.microsoftdynamics.us", Some(Cloud::UsGov)),
            ("contoso.crm.appsplatform.us", Some(Cloud::UsGovDod)),
            ("contoso.crm.dynamics.cn", Some(Cloud::China)),
            ("contoso.operations.dynamics.com", None),
            ("api.contoso.com", None),
        ] {
            let origin = BaseUrl::parse(&format!("https://{host}")).unwrap().origin;
            assert_eq!(Cloud::of_api(&origin), cloud, "{host}");
        }
    }
}
