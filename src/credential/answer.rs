//! Reads the answer of a successful token call (RFC 6749 section 5.1), leniently where Microsoft's
//! endpoints differ from each other and strictly where a wrong token would do harm.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::endpoint::Reply;
use super::error::Flaw;
use crate::secret::Secret;

/// What is assumed when an answer says nothing about its lifetime.
const UNSTATED_LIFETIME: Duration = Duration::from_secs(300);
/// The longest lifetime that is believed. Microsoft's longest are 28 h.
const LONGEST_LIFETIME: Duration = Duration::from_secs(172_800);
/// The shortest: less could not even be handed out.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(1);
/// No upstream takes a header longer than this; real tokens have 1 to 3 KiB.
const LONGEST_TOKEN: usize = 16 * 1024;

/// A token as it came.
#[derive(Debug)]
pub struct AccessToken {
    /// The token: bytes that may stand in a header.
    pub secret: Secret,
    /// How long it lives, counted from before the request was sent.
    pub expires_in: Duration,
    /// When the issuer wants it renewed, counted likewise.
    pub refresh_in: Option<Duration>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    access_token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    token_type: Option<Cow<'a, str>>,
    // Raw, because these are numbers, strings or absurd depending on who answers.
    #[serde(borrow)]
    expires_in: Option<&'a RawValue>,
    #[serde(borrow)]
    expires_on: Option<&'a RawValue>,
    #[serde(borrow)]
    refresh_in: Option<&'a RawValue>,
}

/// Reads a token out of a 200 answer.
pub(super) fn read(reply: &Reply) -> Result<AccessToken, Flaw> {
    if reply.body.is_empty() {
        return Err(Flaw::Empty);
    }
    let document: Document<'_> = serde_json::from_slice(&reply.body).map_err(|_| Flaw::NotJson)?;
    let secret = token(document.access_token.as_deref().unwrap_or_default())?;
    if let Some(kind) = document.token_type
        && !kind.eq_ignore_ascii_case("bearer")
    {
        return Err(Flaw::TokenType);
    }
    let seconds = document
        .expires_in
        .and_then(number)
        .or_else(|| remaining(document.expires_on?, reply.received));
    Ok(AccessToken {
        secret,
        expires_in: seconds.map_or(UNSTATED_LIFETIME, lifetime),
        refresh_in: document
            .refresh_in
            .and_then(number)
            .filter(|seconds| *seconds > 0.0)
            .map(lifetime),
    })
}

fn token(text: &str) -> Result<Secret, Flaw> {
    if text.is_empty() {
        Err(Flaw::TokenAbsent)
    } else if text.len() > LONGEST_TOKEN {
        Err(Flaw::TokenLong)
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        Err(Flaw::TokenBytes)
    } else {
        Ok(Secret::new(text.as_bytes().to_vec()))
    }
}

/// A number, or a string that holds one; not necessarily whole.
fn number(raw: &RawValue) -> Option<f64> {
    let text = raw.get();
    let text = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    // `parse` also takes "nan" and "inf", which are no lifetimes.
    text.trim().parse().ok().filter(|n: &f64| !n.is_nan())
}

/// `expires_on` is seconds since 1970; App Service has also been seen to send a small number that
/// counts from now.
fn remaining(raw: &RawValue, received: SystemTime) -> Option<f64> {
    let on = number(raw)?;
    let now = received.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    // A year of seconds lies in January 1971 on the one reading and in no token on the other.
    Some(if on < 31_536_000.0 { on } else { on - now })
}

fn lifetime(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(
        SHORTEST_LIFETIME.as_secs_f64(),
        LONGEST_LIFETIME.as_secs_f64(),
    ))
}
