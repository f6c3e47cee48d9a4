//! The answer that goes down: the upstream's after the route's rules, or one of our own.

use http::header::RETRY_AFTER;
use http::{Response, StatusCode, Version};

use super::body::ResponseBody;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::generation::Route;
use crate::code::Code;
use crate::upstream::UpstreamBody;

/// Applies the route's rules to the head.
pub(super) fn for_caller(
    exchange: &Exchange,
    route: &Route,
    response: Response<UpstreamBody>,
) -> Response<UpstreamBody> {
    let (mut parts, body) = response.into_parts();
    // The caller's connection decides the version of the answer.
    parts.version = Version::HTTP_11;
    let asked_for_quiet = parts.status == StatusCode::TOO_MANY_REQUESTS
        || (parts.status == StatusCode::SERVICE_UNAVAILABLE
            && parts.headers.contains_key(RETRY_AFTER));
    if asked_for_quiet && let Some(at) = exchange.route {
        exchange.lane.routes[at].cells.throttled();
    }
    route.response_rules.apply(&mut parts.headers);
    exchange.page.mark(&mut parts.headers);
    Response::from_parts(parts, body)
}

/// Hands the exchange to the body, whose end it is.
pub(super) fn pass_on(
    mut exchange: Exchange,
    response: Response<UpstreamBody>,
) -> Response<ResponseBody> {
    exchange.answered(response.status().as_u16(), None);
    response.map(|body| ResponseBody::upstream(body, exchange))
}

/// An answer of our own, and one line in the log that says why.
pub(super) fn refuse(mut exchange: Exchange, error: &ProxyError) -> Response<ResponseBody> {
    let answer = error.answer();
    note(&exchange, answer.code, error);
    let (status, mut headers, body) = answer.render(&exchange.request_id, exchange.opened.wall);
    exchange.page.mark(&mut headers);
    exchange.answered(status.as_u16(), Some(answer.code));
    let mut response = Response::new(ResponseBody::own(body, exchange));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Faults of ours and of the other side are warnings; what callers do wrong is for the curious.
fn note(exchange: &Exchange, code: Code, error: &ProxyError) {
    let route = exchange.route.map(|route| exchange.lane.name(route));
    let caller = exchange
        .caller
        .and_then(|caller| exchange.lane.caller(caller));
    let request_id = exchange.request_id.to_str().unwrap_or_default();
    if code.status().is_server_error() {
        tracing::warn!(code = code.as_str(), route, caller, request_id, reason = %error, "request refused");
    } else {
        tracing::info!(code = code.as_str(), route, caller, request_id, reason = %error, "request refused");
    }
}
