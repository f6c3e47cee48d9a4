//! How fast links are found, in GB/s on one core, and what a content coding costs beside it.
//! `cargo bench --bench link_scan`. The work is done in chunks of 16 KiB, as TLS records bring it.

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokenferry::config::{BaseUrl, PathPrefix, RewriteLinks};
use tokenferry::rewrite::{
    Asked, LinkMap, LinkRoute, Links, PublicBase, Representation, Rewriter, plan,
};

const CHUNK: usize = 16 * 1024;

fn main() {
    for (name, body) in pages() {
        for (mode, names) in [
            (RewriteLinks::On, &[][..]),
            (RewriteLinks::On, &["nextLink", "value"]),
            (RewriteLinks::All, &[]),
        ] {
            let map = map(mode, names);
            let rate = measure(body.len(), || run(planned(&map, None), &body));
            println!("{name:14} {mode:?} {names:?}: {rate:.2} GB/s");
        }
    }
    let map = map(RewriteLinks::On, &[]);
    small(&map);
    codings(&map, &users());
}

/// Pages of rows: without candidates, with `@odata.` names, with links, with escapes in each row.
fn pages() -> [(&'static str, Bytes); 4] {
    let rows = page(500, |row| {
        format!(
            r#"{{"@odata.etag":"W/\"{row}\"","name":"Fourth Coffee","revenue@OData.Community.Display.V1.FormattedValue":"100,000.00","revenue":100000.0,"_contact_value@Microsoft.Dynamics.CRM.lookuplogicalname":"contact","accountid":"aaaa0001-0000-0000-0000-{row:012}"}}"#
        )
    });
    let links = page(500, |row| {
        format!(
            r#"{{"@odata.id":"https://graph.microsoft.com/v1.0/users/{row}","displayName":"Ada"}}"#
        )
    });
    let words = r#"caf\u00e9 \"quoted\" \u4e2d\n"#.repeat(10);
    let text = page(500, |_| format!(r#"{{"body":"{words}"}}"#));
    [
        ("users", users()),
        ("dynamics rows", rows),
        ("ids", links),
        ("escaped text", text),
    ]
}

fn users() -> Bytes {
    page(500, |row| {
        format!(
            r#"{{"id":"66666666-aaaa-4bbb-8ccc-{row:012}","displayName":"Ada Fake {row}","userPrincipalName":"ada{row}@contoso-fake.example","mail":"ada{row}@contoso-fake.example","jobTitle":null,"officeLocation":"Building {row}, Room 3","businessPhones":["+1 425 555 0100"]}}"#
        )
    })
}

/// What an answer of 1 KB with two links costs in all, and before its first byte.
fn small(map: &Arc<LinkMap>) {
    let body = page(3, |row| {
        format!(r#"{{"id":"{row}","displayName":"{}"}}"#, "x".repeat(250))
    });
    let bytes = body.len();
    let whole = bytes as f64 / measure(bytes, || run(planned(map, None), &body));
    let plan = bytes as f64 / measure(bytes, || drop(black_box(planned(map, None))));
    println!("one answer of {bytes} bytes: {whole:.0} ns, of which planning {plan:.0} ns");
}

/// What it costs to undo a coding, and to do it again.
fn codings(map: &Arc<LinkMap>, body: &Bytes) {
    let zip = |level| {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder.write_all(body).expect("a vector takes everything");
        encoder.finish().expect("a vector takes everything")
    };
    let coded = Bytes::from(zip(Compression::default()));
    let undo = measure(body.len(), || run(planned(map, Some("gzip")), &coded));
    println!("gzip undone and scanned: {undo:.2} GB/s of text");
    let redo = measure(body.len(), || {
        black_box(zip(Compression::fast()));
    });
    println!("gzip done again, level 1: {redo:.2} GB/s of text");
}

fn page(rows: usize, row: impl Fn(usize) -> String) -> Bytes {
    let rows: Vec<_> = (0..rows).map(row).collect();
    let head = r#"{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#users","@odata.nextLink":"https://graph.microsoft.com/v1.0/users?$skiptoken=1","value":["#;
    Bytes::from(format!("{head}{}]}}", rows.join(",")))
}

fn map(mode: RewriteLinks, names: &[&str]) -> Arc<LinkMap> {
    let route = LinkRoute {
        path: PathPrefix::parse("/graph").expect("a path"),
        host: None,
        upstream: BaseUrl::parse("https://graph.microsoft.com").expect("a URL"),
        rewrite: mode,
        link_keys: names.iter().copied().map(str::to_owned).collect(),
    };
    Arc::new(LinkMap::new(None, vec![route]))
}

fn planned(map: &Arc<LinkMap>, coding: Option<&'static str>) -> Rewriter {
    let base = PublicBase::new(false, "localhost:8080").expect("an authority");
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    if let Some(coding) = coding {
        headers.insert("content-encoding", HeaderValue::from_static(coding));
    }
    let asked = Asked {
        method: &Method::GET,
        file: false,
        batch: false,
    };
    let links = Links::new(map.clone(), 0, base.into());
    let representation = Representation::of(&headers);
    let rewriter = plan(&asked, StatusCode::OK, &mut headers, representation, links);
    rewriter.expect("JSON is rewritten")
}

fn run(mut rewriter: Rewriter, body: &Bytes) {
    for from in (0..body.len()).step_by(CHUNK) {
        rewriter.push(body.slice(from..body.len().min(from + CHUNK)));
        while let Some(piece) = rewriter.next().expect("sound input") {
            black_box(piece);
        }
    }
    black_box(rewriter.finish().expect("whole input"));
}

/// Bytes per nanosecond: the best of several rounds, because the machine has other work too.
fn measure(bytes: usize, mut work: impl FnMut()) -> f64 {
    let times = (20_000_000 / bytes.max(1)).clamp(1, 20_000);
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        for _ in 0..times {
            work();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / times as f64);
    }
    bytes as f64 / best
}
