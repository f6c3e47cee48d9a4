//! What is decided about a request before its token, step by step: nanoseconds each, best of many
//! rounds, so that a busy machine does not blur it. `cargo bench --bench route_find`.

use std::hint::black_box;
use std::time::Instant;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use tokenferry::config::{AllowSpec, HeaderEdits, HostPattern, PathPrefix, PatternSegment};
use tokenferry::policy::allow::Allow;
use tokenferry::policy::browser::{BrowserPolicy, Listener};
use tokenferry::policy::host::HostPolicy;
use tokenferry::policy::path;
use tokenferry::policy::request_header::RequestRules;
use tokenferry::policy::response_header::{ResponseRules, settle};
use tokenferry::policy::target::Target;
use tokenferry::route::path::for_upstream;
use tokenferry::route::table::RouteTable;

const ROUNDS: usize = 200;
const CALLS: u32 = 1000;

fn measure<T>(name: &str, mut call: impl FnMut() -> T) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    println!("{name:<44} {best:8.1} ns");
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

fn request() -> HeaderMap {
    headers(&[
        ("host", "localhost:8080"),
        ("user-agent", "python-requests/2.32"),
        ("accept-encoding", "gzip, deflate"),
        ("accept", "application/json"),
        ("connection", "keep-alive"),
        ("consistencylevel", "eventual"),
        ("client-request-id", "5f1f6f0e-8a55-4f0e-9a53-5a1a3a4d5b6c"),
    ])
}

fn response() -> HeaderMap {
    headers(&[
        ("cache-control", "no-cache"),
        ("content-type", "application/json;odata.metadata=minimal"),
        ("content-encoding", "gzip"),
        ("vary", "Accept-Encoding"),
        ("strict-transport-security", "max-age=31536000"),
        ("request-id", "8f7e-4f0e"),
        ("client-request-id", "8f7e-4f0e"),
        ("x-ms-ags-diagnostic", "{}"),
        ("odata-version", "4.0"),
        ("date", "Sun, 22 Nov 2026 10:00:00 GMT"),
        ("transfer-encoding", "chunked"),
    ])
}

fn table(routes: usize, hosts: bool) -> RouteTable {
    let places: Vec<(Option<HostPattern>, PathPrefix)> = (0..routes)
        .map(|n| {
            let host = hosts.then(|| HostPattern::parse(&format!("api{n}.corp")).ok());
            let path = PathPrefix::parse(&format!("/route{n}")).unwrap_or_default();
            (host.flatten(), path)
        })
        .collect();
    places
        .iter()
        .map(|(host, path)| (host.as_ref(), path))
        .collect()
}

fn routes() {
    for count in [1, 10, 1000] {
        let path = format!("/route{}/v1.0/users/a/messages", count - 1);
        let plain = table(count, false);
        measure(&format!("find, {count} routes by path"), || {
            plain.find(black_box("localhost"), black_box(&path))
        });
        let host = format!("api{}.corp", count - 1);
        let hosts = table(count, true);
        measure(&format!("find, {count} routes by host"), || {
            hosts.find(black_box(&host), black_box(&path))
        });
    }
    let prefix = PathPrefix::default();
    let asked = PathAndQuery::from_static("/graph/v1.0/users/a/messages?$top=10");
    measure("path for the upstream", || {
        for_upstream(&prefix, black_box(&asked), "/v1.0/users/a/messages", None)
    });
}

fn decisions() {
    let uri =
        Uri::from_static("/graph/v1.0/users/5f1f6f0e-8a55-4f0e-9a53-5a1a3a4d5b6c/messages?$top=10");
    let came = request();
    measure("path::check, plain", || path::check(black_box(uri.path())));
    let encoded = "/graph/v1.0/users/anna%40corp.example/messages/AAMk%253d";
    measure("path::check, encoded", || path::check(black_box(encoded)));
    measure("Target::of", || {
        Target::of(
            &Method::GET,
            black_box(&uri),
            black_box(&came),
            Version::HTTP_11,
        )
    });
    let policy = HostPolicy::default();
    for host in ["localhost", "127.0.0.1", "graph.team.svc.cluster.local"] {
        measure(&format!("HostPolicy::serves, {host}"), || {
            policy.serves(black_box(host))
        });
    }
    let browser_policy = BrowserPolicy::default();
    if let Ok(target) = Target::of(&Method::GET, &uri, &came, Version::HTTP_11) {
        measure("BrowserPolicy::judge, no browser", || {
            browser_policy.judge(
                Listener::Data,
                &Method::GET,
                &target.authority,
                false,
                black_box(&came),
            )
        });
    }
    let specs: Vec<AllowSpec> = ["groups", "sites", "drives", "users"]
        .map(|collection| AllowSpec {
            methods: vec![Method::GET],
            pattern: vec![
                PatternSegment::Literal("v1.0".to_owned()),
                PatternSegment::Literal(collection.to_owned()),
                PatternSegment::AnyNumber,
            ],
        })
        .to_vec();
    let allow = Allow::new(Some(&specs), &[]);
    measure("Allow::permits, fourth of 4 rules", || {
        allow.permits(&Method::GET, black_box("/v1.0/users/a/messages"))
    });
}

fn hygiene() {
    let (up, down) = (request(), response());
    let requests = RequestRules::new(&[], &HeaderEdits::default());
    let responses = ResponseRules::new(&[], &HeaderEdits::default());
    measure("RequestRules::apply", || {
        requests.apply(black_box(&up), false)
    });
    measure("HeaderMap::clone, response", || down.clone());
    measure("ResponseRules::apply, settle and clone", || {
        let mut headers = down.clone();
        let settled = settle(&mut headers);
        responses.apply(&mut headers, settled);
        headers
    });
}

fn main() {
    routes();
    decisions();
    hygiene();
}
