//! Microsoft's clouds: which hosts belong to which. Tokens never cross clouds, so a Graph root of
//! one with an authority of another can only fail (Microsoft identity platform, "national clouds").

use super::scalar::Cloud;

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

/// The authority when nothing else is said.
pub(super) const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";

#[cfg(test)]
mod tests {
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
}
