//! The path that goes up: the upstream's own prefix, what the route left of the path, and the query,
//! joined byte for byte. Nothing is decoded, encoded, normalised or parsed as a URL.

use bytes::Bytes;
use http::uri::PathAndQuery;

use crate::config::PathPrefix;

/// Why no path can be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "the path to the upstream is longer than 65534 bytes or not one; shorten the request target"
)]
pub struct PathError(#[from] http::uri::InvalidUri);

/// Joins `prefix`, `rest` and `?query`; an empty path becomes a slash.
///
/// `rest` is [`Found::rest`](super::table::Found::rest) and has no fault that the request target's check
/// would refuse.
///
/// # Errors
/// When prefix and request target together exceed what [`PathAndQuery`] holds.
pub fn for_upstream(
    prefix: &PathPrefix,
    rest: &str,
    query: Option<&str>,
) -> Result<PathAndQuery, PathError> {
    let prefix = prefix.as_str();
    let root = if prefix.is_empty() && rest.is_empty() {
        "/"
    } else {
        ""
    };
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    // One allocation of the exact size, which `Bytes` then takes over as it is.
    let pieces = [prefix, rest, root, mark, query];
    let mut whole = String::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
    whole.extend(pieces);
    Ok(PathAndQuery::from_maybe_shared(Bytes::from(whole))?)
}
