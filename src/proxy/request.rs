//! The request that goes up, made anew from the caller's for each attempt.

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};

use super::generation::Route;
use crate::config::RewriteLinks;
use crate::policy::Refusal;
use crate::rewrite::accept_encoding_for_upstream;
use crate::token::Bearer;
use crate::upstream::RequestBody;

static CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

/// A request that is ready but for the token.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    parts: &'a Parts,
    route: &'a Route,
    request_id: HeaderValue,
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
        parts: &'a Parts,
        path: PathAndQuery,
        route: &'a Route,
        request_id: HeaderValue,
    ) -> Result<Self, Refusal> {
        let mut outgoing = Self {
            parts,
            route,
            request_id,
            uri: Uri::from(path),
            headers: None,
        };
        outgoing.headers = Some(outgoing.make_headers()?);
        Ok(outgoing)
    }

    /// Strips what must not go up, then adds what is ours: in this order, so that no header of the
    /// caller can name one of ours for removal (RFC 9110 section 7.6.1).
    fn make_headers(&self) -> Result<HeaderMap, Refusal> {
        let mut headers = self.parts.headers.clone();
        if self.route.spec.rewrite_links != RewriteLinks::Off
            && let Some(codings) = accept_encoding_for_upstream(&headers)
        {
            headers.insert(ACCEPT_ENCODING, codings);
        }
        self.route.request_rules.apply(&mut headers)?;
        if self.announces_trailers() {
            for names in self.parts.headers.get_all(TRAILER) {
                headers.append(TRAILER, names.clone());
            }
        }
        headers.insert(HOST, self.route.host.clone());
        headers.insert(&CLIENT_REQUEST_ID, self.request_id.clone());
        Ok(headers)
    }

    /// Whether repeating the request asks for nothing new (RFC 9110 section 9.2.1).
    pub(super) fn is_safe(&self) -> bool {
        self.parts.method.is_safe()
    }

    /// Whether trailers may follow the body: they are announced, and it is not of a known length.
    pub(super) fn announces_trailers(&self) -> bool {
        let headers = &self.parts.headers;
        let chunked = headers.contains_key(TRANSFER_ENCODING);
        let streamed =
            self.parts.version == Version::HTTP_2 && !headers.contains_key(CONTENT_LENGTH);
        headers.contains_key(TRAILER) && (chunked || streamed)
    }

    /// The length that the caller declared.
    pub(super) fn declared_length(&self) -> Option<u64> {
        let length = self.parts.headers.get(CONTENT_LENGTH)?;
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
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}
