//! What the admin listener answers. Every endpoint takes GET and HEAD and none changes anything.
//!
//! | path | answer |
//! | --- | --- |
//! | `/livez` | 200: the event loop answers |
//! | `/readyz` | 200 when requests are welcome, else 503; JSON with each route's token state. With `?tokens` also 503 while any token cannot be served |
//! | `/metrics` | Prometheus text |
//! | `/status.json` | routes, tokens, requests, errors, throttling |
//! | `/` | the same for people; reloads itself |

mod page;
#[cfg(test)]
mod page_tests;
mod ready;
mod reply;
mod report;
mod status;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

pub use ready::{Latch, Readiness};
pub use report::{Configuration, RefusedReload, Report, Route, Token};

use crate::clock::Now;
use crate::code::Code;
use crate::metrics::{self, Metrics, RefusalCells};
use crate::token::TokenState;
use reply::Reply;
use status::Snapshot;

/// The endpoints of the admin listener.
pub struct Admin {
    metrics: Arc<Metrics>,
    refusals: Arc<RefusalCells>,
    readiness: Arc<Readiness>,
    report: Box<dyn Fn() -> Report + Send + Sync>,
    page_policy: HeaderValue,
}

/// The body of `/readyz`.
#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    draining: bool,
    waiting_for: Vec<&'static str>,
    tokens_served: bool,
    routes: Vec<RouteToken<'a>>,
}

#[derive(Serialize)]
struct RouteToken<'a> {
    route: &'a str,
    token: TokenState,
}

impl Admin {
    /// The endpoints, over the numbers, the latches and the app's report of itself.
    pub fn new(
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        report: Box<dyn Fn() -> Report + Send + Sync>,
    ) -> Self {
        Self {
            refusals: metrics.admin_refusals(),
            metrics,
            readiness,
            report,
            page_policy: page::policy(),
        }
    }

    /// Answers, counts and logs a request that may not reach the endpoints, for a reason found
    /// outside of them: a web page that rebinds its name tries this port too.
    pub fn refuse(&self, code: Code, message: &str, now: Now) -> Response<Full<Bytes>> {
        self.refusals.refused(code);
        tracing::info!(
            code = code.as_str(),
            reason = message,
            "request refused on the admin listener"
        );
        Reply::refusal(code, message, now).response()
    }

    /// Answers a request whose host and origin have passed their checks.
    pub fn answer(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        now: Now,
    ) -> Response<Full<Bytes>> {
        if *method != Method::GET && *method != Method::HEAD {
            let message = "the admin listener takes GET and HEAD only";
            return Reply::refusal(Code::MethodNotSupported, message, now).response();
        }
        let reply = match path {
            "/" => self.page(query, now),
            "/livez" => Reply::text("ok\n"),
            "/metrics" => Reply::new(metrics::CONTENT_TYPE, self.metrics.render()),
            "/readyz" => self.ready(query, now),
            "/status.json" => Reply::json(&self.snapshot(now)),
            _ => Reply::refusal(
                Code::NoRoute,
                "the admin listener has /, /livez, /readyz, /metrics and /status.json",
                now,
            ),
        };
        if *method == Method::HEAD {
            reply.head()
        } else {
            reply.response()
        }
    }

    fn page(&self, query: Option<&str>, now: Now) -> Reply {
        let page = page::Page {
            snapshot: &self.snapshot(now),
            still: asks_for(query, "still"),
        };
        Reply::html(page.to_string(), self.page_policy.clone())
    }

    fn snapshot(&self, now: Now) -> Snapshot {
        Snapshot::take(&self.report(now), &self.metrics, &self.readiness, now)
    }

    /// The app's report. Once it shows that every token of a loaded configuration was tried, that
    /// latch is released.
    fn report(&self, now: Now) -> Report {
        let report = (self.report)();
        let loaded = self
            .readiness
            .waiting_for(now)
            .all(|latch| latch != Latch::Configuration);
        let tried = |token: &Token| token.status.state != TokenState::Pending;
        if loaded && report.tokens.iter().all(tried) {
            self.readiness.release(Latch::Tokens);
        }
        report
    }

    fn ready(&self, query: Option<&str>, now: Now) -> Reply {
        let report = self.report(now);
        let ready = self.readiness.is_ready(now);
        let tokens_served = report
            .tokens
            .iter()
            .all(|token| token.status.state.is_served());
        let body = Ready {
            ready,
            draining: self.readiness.is_draining(),
            waiting_for: self.readiness.waiting_for(now).map(Latch::as_str).collect(),
            tokens_served,
            routes: report
                .routes
                .iter()
                .map(|route| RouteToken {
                    route: &route.name,
                    token: report.token_of(route),
                })
                .collect(),
        };
        let status = if ready && (tokens_served || !asks_for(query, "tokens")) {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        Reply::json(&body).with_status(status)
    }
}

/// Whether a query has this key, with or without a value.
fn asks_for(query: Option<&str>, key: &str) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| pair.split('=').next() == Some(key))
}
