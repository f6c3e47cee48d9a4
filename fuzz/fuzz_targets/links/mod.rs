//! One route of one upstream, for targets that look for its links.

use std::sync::Arc;

use tokenferry::config::{BaseUrl, PathPrefix, RewriteLinks};
use tokenferry::rewrite::{LinkMap, LinkRoute, Links, PublicBase};

/// `https://a.b` is served as `http://c/g`.
pub fn links() -> Links {
    let route = LinkRoute {
        path: PathPrefix::parse("/g").expect("a path"),
        host: None,
        upstream: BaseUrl::parse("https://a.b").expect("a URL"),
        rewrite: RewriteLinks::On,
        link_keys: Vec::new(),
    };
    let base = PublicBase::new(false, "c").expect("an authority");
    Links::new(Arc::new(LinkMap::new(None, vec![route])), 0, base.into())
}
