//! Checked credentials: who asks at Entra and how it proves itself. A secret's place is recorded
//! here, never the secret.

use super::value::{BaseUrl, Name};
use crate::secret::{FilePath, SecretSource};

/// A credential: an identity and how it proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSpec {
    /// Its name in the file.
    pub name: Name,
    /// The kind with what belongs to it.
    pub kind: CredentialKind,
    /// Whether `cp1` is declared (continuous access evaluation).
    pub continuous_access: bool,
    /// A declared expiry of the secret, seconds since 1970.
    pub expires: Option<u64>,
    /// The credential that takes over when this one is refused as invalid or expired.
    pub fallback: Option<Name>,
}

/// Who asks at an Entra authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppIdentity {
    /// For example `https://login.microsoftonline.com`.
    pub authority: BaseUrl,
    /// Tenant GUID or verified domain.
    pub tenant_id: String,
    /// Application (client) ID.
    pub client_id: String,
}

/// The ways an organisation may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// PEM certificate and RSA key.
    Certificate {
        /// The app.
        app: AppIdentity,
        /// Certificate and key.
        file: FilePath,
        /// For an encrypted key.
        password: Option<SecretSource>,
        /// Adds `x5c` to the assertion.
        send_chain: bool,
    },
    /// A shared secret.
    ClientSecret {
        /// The app.
        app: AppIdentity,
        /// Where the secret is.
        secret: SecretSource,
    },
    /// A token of another issuer in a file (workload identity).
    FederatedToken {
        /// The app.
        app: AppIdentity,
        /// The file, read at each token call.
        file: FilePath,
    },
    /// The platform's own identity.
    ManagedIdentity(IdentitySelector),
}

impl CredentialKind {
    /// The key of routes.yaml that makes a credential of this kind.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => "certificate_file",
            Self::ClientSecret { secret, .. } => match secret {
                SecretSource::Env(_) => "client_secret",
                SecretSource::File(_) => "client_secret_file",
            },
            Self::FederatedToken { .. } => "federated_token_file",
            Self::ManagedIdentity(_) => "managed_identity",
        }
    }

    /// Who asks at an Entra authority; nobody where the platform's own identity does.
    pub fn app(&self) -> Option<&AppIdentity> {
        match self {
            Self::Certificate { app, .. }
            | Self::ClientSecret { app, .. }
            | Self::FederatedToken { app, .. } => Some(app),
            Self::ManagedIdentity(_) => None,
        }
    }

    /// Whether no path of it depends on a variable that is not set.
    pub fn is_known(&self) -> bool {
        let password = match self {
            Self::Certificate { password, .. } => password.as_ref().and_then(SecretSource::file),
            _ => None,
        };
        let mut paths = self.file().into_iter().chain(password);
        paths.all(FilePath::is_known)
    }

    /// The file that this key names, when it names one.
    pub fn file(&self) -> Option<&FilePath> {
        match self {
            Self::Certificate { file, .. } | Self::FederatedToken { file, .. } => Some(file),
            Self::ClientSecret { secret, .. } => secret.file(),
            Self::ManagedIdentity(_) => None,
        }
    }
}

/// Which managed identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentitySelector {
    /// User-assigned, by client id.
    ClientId(String),
    /// User-assigned, by object id.
    ObjectId(String),
    /// User-assigned, by ARM resource id.
    ResourceId(String),
    /// System-assigned.
    System,
}
