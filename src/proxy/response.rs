//! The answer that goes down: the upstream's after the route's rules, or one of our own.

use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode, Version};

use super::body::{ResponseBody, Source};
use super::call::Call;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::inner_status::InnerStatuses;
use super::rewritten::Rewritten;
use crate::chain::Chain;
use crate::code::Code;
use crate::policy::browser::Page;
use crate::rewrite::{header, plan};
use crate::upstream::{UpstreamBody, UpstreamResponse};

/// Applies the route's rules to the head, and rewrites links to lead here; in a `file` that was
/// fetched elsewhere there are none but that of a redirect.
pub(super) fn for_caller(
    exchange: &mut Exchange,
    call: &Call<'_>,
    response: UpstreamResponse,
    file: bool,
) -> Response<Source> {
    let (mut parts, body) = response.into_parts();
    // The caller's connection decides the version of the answer.
    parts.version = Version::HTTP_11;
    let rules = &call.route().response_rules;
    let linked = rules.apply(&mut parts.headers, body.settled());
    mark(exchange, &mut parts.headers);
    if parts.status == StatusCode::NO_CONTENT {
        // It must have none (RFC 9110 section 8.6), and one that is not 0 breaks callers' HTTP/2.
        parts.headers.remove(CONTENT_LENGTH);
    }
    let source = if file {
        if linked
            && parts.status.is_redirection()
            && let Some(links) = call.links()
        {
            let rewritten = header::rewrite_foreign(&mut parts.headers, &links);
            call.own().cells.links_rewritten(rewritten);
        }
        Source::Upstream(body.into())
    } else {
        rewrite_links(call, &mut parts, linked, body)
    };
    if call.batch {
        exchange.operations = InnerStatuses::of(&parts.headers).map(Box::new);
    }
    Response::from_parts(parts, source)
}

/// Links of upstreams become links of this proxy, where the route and the kind of answer want that.
fn rewrite_links(call: &Call<'_>, parts: &mut Parts, linked: bool, body: UpstreamBody) -> Source {
    let Some(links) = call.links() else {
        return Source::Upstream(body.into());
    };
    let (cells, asked) = (&call.own().cells, call.asked());
    if linked {
        let (headers, file) = (&mut parts.headers, asked.file);
        cells.links_rewritten(header::rewrite(headers, parts.status, file, &links));
    }
    let (status, headers) = (parts.status, &mut parts.headers);
    let rules = &call.route().response_rules;
    let representation = rules.representation(headers, body.settled());
    let Some(rewriter) = plan(&asked, status, headers, representation, links) else {
        return Source::Upstream(body.into());
    };
    Rewritten::begin(body, rewriter, cells)
}

/// Hands the exchange to the body, whose end it is.
pub(super) fn pass_on(
    mut exchange: Box<Exchange>,
    response: Response<Source>,
) -> Response<ResponseBody> {
    exchange.answered(response.status().as_u16(), None);
    response.map(|source| ResponseBody::new(source, exchange))
}

/// The answer to a preflight.
pub(super) fn welcome(exchange: Box<Exchange>, headers: HeaderMap) -> Response<ResponseBody> {
    own(
        exchange,
        StatusCode::NO_CONTENT,
        headers,
        String::new(),
        None,
    )
}

/// An answer that says what went wrong to a request with these headers, and one line in the log that
/// says why.
pub(super) fn refuse(
    mut exchange: Box<Exchange>,
    caller: &HeaderMap,
    error: &ProxyError,
) -> Response<ResponseBody> {
    if exchange.page == Page::Own {
        // It may have been refused before anybody asked whose page it is of.
        exchange.page = exchange.lane.generation.browser_policy.reader(caller);
    }
    let answer = error.answer();
    note(&exchange, answer.code, error);
    let (status, mut headers, body) =
        answer.render((&exchange.request_id).into(), exchange.opened.wall);
    mark(&exchange, &mut headers);
    if exchange.asks_for_head() {
        headers.insert(CONTENT_LENGTH, body.len().into());
    }
    own(exchange, status, headers, body, Some(answer.code))
}

/// An answer of our own.
fn own(
    mut exchange: Box<Exchange>,
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    refused: Option<Code>,
) -> Response<ResponseBody> {
    exchange.answered(status.as_u16(), refused);
    let mut response = Response::new(ResponseBody::new(Source::Own(body.into()), exchange));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Says which pages may read the answer.
fn mark(exchange: &Exchange, headers: &mut HeaderMap) {
    let browser_policy = &exchange.lane.generation.browser_policy;
    browser_policy.mark(&exchange.page, headers);
}

/// Faults of ours and of the other side are warnings; what callers do wrong is for the curious.
fn note(exchange: &Exchange, code: Code, error: &ProxyError) {
    let route = exchange.route.map(|route| exchange.lane.name(route));
    let caller = exchange
        .caller
        .and_then(|caller| exchange.lane.caller(caller));
    let request_id = exchange.request_id.as_str();
    if code.status().is_server_error() {
        tracing::warn!(code = code.as_str(), route, caller, request_id, reason = %Chain(error), "request refused");
    } else {
        tracing::info!(code = code.as_str(), route, caller, request_id, reason = %Chain(error), "request refused");
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use crate::config::HeaderEdits;
    use crate::policy::response_header::{ResponseRules, settle};
    use crate::rewrite::header;

    #[test]
    fn every_header_that_holds_a_link_is_noticed() {
        let rules = ResponseRules::new(&[], &HeaderEdits::default());
        for name in header::NAMES {
            let mut headers = HeaderMap::new();
            headers.insert(
                name,
                HeaderValue::from_static("https://graph.microsoft.com/"),
            );
            let settled = settle(&mut headers);
            assert!(rules.apply(&mut headers, settled), "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            "etag",
            HeaderValue::from_static("https://graph.microsoft.com/"),
        );
        let settled = settle(&mut headers);
        assert!(!rules.apply(&mut headers, settled));
    }
}
