//! The target that goes up: the upstream's own prefix, what the route left of the path, and the query,
//! joined byte for byte. Nothing is decoded, encoded, normalised or parsed as a URL.

use bytes::Bytes;
use http::uri::{InvalidUri, PathAndQuery};

use crate::config::PathPrefix;

/// Why no target can be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "the path to the upstream is longer than 65534 bytes or not one; shorten the request target"
)]
pub struct PathError(#[from] InvalidUri);

/// The path and query that go up; begins with a slash.
#[derive(Clone, Debug)]
pub struct UpstreamTarget<'a>(Text<'a>);

#[derive(Clone, Debug)]
enum Text<'a> {
    /// From a slash on to its end, the target that came.
    Asked(&'a str),
    /// Made here.
    Own(PathAndQuery),
}

impl UpstreamTarget<'_> {
    /// As it is written into a request line.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Asked(text) => text,
            Text::Own(parsed) => parsed.as_str(),
        }
    }

    /// As HTTP/2 wants it.
    pub fn parsed(&self) -> PathAndQuery {
        match &self.0 {
            Text::Asked(text) => {
                let parsed = PathAndQuery::try_from(*text);
                parsed.expect("what ends a target and begins with a slash is one")
            }
            Text::Own(parsed) => parsed.clone(),
        }
    }
}

impl From<PathAndQuery> for UpstreamTarget<'_> {
    fn from(parsed: PathAndQuery) -> Self {
        Self(Text::Own(parsed))
    }
}

/// The target for the upstream of a request for `asked`, of whose path the route left `rest`; an empty
/// path becomes a slash. `query` stands in for the one that was asked for.
///
/// `rest` is [`Found::rest`](super::table::Found::rest) and has no fault that the request target's check
/// would refuse.
///
/// # Errors
/// When prefix and request target together exceed what [`PathAndQuery`] holds.
pub fn for_upstream<'a>(
    prefix: &PathPrefix,
    asked: &'a PathAndQuery,
    rest: &str,
    query: Option<&str>,
) -> Result<UpstreamTarget<'a>, PathError> {
    let prefix = prefix.as_str();
    let below = &asked.as_str()[asked.path().len() - rest.len()..];
    if prefix.is_empty() && query.is_none() && below.starts_with('/') {
        return Ok(UpstreamTarget(Text::Asked(below)));
    }
    let root = if prefix.is_empty() && rest.is_empty() {
        "/"
    } else {
        ""
    };
    let query = query.or(asked.query());
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    // One allocation of the exact size, which `Bytes` then takes over as it is.
    let pieces = [prefix, rest, root, mark, query];
    let mut whole = String::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
    whole.extend(pieces);
    Ok(PathAndQuery::from_maybe_shared(Bytes::from(whole))?.into())
}
