//! An answer before it becomes HTTP: status, header fields and content. Services build it as plain
//! data, so that a batch can run them as well as a connection.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::flow::{Flow, Unmeasured};

/// See the module.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
    /// Sent without a length, as Graph sends its pages.
    pub(super) chunked: bool,
    /// How long to wait before the head.
    pub(super) delay: Duration,
}

/// What an answer carries.
pub(super) enum Content {
    Bytes(Bytes),
    Flow(Flow),
}

impl Answer {
    /// An answer without content.
    pub(super) fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            content: Content::Bytes(Bytes::new()),
            chunked: false,
            delay: Duration::ZERO,
        }
    }

    /// Compact JSON, with the media type given.
    pub(super) fn json(status: StatusCode, media_type: &'static str, value: &Value) -> Self {
        Self::new(status)
            .with(CONTENT_TYPE, media_type)
            .carrying(value.to_string())
    }

    /// Content of some media type.
    pub(super) fn content(status: StatusCode, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        Self::new(status)
            .with(CONTENT_TYPE, media_type)
            .carrying(bytes)
    }

    /// Adds a field. A value that cannot be one (a control character) is left out.
    pub(super) fn with(mut self, name: impl TryInto<HeaderName>, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (name.try_into(), HeaderValue::from_str(value)) {
            self.headers.append(name, value);
        }
        self
    }

    /// Replaces the content.
    pub(super) fn carrying(mut self, bytes: impl Into<Bytes>) -> Self {
        self.content = Content::Bytes(bytes.into());
        self
    }

    /// Replaces the content by a stream.
    pub(super) fn flowing(mut self, flow: Flow) -> Self {
        self.content = Content::Flow(flow);
        self
    }

    /// Sends the content without a length.
    pub(super) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Whether it says that nothing came of the request.
    pub(super) fn is_failure(&self) -> bool {
        self.status.is_client_error() || self.status.is_server_error()
    }

    /// The content, when it is not a stream.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Bytes(bytes) => bytes,
            Content::Flow(_) => &[],
        }
    }

    /// The answer as HTTP.
    pub(super) fn into_response(self) -> Response<Flow> {
        let flow = match self.content {
            Content::Flow(flow) => flow,
            Content::Bytes(bytes) => {
                let full = Full::new(bytes).map_err(|never| match never {});
                if self.chunked {
                    Unmeasured::new(full).boxed_unsync()
                } else {
                    full.boxed_unsync()
                }
            }
        };
        let mut response = Response::new(flow);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
