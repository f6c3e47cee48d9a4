//! What an upstream says when it refuses a token: a bounded piece of its answer, read as the error
//! forms of OData and OAuth, with what its headers say (SharePoint's diagnostics, Dataverse's
//! challenge), and made fit for a message and a log. Tokens and other long words are left out: an
//! upstream may quote what it was sent.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use serde_json::Value;

use super::small_body::read_whole;
use crate::config::printable;
use crate::rewrite::decode::{Coding, Decoder};
use crate::token::challenge;
use crate::upstream::{UpstreamResponse, request_id};

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
    /// The reason in `x-ms-diagnostics`.
    diagnostics: String,
    /// What its tokens have to be for.
    resource: String,
    request_id: String,
}

impl RefusalReport {
    /// Reads an answer; what cannot be read is left out.
    pub async fn read(response: UpstreamResponse) -> Self {
        let (parts, body) = response.into_parts();
        let raw = read_whole(body).await;
        let text = raw.and_then(|raw| decoded(&parts.headers, raw));
        Self::of(&parts.headers, text.as_deref().unwrap_or_default())
    }

    fn of(headers: &HeaderMap, text: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(text).unwrap_or_default();
        let described = challenge::parameter(headers, "error_description");
        let message = match message(&document) {
            "" => clean(described.as_deref().unwrap_or_default()),
            message => clean(message),
        };
        let diagnostics = clean(diagnostics(headers).unwrap_or_default());
        let resource = challenge::parameter(headers, "resource_id");
        Self {
            code: clean(code(&document)),
            diagnostics: if diagnostics == message {
                String::new()
            } else {
                diagnostics
            },
            message,
            resource: clean(&resource.unwrap_or_default()),
            request_id: request_id(headers).unwrap_or_default().to_owned(),
        }
    }

