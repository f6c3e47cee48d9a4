//! Routes for the tests: Graph, Dataverse, and what else a test names.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::body::Rewriter;
use super::scan::{Piece, Scanner};
use super::{LinkMap, LinkRoute, Links, PublicBase};
use crate::config::{BaseUrl, HostPattern, PathPrefix, RewriteLinks};

pub(super) fn route(place: &str, upstream: &str) -> LinkRoute {
    let (host, path) = match place.find('/') {
        Some(at) => place.split_at(at),
        None => (place, "/"),
    };
    LinkRoute {
        path: PathPrefix::parse(path).unwrap(),
        host: (!host.is_empty()).then(|| HostPattern::parse(host).unwrap()),
        upstream: BaseUrl::parse(upstream).unwrap(),
        rewrite: RewriteLinks::On,
        link_keys: Vec::new(),
    }
}

/// `/graph` and `/dynamics`.
pub(super) fn two() -> Vec<LinkRoute> {
    vec![
        route("/graph", "https://graph.microsoft.com"),
        route("/dynamics", "https://contoso-fake.crm4.dynamics.com"),
    ]
}

pub(super) fn links(routes: Vec<LinkRoute>, host: &str) -> Links {
    links_at(None, routes, 0, host)
}

pub(super) fn links_at(
    public: Option<&str>,
    routes: Vec<LinkRoute>,
    index: usize,
    host: &str,
) -> Links {
    let public = public.map(|url| BaseUrl::parse(url).unwrap());
    let base = PublicBase::new(false, host).unwrap();
    Links::new(Arc::new(LinkMap::new(public, routes)), index, base.into())
}

/// Graph behind `localhost:8080/graph`.
pub(crate) fn graph() -> Links {
    links(two(), "localhost:8080")
}

/// Graph with these settings.
pub(super) fn graph_with(rewrite: RewriteLinks, link_keys: &[&str]) -> Links {
    let mut routes = two();
    routes[0].rewrite = rewrite;
    routes[0].link_keys = link_keys.iter().copied().map(str::to_owned).collect();
    links(routes, "localhost:8080")
}

/// Everything a scanner makes of these chunks.
pub(super) fn scan<'a>(
    scanner: &mut Scanner,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks {
        scanner.push(chunk, |piece| match piece {
            Piece::Add(bytes) => out.extend_from_slice(bytes),
            Piece::Keep(range) => out.extend_from_slice(&chunk[range]),
        });
    }
    scanner.finish(|piece| {
        if let Piece::Add(bytes) = piece {
            out.extend_from_slice(bytes);
        }
    });
    out
}

/// Everything a rewriter makes of these chunks.
pub(super) fn rewrite<'a>(
    rewriter: &mut Rewriter,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, super::decode::DecodeError> {
    let mut out = BytesMut::new();
    for chunk in chunks {
        rewriter.push(Bytes::copy_from_slice(chunk));
        while let Some(piece) = rewriter.next()? {
            assert!(!piece.is_empty());
            out.extend_from_slice(&piece);
        }
    }
    if let Some(rest) = rewriter.finish()? {
        out.extend_from_slice(&rest);
    }
    Ok(out.to_vec())
}
