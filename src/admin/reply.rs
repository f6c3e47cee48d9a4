//! The answers of the admin listener, with the headers that all of them carry: never stored, never
//! sniffed, never part of another site.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::header::{HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::clock::Now;
use crate::code::Code;
use crate::guid;
use crate::timestamp::Timestamp;

const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Nothing of an answer that is not a page may run or be framed.
const NO_CONTENT: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// An answer.
pub(super) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    pub(super) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::from_iter(ALWAYS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_SECURITY_POLICY, NO_CONTENT);
        Self {
            status: StatusCode::OK,
            headers,
            body: body.into(),
        }
    }

    pub(super) fn text(body: &'static str) -> Self {
        Self::new("text/plain; charset=utf-8", body)
    }

    /// A page that may use what `policy` lets it (Content Security Policy).
    pub(super) fn html(body: String, policy: HeaderValue) -> Self {
        let mut reply = Self::new("text/html; charset=utf-8", body);
        reply.headers.insert(CONTENT_SECURITY_POLICY, policy);
        reply
    }

    /// Structs with text keys only: their serialisation does not fail.
    pub(super) fn json(body: &impl Serialize) -> Self {
        Self::new(
            "application/json",
            serde_json::to_vec(body).unwrap_or_default(),
        )
    }

    /// In the form of all refusals.
    pub(super) fn refusal(code: Code, message: &str, now: Now) -> Self {
        let date = Timestamp::of(now.wall);
        let document = code.document(message, &guid::fresh(), date.as_str());
        let mut reply = Self::new("application/json", document);
        let proxy_status = format!("tokenferry; error={}", code.proxy_error());
        if let Ok(value) = HeaderValue::from_str(&proxy_status) {
            reply.headers.insert("proxy-status", value);
        }
        if code == Code::MethodNotSupported {
            reply
                .headers
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        reply.with_status(code.status())
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The answer to GET.
    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    /// The answer to HEAD: what GET would have, without the body.
    pub(super) fn head(mut self) -> Response<Full<Bytes>> {
        let length = HeaderValue::from(self.body.len());
        self.headers.insert(CONTENT_LENGTH, length);
        self.body = Bytes::new();
        self.response()
    }
}
