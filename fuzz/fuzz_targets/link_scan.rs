//! Any bytes as an answer, cut anywhere: the cuts change nothing, and without a link nothing changes.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tokenferry::config::{BaseUrl, PathPrefix, RewriteLinks};
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
    Links::new(Arc::new(LinkMap::new(None, vec![route])), 0, base)
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

fuzz_target!(|input: (u8, &[u8])| {
    let (size, text) = input;
    for mode in [RewriteLinks::All, RewriteLinks::On] {
        let (whole, links) = output(mode, text, usize::MAX);
        assert_eq!(output(mode, text, usize::from(size) + 1), (whole.clone(), links));
        assert!(links > 0 || whole == text);
    }
});
