//! Whether a request may pass as far as its head tells: bounds, route, `allow`, declared length.

use std::rc::Rc;

use http::Method;
use http::request::Parts;

use super::call::Call;
use super::error::{HEAD_TOO_LARGE, LINE_TOO_LONG, ProxyError};
use super::exchange::Exchange;
use super::known_host::{self, KnownHost};
use super::lane::Lane;
use crate::caller::{CallerError, CallerId};
use crate::code::Code;
use crate::config::{BatchRule, Limits};
use crate::policy::browser::{Listener, Page};
use crate::policy::target::Target;
use crate::policy::{Refusal, batch};
use crate::route::table::Found;
use crate::upstream::{BodyFault, RequestBody};

/// What is asked for, once the request is one that is answered here at all: there is room for it, its
/// head is within bounds and in form, and its host is served.
pub(super) fn target<'a>(
    exchange: &Exchange,
    parts: &'a Parts,
    known: Option<&'a KnownHost>,
) -> Result<Target<'a>, ProxyError> {
    let had_fragment = exchange.conversation.had_fragment(parts.method.as_str());
    if !exchange.is_admitted() {
        return Err(ProxyError::Overloaded(
            "limits.in_flight requests are in flight; ask again in a moment",
        ));
    }
    let (lane, conversation) = (&exchange.lane, &exchange.conversation);
    let generation = &lane.generation;
    within_limits(&generation.config.limits, parts)?;
    if had_fragment {
        return Err(Refusal::new(
            Code::BadRequest,
            "the address has a \"#\", which would cut it off there; write %23",
        )
        .into());
    }
    let target = known_host::target(&generation.hosts, parts, known)?;
    if known.is_none() {
        let last = &conversation.last_host;
        last.keep(lane.number, conversation.secure, &target.authority);
    }
    Ok(target)
}

/// Which page of a browser asks, if one does that may.
pub(super) fn page(
    exchange: &Exchange,
    parts: &Parts,
    target: &Target<'_>,
) -> Result<Page, Refusal> {
    exchange.lane.generation.browser_policy.judge(
        Listener::Data,
        &parts.method,
        &target.authority,
        exchange.conversation.secure,
        &parts.headers,
    )
}

/// The route, and what it leaves of the path.
pub(super) fn route<'a>(lane: &Lane, target: &Target<'a>) -> Result<Found<'a>, Refusal> {
    let found = lane
        .generation
        .table
        .find(&target.authority.host, target.path);
    found.ok_or_else(|| {
        Refusal::new(
            Code::NoRoute,
            "no route matches this host and path; `tokenferry check` lists the routes",
        )
    })
}

/// Who asks, where the route wants to know.
pub(super) fn caller(
    exchange: &Exchange,
    call: &Call<'_>,
) -> Result<Option<CallerId>, CallerError> {
    call.lane.generation.callers.identify(
        &call.route().callers,
        &call.parts.headers,
        exchange.conversation.certificate.as_deref(),
        exchange.opened.wall,
    )
}

/// Bounds on the head that hyper does not keep apart.
fn within_limits(limits: &Limits, parts: &Parts) -> Result<(), Refusal> {
    let target = parts.uri.path_and_query();
    let target = target.map_or(0, |target| target.as_str().len());
    // The method, two spaces and the version belong to the line too (RFC 9112 section 3).
    if target + parts.method.as_str().len() + " ".len() + " HTTP/1.1".len() > limits.request_line {
        return Err(Refusal::new(Code::UriTooLong, LINE_TOO_LONG));
    }
    let fields = parts.headers.iter();
    // A colon, a space and a line end for each.
    let block: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if block > limits.header_block || parts.headers.len() > limits.headers {
        return Err(Refusal::new(Code::HeadersTooLarge, HEAD_TOO_LARGE));
    }
    Ok(())
}

/// Whether the route lets this through. The operations in a batch that is checked are judged one by
/// one when it is read, so its own POST needs no entry.
pub(super) fn admit(call: &Call<'_>) -> Result<(), Refusal> {
    let route = call.route();
    let parts = call.parts;
    let refused = |what: &str| {
        Err(Refusal::new(
            Code::NotAllowed,
            format!("the route \"{}\" {what}", route.spec.name),
        ))
    };
    match (call.batch, route.spec.batch) {
        (true, BatchRule::Refuse) => {
            return refused(
                "takes no batches (`batch: refuse` in routes.yaml); send the requests one by one",
            );
        }
        (true, BatchRule::Check)
            if parts.method == Method::POST && !route.allow.is_overridden(&parts.headers) =>
        {
            return Ok(());
        }
        _ => {}
    }
    if route
        .allow
        .permits_request(&parts.method, &parts.headers, call.rest)
    {
        return Ok(());
    }
    refused("does not allow this method and path; `allow` in routes.yaml lists what it does")
}

/// A body that is declared too large is refused before any of it is read.
pub(super) fn within_body_limit(exchange: &Exchange, call: &Call<'_>) -> Result<(), ProxyError> {
    let (Some(limit), Some(upload)) = (call.route().spec.max_body_bytes, &exchange.upload) else {
        return Ok(());
    };
    upload.bound(limit);
    match call.declared_length() {
        Some(length) if length > limit => Err(BodyFault::TooLarge.into()),
        _ => Ok(()),
    }
}

/// Announced trailers go up after the same rules as headers; others are dropped.
pub(super) fn screen_trailers(exchange: &Exchange, call: &Call<'_>) {
    if let Some(upload) = &exchange.upload
        && call.announces_trailers()
    {
        let (lane, index) = (Rc::clone(&exchange.lane), call.index);
        upload.let_trailers_through(Box::new(move |trailers| {
            lane.route(index).request_rules.trailers(trailers);
        }));
    }
}

/// Whether a request is a batch. Without a body it has no operations, and is judged like any other.
pub(super) fn is_batch(body: &RequestBody, rest: &str) -> bool {
    !matches!(body, RequestBody::Empty) && batch::is_batch(rest)
}
