//! The request that goes up, made anew from the caller's for each attempt.

use std::borrow::Cow;

use http::header;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use super::call::Call;
use super::request_id::RequestId;
use crate::code::Code;
use crate::fields::Fields;
use crate::policy::Refusal;
use crate::policy::allow::OVERRIDES;
use crate::rewrite::{DIGESTS, request};
use crate::route::path::{self, UpstreamTarget};
use crate::token::Bearer;
use crate::upstream::{CLIENT_REQUEST_ID, RequestBody, RequestHead};

static CONTENT_ENCODING: HeaderName = header::CONTENT_ENCODING;
static CONTENT_LENGTH: HeaderName = header::CONTENT_LENGTH;
static HOST: HeaderName = header::HOST;
static TRAILER: HeaderName = header::TRAILER;

/// A request that is ready but for the token.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    method: &'a Method,
    target: UpstreamTarget<'a>,
    fields: Fields<'a>,
    /// The `client-request-id`, the caller's or a fresh one.
    id: RequestId,
    /// As [`RequestHead`] has it.
    rewrites: bool,
}

impl<'a> Outgoing<'a> {
    /// Applies the route's rules.
    ///
    /// # Errors
    /// When a header would change what the request means and the route does not keep it.
    pub(super) fn new(
        call: &Call<'a>,
        asked: &'a PathAndQuery,
        id: RequestId,
    ) -> Result<Self, Refusal> {
        let query = asked.query().and_then(|query| rewrite_query(call, query));
        let prefix = &call.route().spec.upstream.prefix;
        let target = path::for_upstream(prefix, asked, call.rest, query.as_deref())
            .map_err(|error| Refusal::new(Code::UriTooLong, error.to_string()))?;
        let fields = fields(call)?;
        Ok(Self {
            method: &call.parts.method,
            target,
            fields,
            id,
            rewrites: call.rewrites_answer(),
        })
    }

    /// The body's coding was undone, and it goes up without it.
    pub(super) fn undo_coding(&mut self) {
        self.fields.remove(&CONTENT_ENCODING);
    }

    /// The bytes of the body are others now.
    pub(super) fn change_body(&mut self) {
        for name in &DIGESTS {
            self.fields.remove(name);
        }
    }

    /// Whether repeating the request asks for nothing new (RFC 9110 section 9.2.1).
    pub(super) fn is_safe(&self) -> bool {
        self.method.is_safe() && !self.is_overridden()
    }

    /// Whether the upstream may take it for a request of another method than its own, which is then
    /// no reason to send it twice.
    pub(super) fn is_overridden(&self) -> bool {
        OVERRIDES.iter().any(|name| self.fields.get(name).is_some())
    }

    /// The head of one attempt, with a token and for this body.
    pub(super) fn attempt<'b>(
        &'b mut self,
        bearer: &'b Bearer,
        body: &RequestBody,
    ) -> RequestHead<'b> {
        if let RequestBody::Kept(bytes) = body {
            let length = HeaderValue::from(bytes.len());
            self.fields.insert(&CONTENT_LENGTH, Cow::Owned(length));
        }
        RequestHead {
            method: self.method,
            target: &self.target,
            fields: &self.fields,
            id: Some(self.id.as_bytes()),
            authorization: Some(&bearer.header),
            rewrites: self.rewrites,
        }
    }
}

/// Strips what must not go up, then adds what is ours: in this order, so that no header of the
/// caller can name one of ours for removal (RFC 9110 section 7.6.1).
fn fields<'a>(call: &Call<'a>) -> Result<Fields<'a>, Refusal> {
    let (route, caller) = (call.route(), &call.parts.headers);
    let reads = call.rewrites_links() && !call.file;
    let mut fields = route.request_rules.apply(caller, reads)?;
    if call.announces_trailers() {
        for names in caller.get_all(&TRAILER) {
            fields.append(&TRAILER, names);
        }
    }
    // The head has it apart, as it has the token.
    fields.remove(&CLIENT_REQUEST_ID);
    // No rule lets the caller's through.
    fields.append(&HOST, &route.host);
    Ok(fields)
}

/// The query with references to this proxy rewritten to lead to the upstream; `None` when there are
/// none. They stand in options whose names end in `id`.
fn rewrite_query(call: &Call<'_>, query: &str) -> Option<String> {
    memchr::memmem::find(query.as_bytes(), b"id=")?;
    request::query(query, &call.links()?)
}