    /// In one line.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        for (name, value) in [
            ("code", &self.code),
            ("message", &self.message),
            ("diagnostics", &self.diagnostics),
            ("takes tokens for", &self.resource),
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

/// The code of an error document: of OData, of its older form in SharePoint, or of OAuth.
fn code(document: &Value) -> &str {
    let error = &document["error"];
    first([&error["code"], error, &document["odata.error"]["code"]])
}

/// The message of one, likewise. Where it has a language, it is an object.
fn message(document: &Value) -> &str {
    let (error, older) = (&document["error"], &document["odata.error"]);
    first([
        &error["message"],
        &error["message"]["value"],
        &older["message"]["value"],
        &document["error_description"],
    ])
}

fn first<const N: usize>(values: [&Value; N]) -> &str {
    let mut texts = values.into_iter().filter_map(Value::as_str);
    texts.find(|text| !text.is_empty()).unwrap_or_default()
}

/// The reason in `3000003;reason="…";category="…"`.
fn diagnostics(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("x-ms-diagnostics")?.to_str().ok()?;
    let (_, reason) = text.split_once("reason=\"")?;
    reason.split('"').next()
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
    let words = text.split(|c: char| c.is_whitespace() || printable(c) != c);
    let mut clean = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        // Not all languages put spaces between words, but tokens are of ASCII.
        let mut runs = word.split(|c: char| !c.is_ascii());
        let word = if runs.any(|run| run.len() > LONGEST_WORD) {
            "…"
        } else {
            word
        };
        if !clean.is_empty() {
            clean.push(' ');
        }
        let room = LONGEST.saturating_sub(clean.len());
        clean.push_str(&word[..word.floor_char_boundary(room)]);
        if word.len() > room {
            clean.push('…');
            break;
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn a_message_without_spaces_is_told_and_no_mark_turns_the_line() {
        let said =
            "この要求を処理するために必要なアクセス許可がないため、操作は完了しませんでした。";
        assert_eq!(clean(said), said);
        let (long, most) = (said.repeat(3), LONGEST / 3);
        let begin: String = long.chars().take(most).collect();
        assert_eq!(clean(&long), format!("{begin}…"));
        let word = "-".repeat(LONGEST_WORD);
        assert_eq!(clean(&format!("{long} {word}")), format!("{begin}…"));
        assert_eq!(clean("in\u{202e}valid \u{200b}token"), "in valid token");
        let token = "e".repeat(LONGEST_WORD + 1);
        assert_eq!(clean(&format!("鍵{token}は")), "…");
    }

    #[test]
    fn other_forms_of_errors_are_read_as_well() {
        let description = r#"{"error_description":"Unsupported app only token."}"#;
        let oauth = r#"{"error":"invalid_request","error_description":"No\u0007such\tapp"}"#;
        let spoken = r#"{"error":{"code":"-1","message":{"lang":"en-US","value":"Denied"}}}"#;
        let older = r#"{"odata.error":{"code":"-2","message":{"lang":"en","value":"Not so"}}}"#;
        for (text, words) in [
            (description, "message: Unsupported app only token."),
            (oauth, "code: invalid_request, message: No such app"),
            (spoken, "code: -1, message: Denied"),
            (older, "code: -2, message: Not so"),
        ] {
            assert_eq!(report(text).words(), format!("{words}, request-id: id-7"));
        }
    }

    #[test]
    fn headers_say_why_too() {
        let words = |lines: &[(&'static str, &'static str)], text: &str| {
            let pairs = lines.iter().map(|(name, value)| {
                let value = http::HeaderValue::from_static(value);
                (http::HeaderName::from_static(name), value)
            });
            RefusalReport::of(&pairs.collect(), text.as_bytes()).words()
        };
        let reason = "3001000;reason=\"There has been an error.\";category=\"invalid_client\"";
        let diagnostics = ("x-ms-diagnostics", reason);
        assert_eq!(
            words(&[diagnostics], r#"{"error_description":"No."}"#),
            "message: No., diagnostics: There has been an error."
        );
        let same = r#"{"error":{"message":"There has been an error."}}"#;
        assert_eq!(
            words(&[diagnostics], same),
            "message: There has been an error."
        );
        let challenge = "Bearer authorization_uri=https://l.example/t/oauth2/authorize, error_description=\"Bad audience\", resource_id=https://contoso.crm4.dynamics.com/";
        assert_eq!(
            words(&[("www-authenticate", challenge)], ""),
            "message: Bad audience, takes tokens for: https://contoso.crm4.dynamics.com/"
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
    fn a_compressed_text_is_read_up_to_what_is_told_of_one() {
        use std::io::Write;
        let mut headers = HeaderMap::new();
        let coding = http::HeaderValue::from_static("gzip");
        headers.insert(http::header::CONTENT_ENCODING, coding);
        for (length, reads) in [(MOST, true), (MOST + 1, false)] {
            let level = flate2::Compression::fast();
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), level);
            packer.write_all(&vec![b' '; length]).unwrap();
            let packed = Bytes::from(packer.finish().unwrap());
            assert_eq!(decoded(&headers, packed).is_some(), reads, "{length}");
        }
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

    proptest! {
        #[test]
        fn whatever_an_upstream_says_is_one_line_and_not_a_long_one(
            challenge in "(Bearer )?[ -~]{0,400}",
            text in "\\PC{0,400}|[ -~\r\n\t\u{80}-\u{9f}]{0,400}",
            shape in 0_usize..4,
        ) {
            let quoted = Value::from(text.as_str());
            let body = match shape {
                0 => serde_json::json!({"error": {"code": quoted, "message": quoted}}),
                1 => serde_json::json!({"error": quoted, "error_description": quoted}),
                2 => serde_json::json!({"odata.error": {"message": {"value": quoted}}}),
                _ => Value::Null,
            };
            let mut headers = HeaderMap::new();
            let challenge = http::HeaderValue::from_str(&challenge).unwrap();
            headers.insert(http::header::WWW_AUTHENTICATE, challenge.clone());
            headers.insert("x-ms-diagnostics", challenge);
            for body in [body.to_string(), text] {
                let words = RefusalReport::of(&headers, body.as_bytes()).words();
                prop_assert!(words.len() < 5 * (LONGEST + 20), "{}", words);
                prop_assert!(!words.contains(|c: char| c.is_control()), "{:?}", words);
            }
        }
    }
}
