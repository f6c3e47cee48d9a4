//! What the running program tells about itself: the app fills it, the status page and the probes
//! show it. Nothing in it is secret.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::timestamp::Timestamp;
use crate::token::{TokenState, TokenStatus};

/// The program as it stands.
#[derive(Clone, Debug)]
pub struct Report {
    /// The configuration that is in force.
    pub configuration: Configuration,
    /// The routes, in file order.
    pub routes: Vec<Route>,
    /// The tokens that the routes need, each once.
    pub tokens: Vec<Token>,
}

/// The configuration that is in force, and what became of a later one.
#[derive(Clone, Debug, Serialize)]
pub struct Configuration {
    /// When it was loaded.
    #[serde(rename = "loaded_at", serialize_with = "as_timestamp")]
    pub loaded: SystemTime,
    /// The last reload, when that was refused.
    pub refused: Option<RefusedReload>,
}

impl Configuration {
    /// One that was loaded then, and no later one was refused.
    pub fn loaded(at: SystemTime) -> Self {
        Self {
            loaded: at,
            refused: None,
        }
    }
}

/// A reload that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedReload {
    /// When.
    #[serde(serialize_with = "as_timestamp")]
    pub at: SystemTime,
    /// Its problems.
    pub problems: Vec<String>,
}

fn as_timestamp<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(Timestamp::of(*at).as_str())
}

/// A route.
#[derive(Clone, Debug, Serialize)]
pub struct Route {
    /// Its name, which is the label of its metrics.
    pub name: String,
    /// Host and path prefix, as a caller writes them: `/graph`, `graph.example/`.
    pub matches: String,
    /// Where requests go.
    pub upstream: String,
    /// Its credential.
    pub credential: String,
    /// The scope of its token.
    pub scope: String,
    /// Its token's place in [`Report::tokens`]. Routes may share one, whatever the names of their
    /// credentials.
    #[serde(skip)]
    pub token: Option<usize>,
}

/// A token, and what is known of the credential that it is asked for with.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token.
    pub status: TokenStatus,
    /// Why the credential is refused, while its fallback is used.
    pub fallback_reason: Option<String>,
    /// When the credential's secret or certificate expires, where that is known.
    pub credential_expires: Option<SystemTime>,
}

impl Report {
    /// The state of a route's token.
    pub fn token_of(&self, route: &Route) -> TokenState {
        let token = route.token.and_then(|place| self.tokens.get(place));
        token.map_or(TokenState::Pending, |token| token.status.state)
    }
}
