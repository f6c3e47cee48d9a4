//! Reads the answer of a successful token call (RFC 6749 section 5.1), leniently where Microsoft's
//! endpoints differ from each other and strictly where a wrong token would do harm.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::endpoint::Reply;
use super::error::{CredentialError, Flaw, Outage};
use crate::config::Name;
use crate::secret::Secret;

/// What is assumed when an answer says nothing about its lifetime.
const UNSTATED_LIFETIME: Duration = Duration::from_secs(300);
/// The longest lifetime that is believed. Microsoft's longest are 28 h.
const LONGEST_LIFETIME: Duration = Duration::from_secs(172_800);
/// The shortest of a token that has not expired: calls are at least this far apart.
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
    /// The fallback that got it, where that was not the credential itself.
    pub fallback: Option<Name>,
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
pub(super) fn read(reply: &Reply) -> Result<AccessToken, CredentialError> {
    let from = || reply.from.clone();
    let token = whole(reply).map_err(|flaw| CredentialError::Malformed { from: from(), flaw })?;
    // A dead token would be refused upstream, and asked for again every second.
    token.ok_or_else(|| Outage::Expired { from: from() }.into())
}

/// What the answer holds; no token where its own time is over already.
fn whole(reply: &Reply) -> Result<Option<AccessToken>, Flaw> {
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
    let stated = document.expires_in.and_then(number);
    let left = document.expires_on;
    let left = left.and_then(|raw| remaining(raw, reply.received));
    // Platforms keep tokens, and IMDS counts `expires_in` from when one was issued. A clock that is far
    // ahead leaves nothing of it.
    let seconds = match (stated, left.filter(|left| *left > 0.0)) {
        (Some(stated), Some(left)) => Some(stated.min(left)),
        _ => stated.or(left),
    };
    if seconds.is_some_and(|seconds| seconds <= 0.0) {
        return Ok(None);
    }
    Ok(Some(AccessToken {
        secret,
        expires_in: seconds.map_or(UNSTATED_LIFETIME, lifetime),
        refresh_in: document
            .refresh_in
            .and_then(number)
            .filter(|seconds| *seconds > 0.0)
            .map(lifetime),
        fallback: None,
    }))
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

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use crate::credential::error::{Pace, Peer};

    /// 2026-01-01.
    const NOW: u64 = 1_767_225_600;

    fn read_out(body: &str) -> Result<AccessToken, CredentialError> {
        read(&Reply {
            from: Peer::new("login.test"),
            status: 200,
            headers: HeaderMap::new(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
            received: UNIX_EPOCH + Duration::from_secs(NOW),
        })
    }

    fn answer(body: &str) -> Result<AccessToken, Flaw> {
        read_out(body).map_err(|error| match error {
            CredentialError::Malformed { flaw, .. } => flaw,
            other => panic!("{other}"),
        })
    }

    fn seconds(members: &str) -> u64 {
        let body = format!(r#"{{"token_type":"Bearer","access_token":"t"{members}}}"#);
        answer(&body).unwrap().expires_in.as_secs()
    }

    #[test]
    fn a_lifetime_is_a_number_a_string_or_a_fraction() {
        for value in ["3599", "\"3599\"", "3599.9", "\" 3599.9 \"", "3.599e3"] {
            assert_eq!(
                seconds(&format!(",\"expires_in\":{value}")),
                3599,
                "{value}"
            );
        }
    }

    #[test]
    fn without_a_usable_expires_in_the_expires_on_counts() {
        for on in [NOW + 86_400, 86_400] {
            for missing in ["", ",\"expires_in\":null", ",\"expires_in\":\"soon\""] {
                assert_eq!(
                    seconds(&format!("{missing},\"expires_on\":\"{on}\"")),
                    86_400
                );
            }
        }
    }

    /// The metadata service keeps a token for a day, counts `expires_in` from its issuance, and gives it
    /// to whoever asks meanwhile.
    #[test]
    fn of_a_token_that_was_issued_before_what_is_left_counts() {
        let left = |on: u64| {
            let lifetime = "\"expires_in\":\"86399\"";
            seconds(&format!(",{lifetime},\"expires_on\":\"{on}\""))
        };
        assert_eq!(left(NOW + 3600), 3600);
        assert_eq!(left(NOW + 86_399), 86_399);
        // This machine's clock is behind, or ahead by more than a life.
        assert_eq!(left(NOW + 90_000), 86_399);
        assert_eq!(left(NOW - 5), 86_399);
    }

    #[test]
    fn an_unstated_lifetime_is_five_minutes() {
        for members in [
            "",
            ",\"expires_in\":{}",
            ",\"expires_on\":\"01/02/2030 10:00:00 +00:00\"",
        ] {
            assert_eq!(seconds(members), 300, "{members}");
        }
    }

    #[test]
    fn an_absurd_lifetime_is_clamped() {
        for (value, expected) in [
            ("1e400", 172_800),
            ("999999999999999999999", 172_800),
            ("\"inf\"", 172_800),
            ("0.2", 1),
        ] {
            assert_eq!(
                seconds(&format!(",\"expires_in\":{value}")),
                expected,
                "{value}"
            );
        }
        assert_eq!(seconds(",\"expires_in\":\"nan\""), 300);
    }

    #[test]
    fn a_token_that_has_expired_is_an_error_and_not_a_token() {
        for members in [
            "\"expires_in\":0".to_owned(),
            "\"expires_in\":\"0\"".to_owned(),
            "\"expires_in\":-5".to_owned(),
            "\"expires_in\":\"-1e400\"".to_owned(),
            // What the issuer says of the time that is left counts, whatever its clock.
            format!("\"expires_in\":0,\"expires_on\":{}", NOW + 10),
            format!("\"expires_on\":\"{}\"", NOW - 10),
            format!("\"expires_on\":{NOW}"),
        ] {
            let body = format!(r#"{{"access_token":"t",{members}}}"#);
            let error = read_out(&body).unwrap_err();
            let outage = matches!(error, CredentialError::Unavailable(Outage::Expired { .. }));
            assert!(outage && error.pace() == Pace::Soon, "{members}: {error}");
            let words = "login.test gave a token that has already expired; ";
            assert!(error.caller_words().starts_with(words), "{error}");
        }
    }

    #[test]
    fn refresh_in_is_read_leniently_and_nonsense_is_none() {
        let refresh = |value: &str| {
            let body =
                format!(r#"{{"access_token":"t","expires_in":100799,"refresh_in":{value}}}"#);
            answer(&body).unwrap().refresh_in
        };
        assert_eq!(refresh("50399"), Some(Duration::from_secs(50_399)));
        assert_eq!(refresh("\"50399\""), Some(Duration::from_secs(50_399)));
        for nonsense in ["0", "-1", "null", "[]", "\"\""] {
            assert_eq!(refresh(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn only_bearer_tokens_are_taken_whatever_their_case() {
        let kind = |kind: &str| answer(&format!(r#"{{"access_token":"t","token_type":"{kind}"}}"#));
        assert!(kind("bearer").is_ok() && kind("BEARER").is_ok());
        assert_eq!(kind("pop").unwrap_err(), Flaw::TokenType);
        assert!(answer(r#"{"access_token":"t","some_future_member":{"a":1}}"#).is_ok());
    }

    #[test]
    fn an_answer_without_a_token_is_an_error_and_not_an_empty_token() {
        let longest = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(16 * 1024));
        assert!(answer(&longest).is_ok());
        let long = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(16 * 1024 + 1));
        for (body, flaw) in [
            ("", Flaw::Empty),
            ("<html></html>", Flaw::NotJson),
            ("[]", Flaw::NotJson),
            (r#"{"access_token":7}"#, Flaw::NotJson),
            (r#"{"access_token":"t""#, Flaw::NotJson),
            ("{}", Flaw::TokenAbsent),
            (r#"{"access_token":""}"#, Flaw::TokenAbsent),
            (r#"{"access_token":null}"#, Flaw::TokenAbsent),
            (r#"{"access_token":"a b"}"#, Flaw::TokenBytes),
            (r#"{"access_token":"a\r\nX: y"}"#, Flaw::TokenBytes),
            (r#"{"access_token":"é"}"#, Flaw::TokenBytes),
            (&long, Flaw::TokenLong),
        ] {
            assert_eq!(answer(body).unwrap_err(), flaw, "{body:.40}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics_and_every_lifetime_is_bounded(
            value in r#"-?[0-9]{1,30}(\.[0-9]{1,5})?(e-?[0-9]{1,4})?|"[ -~]{0,20}"|\{\}"#,
            name in "expires_in|expires_on|refresh_in",
        ) {
            if let Ok(token) = read_out(&format!(r#"{{"access_token":"t","{name}":{value}}}"#)) {
                prop_assert!(token.expires_in >= SHORTEST_LIFETIME);
                prop_assert!(token.expires_in <= LONGEST_LIFETIME);
            }
        }
    }
}
