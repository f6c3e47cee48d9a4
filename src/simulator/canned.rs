//! Faults ready made: the refusals and breakdowns that Entra, Graph and the gateways in front of them
//! are known for.

use http::StatusCode;
use serde_json::json;

use super::fault::Fault;
use super::wire::Ending;

impl Fault {
    /// A bare status.
    ///
    /// # Panics
    /// When the number is no status (100 to 999).
    pub fn status(status: u16) -> Self {
        Self::answer(status, &[], "")
    }

    /// A status with fields and content.
    ///
    /// # Panics
    /// When the number is no status (100 to 999).
    pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Self::Answer {
            status: StatusCode::from_u16(status).expect("a script is given a status that exists"),
            headers: headers.iter().map(own).collect(),
            body: body.into(),
        }
    }

    fn json(status: u16, retry_after: Option<&str>, code: &str, message: &str) -> Self {
        let inner = json!({"date": "2030-01-01T00:05:00", "request-id": "33333333-aaaa-4bbb-8ccc-000000000003"});
        let body = json!({"error": {"code": code, "message": message, "innerError": inner}});
        let mut headers = vec![("content-type", "application/json; charset=utf-8")];
        headers.extend(retry_after.map(|value| ("retry-after", value)));
        Self::answer(status, &headers, body.to_string())
    }

    /// 429 as Graph gives it, with or without `Retry-After` (which may be a fraction or a date).
    pub fn graph_429(retry_after: Option<&str>) -> Self {
        let text = "Please retry again later.";
        Self::json(429, retry_after, "TooManyRequests", text)
    }

    /// 503 as Graph gives it.
    pub fn graph_503(retry_after: Option<&str>) -> Self {
        let text = "Temporarily unavailable.";
        Self::json(503, retry_after, "ServiceNotAvailable", text)
    }

    /// 403 as Graph gives it to an app without the permission.
    pub fn graph_403() -> Self {
        let text = "Insufficient privileges to complete the operation.";
        Self::json(403, None, "Authorization_RequestDenied", text)
    }

    /// 429 as Entra gives it: plain text with `Retry-After`.
    pub fn plain_429(retry_after: &str) -> Self {
        let headers = [("content-type", "text/plain"), ("retry-after", retry_after)];
        Self::answer(429, &headers, "Too Many Requests")
    }

    /// 502 as a gateway in front gives it: an HTML page.
    pub fn html_502() -> Self {
        let page = "<html><head><title>502 Bad Gateway</title></head><body>fake</body></html>";
        Self::answer(502, &[("content-type", "text/html")], page)
    }

    /// RST before the head.
    pub fn reset() -> Self {
        Self::Break {
            after: None,
            ending: Ending::Reset,
        }
    }

    /// FIN without `close_notify` this far into the body.
    pub fn truncate(after: usize) -> Self {
        Self::Break {
            after: Some(after),
            ending: Ending::Close,
        }
    }
}
