//! `schema`: the JSON Schema of routes.yaml, for editors.

use std::io::{self, Write};

use crate::config;

/// Prints the schema.
///
/// # Errors
/// When `out` cannot be written.
pub(super) fn schema(out: &mut dyn Write) -> io::Result<()> {
    let schema = config::schema();
    writeln!(out, "{schema:#}")
}
