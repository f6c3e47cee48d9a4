//! What the running program tells about itself: the app fills it, the status page and the probes
//! show it. Nothing in it is secret.

use std::time::SystemTime;

use crate::token::TokenState;

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
#[derive(Clone, Debug)]
pub struct Configuration {
    /// When it was loaded.
    pub loaded: SystemTime,
    /// The last reload, when that was refused.
    pub refused: Option<RefusedReload>,
}

/// A reload that was refused.
#[derive(Clone, Debug)]
pub struct RefusedReload {
    /// When.
    pub at: SystemTime,
    /// Its problems.
    pub problems: Vec<String>,
}

/// A route.
#[derive(Clone, Debug)]
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
    pub token: Option<usize>,
}

/// A token.
#[derive(Clone, Debug)]
pub struct Token {
    /// The credential's name.
    pub credential: String,
    /// The credential that is used instead, while the first is refused.
    pub fallback: Option<String>,
    /// Why the first is refused, while that one is used.
    pub fallback_reason: Option<String>,
    /// The scope.
    pub scope: String,
    /// Whether it can be served.
    pub state: TokenState,
    /// When the token in use expires.
    pub expires: Option<SystemTime>,
    /// When it was last renewed.
    pub renewed: Option<SystemTime>,
    /// When the next call is due.
    pub next: Option<SystemTime>,
    /// The last call that failed; also once one has succeeded.
    pub failure: Option<Failure>,
    /// When the credential's secret or certificate expires, where that is known.
    pub credential_expires: Option<SystemTime>,
}

/// A call for a token that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When.
    pub at: SystemTime,
    /// Why, in words, and what to do about it.
    pub message: String,
    /// When a later call succeeded, if one has.
    pub over: Option<SystemTime>,
}

impl Report {
    /// The state of a route's token.
    pub fn token_of(&self, route: &Route) -> TokenState {
        let token = route.token.and_then(|place| self.tokens.get(place));
        token.map_or(TokenState::Pending, |token| token.state)
    }
}
