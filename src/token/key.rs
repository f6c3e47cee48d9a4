//! What makes two tokens the same: who is asked for, what for, and with which declared capability.
//! Never the secret, which may change under a valid token, and never the claims of a challenge.

use crate::config::Scope;
use crate::credential::{Credential, Identity};

/// The key of a token in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenKey {
    identity: Identity,
    /// A token may also be this one's: routes that name other fallbacks do not share it.
    fallback: Option<Identity>,
    scope: Scope,
    continuous_access: bool,
}

impl TokenKey {
    /// The key of a credential's token for a scope.
    pub fn new(credential: &Credential, scope: &Scope) -> Self {
        Self {
            identity: credential.identity().clone(),
            fallback: credential
                .fallback()
                .map(|second| second.identity().clone()),
            scope: scope.clone(),
            continuous_access: credential.continuous_access(),
        }
    }

    /// The key of an identity, and perhaps of its fallback's, without declared capability.
    pub fn plain(identity: Identity, fallback: Option<Identity>, scope: Scope) -> Self {
        Self {
            identity,
            fallback,
            scope,
            continuous_access: false,
        }
    }

    /// The key that the same credential had before it had a fallback.
    pub(super) fn without_fallback(&self) -> Option<Self> {
        self.fallback.as_ref()?;
        Some(Self {
            fallback: None,
            ..self.clone()
        })
    }

    /// Whether it is a token of this credential, whatever for.
    pub fn is_of(&self, credential: &Credential) -> bool {
        *self == Self::new(credential, &self.scope)
    }

    /// Whether both are tokens of one identity, whatever for.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// What the token is for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}
