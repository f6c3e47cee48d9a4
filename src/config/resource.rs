//! APIs of Microsoft whose tokens are for a resource of another name than their host: for them the
//! default scope, the upstream's origin, is not what they take.

use super::value::Scope;

/// An API and what its tokens are for.
pub(super) struct Resource {
    /// The host, or the end of it behind a name of the customer's.
    host: &'static str,
    /// What is asked for, as its documentation has it first; any of these is taken.
    names: &'static [&'static str],
    /// Whether a token for the host itself is taken as well.
    pub(super) takes_own: bool,
}

/// The hosts of the public cloud: those of others are not known well enough to say anything.
const TABLE: [Resource; 9] = [
    storage(".blob.core.windows.net"),
    storage(".dfs.core.windows.net"),
    storage(".file.core.windows.net"),
    storage(".queue.core.windows.net"),
    storage(".table.core.windows.net"),
    // Service Bus, Event Hubs and relays have their namespaces below one name. Kafka's clients ask
    // for a token for the namespace itself.
    Resource {
        host: ".servicebus.windows.net",
        names: &[
            "https://servicebus.azure.net",
            "https://eventhubs.azure.net",
            "https://relay.azure.net",
        ],
        takes_own: true,
    },
    Resource {
        host: ".vault.azure.net",
        names: &["https://vault.azure.net"],
        takes_own: false,
    },
    Resource {
        host: "api.powerbi.com",
        names: &["https://analysis.windows.net/powerbi/api"],
        takes_own: false,
    },
    Resource {
        host: "dev.azure.com",
        names: &[
            "499b84ac-1321-427f-aa17-267ca6975798",
            "https://app.vssps.visualstudio.com",
        ],
        takes_own: false,
    },
];

/// Azure Storage: a token for the account's own host is for that one account.
const fn storage(host: &'static str) -> Resource {
    Resource {
        host,
        names: &["https://storage.azure.com"],
        takes_own: true,
    }
}

impl Resource {
    /// What the API behind this lower-case host takes tokens for, where that is known and another
    /// name than the host's.
    pub(super) fn of(host: &str) -> Option<&'static Self> {
        TABLE
            .iter()
            .find(|known| match known.host.starts_with('.') {
                true => host.len() > known.host.len() && host.ends_with(known.host),
                false => host == known.host,
            })
    }

    /// Whether the API takes tokens of this scope. A slash at the end of a resource doubles.
    pub(super) fn takes(&self, scope: &Scope) -> bool {
        let asked = scope.resource().trim_end_matches('/');
        self.names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(asked))
    }

    /// The scope to write.
    pub(super) fn scope(&self) -> String {
        format!("{}/.default", self.names[0])
    }
}

/// Whether the API behind this host is known to take tokens of this scope, whose resource has another
/// name than the host.
pub fn takes(host: &str, scope: &Scope) -> bool {
    Resource::of(host).is_some_and(|known| known.takes(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_known_by_its_whole_host_or_by_the_end_of_it() {
        for known in [
            "api.powerbi.com https://analysis.windows.net/powerbi/api/.default",
            "contoso.vault.azure.net https://vault.azure.net/.default",
            "contoso.blob.core.windows.net https://storage.azure.com/.default",
            "dev.azure.com 499b84ac-1321-427f-aa17-267ca6975798/.default",
            "contoso.dfs.core.windows.net https://storage.azure.com/.default",
            "contoso.file.core.windows.net https://storage.azure.com/.default",
            "contoso.queue.core.windows.net https://storage.azure.com/.default",
            "contoso.table.core.windows.net https://storage.azure.com/.default",
            "contoso.servicebus.windows.net https://servicebus.azure.net/.default",
        ] {
            let (host, scope) = known.split_once(' ').unwrap();
            assert_eq!(Resource::of(host).unwrap().scope(), scope);
        }
        for other in [
            "graph.microsoft.com",
            "vault.azure.net",
            ".vault.azure.net",
            "evilapi.powerbi.com",
            "api.powerbi.com.example",
            "contoso.crm.dynamics.com",
        ] {
            assert!(Resource::of(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_scope_is_told_by_its_resource() {
        let devops = Resource::of("dev.azure.com").unwrap();
        let vault = Resource::of("a.vault.azure.net").unwrap();
        let bus = Resource::of("a.servicebus.windows.net").unwrap();
        for (resource, scope, taken) in [
            (
                devops,
                "499B84AC-1321-427F-AA17-267CA6975798/.default",
                true,
            ),
            (devops, "https://app.vssps.visualstudio.com/.default", true),
            (devops, "https://dev.azure.com/.default", false),
            (vault, "https://vault.azure.net//.default", true),
            (bus, "https://eventhubs.azure.net//.default", true),
            (vault, "https://a.vault.azure.net/.default", false),
        ] {
            assert_eq!(
                resource.takes(&Scope::parse(scope).unwrap()),
                taken,
                "{scope}"
            );
        }
    }
}
