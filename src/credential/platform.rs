//! Which identity endpoint this platform offers, told by its environment variables in the order of
//! Microsoft's own libraries. The variables are passed in; nothing here reads the environment.

use std::path::PathBuf;

use crate::config::{BaseUrl, HostName, Origin, PathPrefix};
use crate::secret::Secret;

/// The identity endpoint of a platform.
#[derive(Clone, Debug)]
pub struct Platform(Result<Source, PlatformError>);

/// Where a managed identity's tokens come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// App Service, Functions and Container Apps.
    AppService {
        /// `IDENTITY_ENDPOINT`.
        endpoint: BaseUrl,
        /// `IDENTITY_HEADER`, which proves that the caller runs inside.
        header: Secret,
    },
    /// A machine outside Azure that Azure Arc manages.
    Arc {
        /// `IDENTITY_ENDPOINT`.
        endpoint: BaseUrl,
        /// Where the agent puts the keys that prove local rights.
        keys: PathBuf,
    },
    /// The instance metadata service of virtual machines and AKS nodes.
    Imds {
        /// `http://169.254.169.254/metadata/identity/oauth2/token`.
        endpoint: BaseUrl,
    },
}

/// Why this platform's identity cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Arc has system-assigned identities only.
    #[error("Azure Arc has only a system-assigned identity; write `managed_identity: system`")]
    ArcSystemOnly,
    /// The variable holds no URL.
    #[error("IDENTITY_ENDPOINT is not a URL of the form http://host:port/path")]
    Endpoint,
    /// An endpoint of a kind that is not spoken here.
    #[error(
        "managed identity on {0} is not supported; use a certificate, or a federated token file"
    )]
    Unsupported(&'static str),
}

impl Platform {
    /// Tells the platform by its variables, of which `variable` gives the values.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self(detect(&value))
    }

    /// The same with another folder of Azure Arc's keys.
    #[cfg(test)]
    pub(super) fn with_arc_keys(mut self, folder: &std::path::Path) -> Self {
        if let Ok(Source::Arc { keys, .. }) = &mut self.0 {
            folder.clone_into(keys);
        }
        self
    }

    /// The endpoint.
    pub(super) fn source(&self) -> Result<&Source, PlatformError> {
        self.0.as_ref().map_err(Clone::clone)
    }
}

fn detect(value: &dyn Fn(&str) -> Option<String>) -> Result<Source, PlatformError> {
    let has = |name| value(name).is_some();
    if let Some(endpoint) = value("IDENTITY_ENDPOINT") {
        if let Some(header) = value("IDENTITY_HEADER") {
            if has("IDENTITY_SERVER_THUMBPRINT") {
                return Err(PlatformError::Unsupported("Service Fabric"));
            }
            return Ok(Source::AppService {
                endpoint: parse(&endpoint)?,
                header: Secret::new(header.into_bytes()),
            });
        }
        if has("IMDS_ENDPOINT") {
            return Ok(Source::Arc {
                endpoint: parse(&endpoint)?,
                keys: keys(value),
            });
        }
    }
    match (has("MSI_ENDPOINT"), has("MSI_SECRET")) {
        (true, true) => Err(PlatformError::Unsupported("Azure Machine Learning")),
        (true, false) => Err(PlatformError::Unsupported("Cloud Shell")),
        (false, _) => Ok(Source::Imds { endpoint: imds() }),
    }
}

fn parse(endpoint: &str) -> Result<BaseUrl, PlatformError> {
    BaseUrl::parse(endpoint).map_err(|_| PlatformError::Endpoint)
}

/// Where the Arc agent puts its keys.
fn keys(value: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    match value("ProgramData") {
        Some(data) if cfg!(windows) => PathBuf::from(data)
            .join("AzureConnectedMachineAgent")
            .join("Tokens"),
        _ => PathBuf::from("/var/opt/azcmagent/tokens"),
    }
}

fn imds() -> BaseUrl {
    let invariant = "a literal address and path are valid";
    BaseUrl {
        origin: Origin {
            secure: false,
            host: HostName::parse("169.254.169.254").expect(invariant),
            port: 80,
        },
        prefix: PathPrefix::parse("/metadata/identity/oauth2/token").expect(invariant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(variables: &[(&str, &str)]) -> Result<Source, PlatformError> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Platform::detect(find).source().cloned()
    }

    const ENDPOINT: (&str, &str) = ("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token");
    const HEADER: (&str, &str) = ("IDENTITY_HEADER", "00000000-fake");
    const METADATA: (&str, &str) = ("IMDS_ENDPOINT", "http://localhost:40342");

    #[test]
    fn without_variables_it_is_a_virtual_machine() {
        let Ok(Source::Imds { endpoint }) = on(&[]) else {
            panic!("not IMDS");
        };
        let expected = "http://169.254.169.254/metadata/identity/oauth2/token";
        assert_eq!(endpoint.to_string(), expected);
        assert!(matches!(on(&[ENDPOINT]), Ok(Source::Imds { .. })));
        let empty = [ENDPOINT, ("IDENTITY_HEADER", "")];
        assert!(matches!(on(&empty), Ok(Source::Imds { .. })));
    }

    #[test]
    fn endpoint_and_header_are_app_service_even_beside_older_variables() {
        let all = [
            ENDPOINT,
            HEADER,
            METADATA,
            ("MSI_ENDPOINT", "http://x/"),
            ("MSI_SECRET", "s"),
        ];
        assert!(matches!(on(&all), Ok(Source::AppService { .. })));
    }

    #[test]
    fn endpoint_and_metadata_endpoint_are_arc() {
        assert!(matches!(on(&[ENDPOINT, METADATA]), Ok(Source::Arc { .. })));
    }

    #[test]
    fn platforms_that_are_not_spoken_are_named() {
        let fabric = [ENDPOINT, HEADER, ("IDENTITY_SERVER_THUMBPRINT", "AA")];
        for (variables, name) in [
            (&fabric[..], "Service Fabric"),
            (
                &[("MSI_ENDPOINT", "http://x/"), ("MSI_SECRET", "s")],
                "Azure Machine Learning",
            ),
            (&[("MSI_ENDPOINT", "http://x/")], "Cloud Shell"),
        ] {
            assert_eq!(on(variables).unwrap_err(), PlatformError::Unsupported(name));
        }
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused() {
        let wrong = [("IDENTITY_ENDPOINT", "localhost"), HEADER];
        assert_eq!(on(&wrong).unwrap_err(), PlatformError::Endpoint);
    }
}
