//! The tenant and the one app registered in it: what its client may prove itself with, and for which
//! resources it gets tokens.

use std::sync::Mutex;

use super::host;
use super::ident::{base64url, random};
use crate::lock::locked;
use crate::secret::Secret;

/// The tenant.
pub const TENANT_ID: &str = "11111111-aaaa-4bbb-8ccc-000000000001";
/// A verified domain of the tenant, as good as its GUID.
pub const TENANT_DOMAIN: &str = "contoso.onmicrosoft.com";
/// The app.
pub const CLIENT_ID: &str = "22222222-aaaa-4bbb-8ccc-000000000002";
/// Begins every client secret, so that a leak is found by searching for it.
pub const SECRET_CANARY: &str = "CANARY-SECRET-";

/// What became of a client secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretState {
    Expired,
    Unknown,
    Valid,
}

/// See the module.
pub(super) struct Directory {
    secrets: Mutex<Vec<(Secret, SecretState)>>,
}

impl Directory {
    pub(super) fn new() -> Self {
        let directory = Self {
            secrets: Mutex::default(),
        };
        directory.add_secret();
        directory
    }

    /// Makes one more secret. It holds every character that form encoding has to look after.
    pub(super) fn add_secret(&self) -> Secret {
        let text = format!(
            "{SECRET_CANARY}~a+b/c%41d&e=f.{}",
            base64url(random::<24>())
        );
        let secret = Secret::new(text.into_bytes());
        locked(&self.secrets).push((secret.clone(), SecretState::Valid));
        secret
    }

    /// The newest secret that is valid.
    pub(super) fn secret(&self) -> Option<Secret> {
        let secrets = locked(&self.secrets);
        let mut valid = secrets
            .iter()
            .rev()
            .filter(|(_, state)| *state == SecretState::Valid);
        valid.next().map(|(secret, _)| secret.clone())
    }

    /// Declares all secrets so far expired or gone.
    pub(super) fn retire_secrets(&self, state: SecretState) {
        for secret in locked(&self.secrets).iter_mut() {
            secret.1 = state;
        }
    }

    /// What this text is worth.
    pub(super) fn secret_state(&self, presented: &[u8]) -> SecretState {
        let secrets = locked(&self.secrets);
        let mut known = secrets
            .iter()
            .filter(|(secret, _)| secret.matches(presented));
        known
            .next()
            .map_or(SecretState::Unknown, |(_, state)| *state)
    }
}

/// Whether the tenant is this one, by either of its names.
pub(super) fn is_tenant(name: &str) -> bool {
    name.eq_ignore_ascii_case(TENANT_ID) || name.eq_ignore_ascii_case(TENANT_DOMAIN)
}

/// Whether a resource (a scope without its `/.default`) exists in the tenant.
pub(super) fn is_resource(resource: &str) -> bool {
    let Some((scheme, authority)) = resource.split_once("://") else {
        return false;
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let is_local = host::LOOPBACK.contains(&host::name(authority));
    let is_login = [host::LOGIN, host::LOGIN_USGOV].contains(&authority);
    match scheme {
        // A resource is known by this very text: with `:443` it is another.
        "https" => is_local || host::RESOLVED.contains(&authority) && !is_login,
        "http" => is_local,
        _ => false,
    }
}
