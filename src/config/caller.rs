//! Checked callers: who may be asked for on a route and how it proves itself.

use super::certificate_name::CertificateName;
use super::value::Name;
use crate::secret::{FilePath, SecretSource};

/// A caller that routes may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerSpec {
    /// Its name; a metric label.
    pub name: Name,
    /// How it proves itself.
    pub proof: CallerProof,
}

/// How a caller proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerProof {
    /// `X-Api-Key`.
    ApiKey(SecretSource),
    /// Subject or SAN of a client certificate.
    ClientCertificate(CertificateName),
    /// A Kubernetes service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// How Kubernetes service-account tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSpec {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Where the keys are.
    pub keys: KubernetesKeys,
}

/// Where the cluster's signing keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesKeys {
    /// In a file.
    File(FilePath),
    /// Fetched from the issuer.
    Fetch {
        /// The cluster's CA.
        ca_file: FilePath,
        /// The token that is shown to the API server.
        token_file: FilePath,
    },
}
