//! Any answer of Entra and of a platform's identity endpoint: a token comes out of a 200 alone and is
//! the one that a lenient reader finds, its times lie within bounds, and of all that a server writes
//! names, numbers and ids alone reach a message. An input is status, `Retry-After`, `Date`, and body.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokenferry::credential::{
    AccessToken, CredentialError, Outage, Peer, Refusal, Rejection, Reply,
};

/// What seeds have in the place of tokens and of a server's words. It is neither a name nor an id.
const SECRET: &str = "Zq7R~kWx2";

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn reply(text: &[u8]) -> Option<Reply> {
    let mut lines = text.splitn(4, |byte| *byte == b'\n');
    let mut next = || lines.next();
    let status: u16 = std::str::from_utf8(next()?).ok()?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for name in [RETRY_AFTER, DATE] {
        let line = next()?;
        if !line.is_empty() {
            headers.insert(name, HeaderValue::from_bytes(line).ok()?);
        }
    }
    Some(Reply {
        from: Peer::new("login.test"),
        status,
        headers,
        body: next()?.to_vec().into(),
        received: UNIX_EPOCH + NOW,
    })
}

fn hold_token(token: &AccessToken, reply: &Reply) {
    // Text that is not UTF-8 may stand where nothing is read.
    let text = String::from_utf8_lossy(&reply.body);
    let document: Value = serde_json::from_str(&text).expect("a token is in JSON");
    let text = document["access_token"].as_str().expect("a token");
    assert_eq!(token.secret.expose_str(), Some(text));
    assert!((1..=16 * 1024).contains(&text.len()));
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    let bounds = Duration::from_secs(1)..=Duration::from_secs(172_800);
    assert!(bounds.contains(&token.expires_in));
    assert!(token.refresh_in.is_none_or(|it| bounds.contains(&it)));
    // No longer than the server says.
    if let Some(stated) = number(&document["expires_in"]) {
        assert!(token.expires_in.as_secs_f64() <= stated.max(1.0));
    }
    if let Some(on) = number(&document["expires_on"]).filter(|on| *on > NOW.as_secs_f64()) {
        let left = (on - NOW.as_secs_f64()).max(1.0);
        assert!(token.expires_in.as_secs_f64() <= left);
    }
    let shown = format!("{token:?}");
    assert!(!shown.contains(SECRET));
}

/// A number, or one in a string; of others nothing is held here.
fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    number.filter(|number| number.is_finite() && *number > 0.0)
}

fn refusal(error: &CredentialError) -> Option<&Refusal> {
    match error {
        CredentialError::Throttled(refusal)
        | CredentialError::Unavailable(Outage::Answer(refusal))
        | CredentialError::Rejected(Rejection::Answer(refusal) | Rejection::Identity(refusal)) => {
            Some(refusal)
        }
        _ => None,
    }
}

fn hold_error(error: &CredentialError, reply: &Reply) {
    for words in [error.words(), error.caller_words(), error.to_string()] {
        assert!(
            words.len() < 1024 && !words.contains(char::is_control),
            "{words}"
        );
        assert!(!words.contains(SECRET), "{words}");
    }
    assert!(!format!("{error:?}").contains(SECRET));
    error.pace();
    let refusal = refusal(error);
    assert!(refusal.and_then(|it| it.retry_after) <= Some(Duration::from_secs(86_400)));
    match reply.status {
        429 => assert!(matches!(error, CredentialError::Throttled(_))),
        408 | 500.. => {
            assert!(matches!(
                error,
                CredentialError::Unavailable(Outage::Answer(_))
            ));
        }
        400..=499 => assert!(refusal.is_some()),
        _ => assert!(refusal.is_none()),
    }
}

fuzz_target!(|text: &[u8]| {
    let Some(reply) = reply(text) else {
        return;
    };
    let outcomes = [
        reply.read_of_entra(false),
        reply.read_of_entra(true),
        reply.read_of_platform(),
    ];
    for outcome in &outcomes {
        match outcome {
            Ok(token) => {
                assert_eq!(reply.status, 200);
                hold_token(token, &reply);
            }
            Err(error) => hold_error(error, &reply),
        }
    }
    // Whose token the proof was decides on words and pace, not on whether there is a token.
    assert_eq!(outcomes[0].is_ok(), outcomes[1].is_ok());
});
