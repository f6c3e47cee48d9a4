//! The request that goes up, made anew from the caller's for each attempt.

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Request, Uri, Version};

use super::call::Call;
use super::request_id::CLIENT_REQUEST_ID;
use crate::code::Code;
use crate::policy::Refusal;
use crate::rewrite::{accept_encoding_for_upstream, request};
use crate::route::path;
use crate::token::Bearer;
use crate::upstream::RequestBody;

/// A request that is ready but for the token.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    call: Call<'a>,
    request_id: HeaderValue,
    /// Whether the body goes up without the coding it came in.
    plain: bool,
    uri: Uri,
    /// The headers of the next attempt, when they are made already.
    headers: Option<HeaderMap>,
}

impl<'a> Outgoing<'a> {
    /// Applies the route's rules.
    ///
    /// # Errors
    /// When a header would change what the request means and the route does not keep it.
    pub(super) fn new(
        call: Call<'a>,
        query: Option<&str>,
        request_id: HeaderValue,
    ) -> Result<Self, Refusal> {
        let turned = query.and_then(|query| turned(&call, query));
        let query = turned.as_deref().or(query);
        let prefix = &call.route().spec.upstream.prefix;
        let path = path::for_upstream(prefix, call.rest, query)
            .map_err(|error| Refusal::new(Code::UriTooLong, error.to_string()))?;
        let mut outgoing = Self {
            call,
            request_id,
            plain: false,
            uri: Uri::from(path),
            headers: None,
        };
        outgoing.headers = Some(outgoing.make_headers()?);
        Ok(outgoing)
    }

    /// Strips what must not go up, then adds what is ours: in this order, so that no header of the
    /// caller can name one of ours for removal (RFC 9110 section 7.6.1).
    fn make_headers(&self) -> Result<HeaderMap, Refusal> {
        let caller = &self.call.parts.headers;
        let codings = self.call.turns_links().then(|| {
            let codings = accept_encoding_for_upstream(caller);
            codings.filter(|_| !self.call.asked().is_file())
        });
        let mut headers = self
            .call
            .route()
            .request_rules
            .apply(caller, codings.flatten())?;
        if self.announces_trailers() {
            for names in caller.get_all(TRAILER) {
                headers.append(TRAILER, names.clone());
            }
        }
        headers.insert(HOST, self.call.route().host.clone());
        headers.insert(&CLIENT_REQUEST_ID, self.request_id.clone());
        Ok(headers)
    }

    /// The body's coding was undone.
    pub(super) fn undo_coding(&mut self) {
        self.plain = true;
    }

    /// Whether repeating the request asks for nothing new (RFC 9110 section 9.2.1).
    pub(super) fn is_safe(&self) -> bool {
        self.call.parts.method.is_safe()
    }

    /// Whether trailers may follow the body: they are announced, and it is not of a known length.
    pub(super) fn announces_trailers(&self) -> bool {
        let headers = &self.call.parts.headers;
        let chunked = || headers.contains_key(TRANSFER_ENCODING);
        let streamed =
            || self.call.parts.version == Version::HTTP_2 && !headers.contains_key(CONTENT_LENGTH);
        headers.contains_key(TRAILER) && (chunked() || streamed())
    }

    /// The length that the caller declared.
    pub(super) fn declared_length(&self) -> Option<u64> {
        let length = self.call.parts.headers.get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    }

    /// One attempt with a token and a body.
    ///
    /// # Errors
    /// Never once [`Self::new`] passed: the rules are the same.
    pub(super) fn attempt(
        &mut self,
        bearer: &Bearer,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Refusal> {
        let mut headers = match self.headers.take() {
            Some(headers) => headers,
            None => self.make_headers()?,
        };
        headers.insert(AUTHORIZATION, bearer.header.clone());
        if self.plain {
            headers.remove(CONTENT_ENCODING);
        }
        if let RequestBody::Kept(bytes) = &body {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.call.parts.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// The query with references to this proxy turned to the upstream; `None` when there are none. They
/// stand in options whose names end in `id`.
fn turned(call: &Call<'_>, query: &str) -> Option<String> {
    memchr::memmem::find(query.as_bytes(), b"id=")?;
    request::query(query, &call.links()?)
}
