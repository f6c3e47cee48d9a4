//! Any bytes as an answer, cut anywhere: the cuts change nothing, without a link nothing changes, and
//! JSON is rewritten as by a rewriter that works on the parsed document.
#![no_main]

#[path = "../../src/rewrite/tests/model.rs"]
mod model;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use model::Model;
use serde_json::Value;
use tokenferry::config::{BaseUrl, PREAUTHENTICATED_KEYS, PathPrefix, RewriteLinks};
use tokenferry::rewrite::scan::{Piece, Scanner};
use tokenferry::rewrite::{LinkMap, LinkRoute, Links, PublicBase};

fn links(rewrite: RewriteLinks) -> Links {
    let route = LinkRoute {
        path: PathPrefix::parse("/g").expect("a path"),
        host: None,
        upstream: BaseUrl::parse("https://a.b").expect("a URL"),
        rewrite,
        link_keys: vec!["nextLink".to_owned()],
    };
    let base = PublicBase::new(false, "c").expect("an authority");
    Links::new(Arc::new(LinkMap::new(None, vec![route])), 0, base.into())
}

fn output(rewrite: RewriteLinks, text: &[u8], size: usize) -> (Vec<u8>, u64) {
    let mut scanner = Scanner::new(links(rewrite));
    let mut out = Vec::new();
    for chunk in text.chunks(size) {
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
    (out, scanner.links_found())
}

/// What a link becomes.
fn turned(text: &str) -> String {
    let Some((front, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let ours = ["a.b", "a.b:443"]
        .iter()
        .any(|own| own.eq_ignore_ascii_case(authority));
    let query = rest.split('#').next().and_then(|url| url.split_once('?'));
    let mut options = query.map_or("", |(_, query)| query).split('&');
    let is_ticket = options.any(|option| {
        let name = option
            .split_once('=')
            .map(|(name, _)| name.to_ascii_lowercase());
        name.is_some_and(|it| {
            ["access_token", "authtoken", "sig", "tempauth"].contains(&it.as_str())
        })
    });
    if front.eq_ignore_ascii_case("https") && ours && !is_ticket {
        format!("http://c/g{rest}")
    } else {
        text.to_owned()
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, text) = input;
    for mode in [RewriteLinks::All, RewriteLinks::On] {
        let (whole, links) = output(mode, text, usize::MAX);
        assert_eq!(
            output(mode, text, usize::from(size) + 1),
            (whole.clone(), links)
        );
        assert!(links > 0 || whole == text);
        if let Ok(document) = serde_json::from_slice::<Value>(text) {
            let model = Model {
                all: mode == RewriteLinks::All,
                stays: &PREAUTHENTICATED_KEYS,
                turned,
            };
            let expected = model.rewritten(document, false);
            assert_eq!(serde_json::from_slice::<Value>(&whole).ok(), Some(expected));
        }
    }
});
