//! Rules of a single route, and how it relates to the credentials and callers of the file.

use std::time::Duration;

use super::check::Surroundings;
use super::check_allow::allow;
use super::check_header::{Direction, edits, kept};
use super::check_limit::upstream_timeouts;
use super::check_link::link_keys;
use super::check_scope;
use super::choice::RawThrottle;
use super::file::{RawRetry, RawRoute};
use super::read::{Field, Item};
use super::report::{Report, Span};
use super::roster::unknown;
use super::scalar::{Size, Time};
use super::value::{BaseUrl, HostPattern, Name};
use super::{BatchRule, LATEST_RETRY, RetrySpec, RewriteLinks, RouteSpec, Throttle, UpstreamHttp};

/// Checks one route; `None` when a part that it cannot do without is wrong.
pub(super) fn route(
    item: &Item<RawRoute>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<RouteSpec> {
    let raw = &item.value;
    let at = item.span;
    let help = "each route has a name; it is a metric label";
    let name = raw.name.required("name", at, help, report);
    reachable(raw, at, report);
    before_batches(raw, report);
    let upstream = upstream(raw, at, around, report);
    let credential = credential(raw, at, around, report);
    let scope = check_scope::scope(raw, upstream.as_ref(), report);
    if let Some(upstream) = &upstream {
        check_scope::credential(raw, upstream, credential, around, report);
    }
    Some(RouteSpec {
        path: raw.path.value().cloned().unwrap_or_default(),
        host: raw.host.value().cloned(),
        allow: allow(raw, upstream.as_ref(), report),
        callers: callers(raw, around, report),
        rewrite_links: raw.rewrite_links.or(RewriteLinks::On),
        link_keys: link_keys(raw, report),
        request_headers: edits(&raw.request_headers, Direction::Request, report),
        response_headers: edits(&raw.response_headers, Direction::Response, report),
        keep_headers: kept(raw.keep_headers.items(), report),
        max_concurrency: raw.max_concurrency.value().map(|most| most.0),
        throttle: throttle(raw, upstream.as_ref(), report),
        retry: retry(&raw.retry, report),
        batch: batch(raw, report),
        max_batch_bytes: max_batch_bytes(raw, report),
        follow_downloads: follow_downloads(raw, report),
        timeouts: upstream_timeouts(&raw.timeouts, around.upstream_timeouts, report),
        max_body_bytes: max_body_bytes(raw, report),
        upstream_http: raw.upstream_http.or(UpstreamHttp::Http1),
        // Last, so that everything above is checked although one of these is wrong.
        name: name?.value.clone(),
        upstream: upstream?,
        scope: scope?,
        credential: credential?,
    })
}

/// Reports a route that no request would reach.
fn reachable(raw: &RawRoute, at: Span, report: &mut Report) {
    if raw.path.key().is_none() && raw.host.key().is_none() {
        let help = "path: /graph, or host: graph.example.com, or both";
        report.problem(at, "the route has neither a path nor a host", help);
    }
}

/// Reports a route that ends in a batch: a request names it no more then, and its operations would
/// go up unread.
fn before_batches(raw: &RawRoute, report: &mut Report) {
    let is_batch = |path: &str| {
        let mut segments = path.split('/');
        segments.any(|segment| segment.eq_ignore_ascii_case("$batch"))
    };
    let path = raw.path.item().map(|item| (item.span, item.value.as_str()));
    let prefix = raw.upstream.item();
    let prefix = prefix.map(|item| (item.span, item.value.prefix.as_str()));
    for (span, text) in path.into_iter().chain(prefix) {
        if is_batch(text) {
            let message = "the operations of batches would not be checked here";
            let help = "end it before $batch, which the request is to name";
            report.problem(span, message, help);
        }
    }
}

fn upstream(
    raw: &RawRoute,
    at: Span,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<BaseUrl> {
    let help = "where requests go, for example https://graph.microsoft.com";
    let item = raw.upstream.required("upstream", at, help, report)?;
    let url = item.value.clone();
    if !url.origin.secure && !url.origin.host.is_loopback() {
        let message = "the token would travel in the clear";
        report.problem(item.span, message, "https:// (http:// only to loopback)");
    } else if around.network.leads_back(&url) {
        let message = "the upstream is this proxy itself";
        report.problem(
            item.span,
            message,
            "the address of the API, for example https://graph.microsoft.com",
        );
    }
    Some(url)
}

fn credential(
    raw: &RawRoute,
    at: Span,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<usize> {
    let all = around.credentials;
    match &raw.credential {
        Field::Wrong(_) => None,
        // Which one is not known; there may be none at all.
        Field::Given(item) if !item.is_known() => (!all.entries.is_empty()).then_some(0),
        Field::Given(item) => {
            let name = item.value.as_str();
            let found = all.find(name);
            if found.is_none() && !all.entries.is_empty() {
                let message = unknown("credential", item);
                let help = format!("credentials defined here are {}", all.names());
                report.problem(item.span, message, &help);
            }
            found
        }
        Field::Absent => {
            if all.entries.len() > 1 {
                let names = all.names();
                let help = format!("one of {names}; only a single credential can be left out");
                report.problem(at, "\"credential\" is missing", &help);
            }
            (all.entries.len() == 1).then_some(0)
        }
    }
}

fn callers(raw: &RawRoute, around: &Surroundings<'_>, report: &mut Report) -> Vec<Name> {
    let Some(item) = raw.callers.item() else {
        return Vec::new();
    };
    if item.value.is_empty {
        let message = "an empty \"callers\" would let anybody in";
        report.problem(item.key, message, "leave the key out if that is meant");
    }
    for caller in &item.value.items {
        let name = caller.value.as_str();
        if around.callers.find(name).is_none() {
            let message = unknown("caller", caller);
            let help = if around.callers.entries.is_empty() {
                "define it in callers at the top level".to_owned()
            } else {
                format!("callers defined here are {}", around.callers.names())
            };
            report.problem(caller.span, message, &help);
        }
    }
    raw.callers.values()
}

fn throttle(raw: &RawRoute, upstream: Option<&BaseUrl>, report: &mut Report) -> Throttle {
    let Some(item) = raw.throttle.item() else {
        return Throttle::Pass;
    };
    let throttle = match &item.value {
        RawThrottle::Pass => return Throttle::Pass,
        RawThrottle::Hold => Throttle::Hold(Duration::ZERO),
        RawThrottle::HoldFor(raw) => {
            let help = "how long a request may wait: {hold: 20s}";
            let hold = raw.hold.required("hold", item.span, help, report);
            Throttle::Hold(hold.map_or(Duration::ZERO, |hold| hold.value.0))
        }
    };
    if upstream.is_some_and(|url| url.origin.is_graph()) {
        let message = "the limit of one mailbox would silence the whole route";
        report.warning(
            item.span,
            message,
            "Graph has many separate limits; throttle: pass leaves each its own",
        );
    }
    throttle
}

fn retry(field: &Field<RawRetry>, report: &mut Report) -> Option<RetrySpec> {
    let raw = field.value()?;
    let attempts = raw.attempts.value().map_or(3, |attempts| attempts.0.get());
    if let Some(item) = raw.statuses.item().filter(|item| item.value.is_empty) {
        report.problem(
            item.key,
            "an empty \"statuses\" retries nothing",
            "leave retry out",
        );
    }
    let max_wait = raw.max_wait.or(Time(Duration::from_secs(30))).0;
    if let Some(item) = raw.max_wait.item().filter(|_| max_wait > LATEST_RETRY) {
        let most = LATEST_RETRY.as_secs();
        let message = format!("a \"max_wait\" above {most}s has no effect");
        let help = format!("no retry begins later than {most}s after the request came");
        report.warning(item.span, message, &help);
    }
    let statuses = raw.statuses.value().map_or(vec![429, 503, 504], |list| {
        list.items.iter().map(|item| item.value.0).collect()
    });
    Some(RetrySpec {
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        statuses,
        max_wait,
    })
}

fn batch(raw: &RawRoute, report: &mut Report) -> BatchRule {
    let rule = raw.batch.or(BatchRule::Check);
    if let Some(item) = raw.batch.item().filter(|_| rule == BatchRule::Pass) {
        let message = "batches pass unread: any operation inside one gets past \"allow\"";
        report.warning(
            item.span,
            message,
            "batch: check reads them, batch: refuse refuses them",
        );
    }
    rule
}

/// Bytes of the largest `max_batch_bytes`, and of all batches that are held at one time: each is held
/// in memory while it is read.
pub const MOST_BATCH_BYTES: u64 = 64 << 20;

fn max_batch_bytes(raw: &RawRoute, report: &mut Report) -> u64 {
    let Size(bytes) = raw.max_batch_bytes.or(Size(4 << 20));
    if let Some(item) = raw.max_batch_bytes.item()
        && !(1..=MOST_BATCH_BYTES).contains(&bytes)
    {
        let message = "\"max_batch_bytes\" is out of bounds";
        report.problem(
            item.span,
            message,
            "from 1 to 64MiB: a batch is held in memory",
        );
    }
    if let (Some(key), Some(BatchRule::Pass | BatchRule::Refuse)) =
        (raw.max_batch_bytes.key(), raw.batch.value())
    {
        let message = "\"max_batch_bytes\" has no effect without batch: check";
        report.warning(key, message, "leave one of the two out");
    }
    bytes
}

fn max_body_bytes(raw: &RawRoute, report: &mut Report) -> Option<u64> {
    let item = raw.max_body_bytes.item()?;
    if item.value.0 == 0 {
        let message = "\"max_body_bytes\" cannot be zero";
        report.problem(item.span, message, "leave the key out for no limit");
    }
    Some(item.value.0)
}

fn follow_downloads(raw: &RawRoute, report: &mut Report) -> Vec<HostPattern> {
    for item in raw.follow_downloads.items() {
        if let HostPattern::Suffix(suffix) = &item.value
            && !suffix.as_str().contains('.')
        {
            let message = "this follows redirects to a whole top-level domain";
            report.problem(
                item.span,
                message,
                "at least two labels after the star: *.sharepoint.com",
            );
        }
    }
    raw.follow_downloads.values()
}
