//! What an upstream says when it refuses a token: a bounded piece of its answer, read as the OData
//! error form and made fit for a message and a log. Tokens and other long words are left out: an
//! upstream may quote what it was sent.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use serde_json::Value;

use super::small_body::small;
use crate::rewrite::decode::{Coding, Decoder};
use crate::upstream::{REQUEST_IDS, UpstreamBody};

/// As much as it may come to when its coding is undone.
const MOST: usize = 16 * 1024;
/// Longer words are no words; a token has a thousand characters and more.
const LONGEST_WORD: usize = 64;
/// As much of a message as is passed on.
const LONGEST: usize = 300;

/// What an upstream says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RefusalReport {
    code: String,
    message: String,
    request_id: String,
}

impl RefusalReport {
    /// Reads an answer; what cannot be read is left out.
    pub async fn read(response: Response<UpstreamBody>) -> Self {
        let (parts, body) = response.into_parts();
        let raw = small(body).await;
        let text = raw.and_then(|raw| decoded(&parts.headers, raw));
        Self::of(&parts.headers, text.as_deref().unwrap_or_default())
    }

    fn of(headers: &HeaderMap, text: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(text).unwrap_or_default();
        let member = |name: &str| clean(document["error"][name].as_str().unwrap_or_default());
        let id = REQUEST_IDS.iter().find_map(|name| headers.get(name));
        Self {
            code: member("code"),
            message: member("message"),
            request_id: clean(id.and_then(|id| id.to_str().ok()).unwrap_or_default()),
        }
    }

    /// The upstream's own code, such as `Authorization_RequestDenied`; empty without one.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// In one line.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        for (name, value) in [
            ("code", &self.code),
            ("message", &self.message),
            ("request-id", &self.request_id),
        ] {
            if !value.is_empty() {
                words.push(format!("{name}: {value}"));
            }
        }
        if words.is_empty() {
            return "it does not say why".to_owned();
        }
        words.join(", ")
    }
}

/// The text without its coding.
fn decoded(headers: &HeaderMap, mut raw: Bytes) -> Option<Bytes> {
    let Some(mut decoder) = Decoder::new(Coding::of(headers)?) else {
        return Some(raw);
    };
    let mut text = BytesMut::new();
    while let Some(piece) = decoder.decode(&mut raw).ok()? {
        text.extend_from_slice(&piece);
        if text.len() > MOST {
            return None;
        }
    }
    Some(text.freeze())
}

fn clean(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let mut clean = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        let word = if word.len() > LONGEST_WORD {
            "…"
        } else {
            word
        };
        if clean.len() + word.len() > LONGEST {
            clean.push_str(" …");
            break;
        }
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.push_str(word);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> RefusalReport {
        let mut headers = HeaderMap::new();
        headers.insert("request-id", http::HeaderValue::from_static("id-7"));
        RefusalReport::of(&headers, text.as_bytes())
    }

    #[test]
    fn code_message_and_id_are_told() {
        let text =
            r#"{"error":{"code":"InvalidAuthenticationToken","message":"Invalid\r\naudience."}}"#;
        assert_eq!(
            report(text).words(),
            "code: InvalidAuthenticationToken, message: Invalid audience., request-id: id-7"
        );
    }

    #[test]
    fn what_is_no_error_document_is_left_out() {
        for text in [
            "",
            "<html>",
            "[]",
            "{\"error\":7}",
            "{\"error\":{\"code\":7}}",
        ] {
            assert_eq!(report(text).words(), "request-id: id-7", "{text}");
        }
        assert_eq!(RefusalReport::default().words(), "it does not say why");
    }

    #[test]
    fn no_token_and_no_endless_text_is_passed_on() {
        let token = "eyJ0".repeat(100);
        let text = format!(
            "{{\"error\":{{\"message\":\"got {token} {}\"}}}}",
            "word ".repeat(500)
        );
        let words = report(&text).words();
        assert!(!words.contains("eyJ0"), "{words}");
        assert!(words.len() < LONGEST + 60, "{words}");
    }
}
