//! Routes for the tests of this command, read from YAML like any other.

use crate::config::{RouteSpec, Source, load};

/// A route to this upstream, with further keys.
pub(super) fn route(upstream: &str, more: &str) -> RouteSpec {
    let text = format!(
        "credentials: {{a: {{managed_identity: system}}}}\nroutes:\n  - name: a\n    path: /a\n    upstream: {upstream}\n    {more}\n"
    );
    match load(&Source::alone(&text)) {
        Ok(mut checked) => checked.config.routes.remove(0),
        Err(problems) => panic!("{problems}"),
    }
}
