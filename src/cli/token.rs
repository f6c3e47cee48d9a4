//! `token`: acquires a route's token once and shows its claims.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::hardening::hide_memory;
use super::inspection::{self, Purpose};
use super::{FAILED, FINE, REFUSED, complain, refuse, tell, unless_stopped, with_runtime};
use crate::app;
use crate::config::{Config, RouteSpec, Scope, printable};
use crate::credential::{AccessToken, TokenRequest};

/// Prints the claims of a route's token, or with `raw` the token and nothing else.
pub(super) fn token(path: &Path, route: &str, raw: bool) -> u8 {
    hide_memory();
    let mut found = inspection::inspect(path, Purpose::Token(route), SystemTime::now());
    // They are about the proxy, and `check` tells them.
    found.warnings.0.clear();
    // Standard error is all there is to tell it to.
    let _ = found.tell(path, &mut std::io::stderr());
    let Some(config) = found.usable() else {
        return REFUSED;
    };
    let Some(spec) = config.route(route) else {
        return refuse(&unknown_route(&config, route));
    };
    let work = unless_stopped(acquire(&config, spec));
    with_runtime(|runtime| match runtime.block_on(work).flatten() {
        Ok(token) => super::written(|out| print(&token, raw, out)),
        Err(code) => code,
    })
}

async fn acquire(config: &Config, spec: &RouteSpec) -> Result<AccessToken, u8> {
    let outbound = app::outbound(config).map_err(|error| complain(&error))?;
    let credential = &outbound.credentials[spec.credential];
    let acquired = credential.acquire(&request(&spec.scope)).await;
    acquired.outcome.map_err(|error| {
        tell(error.words());
        FAILED
    })
}

/// What a command asks for. Nothing is cached here, so the call may take as long as Entra ever does.
pub(super) fn request(scope: &Scope) -> TokenRequest {
    TokenRequest {
        scope: scope.clone(),
        claims: None,
        within: Duration::from_secs(30),
        resting: None,
    }
}

/// What is said of a route that is not there.
pub(super) fn unknown_route(config: &Config, route: &str) -> String {
    let known = config.routes.iter().map(|spec| spec.name.as_str());
    let known = known.collect::<Vec<_>>().join(", ");
    format!("there is no route \"{route}\"; the routes are {known}")
}

/// The claims go to `out` as JSON and nothing beside them, for programs; what else is to be said goes
/// to standard error.
fn print(token: &AccessToken, raw: bool, out: &mut dyn Write) -> std::io::Result<u8> {
    if raw {
        out.write_all(token.secret.expose())?;
        out.write_all(b"\n")?;
        return Ok(FINE);
    }
    // If standard error is gone there is nobody to tell.
    let _ = writeln!(
        std::io::stderr(),
        "expires in {} s",
        token.expires_in.as_secs()
    );
    match claims(token) {
        Some(claims) => writeln!(out, "{}", shown(&claims))?,
        None => writeln!(
            out,
            "the token is opaque: it holds no claims that can be read"
        )?,
    }
    Ok(FINE)
}

/// Claims as JSON in which what moves the cursor or turns the text's direction is escaped: the names
/// among them are others' to choose.
fn shown(claims: &serde_json::Value) -> String {
    let mut shown = String::new();
    for c in format!("{claims:#}").chars() {
        if c == '\n' || printable(c) == c {
            shown.push(c);
        } else {
            // All of these lie below U+10000: one unit of UTF-16.
            shown.push_str(&format!("\\u{:04x}", c as u32));
        }
    }
    shown
}

/// The claims of a token in the form of a JWT. For people to look at, never for decisions: access
/// tokens are opaque to clients (Microsoft identity platform, "access tokens").
pub(super) fn claims(token: &AccessToken) -> Option<serde_json::Value> {
    let text = token.secret.expose_str()?;
    let payload = text.split('.').nth(1)?;
    let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_others_have_named_move_no_cursor_and_stay_what_they_are() {
        let named = "\u{1b}[2J\u{9b}31m\u{202e}\u{61c}\u{7f}\n\"Zoë\"";
        let claims = serde_json::json!({ "app_displayname": named, named: [named] });
        let shown = shown(&claims);
        assert!(
            shown.chars().all(|c| c == '\n' || printable(c) == c),
            "{shown}"
        );
        assert!(!shown.contains(['\u{202e}', '\u{61c}']), "{shown}");
        assert!(shown.contains("Zoë") && shown.lines().count() > 4);
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, claims);
    }
}
