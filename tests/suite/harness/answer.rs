//! An answer as a caller got it.

use serde_json::Value;

/// An answer, whole or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// `HTTP/1.x`, or 2.
    pub(crate) version: u8,
    pub(crate) status: u16,
    /// Fields in order, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Statuses of interim answers before it.
    pub(crate) interim: Vec<u16>,
    /// Whether it ended as its framing promised.
    pub(crate) whole: bool,
}

impl Answer {
    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(own, _)| own == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that occurs once at the most; empty without it.
    pub(crate) fn field(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} occurs more than once: {all:?}");
        all.first().copied().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {self:?}"),
        }
    }

    /// The code of an answer of the proxy's own; checks all of its form.
    pub(crate) fn code(&self) -> String {
        let document = self.json();
        let error = &document["error"];
        let code = error["code"].as_str().expect("there is a code").to_owned();
        assert!(self.status >= 400, "never less: {self:?}");
        // For people who read it raw: what happened comes first.
        let begin = format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"");
        assert!(self.text().starts_with(&begin), "{self:?}");
        assert!(
            self.field("proxy-status").starts_with("tokenferry; error="),
            "{self:?}"
        );
        assert!(
            self.field("content-type").starts_with("application/json"),
            "{self:?}"
        );
        let id = error["innerError"]["request-id"].as_str();
        let id = id.expect("there is an id");
        assert!(!id.is_empty(), "{self:?}");
        // The admin listener has none outside of the document.
        assert!(
            self.all("request-id").iter().all(|own| *own == id),
            "{self:?}"
        );
        let date = error["innerError"]["date"].as_str();
        assert!(date.is_some_and(|date| date.ends_with('Z')), "{self:?}");
        assert!(!self.message().is_empty(), "{self:?}");
        code
    }

    /// The message of an answer of the proxy's own.
    pub(crate) fn message(&self) -> String {
        let message = &self.json()["error"]["message"];
        message.as_str().expect("there is a message").to_owned()
    }

    /// Status and code of an answer of the proxy's own.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.code())
    }

    /// Fails unless it came whole with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.whole, "{self:?}");
        self
    }
}
