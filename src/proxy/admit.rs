//! Whether a request may pass as far as its head tells: bounds, route, `allow`, declared length.

use std::rc::Rc;

use http::Method;
use http::request::Parts;

use super::call::Call;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::generation::Route;
use super::lane::Lane;
use super::request::Outgoing;
use crate::code::Code;
use crate::config::{BatchRule, Limits};
use crate::policy::{Refusal, batch};
use crate::upstream::{BodyFault, RequestBody};

/// Nothing is configured for what was asked.
pub(super) fn no_route() -> Refusal {
    Refusal::new(
        Code::NoRoute,
        "no route matches this host and path; `tokenferry check` lists the routes",
    )
}

/// Bounds on the head that hyper does not keep apart.
pub(super) fn within_limits(limits: &Limits, parts: &Parts) -> Result<(), Refusal> {
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    // The method, two spaces and the version belong to the line too.
    if target + parts.method.as_str().len() + 11 > limits.request_line {
        return Err(Refusal::new(
            Code::UriTooLong,
            "the request line is longer than limits.request_line; long queries fit into a $batch",
        ));
    }
    let fields = parts.headers.iter();
    // A colon, a space and a line end for each.
    let block: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if block > limits.header_block || parts.headers.len() > limits.headers {
        return Err(Refusal::new(
            Code::HeadersTooLarge,
            "the request has more header fields than limits.headers, or more bytes of them than limits.header_block",
        ));
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
        (true, BatchRule::Check) if parts.method == Method::POST => return Ok(()),
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
pub(super) fn within_body_limit(
    route: &Route,
    exchange: &Exchange,
    outgoing: &Outgoing<'_>,
) -> Result<(), ProxyError> {
    let (Some(limit), Some(upload)) = (route.spec.max_body_bytes, &exchange.upload) else {
        return Ok(());
    };
    upload.bound(limit);
    match outgoing.declared_length() {
        Some(length) if length > limit => Err(BodyFault::TooLarge.into()),
        _ => Ok(()),
    }
}

/// Announced trailers go up after the same rules as headers; others are dropped.
pub(super) fn screen_trailers(
    lane: &Rc<Lane>,
    route: usize,
    exchange: &Exchange,
    outgoing: &Outgoing<'_>,
) {
    if let Some(upload) = &exchange.upload
        && outgoing.announces_trailers()
    {
        let lane = Rc::clone(lane);
        upload.let_trailers_through(Box::new(move |trailers| {
            lane.route(route).request_rules.trailers(trailers);
        }));
    }
}

/// Whether a request is a batch. Without a body it has no operations, and is judged like any other.
pub(super) fn is_batch(body: &RequestBody, rest: &str) -> bool {
    !matches!(body, RequestBody::Empty) && batch::is_batch(rest)
}
